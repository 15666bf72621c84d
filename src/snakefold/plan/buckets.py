"""Lengths that monomers are padded to, so that one compiled program serves many of them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from snakefold.plan.cost.network import A100_SECONDS
from snakefold.plan.cost.network import a100_seconds as predict_seconds

__all__ = ["A100_SECONDS", "bucket_edges", "predict_seconds"]

#: Seconds to compile the network for one more length: 22 to 33 on two CPU cores, whatever the length.
COMPILE_SECONDS = 30.0


def bucket_edges(
    lengths: Iterable[int], *, predictions: float = 1.0, compile_seconds: float = COMPILE_SECONDS
) -> list[int]:
    """Edges that make the whole set cheapest: padded prediction seconds plus a compilation for every bucket.

    Exact, by dynamic programming over the distinct lengths: the cheapest way to serve the j shortest is the
    cheapest way to serve the i shortest plus one bucket for the rest. Every edge is a length that occurs.

    Args:
        lengths: of the targets to pad; any order, repeated as often as they occur.
        predictions: how many times `predict_seconds` one target takes (models, seeds, recycles).
        compile_seconds: cost of one more bucket.

    Returns:
        Edges in ascending order; the last is the longest length. Empty for no lengths.
    """
    distinct, counts = np.unique(np.fromiter(lengths, dtype=np.int64), return_counts=True)
    served = np.concatenate(([0], np.cumsum(counts)))
    seconds = predictions * predict_seconds(distinct)
    cheapest = np.zeros(len(distinct) + 1)
    previous = np.zeros(len(distinct) + 1, dtype=np.int64)
    for end in range(1, len(distinct) + 1):
        costs = cheapest[:end] + (served[end] - served[:end]) * seconds[end - 1]
        previous[end] = int(np.argmin(costs))
        cheapest[end] = costs[previous[end]] + compile_seconds
    edges, end = [], len(distinct)
    while end:
        edges.append(int(distinct[end - 1]))
        end = int(previous[end])
    return edges[::-1]
