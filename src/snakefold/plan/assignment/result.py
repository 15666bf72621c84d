"""What chosen buckets come to, counted target by target: the figures of an assignment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from snakefold.plan.assignment.tables import Ints, Table
from snakefold.plan.assignment.types import Assignment, Bucket, Demand, Limits, Sizes
from snakefold.plan.cost.gpus import GpuClass
from snakefold.plan.cost.model import CostModel
from snakefold.plan.join import Piece, cut_bucket, join, measure_with, target_seconds

Key = tuple[int, int, int]


def buckets_of(
    counts: Mapping[Key, Sequence[int]], tables: Sequence[Table], classes: Sequence[GpuClass]
) -> list[list[Bucket]]:
    """Buckets of each demand, shortest first; those of one edge in the order in which targets fill them.

    Smaller GPUs come first: where every length is predicted as it is, they get the shorter targets.
    """
    order = sorted(range(len(classes)), key=lambda gpu: (classes[gpu].memory_gb or np.inf, gpu))
    found: list[list[Bucket]] = [[] for _ in tables]
    for (number, start, stop), row in sorted(counts.items()):
        table = tables[number]
        for gpu in order:
            if not row[gpu]:
                continue
            batches = -(-row[gpu] // int(table.batch[gpu, stop - 1]))
            bucket = Bucket(
                group=table.group,
                padded_length=int(table.padded[stop - 1]) if table.pads else None,
                shortest=int(table.first[start]),
                longest=int(table.last[stop - 1]),
                count=row[gpu],
                gpu=classes[gpu].name,
                batch_targets=-(-row[gpu] // batches),
            )
            found[number].append(bucket)
    return found


def members(buckets: Iterable[Bucket], lengths: Ints, counts: Ints) -> Iterable[tuple[Bucket, Ints, Ints]]:
    """Every bucket with the distinct lengths that it serves and how many of each, in the order of filling."""
    ends = np.cumsum(counts)
    served = 0
    for bucket in buckets:
        low, high = served, served + bucket.count
        inside = np.clip(ends, low, high) - np.clip(ends - counts, low, high)
        taken = np.flatnonzero(inside)
        yield bucket, lengths[taken], inside[taken]
        served = high


def assignment_of(
    buckets: Sequence[Sequence[Bucket]],
    demands: Sequence[Demand],
    classes: Sequence[GpuClass],
    model: CostModel,
    limits: Limits,
    *,
    sizes: Sizes | None = None,
) -> Assignment:
    """Seconds, dollars and wall seconds of the buckets; `objective` and `bound` are left at 0.

    Every batch loads, every bucket compiles once for each shape, every worker of a class that has a batch for
    it starts once. `wall_seconds` holds whatever the order of the batches (see `assign_program.solve`).

    Args:
        sizes: of the batches that neighbouring buckets share; None if each is of one bucket.
    """
    named = {gpu.name: gpu for gpu in classes}
    seconds = dict.fromkeys(named, 0.0)
    batches = dict.fromkeys(named, 0)
    tails = dict.fromkeys(named, 0.0)
    works = {demand.group: demand.work for demand in demands}
    pieces: list[Piece] = []
    measure = measure_with(classes, works, model)
    for demand, row in zip(demands, buckets, strict=True):
        work = demand.work
        for bucket, lengths, counts in members(row, demand.lengths, demand.counts):
            gpu = named[bucket.gpu]
            each, shapes = target_seconds(bucket, lengths, work, gpu, model)
            compiling = float(shapes.sum() if bucket.padded_length is None else shapes[0])
            load = model.load_seconds(work, gpu)
            seconds[gpu.name] += float(each @ counts) + compiling
            if sizes is not None:
                pieces += cut_bucket(bucket, np.repeat(lengths, counts), sizes, measure)
                continue
            number = -(-bucket.count // bucket.batch_targets)
            seconds[gpu.name] += number * load
            batches[gpu.name] += number
            tail = bucket.batch_targets * float(each.max()) + compiling + load
            tails[gpu.name] = max(tails[gpu.name], tail)
    for joined in join(pieces, sizes) if sizes is not None else ():
        name, group = joined[0].bucket.gpu, joined[0].bucket.group
        load = model.load_seconds(works[group], named[name])
        seconds[name] += load
        batches[name] += 1
        tails[name] = max(tails[name], load + sum(piece.seconds for piece in joined))
    wall = 0.0
    for name, gpu in named.items():
        if not batches[name]:
            continue
        start, workers = model.start_seconds(gpu), limits.workers[name]
        seconds[name] += start * min(workers, batches[name])
        ends = limits.msa_seconds + start + tails[name]
        if batches[name] > workers:
            last = (1 - 1 / workers) * (tails[name] + start)
            ends = max(ends, seconds[name] / workers + last)
        wall = max(wall, ends)
    return Assignment(
        buckets=tuple(bucket for row in buckets for bucket in row),
        seconds=seconds,
        dollars=sum(seconds[name] * gpu.dollars_per_second for name, gpu in named.items()),
        wall_seconds=wall,
        objective=0.0,
        bound=0.0,
        sizes=sizes,
    )
