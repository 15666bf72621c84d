"""Gigabytes that a run writes: alignments, results, and the archives that results travel in."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from snakefold.quote.model import Disk, Range

_GB = 1e-9
#: Bytes in the store of one residue of a chain's alignment: depth differs from family to family.
_ALIGNMENT = Range(expected=3_000, low=200, high=15_000)
#: Bytes of one residue of one model as PDB and mmCIF text, relaxed models with their hydrogens.
_STRUCTURE = Range(expected=2_200, low=1_600, high=3_000)
#: Bytes of one residue pair of one model: PAE with eight bits, compressed.
_PAIR = Range(expected=0.5, low=0.2, high=1.0)
#: An archive's share of what it holds.
_COMPRESSED = 0.35


class Sized(Protocol):
    """What is asked of a batch: rows of batches.tsv have it."""

    @property
    def targets(self) -> int: ...
    @property
    def residues(self) -> int: ...


def needed(batches: Iterable[Sized], *, chain_residues: int, predictions: int, folder: Path | None) -> Disk:
    """What a run writes.

    Args:
        chain_residues: residues of the chains to align.
        predictions: models of one target.
        folder: where results are written, to see what is free there; None does not look.
    """
    residues, pairs = 0.0, 0.0
    for batch in batches:
        residues += batch.residues
        pairs += batch.residues**2 / max(1, batch.targets)
    alignments = _ALIGNMENT.times(chain_residues * _GB)
    models = _STRUCTURE.times(residues * predictions * _GB) + _PAIR.times(pairs * predictions * _GB)
    return Disk(
        msas=alignments,
        results=models,
        # The store and the batch's archive hold the same files.
        archives=models.times(2 * _COMPRESSED),
        free=None if folder is None else free_gigabytes(folder),
    )


def free_gigabytes(folder: Path) -> float:
    """What is free where `folder` is, or would be made."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free * _GB
