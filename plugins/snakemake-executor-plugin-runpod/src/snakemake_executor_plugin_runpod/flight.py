"""A submission from its acceptance to its end, by this machine's clock."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from .policy import LONGEST

QUEUED = "IN_QUEUE"
_SLOWEST = 30.0
#: Seconds for which RunPod keeps what has ended: whoever looks more often misses no end.
_KEPT = 1800.0


@dataclass(eq=False)
class Flight:
    """A submission that is looked after. `ended` has the last answer of /status.

    All moments are of time.monotonic, seconds.

    Attributes:
        limit, ttl: its execution timeout and time-to-live, as RunPod was told them; seconds.
        worked: seconds at work of executions whose worker died.
        head: seconds of the present execution before this run looked after it.
        accepted, since: when it was accepted, and when it was last put in the queue.
        running_since: when its present execution began.
        looked: when its state was last seen.
        ending: it is being cancelled, as it has lived too long.
        progress: what its worker says is done, and of how many.
    """

    submission: int
    job: str
    state: str
    ended: asyncio.Future[dict[str, Any]]
    accepted: float
    since: float
    limit: float = LONGEST
    ttl: float = LONGEST
    worked: float = 0.0
    head: float = 0.0
    running_since: float | None = None
    looked: float = 0.0
    ending: bool = False
    progress: tuple[int, int] | None = None

    def due(self, interval: float) -> float:
        """When to look again: jobs that have run for long are looked at less often."""
        running = 0.0 if self.running_since is None else self.looked - self.running_since
        return self.looked + min(max(interval, running / 20), max(interval, _SLOWEST))

    def begin(self, now: float, delay: float | None) -> None:
        """It was seen at work. `delay`: seconds in the queue, where RunPod tells them.

        It began after the last look that found it waiting; RunPod's own figure says when between.
        """
        earliest = max(self.since, self.looked)
        told = now if delay is None else self.since + delay
        self.running_since = min(now, max(earliest, told))

    def requeue(self, now: float) -> None:
        """Its worker died, and the platform starts it again."""
        if self.running_since is not None:
            self.worked += self.head + now - self.running_since
        self.running_since, self.since, self.head = None, now, 0.0

    def at_work(self, now: float) -> float:
        """Seconds that it was seen at work, all executions together."""
        running = 0.0 if self.running_since is None else max(0.0, now - self.running_since)
        return self.worked + self.head + running

    def watched(self, now: float) -> bool:
        """Whether its end cannot have gone unseen."""
        return now - max(self.looked, self.accepted) < _KEPT

    def overdue(self, now: float, margin: float) -> str:
        """What it has outlived by more than `margin` seconds; nothing while it may live."""
        if self.running_since is not None and now - self.running_since > self.limit + margin:
            return (
                f"has run for {now - self.running_since:.0f} s, and RunPod should have stopped it after "
                f"{self.limit:.0f} s (executionTimeout)"
            )
        if now - self.accepted > self.ttl + margin:
            return (
                f"was submitted {now - self.accepted:.0f} s ago, and RunPod should have deleted it after "
                f"{self.ttl:.0f} s (ttl)"
            )
        return ""
