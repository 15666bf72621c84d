"""TM-score of models of one target: residue lies on residue, so that only the superposition is searched.

Score: Zhang & Skolnick 2004, doi:10.1002/prot.20264. Search: 1 / (1 + d²/d0²) is convex in d², so that a
superposition weighted with its slopes can only raise the sum (minorise and maximise). It starts from
fragments, as the paper's does, all of them at once. TM-align held to this alignment takes longer and finds no
higher score (tests/unit/test_scores.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

#: Shortest fragment that a superposition starts from, residues.
_SHORTEST = 4
_ROUGH, _FINE, _KEPT = 6, 60, 6
_SETTLED = 1e-6

Points = NDArray[np.float64]


def tm_d0(length: int) -> float:
    """Distance scale of the TM-score, Å: 1.24 (L − 15)^⅓ − 1.8, at least 0.5 as in TM-align."""
    return max(0.5, 1.24 * float(np.cbrt(length - 15)) - 1.8) if length > 15 else 0.5


def tm_score(mobile: Points, fixed: Points) -> float:
    """TM-score of two sets of points [L, 3] in Å that correspond one to one, by L; 0 to 1.

    Raises:
        ValueError: shapes differ, or there are fewer than 3 points.
    """
    if mobile.shape != fixed.shape or mobile.ndim != 2 or mobile.shape[1] != 3 or len(mobile) < 3:
        raise ValueError(f"TM-score: expected two arrays [L, 3], L ≥ 3; found {mobile.shape}, {fixed.shape}.")
    pair = _Pair(mobile - mobile.mean(axis=0), fixed - fixed.mean(axis=0))
    weights = _fragments(len(mobile))
    scores = np.zeros(len(weights))
    for _ in range(_ROUGH):
        terms = pair.terms(weights)
        scores, weights = terms.mean(axis=1), terms**2
    weights = weights[np.argsort(scores)[-_KEPT:]]
    best = 0.0
    for _ in range(_FINE):
        terms = pair.terms(weights)
        weights, before, best = terms**2, best, float(terms.mean(axis=1).max())
        if best - before < _SETTLED:
            break
    return best


def pairwise_tm(models: Sequence[Points]) -> list[list[float | None]]:
    """TM-scores of all pairs of models, [rank][rank], four decimals; without residues that one lacks."""
    table: list[list[float | None]] = [[None] * len(models) for _ in models]
    for number in range(len(models)):
        table[number][number] = 1.0
    for first, second in combinations(range(len(models)), 2):
        there = ~np.isnan(models[first] + models[second]).any(axis=1)
        if there.sum() < 3:
            continue
        score = round(tm_score(models[first][there], models[second][there]), 4)
        table[first][second] = table[second][first] = score
    return table


def _fragments(length: int) -> NDArray[np.float64]:
    """Weights [starts, L] of the whole and of overlapping fragments of a half, a quarter, … of it."""
    rows, size = [np.ones(length)], length // 2
    while size >= _SHORTEST and len(rows) < 64:
        starts = np.unique(np.linspace(0, length - size, 2 * (length // size) - 1).astype(int))
        rows += [((place := np.arange(length)) >= start) & (place < start + size) for start in starts]
        size //= 2
    return np.array(rows, dtype=np.float64)


class _Pair:
    """Two sets of points, and what every superposition of them needs: products of their coordinates."""

    def __init__(self, mobile: Points, fixed: Points) -> None:
        self.mobile, self.fixed = mobile, fixed
        self.products = (mobile[:, :, None] * fixed[:, None, :]).reshape(-1, 9)
        self.squares = np.stack([(mobile**2).sum(axis=1), (fixed**2).sum(axis=1)])
        self.d0_squared = tm_d0(len(mobile)) ** 2

    def terms(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """1 / (1 + d²/d0²) [n, L] after the weighted superposition by each row of `weights` (Kabsch 1976).

        d² is written out in products, which leaves matrix multiplications: no set of points is moved.
        """
        weights = weights / weights.sum(axis=1, keepdims=True)
        start, goal = weights @ self.mobile, weights @ self.fixed
        covariance = (weights @ self.products).reshape(-1, 3, 3) - start[:, :, None] * goal[:, None, :]
        left, _, right = np.linalg.svd(covariance)
        left[:, :, -1] *= np.sign(np.linalg.det(left @ right))[:, None]
        turn = left @ right
        turned_start = np.einsum("ni,nij->nj", start, turn)
        shift_back = np.einsum("nij,nj->ni", turn, goal)
        squared = self.squares.sum(axis=0)[None, :] - 2 * turn.reshape(-1, 9) @ self.products.T
        squared -= 2 * (start - shift_back) @ self.mobile.T + 2 * (goal - turned_start) @ self.fixed.T
        squared += ((start**2).sum(axis=1) + (goal**2).sum(axis=1) - 2 * (turned_start * goal).sum(axis=1))[
            :, None
        ]
        return 1 / (1 + np.maximum(squared, 0) / self.d0_squared)
