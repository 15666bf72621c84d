"""Where the work of a simulated run comes from: a plan, sequences that are planned here, or mere lengths."""

from __future__ import annotations

import math
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snakefold import engines
from snakefold.kernel import tables
from snakefold.kernel.errors import SnakefoldError
from snakefold.msa.databases.presets import Part, only
from snakefold.msa.planned import read_chunk
from snakefold.plan.alignments import chunk_sizes
from snakefold.plan.assignment.assign import Demand, Limits, assign
from snakefold.plan.assignment.types import Sizes
from snakefold.plan.batches import coarsened, cut_batches
from snakefold.plan.files import (
    PLANNED_ANEW,
    WEIGHTS,
    BatchRow,
    ChainRow,
    State,
    TargetRow,
    part_of,
    read_batch,
    read_parameters,
    read_rows,
    read_targets,
)
from snakefold.plan.groups import Groups, label_of
from snakefold.plan.join import measure_with
from snakefold.plan.simulate.cluster import Cluster, Floats, Workload
from snakefold.plan.simulate.prices import Prices


@dataclass(frozen=True, slots=True)
class Distribution:
    """A log-normal distribution of chain lengths, in residues, between `shortest` and `longest`."""

    median: float
    mean: float
    shortest: int
    longest: int
    source: str

    @property
    def sigma(self) -> float:
        """Standard deviation of the logarithm: mean = median exp(sigma² / 2)."""
        return math.sqrt(2 * math.log(self.mean / self.median))


#: The log-normal form follows Tiessen, Pérez-Rodríguez and Delaye-Arredondo, BMC Research Notes 5:85 (2012).
DISTRIBUTIONS = {
    "cameo": Distribution(
        236, 299, 34, 883, "92 CAMEO targets of April to June 2022: median, range and spread of logarithms"
    ),
    "proteome": Distribution(281, 317, 16, 2400, "proteins of Escherichia coli K-12: median and mean"),
    "mixed": Distribution(295, 360, 16, 5000, "Swiss-Prot, all organisms: median and mean"),
}


def draw_lengths(name: str, number: int, *, seed: int, longest: int | None = None) -> NDArray[np.int64]:
    """[number] lengths; what falls outside the distribution's range is drawn again.

    Raises:
        KeyError: no such distribution.
        SnakefoldError: `longest` leaves nothing of it.
    """
    chosen = DISTRIBUTIONS[name]
    last = chosen.longest if longest is None else min(chosen.longest, longest)
    if last < 2 * chosen.shortest:
        raise SnakefoldError(
            f"{name}: begins at {chosen.shortest} residues, and no more than {last} are accepted or "
            "fit the GPU classes. Raise max_length, or name a class with more memory."
        )
    random = np.random.default_rng(seed)
    lengths = np.zeros(number, dtype=np.int64)
    missing = np.arange(number)
    while len(missing):
        drawn = random.lognormal(math.log(chosen.median), chosen.sigma, len(missing)).astype(np.int64)
        lengths[missing] = drawn
        missing = missing[(drawn < chosen.shortest) | (drawn > last)]
    return lengths


def is_rehearsal(plan: Path) -> bool:
    """Whether the plan in a folder is for random parameters.

    Raises:
        SnakefoldError: weights.json is damaged.
    """
    return (plan / WEIGHTS).exists() and read_parameters(plan).rehearsal


def names_in(plan: Path) -> tuple[list[str], list[str]]:
    """Engines and GPU classes of the batches that the plan in a folder predicts, in its order.

    Raises:
        SnakefoldError: the folder holds no plan.
    """
    with _unreadable_named(plan):
        rows = [row for row in read_rows(plan) if row.gpu]
    return list(dict.fromkeys(row.engine for row in rows)), list(dict.fromkeys(row.gpu for row in rows))


def from_plan(folder: Path, prices: Prices) -> Workload:
    """What a plan has to do, done or not: its batches on a GPU, and the searches that they wait for.

    Args:
        prices: with the engines and classes that the plan names (`names_in`).

    Raises:
        SnakefoldError: the folder holds no plan, or an engine has no such group.
    """
    with _unreadable_named(folder):
        rows = read_rows(folder)
        lengths: dict[str, list[int]] = defaultdict(list)
        several = False
        for target in read_targets(folder, TargetRow):
            if target.state == State.TO_DO:
                lengths[target.batch].append(target.length or 0)
                several |= (target.chains or 1) > 1
        for row in rows:
            if row.part is not None:  # its targets' rows name the batch that waits for it
                lengths[row.batch] = [each.target.length for each in read_batch(folder, row.batch).targets]
        chains: dict[str, list[int]] = defaultdict(list)
        missing: dict[str, list[Any]] = {}
        for chain in tables.rows(folder / "chains.tsv", ChainRow):
            chains[chain.chunk].append(chain.length)
            missing[chain.chunk] = chain.missing.split(",")
    # Only chains of complexes are searched for pairing rows as well: without any, no chunk file is read.
    paired = {chunk for chunk in chains if several and read_chunk(folder, chunk).pairing}

    def alike(chunk: str) -> tuple[bool, list[Part]]:
        return chunk in paired, missing[chunk]

    order = sorted(chains, key=alike)
    numbers = {chunk: number for number, chunk in enumerate(order)}
    jobs = [
        prices.job(
            row.batch,
            row.gpu,
            np.sort(np.array(lengths[row.batch])),
            bucket_edges=row.edges,
            kind=_kind(folder, row, prices),
            searches=tuple(numbers[chunk] for chunk in row.chunks.split(",") if chunk in numbers),
        )
        for row in rows
        if row.gpu and lengths[row.batch]
    ]
    return Workload(
        jobs,
        np.concatenate(
            [
                np.zeros(0),
                *(
                    _searches([chains[chunk] for chunk in chunks], prices, *kind)
                    for kind, chunks in groupby(order, alike)
                ),
            ]
        ),
        targets=sum(len(its) for batch, its in lengths.items() if part_of(batch) is None),
        residues=sum(sum(its) for batch, its in lengths.items() if part_of(batch) is None),
        gpu_relax=prices.work.gpu_relax,
        asked=prices.config.msa.asks_server,
    )


def from_sequences(prices: Prices) -> Workload:
    """Plan the configured input as a run would, with an empty store and official parameters.

    Raises:
        InputError, InfeasibleError: as the plan step of a run.
    """
    from snakefold.plan.planner import make_plan
    from snakefold.plan.present import Recipes
    from snakefold.plan.records import Records

    # Nothing is looked up and nothing is kept, so that any names do.
    templates = None if prices.config.msa.templates == "none" else "3" * 16
    pairs = "4" * 16 if prices.config.msa.asks_server else None

    def names(records: Records) -> Recipes:
        count = len(records.kinds)
        folds = [f"{number:016d}" for number in range(count)]
        return Recipes(folds, "2" * 16, "2" * 16, [False] * count, templates=templates, pairs=pairs)

    with tempfile.TemporaryDirectory(prefix="snakefold-simulate-") as folder:
        make_plan(
            prices.config,
            Path(folder),
            name=names,
        )
        return from_plan(Path(folder), prices)


def from_lengths(lengths: NDArray[np.int64], prices: Prices, cluster: Cluster) -> Workload:
    """Plan monomers of these lengths: the assignment and the cuts of a run, without its files.

    Raises:
        InfeasibleError: as the plan step of a run.
    """
    config = prices.config
    distinct, counts = np.unique(lengths, return_counts=True)
    kinds = Groups(config)
    number = next(place for place, kind in enumerate(kinds) if (kind.engine.name, kind.name) == prices.kind)
    kind = kinds[number]
    pads = kind.engine.pads(kind.name, kind.settings)
    limits = Limits(
        workers={name: pool.workers for name, pool in cluster.pools.items()},
        deadline=None if config.deadline is None else 3600 * config.deadline,
        budget=config.budget,
    )
    assigned = assign(
        [Demand(group=number, pads=pads, work=prices.work, lengths=distinct, counts=counts)],
        list(prices.classes.values()),
        prices.model,
        limits,
        objective=config.objective,
        bucket_edges=config.batch.bucket_edges,
        max_targets=config.batch.max_targets,
        max_residues=config.batch.max_residues,
    )
    if limits.deadline is None:
        assigned = coarsened(assigned)
    batches = cut_batches(
        lengths,
        np.full(len(lengths), number),
        np.arange(len(lengths)),
        assigned.buckets,
        assigned.sizes or Sizes(config.batch.max_targets, config.batch.max_residues, math.inf),
        measure=measure_with(prices.classes.values(), {number: prices.work}, prices.model)
        if assigned.sizes
        else None,
    )
    order = np.concatenate([np.asarray(batch.members, dtype=np.int64) for batch in batches])
    ordered = lengths[order]
    sizes = np.zeros(0, dtype=np.int64)
    if kind.needs.alignment:
        sizes = np.array(chunk_sizes(prices.chain_seconds(ordered, config.msa, pairing=False), config.msa))
    ends = np.cumsum(sizes)
    jobs, at = [], 0
    for batch in batches:
        end = at + len(batch.members)
        first, last = np.searchsorted(ends, (at, end - 1), side="right").tolist()
        jobs.append(
            prices.job(
                batch.name,
                batch.gpu,
                ordered[at:end],
                bucket_edges=batch.bucket_edges,
                kind=prices.kind,
                searches=tuple(range(first, last + 1)) if len(sizes) else (),
            )
        )
        at = end
    searches = prices.searches(ordered, sizes, config.msa, pairing=False)
    return Workload(
        jobs,
        searches,
        len(lengths),
        int(lengths.sum()),
        gpu_relax=prices.work.gpu_relax,
        asked=config.msa.asks_server,
    )


@contextmanager
def _unreadable_named(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, SnakefoldError) as error:
        raise SnakefoldError(
            f"{folder}: cannot be read as a plan ({error}). Give the plan/ folder of a run's results."
        ) from error


def _kind(folder: Path, row: BatchRow, prices: Prices) -> tuple[str, str]:
    """Engine and group of a batch."""
    group = label_of(row.group, row.part)
    if not group:
        # Plans of releases before 0.3 have no group: the engine tells it of a target, for all are alike.
        target = read_batch(folder, row.batch).targets[0].target
        group = engines.get(row.engine).group(target, prices.config.settings_of(row.engine))
    if (row.engine, group) not in prices.works and row.part is not None:
        raise SnakefoldError(
            f"{folder}: batch {row.batch} predicts a part of the seeds, and with these settings there are "
            f"none. Give those of the run: --set batch.seeds_per_job=N and the seeds of engine {row.engine}."
        )
    if (row.engine, group) not in prices.works:
        raise SnakefoldError(
            f"{folder}: batch {row.batch} is of group {group} of engine {row.engine}, which the installed "
            f"version does not have. {PLANNED_ANEW}"
        )
    return row.engine, group


def _searches(
    chunks: Sequence[Sequence[int]], prices: Prices, pairing: bool, missing: Sequence[Part]
) -> Floats:
    lengths = np.array([length for chunk in chunks for length in chunk], dtype=np.int64)
    settings = only(prices.config.msa, *missing)
    return prices.searches(lengths, np.array([len(chunk) for chunk in chunks]), settings, pairing=pairing)
