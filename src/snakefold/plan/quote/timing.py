"""Seconds of the batches of a plan, the wall time they add up to, and the gigabytes they write."""

from __future__ import annotations

import heapq
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from snakefold.config import Config, GpuSettings
from snakefold.kernel.devices import devices
from snakefold.plan.cost.gpus import LOCAL, GpuClass
from snakefold.plan.cost.model import CostModel, Work
from snakefold.plan.files import BatchRow
from snakefold.plan.groups import label_of
from snakefold.plan.quote.model import Disk, Range, total


@dataclass(frozen=True, slots=True)
class Job:
    """A batch that is predicted: its worker seconds, and how many of them are start, load and compilation."""

    row: BatchRow
    work: Work
    chunks: tuple[str, ...]
    seconds: Range
    overhead: float


def job(row: BatchRow, gpu: GpuClass, model: CostModel, works: Mapping[tuple[str, str], Work]) -> Job:
    """A row of batches.tsv with the range of its seconds.

    `row.seconds` is the planner's sum; its parts are asked of the model again, the rest of it is prediction.
    """
    work = works[row.engine, label_of(row.group, row.part)]
    mean = row.residues / row.targets
    # Without edges every length compiles: as many as there may be of them, all as long as the mean.
    shapes = row.edges or [round(mean)] * min(row.targets, row.longest - row.shortest + 1)
    parts = {
        "start": model.start_seconds(gpu),
        "load": model.load_seconds(work, gpu),
        "compile": float(np.sum(model.compile_seconds(np.array(shapes), work, gpu))),
        "relax": row.targets * float(model.relax_seconds(np.array([mean]), work, gpu)[0]),
    }
    known = sum(parts.values())
    # Never more than the planner's own sum, whose parts are counted target by target.
    share = min(1.0, row.seconds / known) if known else 0.0
    parts = {part: seconds * share for part, seconds in parts.items()}
    parts["predict"] = max(0.0, row.seconds - sum(parts.values()))
    return Job(
        row=row,
        work=work,
        chunks=tuple(chunk for chunk in row.chunks.split(",") if chunk),
        seconds=total(
            ranged(seconds, model.spread(part, gpu, work.engine)) for part, seconds in parts.items()
        ),
        overhead=parts["start"] + parts["load"] + parts["compile"],
    )


def ranged(expected: float, factors: tuple[float, float]) -> Range:
    """An expected amount between its low and high factors."""
    low, high = factors
    return Range(expected=expected, low=expected * min(low, 1.0), high=expected * max(high, 1.0))


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


@dataclass(frozen=True, slots=True)
class Wall:
    """Seconds from the start until the last alignment, and until everything is done.

    `idle` are the seconds for which workers of a class are expected to be kept without work.
    """

    alignments: Range
    all: Range
    idle: Mapping[str, float]


def asked_workers(gpu: GpuSettings, classes: Sequence[str]) -> dict[str, int]:
    """Workers of each class as set; unless set one, and on this machine one for each GPU."""
    asked = gpu.workers
    given = dict.fromkeys(classes, asked) if isinstance(asked, int) else asked or {}
    here = max(1, len(devices())) if LOCAL in classes and LOCAL not in given else 1
    return {name: given.get(name, here if name == LOCAL else 1) for name in classes}


def workers_alike(classes: Sequence[GpuClass]) -> bool:
    """Whether the workers of a class have the same GPU: here, if all of the machine's are of one model."""
    here = {device.name for device in devices()} if any(gpu.name == LOCAL for gpu in classes) else set()
    return len(here) < 2


def worker_limits(config: Config, classes: Sequence[GpuClass], cores: int) -> dict[str, int]:
    """Workers of each class; on this machine no more than its cores can feed."""
    limits = asked_workers(config.gpu, [gpu.name for gpu in classes])
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


_GB = 1e-9


def needed(
    jobs: Sequence[Job],
    *,
    chains: int,
    residues: int,
    database_bytes: float,
    model: CostModel,
    folder: Path | None,
) -> Disk:
    """What a run writes.

    Args:
        chains, residues: number of chains to align, and residues of all of them.
        database_bytes: of all databases that are searched.
        folder: where results are written, to see what is free there; None does not look.
    """
    written = [
        job.row.targets
        * float(model.result_bytes(np.array([job.row.residues / job.row.targets]), job.work)[0])
        for job in jobs
    ]
    mean = np.array([residues / chains if chains else 0.0])
    alignments = chains * float(model.msa_bytes(mean, database_bytes)[0])
    factors = model.spread("disk")
    return Disk(
        msas=ranged(alignments * _GB, factors),
        results=total(ranged(size * _GB, factors) for size in written),
        free=None if folder is None else free_gigabytes(folder),
    )


def free_gigabytes(folder: Path) -> float:
    """What is free where `folder` is, or would be made."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free * _GB
