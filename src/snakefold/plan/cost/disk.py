"""Bytes that a run leaves on the disk, target by target.

An engine says itself what it writes (`engines.spec.Work.result_bytes`); archives hold text at a fifth of its
size.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from snakefold.engines.spec import Work

Floats = NDArray[np.float64]

#: Archives of a target: one in the store, one in the batch's archive.
_ARCHIVES = 2
_COMPRESSED = 0.2
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
    text, packed = work.result_bytes(lengths)
    return np.asarray(text * (1 + _ARCHIVES * _COMPRESSED) + packed * (1 + _ARCHIVES), dtype=np.float64)


def packed_result_bytes(lengths: ArrayLike, work: Work) -> Floats:
    """Bytes of each target in its batch's archive, without the alignment that lies in it too."""
    text, packed = work.result_bytes(lengths)
    return np.asarray(text * _COMPRESSED + packed, dtype=np.float64)


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


def _rows(database_bytes: float) -> float:
    return min(_MOST_ROWS, _ROWS * (database_bytes / _ROWS_BYTES) ** 0.5) if database_bytes else 1.0
