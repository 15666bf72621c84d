"""Why no assignment keeps to the limits, and what would make one possible, by solving easier problems."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from snakefold.plan.assignment.problem import Problem
from snakefold.plan.assignment.types import Assignment, Demand, InfeasibleError, Limits, Remedy

HOUR = 3600.0
#: A remedy that the solver does not confirm is widened by so much, so many times.
WIDER, TRIES = 1.02, 6
#: No more than this share of the targets is ever proposed to be left out, nor more workers by this factor.
SHARE, FACTOR = 0.25, 16


def infeasible(problem: Problem) -> InfeasibleError:
    """The error that says which limit an unsolvable problem misses, by how much, and what would do."""
    limits = problem.limits
    unfit = _unfit(replace(problem, limits=replace(limits, deadline=None)))
    if unfit:
        largest = max(problem.classes, key=lambda gpu: gpu.memory_gb or math.inf)
        need = max(
            float(problem.model.memory_gb([max(lengths)], demand.work)[0])
            for demand, lengths in zip(problem.demands, _lengths_unfit(problem), strict=True)
            if lengths
        )
        return InfeasibleError(
            "memory",
            f"GPU memory: up to {need:.1f} GB for {_targets(problem, unfit)}; the largest class, "
            f"{largest.name}, has {largest.memory_gb:g} GB.",
            [
                Remedy(f"without {_them(unfit)}", limits, unfit),
                Remedy(f"with a class of at least {math.ceil(need)} GB in gpu.classes", limits),
            ],
        )
    free = replace(problem, limits=replace(limits, deadline=None, budget=None))
    fastest = free.best("time")
    if (
        limits.deadline is not None
        and replace(problem, limits=replace(limits, budget=None)).best("cost") is None
    ):
        return _too_late(problem, fastest)
    return _too_dear(problem)


def _too_late(problem: Problem, fastest: Assignment | None) -> InfeasibleError:
    limits = replace(problem.limits, budget=None)
    deadline = limits.deadline or 0.0
    wall = max(fastest.wall_seconds if fastest else deadline, deadline)
    remedies = []
    for seconds in _widened(wall):
        wider = replace(limits, deadline=_up(seconds / HOUR) * HOUR)
        if replace(problem, limits=wider).best("cost") is not None:
            text = f"with a deadline of {_up(seconds / HOUR):g} h instead of {deadline / HOUR:.4g} h"
            remedies.append(Remedy(text, replace(wider, budget=problem.limits.budget)))
            break
    if fastest is not None:
        name = max(fastest.seconds, key=lambda gpu: fastest.seconds[gpu])
        have = limits.workers[name]

        def with_workers(number: int) -> Problem:
            return replace(problem, limits=replace(limits, workers={**limits.workers, name: number}))

        number = _least(have + 1, have * FACTOR, lambda count: with_workers(count).best("cost") is not None)
        if number is not None:
            text = f"with {number} workers of {name} instead of {have}"
            remedies.append(Remedy(text, replace(with_workers(number).limits, budget=problem.limits.budget)))
    remedies += _left_out(replace(problem, limits=limits), problem.limits)
    over = f"{wall / HOUR:.2f} h is the least that was found, {(wall - deadline) / HOUR:.2f} h too long"
    return InfeasibleError("deadline", f"deadline: {deadline / HOUR:.4g} h cannot be kept; {over}.", remedies)


def _too_dear(problem: Problem) -> InfeasibleError:
    limits, budget = problem.limits, problem.limits.budget or 0.0
    cheapest = replace(problem, limits=replace(limits, budget=None)).best("cost")
    dollars = max(cheapest.dollars if cheapest else budget, budget)
    remedies = []
    for amount in _widened(dollars):
        wider = replace(limits, budget=_up(amount))
        if replace(problem, limits=wider).best("cost") is not None:
            remedies.append(Remedy(f"with a budget of ${_up(amount):.2f} instead of ${budget:.2f}", wider))
            break
    if limits.deadline is not None:
        patient = replace(problem, limits=replace(limits, deadline=None)).best("cost")
        for seconds in _widened(patient.wall_seconds) if patient else ():
            wider = replace(limits, deadline=_up(seconds / HOUR) * HOUR)
            if replace(problem, limits=wider).best("cost") is not None:
                hours = limits.deadline / HOUR
                text = f"with a deadline of {_up(seconds / HOUR):g} h instead of {hours:.4g} h"
                remedies.append(Remedy(text, wider))
                break
    remedies += _left_out(problem, limits)
    by = "" if limits.deadline is None else f" within {limits.deadline / HOUR:.4g} h"
    return InfeasibleError(
        "budget",
        f"budget: ${budget:.2f} is not enough; ${dollars:.2f} is the least that was found{by}, "
        f"${dollars - budget:.2f} more.",
        remedies,
    )


def _left_out(problem: Problem, limits: Limits) -> list[Remedy]:
    """How many of the longest targets must be left out, if that many are few."""
    total = sum(int(demand.counts.sum()) for demand in problem.demands)

    def possible(number: int) -> bool:
        return replace(problem, demands=without_longest(problem.demands, number)).best("cost") is not None

    number = _least(1, int(total * SHARE), possible)
    if number is None:
        return []
    return [
        Remedy(f"without {_targets(problem, number)}", replace(limits, budget=problem.limits.budget), number)
    ]


def without_longest(demands: tuple[Demand, ...], number: int) -> tuple[Demand, ...]:
    """The demands without so many of their longest targets."""
    edge = np.sort(np.concatenate([np.repeat(demand.lengths, demand.counts) for demand in demands]))[-number]
    left = []
    remaining = number
    for demand in demands:
        remaining -= int(demand.counts[demand.lengths > edge].sum())
    for demand in demands:
        counts = np.where(demand.lengths > edge, 0, demand.counts)
        at = demand.lengths == edge
        taken = min(remaining, int(counts[at].sum()))
        counts[at] -= taken
        remaining -= taken
        kept = counts > 0
        left.append(replace(demand, lengths=demand.lengths[kept], counts=counts[kept]))
    return tuple(demand for demand in left if len(demand.lengths))


def _least(low: int, high: int, possible: Callable[[int], bool]) -> int | None:
    """The least number from `low` to `high` that is possible, by doubling and halving; None if none is."""
    step, tried = low, low - 1
    while not possible(step):
        tried = step
        if step >= high:
            return None
        step = min(high, 2 * step)
    while step - tried > 1:
        middle = (step + tried) // 2
        step, tried = (middle, tried) if possible(middle) else (step, middle)
    return step


def _widened(value: float) -> Iterator[float]:
    for attempt in range(TRIES):
        yield value * WIDER**attempt


def _up(value: float) -> float:
    """Rounded up to hundredths."""
    return math.ceil(value * 100 - 1e-9) / 100


def _lengths_unfit(problem: Problem) -> list[list[int]]:
    most = max(gpu.memory_gb or math.inf for gpu in problem.classes)
    return [
        demand.lengths[problem.model.memory_gb(demand.lengths, demand.work) > most].tolist()
        for demand in problem.demands
    ]


def _unfit(problem: Problem) -> int:
    """Targets that no class has the memory for."""
    return sum(
        int(demand.counts[np.isin(demand.lengths, lengths)].sum())
        for demand, lengths in zip(problem.demands, _lengths_unfit(problem), strict=True)
    )


def _targets(problem: Problem, number: int) -> str:
    longest = np.sort(
        np.concatenate([np.repeat(demand.lengths, demand.counts) for demand in problem.demands])
    )
    low, high = int(longest[-number]), int(longest[-1])
    span = f"{high} residues" if low == high else f"{low} to {high} residues"
    return f"the longest target ({span})" if number == 1 else f"the {number} longest targets ({span})"


def _them(number: int) -> str:
    return "it" if number == 1 else "them"
