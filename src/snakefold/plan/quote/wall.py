"""Wall time of a plan: both stages on the cores and workers there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from snakefold.config import Config
from snakefold.plan.cost.gpus import GpuClass
from snakefold.plan.quote.jobs import Job
from snakefold.plan.quote.model import Range
from snakefold.plan.quote.pipeline import Step, finish

#: The GPU class that is this machine: its predictions take cores from the alignments.
LOCAL = "local"


@dataclass(frozen=True, slots=True)
class Wall:
    """Seconds from the start until the last alignment, and until everything is done.

    `idle` are the seconds for which workers of a class are expected to be kept without work.
    """

    alignments: Range
    all: Range
    idle: Mapping[str, float]


def worker_limits(config: Config, classes: Sequence[GpuClass], cores: int) -> dict[str, int]:
    """Workers of each class; on this machine no more than its cores can feed."""
    asked = config.gpu.workers
    limits = {gpu.name: asked if isinstance(asked, int) else asked.get(gpu.name, 1) for gpu in classes}
    if LOCAL in limits:
        limits[LOCAL] = min(limits[LOCAL], max(1, cores // config.predict.threads))
    return limits


def wall_time(
    jobs: Sequence[Job],
    searches: Sequence[tuple[str, Range]],
    *,
    config: Config,
    workers: Mapping[str, int],
    cores: int,
    idle_timeout: Mapping[str, float],
    asked: Sequence[tuple[str, Range]] | None = None,
) -> Wall:
    """Earliest finish of the two-stage pipeline at the low, expected and high end of every job.

    Args:
        searches: chunks and their CPU seconds, in the order in which they are searched.
        idle_timeout: seconds, by class.
        asked: chunks and the wall seconds that an MSA server takes for them, one after the other.
    """
    alignments, ends, idle = {}, {}, {}
    search_threads = min(config.msa.threads, cores)
    predict_threads = min(config.predict.threads, cores)

    def at(end: str) -> tuple[float, float, Mapping[str, float]]:
        def pick(amount: Range) -> float:
            return float(getattr(amount, end))

        chunks = [(name, pick(seconds) / search_threads) for name, seconds in searches]
        if asked is not None:
            chunks = [(name, pick(seconds)) for name, seconds in asked]
        found = finish(
            chunks,
            (Step(job.row.gpu, pick(job.seconds), job.chunks) for job in jobs),
            searches=cores // search_threads if asked is None else 1,
            workers=workers,
            idle_timeout=idle_timeout,
        )
        local = sum(pick(job.seconds) for job in jobs if job.row.gpu == LOCAL) * predict_threads
        busy = (sum(pick(seconds) for _, seconds in searches) + local) / cores
        return found.alignments, max(found.wall, busy), found.idle

    for end in ("low", "expected", "high"):
        alignments[end], ends[end], idle[end] = at(end)
    return Wall(_ordered(alignments), _ordered(ends), idle["expected"])


def _ordered(ends: Mapping[str, float]) -> Range:
    """List scheduling may end a little later when a job gets shorter (Graham's anomalies)."""
    expected = ends["expected"]
    return Range(expected=expected, low=min(ends["low"], expected), high=max(ends["high"], expected))
