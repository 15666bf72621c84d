"""Seconds of a batch, by part and with a range; the parts are not sure to the same degree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from snakefold.plan.cost.gpus import GpuClass
from snakefold.plan.cost.model import CostModel, Work
from snakefold.plan.files import BatchRow
from snakefold.plan.quote.model import Range, total


@dataclass(frozen=True, slots=True)
class Job:
    """A batch that is predicted: its worker seconds, and how many of them are start, load and compilation."""

    row: BatchRow
    work: Work
    chunks: tuple[str, ...]
    seconds: Range
    overhead: float


def job(row: BatchRow, gpu: GpuClass, model: CostModel, works: Mapping[tuple[str, str], Work]) -> Job:
    """A row of batches.tsv with the range of its seconds.

    `row.seconds` is the planner's sum; its parts are asked of the model again, the rest of it is prediction.
    """
    work = works[row.engine, row.group]
    mean = row.residues / row.targets
    # Without edges every length compiles: as many as there may be of them, all as long as the mean.
    shapes = row.edges or [round(mean)] * min(row.targets, row.longest - row.shortest + 1)
    parts = {
        "start": model.start_seconds(gpu),
        "load": model.load_seconds(work, gpu),
        "compile": float(np.sum(model.compile_seconds(np.array(shapes), work, gpu))),
        "relax": row.targets * float(model.relax_seconds(np.array([mean]), work, gpu)[0]),
    }
    known = sum(parts.values())
    # Never more than the planner's own sum, whose parts are counted target by target.
    share = min(1.0, row.seconds / known) if known else 0.0
    parts = {part: seconds * share for part, seconds in parts.items()}
    parts["predict"] = max(0.0, row.seconds - sum(parts.values()))
    return Job(
        row=row,
        work=work,
        chunks=tuple(chunk for chunk in row.chunks.split(",") if chunk),
        seconds=total(
            ranged(seconds, model.spread(part, gpu, work.engine)) for part, seconds in parts.items()
        ),
        overhead=parts["start"] + parts["load"] + parts["compile"],
    )


def ranged(expected: float, factors: tuple[float, float]) -> Range:
    """An expected amount between its low and high factors."""
    low, high = factors
    return Range(expected=expected, low=expected * min(low, 1.0), high=expected * max(high, 1.0))
