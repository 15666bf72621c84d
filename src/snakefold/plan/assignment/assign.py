"""Which targets are padded together and which GPU class predicts them: an integer program on aggregates."""

from __future__ import annotations

from collections.abc import Sequence

from snakefold.plan.assignment.infeasible import infeasible
from snakefold.plan.assignment.problem import Objective, Problem
from snakefold.plan.assignment.types import Assignment, Bucket, Demand, InfeasibleError, Limits, Remedy
from snakefold.plan.cost.gpus import GpuClass
from snakefold.plan.cost.model import CostModel

__all__ = ["Assignment", "Bucket", "Demand", "InfeasibleError", "Limits", "Remedy", "assign"]


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
        raise infeasible(problem)
    return best
