"""Budget and deadline: checked before a run starts, and before every submission."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import yaml

from snakefold.config import Config
from snakefold.kernel.contracts import FoldRequest, FoldResponse, TargetOutcome
from snakefold.kernel.errors import Reason, SnakefoldError, no_space
from snakefold.kernel.paths import house
from snakefold.kernel.wording import count
from snakefold.plan.cost.gpus import LOCAL, GpuClass, load_classes
from snakefold.plan.quote.model import Offer, Quote, hours, money, rounded_up, seconds, spread
from snakefold.plan.quote.timing import Job

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


class BudgetError(SnakefoldError):
    """The quote is above `budget`."""


class DeadlineError(SnakefoldError):
    """The quote says that the run would end after `deadline`."""


class Priced(Protocol):
    """What is asked of a target: rows of targets.tsv have it."""

    @property
    def id(self) -> str: ...
    @property
    def length(self) -> int | None: ...
    @property
    def seconds(self) -> float: ...
    @property
    def dollars(self) -> float: ...


def check_limits(quote: Quote, config: Config, targets: Iterable[Priced] = ()) -> list[str]:
    """Compare the quote with `budget` (dollars) and `deadline` (hours), and with the room on the disk.

    The expected value decides; where only the high end passes a limit, the run may start, and is warned. Of
    the disk the low end decides: what does not fit is not computed later on (`task`), and the quote warns.

    Args:
        targets: rows of targets.tsv, to say which of them would fit; read only if a limit is passed.

    Returns:
        Warnings.

    Raises:
        BudgetError, DeadlineError, DiskError: nothing has been started or paid.
    """
    warnings: list[str] = []
    disk = quote.disk
    if disk.free is not None and disk.total.low > disk.free:
        raise no_space(
            Path(config.results),
            disk.total.low * 1e9,
            "there is no room for the results, not even for the least",
        )
    if config.budget is not None:
        if quote.dollars.expected > config.budget:
            raise BudgetError(_over_budget(quote, config.budget, targets))
        if quote.dollars.high > config.budget:
            warnings.append(
                f"The run is expected to stay within the budget of {money(config.budget)}, but may not: "
                f"{spread(quote.dollars, money)}. Jobs that would exceed it are not submitted."
            )
    if config.deadline is not None:
        if quote.wall_hours.expected > config.deadline:
            raise DeadlineError(_too_late(quote, config.deadline, targets))
        if quote.wall_hours.high > config.deadline:
            warnings.append(
                f"The run is expected to meet the deadline of {hours(config.deadline)}, but may not: "
                f"{spread(quote.wall_hours, hours)}."
            )
    return warnings


def may_submit(spent: float, in_flight: float, next_job: float, budget: float | None) -> bool:
    """Whether one more job may be paid for.

    Args:
        spent: dollars billed so far, failed attempts included.
        in_flight: dollars that the jobs already submitted are still expected to cost.
        next_job: dollars that the next one is expected to cost; one that costs nothing always may.
        budget: dollars; None sets no limit.
    """
    return budget is None or next_job <= 0 or spent + in_flight + next_job <= budget


def left_out(request: FoldRequest, budget: float, *, spent: float, in_flight: float) -> FoldResponse:
    """The response to a request that is not submitted: every target is listed, with reason `budget`.

    In the place of the batch's archive it becomes rows of failures.tsv; the next plan finds the targets still
    to do. Nothing of it is billed.
    """
    message = (
        f"Not submitted: {money(spent)} are spent and {money(in_flight)} in flight, of a budget of "
        f"{money(budget)}."
    )
    return FoldResponse(
        batch=request.batch,
        engine=request.engine,
        engine_version="",
        recipe=request.recipe,
        rehearsal=request.rehearsal,
        outcomes=[
            TargetOutcome(
                id=target.id,
                key=target.key,
                result_key=target.result_key,
                state="failed",
                reason=Reason.BUDGET,
                message=message,
                advice="Raise `budget` and run again: what is finished is in the store.",
            )
            for target in request.targets
        ],
    )


def _over_budget(quote: Quote, budget: float, targets: Iterable[Priced]) -> str:
    rows = [row for row in targets if row.dollars > 0]
    over = quote.dollars.expected - budget
    lines = [
        f"budget: {money(budget)}, but the quote is {spread(quote.dollars, money)}: {money(over)} too much. "
        "Nothing has been started, nothing has been spent. One of these would make it fit:",
        f"  budget: {rounded_up(quote.dollars.expected)} or more",
    ]
    if quote.cheaper:
        lines.append(f"  {quote.cheaper.text}")
    if rows:
        number, cost = _cheapest(rows, budget)
        if number:
            lines.append(
                f"  the {number} cheapest of the {len(rows)} targets to predict: about {money(cost)}"
            )
        dearest = heapq.nlargest(5, rows, key=lambda row: row.dollars)
        lines.append(
            "  the most expensive targets are " + _named(dearest, [money(row.dollars) for row in dearest])
        )
    return "\n".join(lines)


def _too_late(quote: Quote, deadline: float, targets: Iterable[Priced]) -> str:
    rows = [row for row in targets if row.seconds > 0]
    late = quote.wall_hours.expected - deadline
    lines = [
        f"deadline: {hours(deadline)}, but the run would take {spread(quote.wall_hours, hours)}: "
        f"{hours(late)} too long. Nothing has been started, nothing has been spent. "
        "One of these would make it fit:",
        f"  deadline: {rounded_up(quote.wall_hours.expected)} or more",
    ]
    if quote.faster:
        lines.append(f"  {quote.faster.text}")
    elif quote.msa_wall_hours.expected > deadline:
        taken = spread(quote.msa_wall_hours, hours)
        lines.append(
            f"  databases of your own (msa.tool): the alignments alone take {taken} at {quote.server}"
            if quote.server
            else "  more cores or a faster msa.tool: the alignments alone take "
            f"{taken} on {count(quote.cores, 'core')}"
        )
    if rows:
        longest = heapq.nlargest(5, rows, key=lambda row: row.seconds)
        lines.append(
            "  the slowest targets are " + _named(longest, [seconds(row.seconds) for row in longest])
        )
    return "\n".join(lines)


def _cheapest(rows: Iterable[Priced], budget: float) -> tuple[int, float]:
    """How many of the cheapest targets a budget pays for, and what they cost together."""
    number, cost = 0, 0.0
    for dollars in sorted(row.dollars for row in rows):
        if cost + dollars > budget:
            break
        number, cost = number + 1, cost + dollars
    return number, cost


def _named(rows: Iterable[Priced], amounts: Iterable[str]) -> str:
    shown = zip(rows, amounts, strict=True)
    return ", ".join(f"{row.id} ({row.length} residues, {amount})" for row, amount in shown)
