"""The linear program over all buckets, by column generation: those worth having, and the bound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from snakefold.plan.assignment.program import Key, Terms
from snakefold.plan.assignment.tables import Bar, Floats, Ints, Table, cheapest_bars

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
