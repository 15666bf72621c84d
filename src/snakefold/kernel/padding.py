"""Lengths that monomers are padded to, so that one compiled program serves many of them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def padded_length(length: int, edges: Sequence[int]) -> int:
    """The smallest of the ascending `edges` that holds `length`; above the last one, the length itself."""
    place = bisect_left(edges, length)
    return edges[place] if place < len(edges) else length


def padded_lengths(lengths: NDArray[np.int64], edges: Sequence[int]) -> NDArray[np.int64]:
    """`padded_length` of each of the lengths."""
    if not len(edges):
        return lengths
    ordered = np.asarray(edges, dtype=np.int64)
    place = np.searchsorted(ordered, lengths)
    return np.where(place < len(ordered), ordered[np.minimum(place, len(ordered) - 1)], lengths)
