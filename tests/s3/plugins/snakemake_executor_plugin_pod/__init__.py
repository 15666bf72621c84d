"""Starts jobs as the Kubernetes executor does: sources and files come through S3, keys by the environment.

Its settings are those of snakemake-executor-plugin-kubernetes, but for the installation of plugins, which an
image has. A "pod" is a process in an empty folder of $PODS with an empty home; the folder stays, with the
command and its output, for a test to look at.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import AsyncGenerator
from pathlib import Path

from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
from snakemake_interface_executor_plugins.jobs import JobExecutorInterface
from snakemake_interface_executor_plugins.settings import CommonSettings

common_settings = CommonSettings(
    non_local_exec=True,
    implies_no_shared_fs=True,
    job_deploy_sources=True,
    pass_default_storage_provider_args=True,
    pass_default_resources_args=True,
    pass_envvar_declarations_to_cmd=False,
    auto_deploy_default_storage_provider=False,
    init_seconds_before_status_checks=1,
)

#: What an image sets. Nothing else of the environment reaches a job, unless Snakemake passes it on.
_OF_THE_IMAGE = ("PATH", "NO_PROXY", "AWS_EC2_METADATA_DISABLED", "SNAKEFOLD_REHEARSAL_BLOCKS")


class Executor(RemoteExecutor):
    """Processes in folders that share nothing with this one."""

    def run_job(self, job: JobExecutorInterface) -> None:
        name = f"{'-'.join(sorted(job.rules))}.{job.jobid}.{job.attempt}"
        pod = Path(os.environ["PODS"]) / name
        for folder in ("work", "home", "tmp"):
            (pod / folder).mkdir(parents=True)
        command = self.format_job_exec(job)
        (pod / "command").write_text(command)
        environment = {key: os.environ[key] for key in _OF_THE_IMAGE if key in os.environ} | self.envvars()
        with (pod / "log").open("wb") as log:
            process = subprocess.Popen(
                ["/bin/sh", "-c", command],
                cwd=pod / "work",
                env=environment | {"HOME": str(pod / "home"), "TMPDIR": str(pod / "tmp")},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.report_job_submission(SubmittedJobInfo(job, external_jobid=name, aux={"process": process}))

    async def check_active_jobs(
        self, active_jobs: list[SubmittedJobInfo]
    ) -> AsyncGenerator[SubmittedJobInfo, None]:
        for job in active_jobs:
            status = job.aux["process"].poll()
            if status is None:
                yield job
            elif status == 0:
                self.report_job_success(job)
            else:
                self.report_job_error(job, msg=f"pod {job.external_jobid} ended with {status}. ")

    def cancel_jobs(self, active_jobs: list[SubmittedJobInfo]) -> None:
        for job in active_jobs:
            if job.aux["process"].poll() is None:
                os.killpg(job.aux["process"].pid, signal.SIGKILL)
