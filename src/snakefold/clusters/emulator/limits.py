"""Documented limits of the jobs API, per endpoint and operation: rates, concurrency, sizes of bodies."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
from collections.abc import Iterator, Mapping

from snakefold.clusters.emulator.clock import Clock

WINDOW = 10.0
PAYLOAD = {"run": 10 * 2**20, "runsync": 20 * 2**20}


@dataclasses.dataclass(frozen=True)
class Limit:
    """`rate` calls in any ten seconds and `concurrent` calls under way (None: no limit)."""

    rate: int
    concurrent: int | None


# https://docs.runpod.io/serverless/endpoints/send-requests#rate-limits (2026-08-20)
DOCUMENTED: Mapping[str, Limit] = {
    "runsync": Limit(2000, 400),
    "run": Limit(1000, 200),
    "status": Limit(2000, 400),
    "stream": Limit(2000, 400),
    "cancel": Limit(100, 20),
    "purge-queue": Limit(2, None),
    "requests": Limit(10, 2),
}


class TooManyRequests(Exception):
    """The call is over a limit; the text names which."""


class Limiter:
    """Counts the calls of one endpoint over a sliding window. Refused calls do not count."""

    def __init__(self, clock: Clock, limits: Mapping[str, Limit] = DOCUMENTED) -> None:
        self._clock = clock
        self.limits = dict(limits)
        self._recent: dict[str, collections.deque[float]] = {
            name: collections.deque(maxlen=limit.rate) for name, limit in self.limits.items()
        }
        self._under_way: collections.Counter[str] = collections.Counter()

    @contextlib.contextmanager
    def call(self, operation: str) -> Iterator[None]:
        """Hold a place for one call.

        Raises:
            TooManyRequests: over the rate or the concurrency documented for the operation.
        """
        limit = self.limits.get(operation)
        if limit is None:
            yield
            return
        now = self._clock.now()
        recent = self._recent[operation]
        if len(recent) == limit.rate and now - recent[0] < WINDOW:
            raise TooManyRequests(f"{operation}: more than {limit.rate} requests in {WINDOW:g} s")
        if limit.concurrent is not None and self._under_way[operation] >= limit.concurrent:
            raise TooManyRequests(f"{operation}: more than {limit.concurrent} requests at once")
        recent.append(now)
        self._under_way[operation] += 1
        try:
            yield
        finally:
            self._under_way[operation] -= 1
