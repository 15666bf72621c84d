"""What every bucket would take on every GPU class, and the exact choice of buckets at given prices."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from snakefold.kernel.padding import padded_lengths
from snakefold.plan.assignment.types import Demand, Sizes
from snakefold.plan.cost.gpus import GpuClass
from snakefold.plan.cost.model import CostModel

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Unpadded lengths are put together into at most so many groups; a group's targets may go to several classes.
GROUPS = 64


@dataclass(frozen=True, slots=True)
class Bar:
    """Points `start` to `stop` (exclusive) of a demand, `count` targets, as one bucket.

    Arrays have one value for each class: seconds of a target (mean) and of the longest, seconds of
    compilation, targets in a batch at the most, and whether the class may have the bucket.
    """

    demand: int
    start: int
    stop: int
    count: int
    seconds: Floats
    longest: Floats
    compile: Floats
    load: Floats
    batch: Ints
    allowed: NDArray[np.bool_]

    @property
    def key(self) -> tuple[int, int, int]:
        """Names the bucket."""
        return self.demand, self.start, self.stop

    @property
    def nodes(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Where it begins and ends."""
        return (self.demand, self.start), (self.demand, self.stop)

    def total(self, gpu: int) -> float:
        """Seconds of the whole bucket on a class, parts of batches counted as such."""
        batches = max(1.0, self.count / self.batch[gpu])
        return float(self.count * self.seconds[gpu] + self.compile[gpu] + batches * self.load[gpu])

    def tail(self, gpu: int) -> float:
        """Seconds of its longest batch on a class."""
        targets = min(self.count, int(self.batch[gpu]))
        return float(targets * self.longest[gpu] + self.compile[gpu] + self.load[gpu])


@dataclass(frozen=True, slots=True)
class Table:
    """One demand as points: distinct lengths if they pad, groups of lengths otherwise.

    Attributes:
        first, last: shortest and longest length of each point [D].
        padded: the length that a bucket that ends at the point is padded to, if it is [D].
        served: targets before each point [D + 1].
        predict: seconds of a target whose bucket ends at the point [G, D].
        relax: seconds of relaxing all targets before each point [G, D + 1].
        compile: seconds of compiling a bucket that ends at the point [G, D].
        batch: targets of a batch of that bucket at the most [G, D].
        allowed: the class has the memory (and, under a deadline, the time) for that bucket [G, D].
        reach: the first point from which a bucket that ends at the point can be worth while [D].
        load: seconds that every batch takes before its first target [G].
        share: how much of a batch a target takes if buckets share batches, at the least [G, D].
    """

    number: int
    group: int
    pads: bool
    first: Ints
    last: Ints
    padded: Ints
    served: Ints
    predict: Floats
    relax: Floats
    compile: Floats
    batch: Ints
    allowed: NDArray[np.bool_]
    reach: Ints
    load: Floats
    share: Floats | None

    def bar(self, start: int, stop: int) -> Bar:
        """The bucket of the points from `start` to `stop`."""
        count = int(self.served[stop] - self.served[start])
        relax = (self.relax[:, stop] - self.relax[:, start]) / count
        last = self.relax[:, stop] - self.relax[:, stop - 1]
        longest = last / (self.served[stop] - self.served[stop - 1])
        predict, end = self.predict[:, stop - 1], stop - 1
        return Bar(
            self.number,
            start,
            stop,
            count,
            predict + relax,
            predict + longest,
            self.compile[:, end],
            self.load,
            self.batch[:, end],
            self.allowed[:, end],
        )


def make_table(
    number: int,
    demand: Demand,
    classes: Sequence[GpuClass],
    model: CostModel,
    sizes: Sizes,
    *,
    edges: Sequence[int] | None,
    deadline: float | None,
    shared: bool,
) -> Table:
    """The table of a demand.

    Args:
        edges: if given, a bucket ends at each of them and nowhere else.
        shared: buckets share batches, so that each counts only its part of a batch's load.
    """
    lengths, counts = demand.lengths, demand.counts.astype(np.int64)
    work = demand.work
    padded = padded_lengths(lengths, sorted(edges) if edges and demand.pads else ())
    predict, relax, compiling = (
        np.stack([seconds(at, work, gpu) for gpu in classes])
        for seconds, at in (
            (model.predict_seconds, padded),
            (model.relax_seconds, lengths),
            (model.compile_seconds, padded),
        )
    )
    memory = model.memory_gb(padded, work)
    fits = np.stack([memory <= (gpu.memory_gb or np.inf) for gpu in classes])
    load = np.array([model.load_seconds(work, gpu) for gpu in classes])
    start = np.array([model.start_seconds(gpu) for gpu in classes])
    ends = _ends(demand, predict.max(axis=0) * counts, padded)
    begins = np.concatenate(([0], ends[:-1] + 1))
    served = np.concatenate(([0], np.cumsum(counts)))[np.concatenate(([0], ends + 1))]
    relaxing = np.concatenate((np.zeros((len(classes), 1)), np.cumsum(relax * counts, axis=1)), axis=1)
    relaxing = relaxing[:, np.concatenate(([0], ends + 1))]
    longest = predict[:, ends] + relax[:, ends]
    # A longer target is a batch of its own, and no more than one.
    share = np.minimum(1.0, predict / sizes.seconds)
    if demand.pads:
        share = share[:, ends]
        own, compiled = predict[:, ends], compiling[:, ends]
        single, rest = longest, np.maximum(0.0, sizes.seconds - compiled)
    else:
        weight = np.diff(served)
        share = np.add.reduceat(share * counts, begins, axis=1) / weight
        own = np.add.reduceat(predict * counts, begins, axis=1) / weight
        compiled = np.add.reduceat(compiling, begins, axis=1)
        # Every target may have a length of its own.
        single, rest = longest + compiling[:, ends], np.full_like(longest, sizes.seconds)
    batch = np.minimum(
        np.minimum(sizes.targets, sizes.residues // padded[ends]), rest // np.maximum(single, 1e-9)
    )
    batch = np.maximum(1, batch).astype(np.int64)
    allowed = fits[:, ends].copy()
    if deadline is not None:
        allowed &= longest + compiling[:, ends] + load[:, None] + start[:, None] <= deadline
    table = Table(
        number,
        demand.group,
        demand.pads,
        lengths[begins],
        lengths[ends],
        padded[ends],
        served,
        own,
        relaxing,
        compiled,
        batch,
        allowed,
        np.zeros(len(ends), dtype=np.int64),
        load,
        share if shared else None,
    )
    if not demand.pads or edges:
        table.reach[:] = np.arange(len(ends))
    else:
        table.reach[:] = _reach(table, start)
    return table


def cheapest_bars(
    table: Table, rates: Floats, starts: Floats | None = None
) -> tuple[list[tuple[int, int, int]], float]:
    """Buckets (start, stop, class) that cost least when a second of class g costs `rates[g]`.

    Exact, by dynamic programming over the points: the cheapest way to serve the points before j is the
    cheapest way to serve those before i and one bucket for the rest on the class that does it for least.

    Args:
        starts: seconds that every batch takes besides its load [G]; without them parts of batches count as
            such, and the cost is a bound for any split of the buckets between classes. Where buckets share
            batches parts always count as such.

    Returns:
        The buckets, and their cost; no buckets and infinity if a point fits no class.
    """
    points = len(table.last)
    cheapest = np.zeros(points + 1)
    chosen = np.zeros((points + 1, 2), dtype=np.int64)
    opening = (table.load if starts is None else table.load + starts)[:, None]
    rate = rates[:, None]
    relaxed = rate * table.relax
    for stop in range(1, points + 1):
        low, end = int(table.reach[stop - 1]), stop - 1
        count = (table.served[stop] - table.served[low:stop])[None, :]
        batches = count / table.batch[:, end : end + 1]
        if table.share is not None:
            batches = count * table.share[:, end : end + 1]
        else:
            batches = np.maximum(1.0, batches) if starts is None else np.ceil(batches)
        seconds = count * table.predict[:, end : end + 1] + table.compile[:, end : end + 1]
        costs = cheapest[low:stop] - relaxed[:, low:stop] + rate * (seconds + opening * batches)
        costs += relaxed[:, stop : stop + 1]
        costs[~table.allowed[:, end]] = np.inf
        gpu, start = divmod(int(costs.argmin()), stop - low)
        cheapest[stop] = costs[gpu, start]
        chosen[stop] = start + low, gpu
    if not np.isfinite(cheapest[points]):
        return [], float("inf")
    bars, stop = [], points
    while stop:
        start, gpu = map(int, chosen[stop])
        bars.append((start, stop, gpu))
        stop = start
    return bars[::-1], float(cheapest[points])


def all_bars(table: Table) -> Iterable[tuple[int, int]]:
    """Every bucket that can be worth while."""
    for stop in range(1, len(table.last) + 1):
        for start in range(int(table.reach[stop - 1]), stop):
            yield start, stop


def _ends(demand: Demand, weights: Floats, padded: Ints) -> Ints:
    """Index of the last length of each point."""
    lengths = demand.lengths
    if demand.pads:
        return np.append(np.flatnonzero(np.diff(padded)), len(lengths) - 1)
    if len(lengths) <= GROUPS:
        return np.arange(len(lengths))
    # Groups of about equal work, so that no class is stuck with a lump of it.
    share = np.cumsum(weights) / weights.sum() * GROUPS
    return np.unique(np.append(np.searchsorted(share, np.arange(1, GROUPS)), len(lengths) - 1))


def _reach(table: Table, start: Floats) -> Ints:
    """For every end, the first start for which some class would not gain by splitting the bucket in two.

    A split costs a compilation and, unless buckets share batches, one more of these at the most. What it
    gains in a longer bucket is no less than in a shorter one within it, so that the start only moves up.
    """
    points = len(table.last)
    reach = np.zeros((len(table.predict), points), dtype=np.int64)
    for gpu, predict in enumerate(table.predict):
        split = table.compile[gpu]
        if table.share is None:
            split = split + table.load[gpu] + start[gpu]
        low = 0
        for end in range(points):
            while low < end:
                counts = table.served[low + 1 : end + 1] - table.served[low]
                if np.all(counts * (predict[end] - predict[low:end]) <= split[low:end]):
                    break
                low += 1
            reach[gpu, end] = low
    return reach.min(axis=0)
