"""Time as the emulated service sees it: the wall's, the wall's made faster, or moved by hand.

Everything that waits in the emulator waits on one of these clocks, so that a day of time-to-live passes in as
long as it takes to fire the timers of that day.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable, Coroutine
from typing import Any

PATIENCE = 30.0


class Timer:
    """A call to be made at `when`; a cancelled one is skipped."""

    __slots__ = ("call", "cancelled", "when")

    def __init__(self, when: float, call: Callable[[], object]) -> None:
        self.when = when
        self.call = call
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True
        self.call = (
            _nothing  # what the timer held (inputs of 10 MB) is free at once, not when it would be due
        )


def _nothing() -> None: ...


def resolve(future: asyncio.Future[Any], result: Any) -> None:
    if not future.done():
        future.set_result(result)


class Clock:
    """Seconds since 1970 on a clock that runs `speed` times as fast as the wall's.

    >>> clock = Clock(speed=60)  # a minute a second
    """

    def __init__(self, speed: float = 1.0, start: float | None = None) -> None:
        self.speed = speed
        self._origin = time.time() if start is None else start
        self._wall = time.monotonic()
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._wake: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._awake = 0

    def now(self) -> float:
        return self._origin + (time.monotonic() - self._wall) * self.speed

    def jump(self, seconds: float) -> None:
        """Set the clock forward or back, as a time server does; what a jump makes due is done at once."""
        self._origin += seconds
        self._arm()

    def call_at(self, when: float, call: Callable[[], object]) -> Timer:
        timer = Timer(when, call)
        heapq.heappush(self._timers, (when, next(self._order), timer))
        if self._timers[0][2] is timer:
            self._arm()
        return timer

    def call_later(self, seconds: float, call: Callable[[], object]) -> Timer:
        return self.call_at(self.now() + seconds, call)

    async def sleep(self, seconds: float) -> None:
        """Wait on this clock. A task started by `spawn` counts as at rest meanwhile."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        tracked = asyncio.current_task() in self._tasks

        def wake() -> None:
            if not future.done():
                self._awake += tracked
                future.set_result(None)

        timer = self.call_later(seconds, wake)
        self._awake -= tracked
        try:
            await future
        except asyncio.CancelledError:
            timer.cancel()
            if future.cancelled():
                self._awake += tracked
            raise

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run a coroutine of the service's; time moved by hand waits for it wherever it is not in `sleep`."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        self._awake += 1
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        self._awake -= 1
        if not task.cancelled() and task.exception() is not None:
            asyncio.get_running_loop().call_exception_handler(
                {"message": "a task of the emulator failed", "exception": task.exception(), "task": task}
            )

    async def close(self) -> None:
        self._timers.clear()
        if self._wake is not None:
            self._wake.cancel()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _arm(self) -> None:
        if self._wake is not None:
            self._wake.cancel()
            self._wake = None
        if self._timers:
            wait = max(0.0, (self._timers[0][0] - self.now()) / self.speed)
            # No longer than an hour: loops refuse waits that overflow their clock.
            self._wake = asyncio.get_running_loop().call_later(min(wait, 3600.0), self._fire_due)

    def _fire_due(self) -> None:
        self._wake = None
        try:
            while self._timers and self._timers[0][0] <= self.now():
                self._pop().call()
        finally:
            self._arm()  # one call that fails must not stop the clock for all others

    def _pop(self) -> Timer:
        return heapq.heappop(self._timers)[2]


class ManualClock(Clock):
    """Stands still until `advance` moves it: tests with it are exact and take no time.

    >>> clock = ManualClock()
    >>> # await clock.advance(86_400)  # a day
    """

    def __init__(self, start: float = 1_800_000_000.0) -> None:
        super().__init__(start=start)
        self._now = start

    def now(self) -> float:
        return self._now

    def jump(self, seconds: float) -> None:
        self._now += seconds

    async def advance(self, seconds: float) -> None:
        """Move on: what falls due happens in order, and stub workers finish each step before the next."""
        until = self._now + seconds
        await self._settle()
        while self._timers and self._timers[0][0] <= until:
            timer = self._pop()
            if timer.cancelled:
                continue
            self._now = max(self._now, timer.when)
            timer.call()
            await self._settle()
        self._now = max(self._now, until)

    async def _settle(self) -> None:
        await asyncio.sleep(0)
        turns, until = 0, time.monotonic() + PATIENCE
        while self._awake:
            if time.monotonic() > until:
                raise RuntimeError(
                    f"work of a stub has waited {PATIENCE:g} s for something else than `clock.sleep`; "
                    "time cannot be moved by hand meanwhile"
                )
            # Work that waits for something real (a socket, a file) must not be spun on.
            await asyncio.sleep(0 if turns < 100 else 0.001)
            turns += 1

    def _arm(self) -> None:
        return
