"""The plan: records checked, equal ones made one, what is there left alone, the rest cut into priced batches.

`draft_plan` decides and writes nothing, so that its price can be refused; `tables.write_plan` writes.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from snakefold.config import Config
from snakefold.engines.spec import Work
from snakefold.kernel.errors import TargetError
from snakefold.kernel.store import Store
from snakefold.plan.accept import Fits
from snakefold.plan.alignments import (
    Alignments,
    cut_searches,
    find_alignments,
    search_wall_seconds,
    to_search,
)
from snakefold.plan.assignment.assign import Assignment, Demand, Limits, assign
from snakefold.plan.assignment.types import Sizes
from snakefold.plan.batches import Batch, coarsened, cut_batches, cut_fetched
from snakefold.plan.carry import Loads, are_heavy, fit_batches, result_bytes
from snakefold.plan.cost.gpus import GpuClass, load_classes
from snakefold.plan.cost.model import CostModel, load_model
from snakefold.plan.draft import Draft
from snakefold.plan.executors import Executor
from snakefold.plan.files import Kind
from snakefold.plan.groups import Groups
from snakefold.plan.join import measure_with
from snakefold.plan.parts import spread
from snakefold.plan.present import Present, Recipes, find_present
from snakefold.plan.prices import price
from snakefold.plan.quote.timing import worker_limits, workers_alike
from snakefold.plan.records import Check, Records, read_input, refuse
from snakefold.plan.tables import write_plan


def make_plan(
    config: Config,
    folder: Path,
    *,
    name: Callable[[Records], Recipes],
    store: Store | None = None,
    check: Check | None = None,
    fits: Callable[[Config, Groups], Fits] | None = None,
) -> Draft:
    """Read the input and write the plan into `folder`; equal input and an equal store give equal files.

    For the arguments and what is raised see `draft_plan`; if anything is, nothing is written.
    """
    draft = draft_plan(config, name=name, store=store, check=check, fits=fits)
    write_plan(folder, draft)
    return draft


def draft_plan(
    config: Config,
    *,
    name: Callable[[Records], Recipes],
    store: Store | None = None,
    check: Check | None = None,
    fits: Callable[[Config, Groups], Fits] | None = None,
    limits: bool = True,
    executor: Executor | None = None,
    log: Callable[[str], None] = print,
) -> Draft:
    """Decide what is computed, in which batches, on which GPU class.

    Targets with the same result (equal chains, and equal A3M if they bring one) are computed once, under the
    id of the first. What the store or a collection has is not computed. A target with more seeds than one job
    may have is computed in parts.

    Args:
        name: says what results of these targets are called; raises if something they need is missing.
        store: where finished targets and alignments are looked up; None looks nothing up.
        check: raises TargetError for a target that is not wanted, besides what its engine refuses.
        fits: makes the check whether a target can be computed (it gets an alignment, a GPU on offer holds
            it); asked of what must be computed.
        limits: keep to the budget and the deadline.
        executor: what jobs go to; batches fit what it can carry. None: only what an archive holds limits.

    Raises:
        InputError: nothing can be folded, or `on_invalid: stop` and something is refused.
        InfeasibleError: no assignment of the targets to GPU classes keeps to the limits.
        CarryError: a target's files are too large for the executor.
    """
    records = read_input(config, check)
    recipes = name(records)
    present = find_present(records, recipes, config, store, log)
    if fits is not None:
        check_size = fits(config, records.kinds)
        records, present = _that_fit(records, present, check_size, stop=config.on_invalid == "stop")
    records, present = spread(records, present, recipes, store)
    to_do = present.to_do()
    needs = [kind.needs for kind in records.kinds]
    aligned = [index for index in to_do.tolist() if needs[records.groups[index]].alignment]
    alignments = find_alignments(records, aligned, recipes, store)

    classes = load_classes(config.gpu.classes, Path(config.gpu.table) if config.gpu.table else None)
    model = load_model(config.calibration)
    works = records.kinds.works(recipes.rehearsals)
    assigned = _assigned(
        records,
        present,
        alignments,
        config,
        classes=classes,
        works=works,
        model=model,
        limits=limits,
    )
    predicted = cut_batches(
        records.lengths,
        records.groups,
        to_do,
        assigned.buckets,
        assigned.sizes or Sizes(config.batch.max_targets, config.batch.max_residues, math.inf),
        measure=measure_with(classes, works, model) if assigned.sizes else None,
        parts={number: kind.part for number, kind in enumerate(records.kinds) if kind.part is not None},
    )
    notes: list[str] = []
    executor = executor or Executor()
    limited = executor.inputs is not None or executor.results is not None
    if limited or are_heavy(predicted, records, works):
        loads = Loads(records, to_do, config, works)
        predicted, notes = fit_batches(predicted, loads, records, executor)
    batches = [*predicted, *_fetched(records, present, works)]
    batch_of = np.zeros(len(records.targets), dtype=np.int64)
    for number, batch in enumerate(batches):
        batch_of[list(batch.members)] = number

    in_order = (
        (records.targets[member], needs[records.groups[member]])
        for batch in predicted
        for member in batch.members
    )
    chunks = cut_searches(to_search(in_order, recipes), alignments, recipes, config, model)
    return Draft(
        records=records,
        recipes=recipes,
        present=present,
        alignments=alignments,
        batches=batches,
        batch_of=batch_of.tolist(),
        prices=price(batches, records.lengths, records.groups, classes=classes, works=works, model=model),
        chunks=chunks,
        chunk_of={chain: number for number, chunk in enumerate(chunks) for chain in chunk.chains},
        classes=classes,
        works=works,
        model=model,
        notes=notes,
    )


def _that_fit(records: Records, present: Present, fits: Fits, *, stop: bool) -> tuple[Records, Present]:
    """Without the targets that would have to be computed and cannot be."""
    errors = {}
    for index in present.to_do().tolist():
        try:
            fits(records.targets[index], int(records.lengths[index]), int(records.groups[index]))
        except TargetError as error:
            errors[index] = error
    if not errors:
        return records, present
    records, kept = refuse(records, errors, stop=stop)
    return records, present.of(kept)


def _assigned(
    records: Records,
    present: Present,
    alignments: Alignments,
    config: Config,
    *,
    classes: Sequence[GpuClass],
    works: Sequence[Work],
    model: CostModel,
    limits: bool,
) -> Assignment:
    to_do = present.to_do()
    demands = []
    for number, kind in enumerate(records.kinds):
        members = to_do[records.groups[to_do] == number]
        if not len(members):
            continue
        lengths, counts = np.unique(records.lengths[members], return_counts=True)
        pads = kind.engine.pads(kind.name, kind.settings)
        demands.append(Demand(number, pads, works[number], lengths, counts))
    cores = len(os.sched_getaffinity(0))
    kept = Limits(
        workers=worker_limits(config, classes, cores),
        deadline=config.deadline * 3600 if config.deadline and limits else None,
        budget=config.budget if limits else None,
        msa_seconds=search_wall_seconds(alignments, config, model, cores),
        alike=workers_alike(classes),
    )
    edges = sorted(config.batch.bucket_edges) if config.batch.bucket_edges else None
    assigned = assign(
        demands,
        classes,
        model,
        kept,
        objective=config.objective,
        bucket_edges=edges,
        max_targets=config.batch.max_targets,
        max_residues=config.batch.max_residues,
    )
    # Larger batches could end later than what was counted.
    return assigned if kept.deadline is not None else coarsened(assigned)


def _fetched(records: Records, present: Present, works: Sequence[Work]) -> list[Batch]:
    # A part that is stored is read where the models of its target are ranked.
    stored = np.flatnonzero(present.stored[: records.whole])
    of_kind = [stored[records.groups[stored] == number].tolist() for number in range(len(records.kinds))]
    spread_over = np.array(sorted(present.spread), dtype=np.int64)
    in_parts = [
        sorted(spread_over[records.groups[spread_over] == number].tolist(), key=lambda i: records.lengths[i])
        for number in range(len(records.kinds))
    ]
    # What says REHEARSAL in a collection goes apart: the mark is the batch's.
    marked = [
        [index for index in sorted(present.found) if present.found[index].rehearsal == mark]
        for mark in (False, True)
    ]
    return [
        *cut_fetched(Kind.RESTORE, [*of_kind, *in_parts], records.lengths, result_bytes(records, works)),
        *cut_fetched(Kind.REUSE, marked, records.lengths),
    ]
