"""One assignment problem, and the way to its solution: exact, or by a linear and an integer program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from snakefold.plan.assignment.program import Key, Relaxed, Terms, relax, solve
from snakefold.plan.assignment.result import assignment_of, buckets_of
from snakefold.plan.assignment.spread import batch_seconds, spread
from snakefold.plan.assignment.tables import Table, all_bars, cheapest_bars, make_table
from snakefold.plan.assignment.types import Assignment, Demand, Limits, Sizes
from snakefold.plan.cost.gpus import GpuClass
from snakefold.plan.cost.model import CostModel

Objective = Literal["cost", "time"]

#: Seconds of prediction in one batch at the most, unless a single target takes longer. With no limit that
#: binds, waiting for the last batches costs nothing: what is lost with a worker bounds them.
SHARED_SECONDS = 3600.0
#: Those that are tried under a limit, where the last batches to end decide.
BATCH_SECONDS = (1800.0, 600.0, 200.0)
#: What a second counts beside the cheapest price, so that no plan wastes seconds that cost nothing.
SECOND = 1e-4
#: With no more possible buckets than this all of them are in the program.
ALL_BARS = 80
#: How often limits are tightened by what a plan passes them by.
REPAIRS = 3


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
        whole = self._tables(SHARED_SECONDS, shared=True)
        if not all(table.allowed.any(axis=0).all() for table in whole):
            return None
        simple = self._unlimited(whole, self._terms(0.0))
        if objective == "cost" and self._keeps(simple):
            return self._spread(simple)
        if objective == "cost":
            return self._limited("cost", self.limits) or self._just_in_time(simple.bound)
        fastest = self._limited("time", self.limits)
        if fastest is None:
            return None
        found = self._limited("cost", replace(self.limits, deadline=fastest.wall_seconds * (1 + SECOND)))
        found = found or fastest
        return replace(found, objective=found.wall_seconds, bound=fastest.bound)

    def _spread(self, plan: Assignment) -> Assignment:
        """The cheapest plan, for all workers of what costs nothing."""
        if self.limits.deadline is not None:
            return plan

        def cut(seconds: float) -> Assignment:
            return self._unlimited(self._tables(seconds, shared=True), self._terms(0.0), seconds)

        def batches(tried: Assignment) -> dict[str, list[float]]:
            return batch_seconds(tried, self.demands, self.classes, self.model)

        return spread(plan, self.classes, self.limits, cut, batches)

    def _limited(self, objective: Objective, limits: Limits) -> Assignment | None:
        """The best assignment with that size of batches that the linear program likes best."""
        problem = replace(self, limits=limits)
        tried = []
        for seconds in BATCH_SECONDS:
            tables = problem._tables(seconds)
            terms = problem._terms(seconds + max(float(table.load.max()) for table in tables))
            if not all(table.allowed.any(axis=0).all() for table in tables):
                continue
            relaxed = relax(tables, terms, objective)
            if not relaxed.missed:
                tried.append((relaxed, tables, terms))
        for relaxed, tables, terms in sorted(tried, key=lambda item: item[0].value):
            found = problem._solved(relaxed, tables, terms, objective)
            if found is not None:
                return replace(found, bound=min(other.bound for other, _, _ in tried))
        return None

    def _just_in_time(self, bound: float) -> Assignment | None:
        """The fastest plan, if it keeps to the limits: near them the search for the cheapest may fail."""
        if self.limits.deadline is None:
            return None
        fastest = self._limited("time", replace(self.limits, deadline=None))
        if fastest is None or not self._keeps(fastest):
            return None
        return replace(fastest, objective=self._cost(fastest, self._terms(0.0)), bound=bound)

    def _sizes(self, seconds: float) -> Sizes:
        return Sizes(self.max_targets, self.max_residues, seconds)

    def _tables(self, seconds: float, *, shared: bool = False) -> list[Table]:
        return [
            make_table(
                number,
                demand,
                self.classes,
                self.model,
                self._sizes(seconds),
                edges=self.edges,
                deadline=self.limits.deadline,
                shared=shared,
            )
            for number, demand in enumerate(self.demands)
        ]

    def _solved(
        self, relaxed: Relaxed, tables: Sequence[Table], terms: Terms, objective: Objective
    ) -> Assignment | None:
        """A solution of the integer program that keeps to the limits when it is counted target by target."""
        points = [len(table.last) for table in tables]
        every = [(table, *pair) for table in tables for pair in all_bars(table)]
        bars, exact = relaxed.bars, len(every) <= ALL_BARS
        if exact:
            bars, terms = tuple(table.bar(*pair) for table, *pair in every), replace(terms, tail=0.0)
        for _ in range(REPAIRS):
            if (terms.deadline or 1.0) <= 0 or (terms.budget or 1.0) <= 0:
                return None
            counts = solve(bars, points, terms, objective, exact=exact)
            if counts is None:
                return None
            plan = self._figures(counts, tables, terms, objective, relaxed.bound)
            if self._keeps(plan):
                return plan
            terms = self._tightened(terms, plan)
        return None

    def _tightened(self, terms: Terms, plan: Assignment) -> Terms:
        """Limits lowered by what the plan passes them by: the program rounds batches of split buckets."""
        deadline, budget = terms.deadline, terms.budget
        if deadline is not None and self.limits.deadline is not None:
            deadline -= 1.5 * max(0.0, plan.wall_seconds - self.limits.deadline)
        if budget is not None and self.limits.budget is not None:
            budget -= 1.5 * max(0.0, plan.dollars - self.limits.budget)
        tail = terms.tail if deadline is None else max(0.0, min(terms.tail, deadline))
        return replace(terms, deadline=deadline, budget=budget, tail=tail)

    def _unlimited(
        self, tables: Sequence[Table], terms: Terms, seconds: float = SHARED_SECONDS
    ) -> Assignment:
        """The cheapest plan if there were no limits: buckets share batches of so many seconds at the most."""
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
            sizes = self._sizes(seconds)
            plans.append(self._figures(counts, tables, terms, "cost", bound, sizes=sizes))
        return min(plans, key=lambda plan: plan.objective)

    def _figures(
        self,
        counts: dict[Key, tuple[int, ...]],
        tables: Sequence[Table],
        terms: Terms,
        objective: Objective,
        bound: float,
        *,
        sizes: Sizes | None = None,
    ) -> Assignment:
        buckets = buckets_of(counts, tables, self.classes)
        plan = assignment_of(buckets, self.demands, self.classes, self.model, self.limits, sizes=sizes)
        value = self._cost(plan, terms) if objective == "cost" else plan.wall_seconds
        return replace(plan, objective=value, bound=bound)

    def _cost(self, plan: Assignment, terms: Terms) -> float:
        return float(
            sum(rate * plan.seconds[gpu.name] for rate, gpu in zip(terms.rates, self.classes, strict=True))
        )

    def _keeps(self, plan: Assignment) -> bool:
        deadline, budget = self.limits.deadline, self.limits.budget
        late = deadline is not None and plan.wall_seconds > deadline * (1 + 1e-9)
        return not late and (budget is None or plan.dollars <= budget * (1 + 1e-9))

    def _terms(self, tail: float) -> Terms:
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
            # No batch may be longer than the deadline: shorter ones are then looked at one by one.
            tail=tail if self.limits.deadline is None else min(tail, self.limits.deadline),
        )
