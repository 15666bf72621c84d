"""The quote: worker hours, dollars, wall time and disk of a plan, each with a range."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from snakefold import engines
from snakefold.config import Config
from snakefold.engines.spec import Work
from snakefold.plan.cost.gpus import GpuClass
from snakefold.plan.cost.model import CostModel
from snakefold.plan.cost.msa import database_bytes
from snakefold.plan.files import BatchRow
from snakefold.plan.groups import label_of, work_of
from snakefold.plan.quote import limits
from snakefold.plan.quote.model import ClassQuote, Disk, Offer, Quote, Range, gigabytes, total
from snakefold.plan.quote.timing import Job, Wall, job, needed, ranged, wall_time, worker_limits

_OLD_PRICE_DAYS = 90


@dataclass(frozen=True, slots=True)
class Search:
    """A chunk of chains to align: `residues` of all of them, `cpu_seconds` with the chunk's overhead.

    `complexes` are paired by an MSA server.
    """

    chunk: str
    chains: int
    residues: int
    cpu_seconds: float
    complexes: int = 0


def make_quote(
    batches: Sequence[BatchRow],
    counts: Mapping[str, int],
    searches: Sequence[Search],
    *,
    config: Config,
    classes: Sequence[GpuClass],
    model: CostModel,
    rehearsals: Collection[str],
    aligns_on: GpuClass | None = None,
    cores: int | None = None,
    today: date | None = None,
    warnings: Iterable[str] = (),
) -> Quote:
    """Add up what a plan takes.

    Errors of one part are common to all jobs (a class that is slower than its table says is so for every
    batch), so low ends are added to low ends and high ends to high ends: more jobs make no range narrower.

    Args:
        batches: rows of batches.tsv in the order of submission; those without a `gpu` cost nothing.
        counts: records by state.
        searches: chunks in the order in which they are searched.
        classes: the GPU classes that the batches name.
        rehearsals: engines whose predictions are made with random parameters, and cut down.
        aligns_on: class whose GPUs alignments are searched on, if these are rented.
        cores: that alignments run on; None counts this machine's.
        today: to tell old prices by; None asks the clock.
        warnings: of the caller, shown with those found here.
    """
    used = {gpu.name: gpu for gpu in classes}
    works = _works(config, batches, rehearsals)
    jobs = [job(row, used[row.gpu], model, works) for row in batches if row.gpu]
    cores = cores or len(os.sched_getaffinity(0))
    workers = worker_limits(config, classes, cores)
    cpu = [(search.chunk, ranged(search.cpu_seconds, model.spread("msa"))) for search in searches]
    asked = _asked(searches, config, model)
    idle_timeout = {gpu.name: model.idle_seconds(gpu) for gpu in classes}

    def wall_at(count: Mapping[str, int]) -> Wall:
        return wall_time(
            jobs, cpu, config=config, workers=count, cores=cores, idle_timeout=idle_timeout, asked=asked
        )

    wall = wall_at(workers)
    per_class = [
        _class_quote(gpu, own, workers[gpu.name], model, wall.idle[gpu.name])
        for gpu in classes
        if (own := [item for item in jobs if item.row.gpu == gpu.name])
    ]
    hours = total(item.hours for item in per_class)
    overhead = sum(item.overhead for item in jobs) + sum(wall.idle.values())
    aligned = _aligned(cpu, aligns_on, config)
    dollars = total(item.dollars for item in per_class) + aligned
    disk = needed(
        jobs,
        chains=sum(search.chains for search in searches),
        residues=sum(search.residues for search in searches),
        database_bytes=database_bytes(config.msa),
        model=model,
        folder=Path(config.results),
    )

    return Quote(
        rehearsal=bool(rehearsals),
        rehearsals=sorted(rehearsals),
        targets=dict(counts),
        engines=_by_engine(jobs),
        batches=len(jobs),
        chains=sum(search.chains for search in searches),
        chunks=len(searches),
        classes=per_class,
        hours=hours,
        overhead=_share(overhead / 3600, hours.expected),
        dollars=dollars,
        msa_cpu_hours=total(amount for _, amount in cpu).times(1 / 3600),
        msa_wall_hours=wall.alignments.times(1 / 3600),
        msa_gpu=aligns_on.name if aligns_on and searches else "",
        msa_dollars=aligned,
        wall_hours=wall.all.times(1 / 3600),
        cores=cores,
        server=config.msa.server.url if asked else "",
        complexes=sum(search.complexes for search in searches),
        disk=disk,
        rests_on=list(dict.fromkeys(item.rests_on for item in per_class)),
        warnings=[*warnings, *_old_prices(per_class, today or date.today()), *_disk_warnings(disk, config)],
        cheaper=_cheaper(jobs, used, dollars, config),
        faster=_faster(lambda count: wall_at(count).all.expected / 3600, workers, config.deadline),
    )


def _aligned(cpu: Sequence[tuple[str, Range]], gpu: GpuClass | None, config: Config) -> Range:
    """Dollars of searches on rented GPUs.

    How long a GPU searches was not measured: as long as the job's CPUs would, which is more.
    """
    if gpu is None:
        return Range()
    return total(amount for _, amount in cpu).times(gpu.dollars_per_second / config.msa.threads)


def _asked(searches: Iterable[Search], config: Config, model: CostModel) -> list[tuple[str, Range]] | None:
    """Wall seconds of each chunk at an MSA server; None if none is asked."""
    if not config.msa.asks_server:
        return None
    factors = model.spread("server")
    return [
        (search.chunk, ranged(model.asked_seconds(search.chains + search.complexes), factors))
        for search in searches
    ]


def _works(
    config: Config, batches: Iterable[BatchRow], rehearsals: Collection[str]
) -> dict[tuple[str, str], Work]:
    """What a prediction of each engine and group (`groups.Group.label`) takes."""
    return {
        (engine, label_of(group, part)): work_of(
            config, engines.get(engine), group, rehearsal=engine in rehearsals, part=part
        )
        for engine, group, part in {(row.engine, row.group, row.part) for row in batches if row.gpu}
    }


def _by_engine(jobs: Iterable[Job]) -> dict[str, int]:
    """Targets to predict, by engine."""
    rows = [item.row for item in jobs]
    return {
        engine: _targets(row for row in rows if row.engine == engine)
        for engine in dict.fromkeys(row.engine for row in rows)
    }


def _targets(rows: Iterable[BatchRow]) -> int:
    """Targets of batches, in however many parts their seeds are predicted: most are in all parts."""
    found: Counter[int | None] = Counter()
    for row in rows:
        found[row.part] += row.targets
    return found.pop(None, 0) + max(found.values(), default=0)


def _cheaper(
    jobs: Sequence[Job], used: Mapping[str, GpuClass], dollars: Range, config: Config
) -> Offer | None:
    if config.budget is None or dollars.expected <= config.budget:
        return None
    table = limits.rentable(Path(config.gpu.table) if config.gpu.table else None)
    return limits.cheaper(jobs, used, table, config.budget)


def _faster(
    wall_hours: Callable[[Mapping[str, int]], float], workers: Mapping[str, int], deadline: float | None
) -> Offer | None:
    if deadline is None or wall_hours(workers) <= deadline:
        return None
    return limits.faster(wall_hours, workers, deadline)


def _class_quote(
    gpu: GpuClass, own: Sequence[Job], workers: int, model: CostModel, idle: float
) -> ClassQuote:
    """What the jobs of one class take, and `idle` seconds of its workers besides."""
    seconds = total(item.seconds for item in own)
    # At the least one worker is given back once; at the most each job is the last of its worker.
    timeout = model.idle_seconds(gpu)
    waiting = Range(expected=idle, low=min(timeout, idle), high=max(timeout * len(own), idle))
    dollars = sum(item.row.dollars for item in own)
    return ClassQuote(
        gpu=gpu.name,
        title=gpu.title,
        workers=workers,
        batches=len(own),
        targets=_targets(item.row for item in own),
        hours=(seconds + waiting).times(1 / 3600),
        idle_hours=waiting.times(1 / 3600),
        dollars=_in_proportion(dollars, seconds) + waiting.times(gpu.dollars_per_second),
        dollars_per_second=gpu.dollars_per_second,
        priced_on=gpu.priced_on,
        memory_gb=max(item.row.memory_gb for item in own),
        rests_on="; ".join(dict.fromkeys(model.basis(gpu, item.work.engine) for item in own)),
    )


def _in_proportion(amount: float, to: Range) -> Range:
    if not to.expected:
        return Range(expected=amount, low=amount, high=amount)
    low, high = amount * (to.low / to.expected), amount * (to.high / to.expected)
    return Range(expected=amount, low=min(low, amount), high=max(high, amount))


def _share(part: float, whole: float) -> float:
    return min(1.0, part / whole) if whole else 0.0


def _old_prices(classes: Iterable[ClassQuote], today: date) -> list[str]:
    """Rented classes whose price is old, or has no date."""
    texts = []
    for item in classes:
        if not item.dollars_per_second:
            continue
        if item.priced_on is None:
            texts.append(f"The price of {item.gpu} has no date: check it.")
        elif (days := (today - item.priced_on).days) > _OLD_PRICE_DAYS:
            texts.append(
                f"The price of {item.gpu} is {days} days old ({item.priced_on}): check it, "
                "and write the current price into your own table (gpu.table)."
            )
    return texts


def _disk_warnings(disk: Disk, config: Config) -> list[str]:
    if disk.free is None or disk.total.expected <= disk.free:
        return []
    return [
        f"{gigabytes(disk.total.expected)} will be written, {gigabytes(disk.free)} are free at "
        f"{config.results}. Free disk space, or set `results` and `store` to a larger disk."
    ]
