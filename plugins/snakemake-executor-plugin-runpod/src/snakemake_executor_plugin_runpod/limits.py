"""Limits on calls: how many a second, how many at once, and how long to wait before the next try."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable


class Bucket:
    """Tokens at `rate` a second, at most `burst` saved up; those who wait are served in order.

    In any `t` seconds no more than `burst + rate * t` calls pass. (Generic cell rate algorithm.)
    """

    def __init__(self, rate: float, burst: int = 1, now: Callable[[], float] = time.monotonic) -> None:
        self._interval = 1.0 / rate
        self._slack = (burst - 1) * self._interval
        self._now = now
        self._due = 0.0

    def reserve(self) -> float:
        """Take a token; returns the seconds to wait before using it."""
        now = self._now()
        start = max(self._due, now - self._slack)
        self._due = start + self._interval
        return max(0.0, start - now)

    async def take(self) -> None:
        wait = self.reserve()
        if wait > 0:
            await asyncio.sleep(wait)


class Gate:
    """A rate and a number of calls under way."""

    def __init__(self, rate: float, burst: int, concurrent: int) -> None:
        self._bucket = Bucket(rate, burst)
        self._places = asyncio.Semaphore(concurrent)

    @contextlib.asynccontextmanager
    async def call(self) -> AsyncIterator[None]:
        async with self._places:
            await self._bucket.take()
            yield


def documented() -> dict[str, Gate]:
    """Gates of one endpoint, below RunPod's documented limits (calls in 10 s / at once).

    run 1000 / 200, status 2000 / 400, cancel 100 / 20. Few submissions at once on purpose: those under way
    when this process is killed are the ones whose job ids are lost.
    """
    return {
        "run": Gate(rate=80, burst=100, concurrent=8),
        "status": Gate(rate=185, burst=100, concurrent=48),
        "cancel": Gate(rate=9, burst=1, concurrent=10),
        "health": Gate(rate=5, burst=5, concurrent=2),
    }


class Backoff:
    """Waits that double from `first` to `most` seconds, each drawn between nothing and that (full jitter).

    `spent()` is true once `patience` seconds have passed since the first failure.
    """

    def __init__(self, patience: float, first: float = 0.5, most: float = 30.0) -> None:
        self._patience = patience
        self._next = first
        self._most = most
        self._since: float | None = None

    def spent(self) -> bool:
        if self._since is None:
            self._since = time.monotonic()
        return time.monotonic() - self._since >= self._patience

    async def wait(self) -> None:
        # A floor: a draw near nothing, repeated, would be a flood.
        await asyncio.sleep(self._next * random.uniform(0.3, 1.0))  # noqa: S311 (no secret hangs on it)
        self._next = min(self._most, self._next * 2)
