"""Times RunPod is told about a job, and what a job is put by for."""

from __future__ import annotations

#: RunPod's longest ttl and execution timeout, seconds.
LONGEST = 7 * 86400.0


def policy(runtime_minutes: float | None, default_seconds: float, queue_seconds: float) -> dict[str, int]:
    """`policy` of a submission, milliseconds.

    The service's ttl counts from submission and deletes running jobs too, so that it holds the time in the
    queue and the time on the worker.
    """
    execution = seconds(runtime_minutes, default_seconds)
    ttl = min(LONGEST, max(10.0, execution + queue_seconds + 60.0))
    return {"executionTimeout": round(execution * 1000), "ttl": round(ttl * 1000)}


def seconds(runtime_minutes: float | None, default_seconds: float) -> float:
    """Seconds a job may run, within RunPod's bounds of 5 s and 7 days."""
    wanted = default_seconds if not runtime_minutes else runtime_minutes * 60.0
    return min(LONGEST, max(5.0, wanted))
