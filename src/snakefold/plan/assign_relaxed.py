"""The linear program over all buckets, by column generation: which buckets are worth having, and the bound."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from snakefold.plan.assign_program import Key, Terms
from snakefold.plan.assign_tables import Bar, Floats, Table, cheapest_bars

#: Rounds at the most, and how near to the bound (relative) the search ends.
ROUNDS, NEAR = 15, 1e-4


@dataclass(frozen=True, slots=True)
class Relaxed:
    """Buckets that the linear program uses, its bound, and by how many seconds or dollars it misses a limit.

    `missed` above 0 proves that no assignment keeps to the limits.
    """

    bars: tuple[Bar, ...]
    bound: float
    missed: bool


def relax(tables: Sequence[Table], terms: Terms, objective: Literal["cost", "time"]) -> Relaxed:
    """Solve the linear program: any share of a bucket on any class, start-ups left out.

    The master program knows a few buckets; the exact choice of buckets at its prices (`cheapest_bars`) either
    finds better ones or proves that there are none (Dantzig and Wolfe 1960). The bound is Lagrange's at the
    best prices seen, and holds for all buckets.
    """
    bars: dict[Key, Bar] = {}

    def add(rates: Floats) -> float:
        """The best buckets at the prices: kept. What they cost."""
        value = 0.0
        for table in tables:
            path, cost = cheapest_bars(table, rates)
            value += cost
            for start, stop, _ in path:
                bars.setdefault((table.number, start, stop), table.bar(start, stop))
        return value

    cheapest = add(terms.rates)
    if objective == "cost" and terms.deadline is None and terms.budget is None:
        return Relaxed(tuple(bars.values()), cheapest, False)
    add(np.ones(len(terms.rates)))
    # Dear enough that no limit is missed if it can be kept.
    penalty = 1e4 * cheapest
    bound, used, missed = -np.inf, list(bars), False
    for _ in range(ROUNDS):
        value, used, duals, budget_dual, missed = _master(list(bars.values()), terms, objective, penalty)
        rates = terms.rates if objective == "cost" else np.zeros_like(terms.rates)
        before = len(bars)
        price = add(rates + duals + budget_dual * terms.prices)
        price -= budget_dual * (terms.budget or 0)
        if objective == "cost":
            price -= float(duals @ terms.workers) * (terms.deadline or 0)
        bound = max(bound, price)
        if len(bars) == before or value - bound <= NEAR * abs(value):
            break
    return Relaxed(tuple(bars[key] for key in used), bound, missed)


def _master(
    bars: Sequence[Bar], terms: Terms, objective: Literal["cost", "time"], penalty: float
) -> tuple[float, list[Key], Floats, float, bool]:
    """The linear program over some buckets: value, buckets used, duals of load and budget, limit missed."""
    from scipy.optimize import linprog
    from scipy.sparse import coo_array

    pairs = [(index, int(gpu)) for index, bar in enumerate(bars) for gpu in np.flatnonzero(bar.allowed)]
    of = np.array([index for index, _ in pairs])
    gpus = np.array([gpu for _, gpu in pairs])
    seconds = np.array([bars[index].total(gpu) for index, gpu in pairs])
    nodes = {node: row for row, node in enumerate(sorted({node for bar in bars for node in bar.nodes}))}
    classes, size = len(terms.prices), len(pairs)
    # Columns: a share for each pair; then the end, and by how much it and the budget are passed.
    end, late, over = size, size + 1, size + 2
    enter = np.array([nodes[bars[index].nodes[0]] for index in of])
    leave = np.array([nodes[bars[index].nodes[1]] for index in of])
    columns = np.arange(size)
    balance = coo_array(
        (np.repeat([-1.0, 1.0], size), (np.concatenate((enter, leave)), np.tile(columns, 2))),
        shape=(len(nodes), size + 3),
    )
    last = {bar.demand: max(other.stop for other in bars if other.demand == bar.demand) for bar in bars}
    ends = np.array([-1.0 if point == 0 else float(point == last[demand]) for demand, point in nodes])
    limits: list[tuple[Iterable[float], Iterable[int], Iterable[int]]] = [
        (seconds, gpus, columns),
        (-terms.workers, range(classes), [end] * classes),
        (-terms.workers, range(classes), [late] * classes),
        (terms.prices[gpus] * seconds * (terms.budget is not None), [classes] * size, columns),
        ([-1.0], [classes], [over]),
    ]
    values, rows, places = (np.concatenate([np.array(list(part[i])) for part in limits]) for i in range(3))
    upper = coo_array((values, (rows.astype(int), places.astype(int))), shape=(classes + 1, size + 3))
    costs = np.zeros(size + 3)
    if objective == "cost":
        costs[:size] = terms.rates[gpus] * seconds
    else:
        costs[end] = 1.0
    scale = terms.deadline or 1.0
    costs[late], costs[over] = penalty / scale, penalty / (terms.budget or 1.0)
    result = linprog(
        costs,
        A_ub=upper.tocsr(),
        b_ub=np.concatenate((np.zeros(classes), [terms.budget or 0.0])),
        A_eq=balance.tocsr(),
        b_eq=ends,
        bounds=[(0, None)] * size + [(terms.msa_seconds, terms.deadline), (0, None), (0, None)],
        method="highs",
    )
    duals = -result.ineqlin.marginals
    shares = result.x[:size]
    used = list(
        dict.fromkeys(bars[index].key for index, share in zip(of, shares, strict=True) if share > 1e-9)
    )
    missed = result.x[late] > 1e-6 * scale or result.x[over] > 1e-6 * (terms.budget or 1.0)
    return float(result.fun), used, duals[:classes], float(duals[classes]), bool(missed)
