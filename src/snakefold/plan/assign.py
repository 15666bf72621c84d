"""Which targets are padded together and which GPU class predicts them: an integer program on aggregates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from snakefold.cost.gpus import GpuClass
from snakefold.cost.model import CostModel
from snakefold.plan.assign_program import Key, Terms, solve
from snakefold.plan.assign_relaxed import relax
from snakefold.plan.assign_result import assignment_of, buckets_of
from snakefold.plan.assign_tables import Sizes, Table, all_bars, cheapest_bars, make_table
from snakefold.plan.assign_types import Assignment, Bucket, Demand, InfeasibleError, Limits

__all__ = ["Assignment", "Bucket", "Demand", "InfeasibleError", "Limits", "assign"]

Objective = Literal["cost", "time"]

#: Seconds of prediction in one batch at the most, unless a single target takes longer. The shorter ones
#: are tried under a deadline, where the last batches to end decide.
BATCH_SECONDS = (1800.0, 600.0, 200.0)
#: What a second counts beside the cheapest price, so that no plan wastes seconds that cost nothing.
SECOND = 1e-4
#: With no more possible buckets than this all of them are in the program.
ALL_BARS = 80


def assign(
    demands: Sequence[Demand],
    classes: Sequence[GpuClass],
    model: CostModel,
    limits: Limits,
    *,
    objective: Objective = "cost",
    bucket_edges: Sequence[int] | None = None,
    max_targets: int = 100,
    max_residues: int = 50_000,
) -> Assignment:
    """The cheapest (or fastest) assignment within the limits.

    Raises:
        InfeasibleError: names the limit, by how much it is missed, and what would make it feasible.
    """
    problem = Problem(
        tuple(demand for demand in demands if len(demand.lengths)),
        tuple(classes),
        model,
        limits,
        tuple(bucket_edges or ()),
        max_targets,
        max_residues,
    )
    best = problem.best(objective)
    if best is None:
        raise InfeasibleError("No assignment keeps to the limits.")
    return best


@dataclass(frozen=True, slots=True)
class Problem:
    """The arguments of `assign`."""

    demands: tuple[Demand, ...]
    classes: tuple[GpuClass, ...]
    model: CostModel
    limits: Limits
    edges: tuple[int, ...]
    max_targets: int
    max_residues: int

    def best(self, objective: Objective) -> Assignment | None:
        """The best assignment over the sizes of batches, None if there is none."""
        if not self.demands:
            return Assignment((), {gpu.name: 0.0 for gpu in self.classes}, 0.0, 0.0, 0.0, 0.0)
        timed = self.limits.deadline is not None or objective == "time"
        best: Assignment | None = None
        for seconds in BATCH_SECONDS if timed else BATCH_SECONDS[:1]:
            found = self._with_batches(seconds, objective)
            if found is not None and (best is None or found.objective < best.objective):
                best = found
        return best

    def _with_batches(self, seconds: float, objective: Objective) -> Assignment | None:
        sizes = Sizes(self.max_targets, self.max_residues, seconds)
        tables = [
            make_table(
                number,
                demand,
                self.classes,
                self.model,
                sizes,
                edges=self.edges,
                deadline=self.limits.deadline,
            )
            for number, demand in enumerate(self.demands)
        ]
        if not all(table.allowed.any(axis=0).all() for table in tables):
            return None
        terms = self._terms()
        if objective == "time":
            fastest = self._solved(tables, terms, "time")
            if fastest is None:
                return None
            slack = replace(terms, deadline=fastest.wall_seconds * (1 + SECOND))
            found = self._solved(tables, slack, "cost") or fastest
            return replace(found, objective=found.wall_seconds, bound=fastest.bound)
        return self._solved(tables, terms, "cost")

    def _solved(self, tables: Sequence[Table], terms: Terms, objective: Objective) -> Assignment | None:
        simple = self._unlimited(tables, terms)
        if objective == "cost" and self._keeps(simple, terms):
            return simple
        relaxed = relax(tables, terms, objective)
        if relaxed.missed:
            return None
        points = [len(table.last) for table in tables]
        bars, gap = relaxed.bars, 1e-3
        every = [(table, *pair) for table in tables for pair in all_bars(table)]
        if len(every) <= ALL_BARS:
            bars, gap = tuple(table.bar(start, stop) for table, start, stop in every), 0.0
        counts = solve(bars, points, terms, objective, gap)
        if counts is None:
            return None
        return self._figures(counts, tables, terms, objective, relaxed.bound)

    def _unlimited(self, tables: Sequence[Table], terms: Terms) -> Assignment:
        """The cheapest plan if there were no limits."""
        bound = sum(cheapest_bars(table, terms.rates)[1] for table in tables)
        plans = []
        for starts in (np.zeros_like(terms.starts), terms.starts):
            counts: dict[Key, tuple[int, ...]] = {}
            for table in tables:
                for start, stop, chosen in cheapest_bars(table, terms.rates, starts)[0]:
                    number = int(table.served[stop] - table.served[start])
                    counts[table.number, start, stop] = tuple(
                        number if gpu == chosen else 0 for gpu in range(len(self.classes))
                    )
            plans.append(self._figures(counts, tables, terms, "cost", bound))
        return min(plans, key=lambda plan: plan.objective)

    def _figures(
        self,
        counts: dict[Key, tuple[int, ...]],
        tables: Sequence[Table],
        terms: Terms,
        objective: Objective,
        bound: float,
    ) -> Assignment:
        buckets = buckets_of(counts, tables, self.classes)
        plan = assignment_of(buckets, self.demands, self.classes, self.model, self.limits)
        cost = sum(terms.rates[i] * plan.seconds[gpu.name] for i, gpu in enumerate(self.classes))
        value = float(cost) if objective == "cost" else plan.wall_seconds
        return replace(plan, objective=value, bound=bound)

    def _keeps(self, plan: Assignment, terms: Terms) -> bool:
        late = terms.deadline is not None and plan.wall_seconds > terms.deadline
        return not late and (terms.budget is None or plan.dollars <= terms.budget)

    def _terms(self) -> Terms:
        prices = np.array([gpu.dollars_per_second for gpu in self.classes])
        paid = prices[prices > 0]
        return Terms(
            prices=prices,
            rates=prices + SECOND * paid.min() if len(paid) else np.ones(len(prices)),
            starts=np.array([self.model.start_seconds(gpu) for gpu in self.classes]),
            workers=np.array([self.limits.workers[gpu.name] for gpu in self.classes], dtype=float),
            deadline=self.limits.deadline,
            budget=self.limits.budget,
            msa_seconds=self.limits.msa_seconds,
        )
