"""What would make a plan fit its limits: another class, more workers. Estimates, made from the same jobs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import yaml

from snakefold.kernel.paths import house
from snakefold.plan.cost.gpus import GpuClass, load_classes
from snakefold.plan.quote.jobs import Job
from snakefold.plan.quote.model import Offer
from snakefold.plan.quote.units import hours, money
from snakefold.plan.quote.wall import LOCAL

_MOST_TIMES = 1024


def cheaper(
    jobs: Sequence[Job], used: Mapping[str, GpuClass], table: Sequence[GpuClass], budget: float
) -> Offer | None:
    """The class of `table` on which everything would cost least, if that is less than planned.

    Start, load and compilation are taken to last as long there; predictions scale with the relative speed.
    """
    planned = sum(job.row.dollars for job in jobs)
    memory = max((job.row.memory_gb for job in jobs), default=0.0)
    costs = {
        gpu.name: sum(_seconds_on(job, used[job.row.gpu], gpu) for job in jobs) * gpu.dollars_per_second
        for gpu in table
        if gpu.dollars_per_second and gpu.memory_gb is not None and gpu.memory_gb >= memory
    }
    if not costs:
        return None
    name = min(costs, key=lambda name: costs[name])
    if costs[name] >= planned * 0.99 or {name} == {job.row.gpu for job in jobs}:
        return None
    title = next(gpu.title for gpu in table if gpu.name == name)
    enough = "" if costs[name] <= budget else ", which is still too much"
    text = f"gpu.classes: [{name}] ({title}): about {money(costs[name])}{enough}"
    return Offer(setting=f"gpu.classes=[{name}]", text=text)


def rentable(table: Path | None) -> list[GpuClass]:
    """All classes of the table of GPU classes."""
    path = table or house() / "resources" / "gpus.yaml"
    return load_classes(list(yaml.safe_load(path.read_text(encoding="utf-8"))), path)


def faster(
    wall_hours: Callable[[Mapping[str, int]], float], workers: Mapping[str, int], deadline: float
) -> Offer | None:
    """The fewest workers, as a multiple of those there are, that meet the deadline (hours)."""
    rented = {name: count for name, count in workers.items() if name != LOCAL}

    def times(factor: int) -> dict[str, int]:
        return {name: count * factor for name, count in rented.items()}

    def late(factor: int) -> bool:
        return wall_hours({**workers, **times(factor)}) > deadline

    if not rented or late(_MOST_TIMES):
        return None
    low, high = 1, _MOST_TIMES
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if late(middle) else (low, middle)
    wanted = ", ".join(f"{name}: {count}" for name, count in times(high).items())
    took = hours(wall_hours({**workers, **times(high)}))
    return Offer(
        setting=f"gpu.workers={{{wanted}}}",
        text=f"gpu.workers: {{{wanted}}}, {high} times as many: about {took}, for the same dollars",
    )


def _seconds_on(job: Job, planned: GpuClass, other: GpuClass) -> float:
    return job.overhead + (job.seconds.expected - job.overhead) * planned.speed / other.speed
