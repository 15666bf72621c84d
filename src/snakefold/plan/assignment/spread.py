"""Batches of a set so small, or of workers so many, that some would have none.

A plan that is asked for the lowest cost joins targets to batches of up to an hour. Where seconds are paid
for, more workers cost more starts. Where nothing is paid, as on this machine, a GPU that idles saves nothing:
batches then are such that all workers end soonest. Of sizes that are nearly as good the smallest is taken: a
GPU that is slower than the others, or a job that starts again, then keeps them waiting the least.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence

from snakefold.plan.assignment.result import members
from snakefold.plan.assignment.types import Assignment, Demand, Limits
from snakefold.plan.cost.gpus import GpuClass
from snakefold.plan.cost.model import CostModel
from snakefold.plan.join import cut_bucket, join, measure_with

#: With so many batches a worker, the last ones to end hardly matter.
_PLENTY = 10
#: Batches of a worker that are tried, and by how much they may pass its share: no target is cut in two.
_MOST, _ROOMS = 8, (1.2, 1.1, 1.03)
#: Of a batch, before the worker that the model knows begins: Snakemake's job, and a Python.
_JOB_SECONDS = 4.0
#: What is nearly as good: where workers are alike, and where some may be slower than is known.
_NEARLY, _NEARLY_OF_SEVERAL = 1.05, 1.25
#: Smaller batches are not tried: files and jobs take seconds, too.
_LEAST_SECONDS = 20.0


def spread(
    plan: Assignment,
    classes: Sequence[GpuClass],
    limits: Limits,
    cut: Callable[[float], Assignment],
    batches: Callable[[Assignment], Mapping[str, Sequence[float]]],
) -> Assignment:
    """The plan, or one of smaller batches where that ends sooner and costs nothing.

    Args:
        cut: makes the plan with batches of so many seconds at the most.
        batches: seconds of the batches of each class (`batch_seconds`).
    """
    used = [gpu for gpu in classes if plan.seconds[gpu.name] > 0]
    if plan.sizes is None or any(gpu.dollars_per_second or limits.workers[gpu.name] < 2 for gpu in used):
        return plan
    works = sum(plan.seconds[gpu.name] / limits.workers[gpu.name] for gpu in used)
    if works > _PLENTY * plan.sizes.seconds:
        return plan

    def makespan(tried: Assignment) -> float:
        return max(
            longest_first([_JOB_SECONDS + each for each in seconds], limits.workers[name])
            for name, seconds in batches(tried).items()
        )

    shares = [room * works / number for number in range(1, _MOST + 1) for room in _ROOMS]
    tried = [cut(share) for share in shares if _LEAST_SECONDS <= share < plan.sizes.seconds]
    ends = [(makespan(each), each) for each in (plan, *tried)]
    soonest = min(end for end, _ in ends)
    enough = (_NEARLY if limits.alike else _NEARLY_OF_SEVERAL) * soonest
    return next(each for end, each in reversed(ends) if end <= enough)


def batch_seconds(
    plan: Assignment, demands: Sequence[Demand], classes: Sequence[GpuClass], model: CostModel
) -> dict[str, list[float]]:
    """Seconds of the batches of each class, with start, load and the compilation of every batch's shapes."""
    if plan.sizes is None:
        raise ValueError("the batches of this plan are those of its buckets")
    named, works = {gpu.name: gpu for gpu in classes}, {demand.group: demand.work for demand in demands}
    measure = measure_with(classes, works, model)
    pieces = [
        piece
        for demand in demands
        for bucket, lengths, counts in members(
            [bucket for bucket in plan.buckets if bucket.group == demand.group],
            demand.lengths,
            demand.counts,
        )
        for piece in cut_bucket(bucket, lengths.repeat(counts), plan.sizes, measure)
    ]
    found: dict[str, list[float]] = {}
    for joined in join(pieces, plan.sizes):
        bucket = joined[0].bucket
        gpu = named[bucket.gpu]
        fixed = model.start_seconds(gpu) + model.load_seconds(works[bucket.group], gpu)
        found.setdefault(gpu.name, []).append(fixed + sum(piece.seconds for piece in joined))
    return found


def longest_first(seconds: Iterable[float], workers: int) -> float:
    """When the last of some jobs ends, if each free worker takes the longest that is left (Graham 1969)."""
    free = [0.0] * workers
    for job in sorted(seconds, reverse=True):
        heapq.heappush(free, heapq.heappop(free) + job)
    return max(free)
