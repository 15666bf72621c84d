"""When a run would end: alignments on this machine's cores feed predictions on workers."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """A prediction job: its class, its worker seconds, and the chunks of alignments that it waits for."""

    gpu: str
    seconds: float
    chunks: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Finish:
    """Seconds from the start: the last alignment, the last prediction, and when each class is done.

    `idle` are worker seconds of each class between jobs and after the last one.
    """

    alignments: float
    predictions: float
    by_class: Mapping[str, float]
    idle: Mapping[str, float]

    @property
    def wall(self) -> float:
        """The end of both stages."""
        return max(self.alignments, self.predictions)


def finish(
    chunks: Iterable[tuple[str, float]],
    steps: Iterable[Step],
    *,
    searches: int,
    workers: Mapping[str, int],
    idle_timeout: Mapping[str, float],
) -> Finish:
    """List scheduling of both stages: every job starts in its turn, as soon as a place is free.

    Neither stage alone can be faster, and nothing is assumed to be interrupted or lost: the discrete-event
    simulation knows more (cold starts as they come, failures).

    Args:
        chunks: name and wall seconds of each search, in the order in which they start.
        steps: the predictions, in the order in which they are submitted.
        searches: how many searches run at once.
        workers: how many predictions run at once, by class.
        idle_timeout: seconds that a worker of a class waits for its next job before it is given back.
    """
    ready: dict[str, float] = {}
    free = [0.0] * max(1, searches)
    for name, seconds in chunks:
        ready[name] = heapq.heappop(free) + seconds
        heapq.heappush(free, ready[name])
    waiting: dict[str, list[tuple[float, int, float]]] = {}
    for number, step in enumerate(steps):
        start = max((ready.get(chunk, 0.0) for chunk in step.chunks), default=0.0)
        waiting.setdefault(step.gpu, []).append((start, number, step.seconds))
    done = {
        gpu: _last_end(sorted(jobs), workers.get(gpu, 1), idle_timeout.get(gpu, 0.0))
        for gpu, jobs in waiting.items()
    }
    return Finish(
        max(free),
        max((end for end, _ in done.values()), default=0.0),
        {gpu: end for gpu, (end, _) in done.items()},
        {gpu: idle for gpu, (_, idle) in done.items()},
    )


def _last_end(
    jobs: Sequence[tuple[float, int, float]], workers: int, idle_timeout: float
) -> tuple[float, float]:
    """End of the last job, and idle seconds: a gap costs the timeout at the most, and so does every end."""
    count = max(1, min(workers, len(jobs)))
    free = [0.0] * count
    idle = count * idle_timeout
    for ready, _, seconds in jobs:
        since = heapq.heappop(free)
        if since:
            idle += min(max(ready - since, 0.0), idle_timeout)
        heapq.heappush(free, max(since, ready) + seconds)
    return max(free), idle
