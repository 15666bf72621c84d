"""One worker as the service keeps it, and what makes workers do things."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING, Protocol

from snakefold.clusters.emulator.clock import Timer
from snakefold.clusters.emulator.jobs import Job
from snakefold.clusters.emulator.scaling import WorkerState, billed_seconds

if TYPE_CHECKING:
    from snakefold.clusters.emulator.endpoint import Endpoint


@dataclasses.dataclass(eq=False)
class Worker:
    """One worker."""

    id: str
    placed: float
    state: WorkerState = WorkerState.INITIALIZING
    started: float | None = None
    ready: float | None = None
    stopped: float | None = None
    stopping: bool = False
    reason: str = ""
    crashes: int = 0
    busy: dict[str, Job] = dataclasses.field(default_factory=dict)
    idle_timer: Timer | None = None
    leaving: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)

    @property
    def gone(self) -> bool:
        return self.state is WorkerState.STOPPED

    @property
    def starting(self) -> bool:
        return self.state in (WorkerState.INITIALIZING, WorkerState.THROTTLED, WorkerState.UNHEALTHY)

    def billed_seconds(self, now: float) -> int:
        return billed_seconds(self.started, self.stopped, now)


class Backend(Protocol):
    """What workers are made of: `start` leads to Endpoint.ready or .crashed, `stop` to Endpoint.gone."""

    def start(self, endpoint: Endpoint, worker: Worker) -> None: ...
    def stop(self, endpoint: Endpoint, worker: Worker, *, kill: bool = False) -> None: ...
    def cancel(self, endpoint: Endpoint, worker: Worker, job: Job) -> None: ...
    def log(self, worker_id: str) -> str: ...
    async def close(self) -> None: ...
