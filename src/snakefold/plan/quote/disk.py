"""Gigabytes that a run writes, and whether there is room for them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from snakefold.plan.cost.model import CostModel
from snakefold.plan.quote.jobs import Job, ranged
from snakefold.plan.quote.model import Disk, total

_GB = 1e-9


def needed(
    jobs: Sequence[Job],
    *,
    chains: int,
    residues: int,
    database_bytes: float,
    model: CostModel,
    folder: Path | None,
) -> Disk:
    """What a run writes.

    Args:
        chains, residues: number of chains to align, and residues of all of them.
        database_bytes: of all databases that are searched.
        folder: where results are written, to see what is free there; None does not look.
    """
    written = [
        job.row.targets
        * float(model.result_bytes(np.array([job.row.residues / job.row.targets]), job.work)[0])
        for job in jobs
    ]
    mean = np.array([residues / chains if chains else 0.0])
    alignments = chains * float(model.msa_bytes(mean, database_bytes)[0])
    factors = model.spread("disk")
    return Disk(
        msas=ranged(alignments * _GB, factors),
        results=total(ranged(size * _GB, factors) for size in written),
        free=None if folder is None else free_gigabytes(folder),
    )


def free_gigabytes(folder: Path) -> float:
    """What is free where `folder` is, or would be made."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free * _GB
