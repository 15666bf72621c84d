"""Calls that the service was sent, and what they tell of a client that polls."""

from __future__ import annotations

import bisect
import dataclasses
from collections.abc import Iterable

from snakefold.clusters.emulator.jobs import Job


@dataclasses.dataclass(frozen=True)
class Call:
    """One call to the service. `time` is of its clock, `wall` of time.monotonic; seconds of wall time."""

    time: float
    wall: float
    operation: str
    endpoint: str
    job: str
    status: int
    fault: str
    seconds: float


def busiest(calls: Iterable[Call], operation: str, seconds: float) -> int:
    """The most calls of an operation within any so many seconds of the clock."""
    times = sorted(call.time for call in calls if call.operation == operation)
    return max((bisect.bisect_left(times, start + seconds) - i for i, start in enumerate(times)), default=0)


def detection_delays(calls: Iterable[Call], jobs: Iterable[Job]) -> list[float]:
    """Seconds of the clock from each job's end to the first answered /status after it, sorted."""
    asked: dict[str, list[float]] = {}
    for call in sorted(calls, key=lambda call: call.time):
        if call.operation == "status" and call.status == 200 and not call.fault:
            asked.setdefault(call.job, []).append(call.time)
    ended = [(job.finished, asked.get(job.id, [])) for job in jobs if job.finished is not None]
    return sorted(
        next(t for t in times if t >= end) - end for end, times in ended if times and times[-1] >= end
    )
