"""Starts jobs as the Kubernetes executor does: sources and files come through S3, keys by the environment.

Its settings are those of snakemake-executor-plugin-kubernetes, but for the installation of plugins, which an
image has. A "pod" is a process in an empty folder of $PODS with an empty home; the folder stays, with the
command, its output and, once it was seen, its exit status, for a test to look at.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import IO

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
_OF_THE_IMAGE = ("PATH", "NO_PROXY", "AWS_EC2_METADATA_DISABLED", "SNAKEFOLD_REHEARSAL_BLOCKS", "XLA_FLAGS")


class Executor(RemoteExecutor):
    """Processes in folders that share nothing with this one."""

    def run_job(self, job: JobExecutorInterface) -> None:
        pods = Path(os.environ["PODS"])
        pods.mkdir(exist_ok=True)
        name = f"{'-'.join(sorted(job.rules))}.{job.jobid}.{job.attempt}"
        pod = Path(tempfile.mkdtemp(prefix=f"{name}.", dir=pods))
        for folder in ("work", "home", "tmp"):
            (pod / folder).mkdir()
        command = self.format_job_exec(job)
        (pod / "command").write_text(command)
        given = {key: os.environ[key] for key in _OF_THE_IMAGE if key in os.environ} | self.envvars()
        with (pod / "log").open("wb") as log:
            process = self.start(pod, command, given, log)
        (pod / "pid").write_text(str(process.pid))
        aux = {"process": process, "pod": pod}
        self.report_job_submission(SubmittedJobInfo(job, external_jobid=pod.name, aux=aux))

    def start(
        self, pod: Path, command: str, given: Mapping[str, str], log: IO[bytes]
    ) -> subprocess.Popen[bytes]:
        """Start a job's command; `given`: its environment."""
        return subprocess.Popen(
            ["/bin/sh", "-c", command],
            cwd=pod / "work",
            env={**given, "HOME": str(pod / "home"), "TMPDIR": str(pod / "tmp")},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    async def check_active_jobs(
        self, active_jobs: list[SubmittedJobInfo]
    ) -> AsyncGenerator[SubmittedJobInfo, None]:
        for job in active_jobs:
            status = job.aux["process"].poll()
            if status is None:
                yield job
                continue
            (job.aux["pod"] / "status").write_text(str(status))
            if status == 0:
                self.report_job_success(job)
            else:
                self.report_job_error(job, msg=f"pod {job.external_jobid} ended with {status}. ")

    def cancel_jobs(self, active_jobs: list[SubmittedJobInfo]) -> None:
        for job in active_jobs:
            if job.aux["process"].poll() is None:
                os.killpg(job.aux["process"].pid, signal.SIGKILL)
