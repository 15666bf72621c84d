"""The integer program: which buckets, and how many targets of each a class gets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from snakefold.plan.assignment.tables import Bar, Floats, Ints, Table, cheapest_bars

#: The solver stops when the plan is proved to be this close to the best one, or after so many CPU seconds.
GAP, TIME_LIMIT = 3e-3, 4

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
        tail: seconds of the longest batch that every class is likely to have.
    """

    prices: Floats
    rates: Floats
    starts: Floats
    workers: Floats
    deadline: float | None
    budget: float | None
    msa_seconds: float
    tail: float = 0.0


def solve(
    bars: Sequence[Bar],
    points: Sequence[int],
    terms: Terms,
    objective: Literal["cost", "time"],
    *,
    exact: bool = False,
) -> dict[Key, tuple[int, ...]] | None:
    """Targets of each class in each chosen bucket, or None if nothing keeps to the limits.

    The buckets of a demand are a path from its first point to its last. A class's workers end, whatever the
    order of the batches, no later than load / workers + (1 - 1 / workers) longest batch (Graham 1969), and
    after the longest batch if there is a worker for each.

    Args:
        bars: the buckets to choose from.
        points: number of points of each demand.
        objective: cost is the sum of seconds times rates, time the seconds until the last class ends.
        exact: prove the optimum, and count the batches of split buckets exactly; for small sets.
    """
    import pulp

    program = _Program(terms, objective, exact)
    for index, bar in enumerate(bars):
        program.add_bar(index, bar)
    for (demand, point), arcs in program.flow.items():
        program.add(*arcs, equals=-1 if point == 0 else int(point == points[demand]))
    program.add_limits()
    gap = 0.0 if exact else GAP
    program.problem.solve(
        pulp.PULP_CBC_CMD(msg=False, gapRel=gap, timeLimit=TIME_LIMIT, timeMode="cpu", threads=1)
    )
    if program.problem.sol_status not in (pulp.LpSolutionOptimal, pulp.LpSolutionIntegerFeasible):
        return None
    found = {}
    for bar, parts in zip(bars, program.counts, strict=True):
        row = [0 for _ in terms.prices]
        for gpu, count in parts:
            row[gpu] = round(count.value() or 0)
        if any(row):
            found[bar.key] = tuple(row)
    return found


class _Program:
    """Variables: y, bucket chosen; n, its targets on a class; z, the class compiles it; k, batches there."""

    def __init__(self, terms: Terms, objective: Literal["cost", "time"], exact: bool) -> None:
        import pulp

        self.terms, self.objective, self.exact = terms, objective, exact
        self.pulp: Any = pulp
        self.problem = pulp.LpProblem("assign", pulp.LpMinimize)
        self.classes = range(len(terms.prices))
        self.timed = terms.deadline is not None or objective == "time"
        self.load: list[dict[Any, float]] = [{} for _ in self.classes]
        self.batches: list[dict[Any, float]] = [{} for _ in self.classes]
        self.most = [0 for _ in self.classes]
        self.end = pulp.LpVariable("end", 0, terms.deadline)
        self.tails = [pulp.LpVariable(f"tail_{gpu}", terms.tail, terms.deadline) for gpu in self.classes]
        self.flow: dict[tuple[int, int], list[tuple[Any, int]]] = defaultdict(list)
        self.counts: list[list[tuple[int, Any]]] = []

    def add(self, *row: tuple[Any, float], equals: float | None = None) -> None:
        """A row that equals a number, or is at least 0."""
        expression = self.pulp.LpAffineExpression(row)
        self.problem.addConstraint(expression >= 0 if equals is None else expression == equals)

    def add_bar(self, index: int, bar: Bar) -> None:
        """A bucket to choose, with its part of every class's load."""
        variable = self.pulp.LpVariable
        chosen = variable(f"y_{index}", cat="Binary")
        self.flow[bar.nodes[0]].append((chosen, -1))
        self.flow[bar.nodes[1]].append((chosen, 1))
        parts = []
        for gpu in map(int, bar.allowed.nonzero()[0]):
            size = int(bar.batch[gpu])
            number = -(-bar.count // size)
            count = variable(f"n_{index}_{gpu}", 0, bar.count, "Integer")
            used = variable(f"z_{index}_{gpu}", cat="Binary")
            self.add((used, bar.count), (count, -1))
            seconds = {count: float(bar.seconds[gpu]), used: float(bar.compile[gpu])}
            batches = {used: 1.0}
            if number > 1 and self.exact:
                cut = variable(f"k_{index}_{gpu}", 0, number, "Integer")
                self.add((cut, size), (count, -1))
                self.add((cut, 1), (used, -1))
                batches = {cut: 1.0}
            elif number > 1:
                # Right for a bucket that is not split; counting every batch would keep the solver busy.
                batches[count] = (number - 1) / bar.count
            for item, factor in batches.items():
                seconds[item] = seconds.get(item, 0.0) + factor * float(bar.load[gpu])
            self.batches[gpu].update(batches)
            self.load[gpu].update(seconds)
            self.most[gpu] += number
            if self.timed and bar.tail(gpu) > self.terms.tail:
                self.add((self.tails[gpu], 1), (used, -bar.tail(gpu)))
            parts.append((gpu, count))
        self.add((chosen, -bar.count), *((count, 1) for _, count in parts), equals=0)
        self.counts.append(parts)

    def add_limits(self) -> None:
        """Time, budget, and the objective."""
        terms, pulp = self.terms, self.pulp
        seconds = [self._class_seconds(gpu) for gpu in self.classes]
        if terms.budget is not None:
            dollars = [float(price) * total for price, total in zip(terms.prices, seconds, strict=True)]
            self.problem += pulp.lpSum(dollars) <= terms.budget
        cost = [float(rate) * total for rate, total in zip(terms.rates, seconds, strict=True)]
        self.problem.setObjective(pulp.lpSum(cost) if self.objective == "cost" else self.end)

    def _class_seconds(self, gpu: int) -> Any:
        """Worker seconds of a class, start-ups included, and the rows that say when it ends."""
        pulp, most = self.pulp, self.most[gpu]
        workers, start = float(self.terms.workers[gpu]), float(self.terms.starts[gpu])
        number, total = (pulp.LpAffineExpression(row) for row in (self.batches[gpu], self.load[gpu]))
        # Every worker starts once, but no more of them than there are batches.
        busy = most > workers
        full = pulp.LpVariable(f"full_{gpu}", cat="Binary") if busy else 0
        if busy:
            self.problem += number <= workers + (most - workers) * full
        if start and most:
            started = pulp.LpVariable(f"starts_{gpu}", 0, workers)
            self.problem += started >= number - most * full
            if busy:
                self.problem += started >= workers * full
            total += start * started
        if self.timed:
            self.problem += total <= workers * self.end
            self.problem += self.tails[gpu] + start + self.terms.msa_seconds <= self.end
            if busy and workers > 1:
                slack = 2 * self.terms.deadline * (1 - full) if self.terms.deadline is not None else 0
                longest = (1 - 1 / workers) * (self.tails[gpu] + start)
                self.problem += total / workers + longest <= self.end + slack
        return total


#: Rounds at the most, and how near to the bound (relative) the search ends.
ROUNDS, NEAR = 12, 1e-3
#: A class that would take a bucket for so many times the least price is not offered it.
DEAR = 1.2


@dataclass(frozen=True, slots=True)
class Relaxed:
    """The best buckets at the prices of the linear program, and its bound.

    `value` is the program's with batches of the given size; `missed`: no assignment keeps to the limits.
    """

    bars: tuple[Bar, ...]
    value: float
    bound: float
    missed: bool


@dataclass(frozen=True, slots=True)
class _Solution:
    value: float
    load_duals: Floats
    budget_dual: float
    missed: bool


def relax(tables: Sequence[Table], terms: Terms, objective: Literal["cost", "time"]) -> Relaxed:
    """Solve the linear program: any share of a bucket on any class, start-ups left out.

    The master program knows a few buckets; the exact choice of buckets at its prices (`cheapest_bars`) either
    finds better ones or proves that there are none (Dantzig and Wolfe 1960). The bound is Lagrange's at the
    best prices seen, and holds for all buckets.
    """
    bars: dict[Key, Bar] = {}

    def best(rates: Floats) -> tuple[list[Bar], float]:
        """The best buckets at these prices of a second, and what they cost."""
        chosen, value = [], 0.0
        for table in tables:
            path, cost = cheapest_bars(table, rates)
            value += cost
            chosen += [table.bar(start, stop) for start, stop, _ in path]
        bars.update((bar.key, bar) for bar in chosen)
        return chosen, value

    _, cheapest = best(terms.rates)
    best(np.ones(len(terms.rates)))
    points = [len(table.last) for table in tables]
    own_rates = terms.rates if objective == "cost" else np.zeros_like(terms.rates)
    bound = 0.0
    for _ in range(ROUNDS):
        solution = _master(list(bars.values()), points, terms, objective, penalty=1e4 * cheapest)
        before = len(bars)
        path, price = best(own_rates + solution.load_duals + solution.budget_dual * terms.prices)
        price -= solution.budget_dual * (terms.budget or 0)
        if objective == "cost":
            price -= float(solution.load_duals @ terms.workers) * (terms.deadline or 0)
        bound = max(bound, price)
        if len(bars) == before or solution.value - bound <= NEAR * solution.value:
            break
    prices = own_rates + solution.load_duals + solution.budget_dual * terms.prices
    offered = tuple(_without_dear(bar, prices) for bar in path)
    return Relaxed(offered, solution.value, bound, solution.missed)


def _without_dear(bar: Bar, prices: Floats) -> Bar:
    """The bucket without the classes that cost too much at the linear program's prices to be worth a try."""
    costs = np.array([price * bar.total(gpu) for gpu, price in enumerate(prices)])
    costs[~bar.allowed] = np.inf
    return replace(bar, allowed=costs <= DEAR * costs.min())


def _master(
    bars: Sequence[Bar],
    points: Sequence[int],
    terms: Terms,
    objective: Literal["cost", "time"],
    penalty: float,
) -> _Solution:
    """The linear program over some buckets. Limits can be passed, at a `penalty` that is dear."""
    from scipy.optimize import linprog
    from scipy.sparse import coo_array

    pairs = [(bar, int(gpu)) for bar in bars for gpu in np.flatnonzero(bar.allowed)]
    classes, size = len(terms.prices), len(pairs)
    gpus = np.array([gpu for _, gpu in pairs])
    seconds = np.array([bar.total(gpu) for bar, gpu in pairs])
    columns = np.arange(size)
    # Columns: a share for each pair, each class's longest batch, the end, and by how much the deadline and
    # the budget are passed.
    tail, end, late, over, width = (
        size,
        size + classes,
        size + classes + 1,
        size + classes + 2,
        size + classes + 3,
    )

    nodes = {node: row for row, node in enumerate(sorted({node for bar in bars for node in bar.nodes}))}
    enter, leave = (np.array([nodes[bar.nodes[side]] for bar, _ in pairs]) for side in (0, 1))
    balance = coo_array(
        (np.repeat([-1.0, 1.0], size), (np.concatenate((enter, leave)), np.tile(columns, 2))),
        shape=(len(nodes), width),
    )
    ends = [-1.0 if point == 0 else float(point == points[demand]) for demand, point in nodes]

    rows = _Rows()
    for gpu in range(classes):
        mine = columns[gpus == gpu]
        workers = terms.workers[gpu]
        rows.add(mine, seconds[mine], (end, -workers), (late, -workers), (tail + gpu, workers - 1))
    if terms.budget is not None:
        rows.add(columns, terms.prices[gpus] * seconds, (over, -1.0), limit=terms.budget)
    timed = terms.deadline is not None or objective == "time"
    for column, (bar, gpu) in enumerate(pairs) if timed else ():
        if bar.tail(gpu) > terms.tail:
            rows.add(np.array([column]), np.array([bar.tail(gpu)]), (tail + gpu, -1.0))
    floor = np.full(classes, terms.tail if timed else 0.0)

    costs = np.zeros(width)
    costs[:size] = terms.rates[gpus] * seconds if objective == "cost" else 0.0
    costs[end] = objective == "time"
    scale = terms.deadline or float(seconds.max())
    costs[late], costs[over] = penalty / scale, penalty / (terms.budget or 1.0)
    result = linprog(
        costs,
        A_ub=rows.matrix(width),
        b_ub=rows.limits,
        A_eq=balance.tocsr(),
        b_eq=ends,
        bounds=[
            *[(0, None)] * size,
            *[(value, None) for value in floor],
            (terms.msa_seconds, terms.deadline),
            (0, None),
            (0, None),
        ],
        method="highs",
    )
    duals = np.maximum(0.0, -result.ineqlin.marginals)
    return _Solution(
        value=float(result.fun),
        load_duals=duals[:classes],
        budget_dual=float(duals[classes]) if terms.budget is not None else 0.0,
        missed=bool(result.x[late] > 1e-6 * scale or result.x[over] > 1e-6 * (terms.budget or 1.0)),
    )


class _Rows:
    """Rows of at most a limit, as they come."""

    def __init__(self) -> None:
        self.limits: list[float] = []
        self._values: list[float] = []
        self._columns: list[int] = []
        self._rows: list[int] = []

    def add(self, columns: Ints, values: Floats, *more: tuple[int, float], limit: float = 0.0) -> None:
        """sum(values of columns) + more <= limit"""
        self._columns += [*columns.tolist(), *(column for column, _ in more)]
        self._values += [*values.tolist(), *(value for _, value in more)]
        self._rows += [len(self.limits)] * (len(columns) + len(more))
        self.limits.append(limit)

    def matrix(self, width: int) -> object:
        """All rows, sparse."""
        from scipy.sparse import coo_array

        return coo_array((self._values, (self._rows, self._columns)), shape=(len(self.limits), width)).tocsr()
