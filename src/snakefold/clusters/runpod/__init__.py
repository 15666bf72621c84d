"""A RunPod Serverless endpoint from Python: plain functions over a session, no dependencies.

>>> from pathlib import Path
>>> from snakefold.clusters.runpod import open_session, save_results, submit_job, wait_for_job_completion
>>> session = open_session()                                   # RUNPOD_API_KEY
>>> job = submit_job(session, "abc123", {"sequence": "MKV…"})  # doctest: +SKIP
>>> status = wait_for_job_completion(session, "abc123", job, timeout=3600)  # doctest: +SKIP
>>> save_results(session, status.output, Path("folded"))       # doctest: +SKIP
"""

from snakefold.clusters.runpod.jobs import (
    JobStatus,
    cancel_job,
    get_health,
    get_job_output,
    get_job_status,
    submit_job,
    wait_for_job_completion,
)
from snakefold.clusters.runpod.results import save_results
from snakefold.clusters.runpod.session import (
    AccessError,
    JobError,
    NotFinishedError,
    NotFoundError,
    RejectedError,
    ResultError,
    RunpodError,
    Session,
    UnavailableError,
    open_session,
)

__all__ = [
    "AccessError",
    "JobError",
    "JobStatus",
    "NotFinishedError",
    "NotFoundError",
    "RejectedError",
    "ResultError",
    "RunpodError",
    "Session",
    "UnavailableError",
    "cancel_job",
    "get_health",
    "get_job_output",
    "get_job_status",
    "open_session",
    "save_results",
    "submit_job",
    "wait_for_job_completion",
]
