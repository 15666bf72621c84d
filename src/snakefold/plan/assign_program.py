"""The integer program: buckets from a set of candidates, and how many of each bucket's targets a class gets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from snakefold.plan.assign_tables import Bar, Floats

#: The solver stops when the plan is proved to be this close to the best one, or after so many seconds.
GAP, TIME_LIMIT = 1e-3, 10

Key = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for each class, and for the plan as a whole.

    Attributes:
        prices: dollars a second [G].
        rates: what the objective takes for a second [G].
        starts: seconds of a worker's start [G].
        workers: at the most [G].
        deadline: seconds until the last prediction ends, None without a limit.
        budget: dollars, None without a limit.
        msa_seconds: wall seconds of the alignments.
    """

    prices: Floats
    rates: Floats
    starts: Floats
    workers: Floats
    deadline: float | None
    budget: float | None
    msa_seconds: float


def solve(
    bars: Sequence[Bar],
    points: Sequence[int],
    terms: Terms,
    objective: Literal["cost", "time"],
    gap: float = GAP,
) -> dict[Key, tuple[int, ...]] | None:
    """Targets of each class in each chosen bucket, or None if nothing keeps to the limits.

    Variables: y, bucket chosen; n, its targets on a class; z, the class compiles it; k, batches there.
    The buckets of a demand are a path from its first point to its last. A class's workers end, whatever the
    order of the batches, no later than load / workers + (1 - 1 / workers) longest batch (Graham 1969), or
    after the longest batch if there is a worker for each.

    Args:
        bars: the buckets to choose from.
        points: number of points of each demand.
        objective: cost is the sum of seconds times rates, time the seconds until the last class ends.
        gap: how far from the best the solution may be, relative.
    """
    import pulp

    problem = pulp.LpProblem("assign", pulp.LpMinimize)
    classes = range(len(terms.prices))
    load: list[list[tuple[Any, float]]] = [[] for _ in classes]
    batches: list[list[tuple[Any, float]]] = [[] for _ in classes]
    most = [0 for _ in classes]
    timed = terms.deadline is not None or objective == "time"
    end = pulp.LpVariable("end", 0, terms.deadline)
    tails = [pulp.LpVariable(f"tail_{gpu}", 0, terms.deadline) for gpu in classes]
    flow: dict[tuple[int, int], list[tuple[Any, int]]] = defaultdict(list)
    shares: dict[Key, list[tuple[int, Any]]] = {}

    def add(*row: tuple[Any, float], equals: float | None = None) -> None:
        """A row that equals a number, or is at least 0."""
        expression = pulp.LpAffineExpression(row)
        problem.addConstraint(expression >= 0 if equals is None else expression == equals)

    for index, bar in enumerate(bars):
        chosen = pulp.LpVariable(f"y_{index}", cat="Binary")
        flow[bar.demand, bar.start].append((chosen, -1))
        flow[bar.demand, bar.stop].append((chosen, 1))
        parts = []
        for gpu in map(int, np.flatnonzero(bar.allowed)):
            size = int(bar.batch[gpu])
            number = -(-bar.count // size)
            count = pulp.LpVariable(f"n_{index}_{gpu}", 0, bar.count, "Integer")
            used = cut = pulp.LpVariable(f"z_{index}_{gpu}", cat="Binary")
            add((used, bar.count), (count, -1))
            if number > 1:
                cut = pulp.LpVariable(f"k_{index}_{gpu}", 0, number, "Integer")
                add((cut, size), (count, -1))
                add((cut, 1), (used, -1))
            load[gpu] += [(count, float(bar.seconds[gpu])), (used, float(bar.compile[gpu]))]
            load[gpu].append((cut, float(bar.load[gpu])))
            batches[gpu].append((cut, 1.0))
            most[gpu] += number
            if timed:
                add((tails[gpu], 1), (used, -bar.tail(gpu)))
            parts.append((gpu, count))
        add((chosen, -bar.count), *((count, 1) for _, count in parts), equals=0)
        shares[bar.key] = parts
    for (demand, point), arcs in flow.items():
        add(*arcs, equals=-1 if point == 0 else int(point == points[demand]))

    seconds = []
    for gpu in classes:
        workers, start = float(terms.workers[gpu]), float(terms.starts[gpu])
        number = pulp.LpAffineExpression(batches[gpu])
        total = pulp.LpAffineExpression(load[gpu])
        # Every worker starts once, but no more of them than there are batches.
        full = pulp.LpVariable(f"full_{gpu}", cat="Binary") if most[gpu] > workers else 0
        if most[gpu] > workers:
            problem += number <= workers + (most[gpu] - workers) * full
        if start:
            started = pulp.LpVariable(f"starts_{gpu}", 0, workers)
            problem += started >= number - most[gpu] * full
            if most[gpu] > workers:
                problem += started >= workers * full
            total += start * started
        seconds.append(total)
        if timed:
            problem += total <= workers * end
            problem += tails[gpu] + start + terms.msa_seconds <= end
            if most[gpu] > workers > 1:
                slack = 2 * terms.deadline * (1 - full) if terms.deadline is not None else 0
                problem += total / workers + (1 - 1 / workers) * (tails[gpu] + start) <= end + slack
    if terms.budget is not None:
        problem += pulp.lpSum(float(terms.prices[gpu]) * seconds[gpu] for gpu in classes) <= terms.budget
    cost = pulp.lpSum(float(terms.rates[gpu]) * seconds[gpu] for gpu in classes)
    problem.setObjective(cost if objective == "cost" else end)
    problem.solve(pulp.PULP_CBC_CMD(msg=False, gapRel=gap, timeLimit=TIME_LIMIT, threads=1))
    if problem.sol_status not in (pulp.LpSolutionOptimal, pulp.LpSolutionIntegerFeasible):
        return None
    found = {}
    for key, parts in shares.items():
        row = [0 for _ in classes]
        for gpu, count in parts:
            row[gpu] = round(count.value() or 0)
        if any(row):
            found[key] = tuple(row)
    return found
