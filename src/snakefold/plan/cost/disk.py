"""Bytes that a run leaves on the disk, target by target.

Measured on the demo set (15 targets of 36 to 142 residues, two models of which one relaxed): a residue is 650
bytes of PDB and as much of mmCIF, twice that with hydrogens; archives hold text at a fifth of its size, and a
byte of PAE for a byte. Random parameters give PAE that compresses worse than real ones, so this errs upwards.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from snakefold.plan.cost.work import Work

Floats = NDArray[np.float64]

#: Bytes a residue: PDB and mmCIF of a model; with hydrogens; and the unrelaxed PDB kept beside it.
_MODEL, _RELAXED = 1_300, 1_300 + 2_000
#: Archives of a target: one in the store, one in the batch's archive.
_ARCHIVES = 2
_COMPRESSED = 0.2
_SMALL_FILES = 3_000
#: Rows of an alignment: 421 on average against Swiss-Prot's 194 MB; databases grow faster than families, so
#: with the square root, up to AlphaFold's limit. An estimate.
_ROWS, _ROWS_BYTES, _MOST_ROWS = 421, 194e6, 10_000
#: Bytes of a row besides its residues: its name, and its line in hits.tsv.
_ROW = 100
_ALIGNMENT_COMPRESSED = 0.3
#: The same of a whole A3M file, names and all: 0.30 to 0.36 from 200 to 10,000 rows of 100 to 350 residues.
_TEXT_COMPRESSED = 0.35


def result_bytes(lengths: ArrayLike, work: Work) -> Floats:
    """Bytes of each target's results: its folder under structures/, its store entry and its archive."""
    text, pae = _text_and_pae(lengths, work)
    return np.asarray(text * (1 + _ARCHIVES * _COMPRESSED) + pae * (1 + _ARCHIVES), dtype=np.float64)


def packed_result_bytes(lengths: ArrayLike, work: Work) -> Floats:
    """Bytes of each target in its batch's archive, without the alignment that lies in it too."""
    text, pae = _text_and_pae(lengths, work)
    return np.asarray(text * _COMPRESSED + pae, dtype=np.float64)


def packed_msa_bytes(lengths: ArrayLike, database_bytes: float) -> Floats:
    """Bytes of each chain's alignment in an archive: in a request's inputs, and in the results."""
    n = np.asarray(lengths, dtype=float)
    return np.asarray(_rows(database_bytes) * (n + _ROW) * _ALIGNMENT_COMPRESSED, dtype=np.float64)


def packed_text_bytes(size: float) -> float:
    """Bytes in an archive of an alignment that is there already, a text of so many bytes."""
    return size * _TEXT_COMPRESSED


def msa_bytes(lengths: ArrayLike, database_bytes: float) -> Floats:
    """Bytes of each chain's alignment: store entry, the request's copy, and the file beside the structure.

    `database_bytes`: of all databases searched; 0 for no search.
    """
    n = np.asarray(lengths, dtype=float)
    packed = 2 * _ALIGNMENT_COMPRESSED
    return np.asarray(_rows(database_bytes) * (n + _ROW) * (1 + packed), dtype=np.float64)


def _text_and_pae(lengths: ArrayLike, work: Work) -> tuple[Floats, Floats]:
    n = np.asarray(lengths, dtype=float)
    text = n * (_MODEL * work.predictions + _RELAXED * work.relaxed) + _SMALL_FILES
    return text, n**2 * work.predictions if work.engine == "alphafold2" else np.zeros_like(n)


def _rows(database_bytes: float) -> float:
    return min(_MOST_ROWS, _ROWS * (database_bytes / _ROWS_BYTES) ** 0.5) if database_bytes else 1.0
