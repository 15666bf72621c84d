"""Snakemake executor plugin for RunPod Serverless endpoints."""

from snakemake_interface_executor_plugins.settings import CommonSettings  # type: ignore[import-untyped]

from .executor import Executor
from .settings import ExecutorSettings

__all__ = ["Executor", "ExecutorSettings", "common_settings"]

common_settings = CommonSettings(
    # Jobs are elsewhere; local rules go to core's own executor.
    non_local_exec=True,
    # The plugin writes the outputs on this machine's file system.
    implies_no_shared_fs=False,
    # For the jobs that run in a Snakemake of their own on this machine.
    pass_default_storage_provider_args=True,
    pass_default_resources_args=True,
    # No Snakemake runs on the worker: nothing of these is needed there, and no variable leaves this machine.
    job_deploy_sources=False,
    pass_envvar_declarations_to_cmd=False,
    auto_deploy_default_storage_provider=False,
    init_seconds_before_status_checks=0,
)
