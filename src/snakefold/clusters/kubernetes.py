"""What the profile for Kubernetes needs: the environment of jobs, and a repair of the executor plugin."""

from __future__ import annotations

import functools
import os
from typing import Any

#: Where boto3 looks for keys (a service account that stands for a role needs none), and where parameters are.
_VARIABLES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "SNAKEFOLD_WEIGHTS",
    "SNAKEFOLD_REHEARSAL_BLOCKS",
)
_BAD_REQUEST = 400


def variables_for_jobs() -> list[str]:
    """Names of variables that jobs need and that are set: the plugin hands them on as a secret of the run."""
    return [name for name in _VARIABLES if os.environ.get(name)]


def read_logs_of_failed_pods() -> None:
    """Let a failed pod be an ordinary failed job.

    snakemake-executor-plugin-kubernetes 0.5.1 asks for the log of a pod's *previous* container. A job's pod
    is never started again (`restartPolicy: Never`), so that the API server answers 400, and the plugin ends
    the whole run. Nothing happens where the plugin is not installed.
    """
    try:
        from kubernetes.client import CoreV1Api
        from kubernetes.client.exceptions import ApiException
    except ImportError:
        return
    read = CoreV1Api.read_namespaced_pod_log
    if hasattr(read, "__wrapped__"):
        return

    @functools.wraps(read)
    def read_either(*arguments: Any, previous: bool | None = None, **options: Any) -> Any:
        try:
            return read(*arguments, previous=previous, **options)
        except ApiException as error:
            if error.status != _BAD_REQUEST or not previous:
                raise
            return read(*arguments, **options)

    CoreV1Api.read_namespaced_pod_log = read_either
