"""How conserved the columns of an alignment are.

Jensen-Shannon divergence between a column's residues and BLOSUM62's background (Capra and Singh 2007,
doi:10.1093/bioinformatics/btm270), with rows weighted by position (Henikoff and Henikoff 1994,
doi:10.1016/0022-2836(94)90032-9), times the share of rows that have a residue there. A column counts half by
itself and half by the three on either side of it, as Capra and Singh found best.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from snakefold.msa.a3m import Msa

_LETTERS = "ACDEFGHIKLMNPQRSTVWY"
#: BLOSUM62's frequencies of the amino acids (Henikoff and Henikoff 1992), in the order of `_LETTERS`.
_BACKGROUND = np.array(
    [
        *(0.078, 0.024, 0.052, 0.059, 0.044, 0.083, 0.025, 0.062, 0.056, 0.092),
        *(0.024, 0.041, 0.043, 0.034, 0.051, 0.059, 0.055, 0.072, 0.014, 0.034),
    ]
)
_BACKGROUND = _BACKGROUND / _BACKGROUND.sum()
_PSEUDOCOUNT = 1e-6
_WINDOW, _OWN = 3, 0.5


def conservation(msa: Msa) -> NDArray[np.float64]:
    """Conservation of every column, [query length], 0 to 1. One row alone says nothing: all are 0."""
    codes = msa.aligned()
    if len(codes) < 2:
        return np.zeros(codes.shape[1])
    table = np.full(256, -1, np.int8)
    table[[ord(letter) for letter in _LETTERS]] = np.arange(len(_LETTERS))
    residues = table[codes]
    present = residues >= 0
    counts = np.stack([(residues == each).sum(0) for each in range(len(_LETTERS))])  # [20, L]
    weights = _row_weights(residues, present, counts)
    frequencies = np.stack([weights @ (residues == each) for each in range(len(_LETTERS))])
    frequencies = frequencies + _PSEUDOCOUNT
    frequencies /= frequencies.sum(0)
    middle = (frequencies + _BACKGROUND[:, None]) / 2
    divergence = (
        (frequencies * np.log2(frequencies / middle)).sum(0)
        + (_BACKGROUND[:, None] * np.log2(_BACKGROUND[:, None] / middle)).sum(0)
    ) / 2
    return _smoothed(divergence * (weights @ present))


def _row_weights(
    residues: NDArray[np.int8], present: NDArray[np.bool_], counts: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Weights of the rows, [rows], whose sum is 1: rows with rare residues count more."""
    kinds = np.maximum((counts > 0).sum(0), 1)
    column = np.arange(residues.shape[1])
    weights = np.zeros(len(residues))
    for row in range(len(residues)):
        there = present[row]
        weights[row] = (1.0 / (kinds[there] * counts[residues[row, there], column[there]])).sum()
    total = weights.sum()
    return weights / total if total else np.full(len(weights), 1 / len(weights))


def _smoothed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    around = np.ones(2 * _WINDOW + 1)
    around[_WINDOW] = 0
    place = slice(_WINDOW, _WINDOW + len(values))
    sums, counts = (np.convolve(each, around)[place] for each in (values, np.ones(len(values))))
    return np.where(counts > 0, _OWN * values + (1 - _OWN) * sums / np.maximum(counts, 1), values)
