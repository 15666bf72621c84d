"""What an endpoint can be asked, by name and HTTP method, and the calls that the service was sent."""

from __future__ import annotations

import bisect
import dataclasses
import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from snakefold.clusters.emulator.endpoint import Endpoint
from snakefold.clusters.emulator.jobs import Job

Perform = Callable[[Endpoint, web.Request, str], Awaitable[web.Response]]


@dataclass(frozen=True)
class Operation:
    """`of_job`: a job's id follows its name in the address."""

    method: str
    of_job: bool
    perform: Perform


class Operations(dict[str, Operation]):
    """Operations of one API, by name."""

    def add(self, name: str, method: str, *, of_job: bool = False) -> Callable[[Perform], Perform]:
        """Decorates the function that performs it."""

        def keep(perform: Perform) -> Perform:
            self[name] = Operation(method, of_job, perform)
            return perform

        return keep


def answer(body: Any, status: int = 200) -> web.Response:
    """JSON."""
    return web.Response(body=json.dumps(body).encode(), status=status, content_type="application/json")


def problem(status: int, text: str) -> web.Response:
    """An error, as the emulator words them."""
    return answer({"error": text}, status)


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
