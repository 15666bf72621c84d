"""What chosen buckets come to, counted target by target: the figures of an assignment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from snakefold.cost.gpus import GpuClass
from snakefold.cost.model import CostModel
from snakefold.plan.assign_tables import Ints, Table
from snakefold.plan.assign_types import Assignment, Bucket, Demand, Limits

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
                complexes=table.complexes,
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
) -> Assignment:
    """Seconds, dollars and wall seconds of the buckets; `objective` and `bound` are left at 0.

    Every batch loads, every bucket compiles once for each shape, every worker of a class that has a batch for
    it starts once. `wall_seconds` holds whatever the order of the batches (see `assign_program.solve`).
    """
    named = {gpu.name: gpu for gpu in classes}
    seconds = dict.fromkeys(named, 0.0)
    batches = dict.fromkeys(named, 0)
    tails = dict.fromkeys(named, 0.0)
    for demand, row in zip(demands, buckets, strict=True):
        work = demand.work
        for bucket, lengths, counts in members(row, demand.lengths, demand.counts):
            gpu = named[bucket.gpu]
            shapes = lengths if bucket.padded_length is None else np.array([bucket.padded_length])
            each = model.predict_seconds(shapes, work, gpu) + model.relax_seconds(lengths, work, gpu)
            compiling = float(np.sum(model.compile_seconds(shapes, work, gpu)))
            load = model.load_seconds(work, gpu)
            number = -(-bucket.count // bucket.batch_targets)
            seconds[gpu.name] += float(each @ counts) + compiling + number * load
            batches[gpu.name] += number
            tail = bucket.batch_targets * float(each.max()) + compiling + load
            tails[gpu.name] = max(tails[gpu.name], tail)
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
    )
