"""How many rows of pairs the triangle attention computes at once: of the session, and of the cost model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from snakefold.engines.spec import Floats

#: Heads of the triangle attention.
HEADS = 4
#: Scores that are in memory at once: 1 GB of float32.
_SCORES = 2**28
#: Kernels index with 32 bits: without chunks, ESMFold gives wrong structures of 813 residues and more, and no
#: error (facebookresearch/esm, issue 641).
_MOST = 2**31 - 1


def chunk_size(length: int, asked: int | None) -> int | None:
    """Rows that are computed at once; None: all.

    Args:
        length: residues.
        asked: the setting; None: as many as fit.
    """
    row = HEADS * length**2
    rows = min(_SCORES // row if asked is None else asked, _MOST // row)
    return None if rows >= length else max(1, rows)


def scores(lengths: Floats, asked: int | None) -> Floats:
    """How many scores are in memory at once, at the most; it does not fall with the length."""
    row = HEADS * lengths**2
    rows = lengths if asked is None else np.minimum(lengths, asked)
    return np.asarray(np.maximum(row, np.minimum(row * rows, _SCORES if asked is None else _MOST)))
