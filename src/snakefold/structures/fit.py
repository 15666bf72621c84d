"""Points laid on points that correspond one to one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]

#: Å; points farther apart than this have little weight, so that rigid parts lie on each other.
_SCALE = 4.0
_ROUNDS = 25


def overlay(mobile: Points, fixed: Points) -> tuple[Points, Points]:
    """Rotation [3, 3] and translation [3]; `x @ rotation.T + translation` moves `mobile` onto `fixed`.

    Repeated least squares (Kabsch 1976, doi:10.1107/S0567739476001873) with weights 1 / (1 + d²/d0²)², so
    that a loop that points elsewhere does not pull the fold away. Points [L, 3] correspond one to one; pairs
    with a NaN are left out.
    """
    there = ~np.isnan(mobile + fixed).any(axis=1)
    mobile, fixed = mobile[there], fixed[there]
    if len(mobile) < 3:
        return np.eye(3), np.zeros(3)
    weights = np.ones(len(mobile))
    for _ in range(_ROUNDS):
        rotation, translation = fit(mobile, fixed, weights)
        squared = ((mobile @ rotation.T + translation - fixed) ** 2).sum(axis=1)
        before, weights = weights, 1 / (1 + squared / _SCALE**2) ** 2
        if np.abs(weights - before).max() < 1e-4:
            break
    return rotation, translation


def rmsd(mobile: Points, fixed: Points) -> float | None:
    """Smallest root mean square distance of two sets of points over all of them, Å; None below 3 pairs."""
    there = ~np.isnan(mobile + fixed).any(axis=1)
    mobile, fixed = mobile[there], fixed[there]
    if len(mobile) < 3:
        return None
    rotation, translation = fit(mobile, fixed)
    return float(np.sqrt(((mobile @ rotation.T + translation - fixed) ** 2).sum(axis=1).mean()))


def fit(mobile: Points, fixed: Points, weights: NDArray[np.float64] | None = None) -> tuple[Points, Points]:
    """Rotation [3, 3] and translation [3] of the least squares; `x @ rotation.T + translation` moves x.

    Source: Kabsch 1976, doi:10.1107/S0567739476001873.

    Args:
        mobile, fixed: [L, 3], finite.
        weights: of the pairs [L]; None: all alike.
    """
    weights = np.ones(len(mobile)) if weights is None else weights
    share = weights / weights.sum()
    start, goal = share @ mobile, share @ fixed
    left, _, right = np.linalg.svd((fixed - goal).T @ ((mobile - start) * share[:, None]))
    left[:, -1] *= np.sign(np.linalg.det(left @ right))
    rotation = left @ right
    return rotation, goal - rotation @ start
