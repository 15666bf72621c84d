"""Jobs of a RunPod Serverless endpoint: submit, look, wait, cancel."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from snakefold.clusters.runpod.session import (
    JobError,
    NotFinishedError,
    NotFoundError,
    RejectedError,
    ResultError,
    Session,
    UnavailableError,
    call,
    persist,
)

FAILED_STATES = frozenset({"FAILED", "CANCELLED", "TIMED_OUT"})
POLL_INTERVAL, TIMEOUT = 5.0, 1800.0

_LARGEST_BODY = 10_000_000
_WEEK = 7 * 86_400.0
_QUEUE_SECONDS = 86_400.0
_FIRST_POLL, _SLOWER = 1.0, 1.5
_ID = re.compile(r"[A-Za-z0-9_.-]{1,200}")


@dataclass(frozen=True)
class JobStatus:
    """What /status says of a job. Seconds are None where the service does not say."""

    id: str
    state: str
    output: Any = field(default=None, repr=False)
    error: Any = field(default=None, repr=False)
    delay_seconds: float | None = None
    execution_seconds: float | None = None

    @property
    def finished(self) -> bool:
        """A state nobody knows counts as alive: giving up a living job would pay for nothing."""
        return self.state == "COMPLETED" or self.state in FAILED_STATES


def submit_job(
    session: Session,
    endpoint: str,
    given: Any,
    *,
    execution_timeout: float | None = None,
    ttl: float | None = None,
    repeat_lost: bool = True,
) -> str:
    """Submit `given` as a job's `input`.

    Args:
        execution_timeout: seconds it may run; None: what the endpoint has set.
        ttl: seconds after which the service deletes it, whether it waits or runs; None: a day and the
            execution timeout.
        repeat_lost: submit again if the answer was lost, although the first one may have been accepted. A
            worker that knows work it has done makes the second one cheap; false raises instead.

    Returns:
        The job's id.

    Raises:
        RejectedError: more than 10 MB, or refused by the service.
        UnavailableError: no answer for `session.patience` seconds.
    """
    policy = {}
    if execution_timeout is not None:
        policy["executionTimeout"] = round(min(_WEEK, max(5.0, execution_timeout)) * 1000)
        ttl = ttl or execution_timeout + _QUEUE_SECONDS
    if ttl is not None:
        policy["ttl"] = round(min(_WEEK, max(10.0, ttl)) * 1000)
    body = {"input": given, **({"policy": policy} if policy else {})}
    size = len(json.dumps(body, separators=(",", ":")).encode())
    if size > _LARGEST_BODY:
        raise RejectedError(
            f"The request has {size / 1e6:.1f} MB; RunPod takes 10 MB. Send fewer sequences at once, "
            "or their address (fasta_url)."
        )

    def attempt() -> str:
        answer = _operation(session, "POST", endpoint, "run", body=body)
        job = answer.get("id")
        if not isinstance(job, str) or not _ID.fullmatch(job):
            raise UnavailableError("The answer to the submission has no job id.", taken=True)
        return job

    try:
        return persist(session, attempt, repeat_taken=repeat_lost)
    except UnavailableError as error:
        if not error.taken:
            raise
        raise UnavailableError(
            f"{error} The job may have been accepted all the same: look at the endpoint's requests in "
            "RunPod's console before it is submitted again.",
            taken=True,
        ) from error


def get_job_status(session: Session, endpoint: str, job: str) -> JobStatus:
    """How a job is doing.

    Raises:
        NotFoundError: the service does not know the job, or not any longer.
    """
    try:
        answer = persist(session, lambda: _operation(session, "GET", endpoint, "status", job=job))
    except NotFoundError as error:
        raise _unknown_job(session, endpoint, job) from error
    return JobStatus(
        id=job,
        state=str(answer.get("status", "")),
        output=answer.get("output"),
        error=answer.get("error"),
        delay_seconds=_seconds(answer.get("delayTime")),
        execution_seconds=_seconds(answer.get("executionTime")),
    )


def get_job_output(session: Session, endpoint: str, job: str) -> Any:
    """Output of a finished job.

    Raises:
        JobError: it failed. NotFinishedError: it is still alive. ResultError: it has no output.
    """
    return output_of(get_job_status(session, endpoint, job))


def cancel_job(session: Session, endpoint: str, job: str) -> str:
    """Cancel a job; the state it is in afterwards. One that has ended stays as it is."""
    try:
        answer = persist(session, lambda: _operation(session, "POST", endpoint, "cancel", job=job))
    except NotFoundError as error:
        raise _unknown_job(session, endpoint, job) from error
    return str(answer.get("status", ""))


def wait_for_job_completion(
    session: Session,
    endpoint: str,
    job: str,
    *,
    poll_interval: float = POLL_INTERVAL,
    timeout: float = TIMEOUT,
    changed: Callable[[JobStatus], None] = lambda _: None,
) -> JobStatus:
    """Wait until a job is COMPLETED, looking every second at first and every `poll_interval` seconds later.

    Args:
        timeout: seconds; the job goes on when they are over.
        changed: is told of every new state.

    Raises:
        JobError: it failed, timed out or was cancelled. NotFinishedError: it is still alive.
        NotFoundError: the service does not know it, or not any longer.
    """
    started, state = session.clock(), ""
    wait = min(_FIRST_POLL, poll_interval)
    while True:
        status = get_job_status(session, endpoint, job)
        if status.state != state:
            state = status.state
            changed(status)
        if status.finished:
            output_of(status)
            return status
        left = timeout - (session.clock() - started)
        if left <= 0:
            raise NotFinishedError(
                f"Job {job} is {state or 'in no known state'} after {timeout:g} s. It continues: wait for it "
                "with a longer timeout, or cancel it. If it never leaves IN_QUEUE, the endpoint has no "
                "workers (workersMax is 0 after a week without requests: snakefold deploy status)."
            )
        session.sleep(min(wait, left))
        wait = min(wait * _SLOWER, poll_interval)


def get_health(session: Session, endpoint: str) -> Mapping[str, Any]:
    """Counts of jobs and workers: `{"jobs": {…}, "workers": {…}}`."""
    return persist(session, lambda: _operation(session, "GET", endpoint, "health"))


def output_of(status: JobStatus) -> Any:
    """Output of a finished job, or why there is none."""
    if not status.finished:
        raise NotFinishedError(f"Job {status.id} is {status.state or 'in no known state'}: no output yet.")
    if status.state != "COMPLETED":
        raise _failure(status)
    if status.output is None:
        raise ResultError(
            f"Job {status.id} is COMPLETED and has no output: RunPod drops results over 10 MB, or lost this "
            "result. Submit the job again; finished targets are not computed again."
        )
    return status.output


def _operation(
    session: Session, method: str, endpoint: str, operation: str, *, job: str = "", body: Any = None
) -> dict[str, Any]:
    for kind, text in (("endpoint", endpoint), *([("job", job)] if job else [])):
        if not _ID.fullmatch(text) or not text.strip("."):
            raise RejectedError(f"{text[:100]!r} is no id of a RunPod {kind}.")
    url = f"{session.jobs_url}/{endpoint}/{operation}" + (f"/{job}" if job else "")
    answer = call(session, method, url, body)
    if not isinstance(answer, dict):
        raise UnavailableError(f"{operation}: the answer is no object.", taken=True)
    return answer


def _unknown_job(session: Session, endpoint: str, job: str) -> NotFoundError:
    try:
        get_health(session, endpoint)
    except NotFoundError:
        return NotFoundError(f"There is no endpoint {endpoint} for this key. Check RUNPOD_ENDPOINT_ID.")
    return NotFoundError(
        f"Endpoint {endpoint} does not know job {job}. RunPod keeps a result for 30 minutes after the job's "
        "end (1 minute after /runsync) and deletes a job, running or not, when its time-to-live is over. "
        "Submit it again; a worker with a store does not compute again what it has finished."
    )


def _failure(status: JobStatus) -> JobError:
    """FAILED carries the worker's JSON text {reason, message, log}, the SDK's, or any text."""
    given, reason, log = status.error, status.state.lower(), ""
    if isinstance(given, str):
        with contextlib.suppress(ValueError, RecursionError):
            given = json.loads(given)
    message = str(given or "")
    if isinstance(given, Mapping):
        reason = str(given.get("reason") or reason)
        message = str(given.get("message") or given.get("error_message") or message)
        log = str(given.get("log") or given.get("error_traceback") or "")
    advice = {
        "CANCELLED": "Somebody cancelled it.",
        # RunPod calls three things so; only the time at work tells the first of them from the others.
        "TIMED_OUT": "It ran into its execution timeout (send less at once, or give it longer), or its "
        "answer was over 10 MB, and dropped."
        if status.execution_seconds
        else "It expired, most likely before a worker took it: `snakefold deploy status` says whether "
        "workers start.",
    }.get(status.state, "")
    text = " ".join(
        part for part in (f"Job {status.id} {status.state}", f"({reason}):", message, advice) if part
    )
    return JobError(text, reason=reason, log=log)


def _seconds(milliseconds: Any) -> float | None:
    return milliseconds / 1000 if isinstance(milliseconds, int | float) else None
