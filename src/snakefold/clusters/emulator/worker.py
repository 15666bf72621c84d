"""One worker as the service keeps it: what starts one, what its seconds cost, what makes it do things."""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import math
from typing import TYPE_CHECKING, Protocol

from snakefold.clusters.emulator.clock import Timer
from snakefold.clusters.emulator.jobs import Job

if TYPE_CHECKING:
    from snakefold.clusters.emulator.endpoint import Endpoint


class WorkerState(enum.StrEnum):
    """As GET /v2/serverless/{id}/workers names them, and STOPPED for those that are gone."""

    INITIALIZING = "INITIALIZING"
    IDLE = "IDLE"
    RUNNING = "RUNNING"
    THROTTLED = "THROTTLED"
    UNHEALTHY = "UNHEALTHY"
    STOPPED = "STOPPED"


@dataclasses.dataclass
class Scaling:
    """Settings of an endpoint that decide when workers start and stop; seconds.

    `queue_delay` scales on waiting time; with `request_count` set, on jobs in the endpoint instead.
    A worker takes `pull_seconds` to be placed (not billed), then `start_seconds` to be ready (billed); a
    process takes what it takes to its first call for a job.
    """

    workers_min: int = 0
    workers_max: int = 3
    idle_timeout: float = 5.0
    queue_delay: float = 4.0
    request_count: int | None = None
    pull_seconds: float = 0.0
    start_seconds: float = 0.0


@dataclasses.dataclass
class Load:
    """What an endpoint has to do now: jobs that may start workers, and the workers there are."""

    queued: int = 0
    overdue: int = 0
    in_progress: int = 0
    starting: int = 0
    live: int = 0


def workers_to_start(settings: Scaling, load: Load) -> int:
    """Workers to add now.

    Queue delay: the first waiting job starts a worker where none lives; after that every job that has waited
    longer than the delay asks for one, less those already starting. Request count:
    ceil((queued + in progress) / requestCount) workers. Never more than workersMax, at least workersMin.
    """
    if settings.request_count is not None:
        wanted = math.ceil((load.queued + load.in_progress) / settings.request_count) - load.live
    else:
        wanted = load.overdue - load.starting
        if load.live == 0 and load.queued:
            wanted = max(wanted, 1)
    wanted = max(wanted, settings.workers_min - load.live)
    return max(0, min(wanted, settings.workers_max - load.live))


def billed_seconds(started: float | None, stopped: float | None, now: float) -> int:
    """A worker's bill: every started second from its start until it has fully stopped."""
    if started is None:
        return 0
    # Sums of binary fractions must not turn 12 s into 13.
    return math.ceil(round((now if stopped is None else stopped) - started, 6))


# Flex prices, $/s (documented 2026-06-08), and a card of each pool.
POOLS = {
    "AMPERE_16": (0.00016, "NVIDIA RTX A4000", 16),
    "AMPERE_24": (0.00019, "NVIDIA RTX A5000", 24),
    "ADA_24": (0.00031, "NVIDIA GeForce RTX 4090", 24),
    "AMPERE_48": (0.00034, "NVIDIA A40", 48),
    "ADA_48_PRO": (0.00053, "NVIDIA L40S", 48),
    "AMPERE_80": (0.00076, "NVIDIA A100 80GB PCIe", 80),
    "ADA_80_PRO": (0.00116, "NVIDIA H100 PCIe", 80),
    "HOPPER_141": (0.00155, "NVIDIA H200", 141),
}


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
