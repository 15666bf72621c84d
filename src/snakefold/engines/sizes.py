"""Bytes of a structure's files, as several engines count them, and how many models are relaxed.

Measured on the demo set: a residue is 650 bytes of PDB and as much of mmCIF, twice that with hydrogens.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from snakefold.kernel.contracts import RelaxChoice, RelaxSettings

#: Bytes a residue: PDB and mmCIF of a model; with hydrogens; and the unrelaxed PDB kept beside it.
_PDB = 650
_MODEL, _RELAXED = 2 * _PDB, 2 * _PDB + 2_000
#: Bytes of a target's other files.
SMALL_FILES = 3_000


def model_bytes(sizes: ArrayLike, predictions: int, relaxed: int) -> NDArray[np.float64]:
    """Bytes of text of so many models, of which some are relaxed."""
    n = np.asarray(sizes, dtype=float)
    return np.asarray(n * (_MODEL * predictions + _RELAXED * relaxed), dtype=np.float64)


def pdb_bytes(sizes: ArrayLike, models: int) -> NDArray[np.float64]:
    """Bytes of text of so many models that are there as PDB alone."""
    return np.asarray(np.asarray(sizes, dtype=float) * _PDB * models, dtype=np.float64)


def relaxed_models(relax: RelaxSettings, predictions: int) -> int:
    """How many of a target's models are relaxed."""
    return {RelaxChoice.NONE: 0, RelaxChoice.BEST: 1, RelaxChoice.ALL: predictions}[relax.models_to_relax]
