"""What sequences are drawn with: order of the positions and noise, from a seed and nothing else.

A sample has its own stream of random numbers, named by seed, temperature and number, and takes as many as the
backbone has positions. So it is the same whatever else is drawn with it, and whatever it is padded to.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from snakefold.engines.proteinmpnn.network import LETTERS, Draw
from snakefold.engines.proteinmpnn.shapes import padded_length

#: Number of the stream that orders the native sequence, which is scored; samples count from 1.
NATIVE = 0


def stream(seed: int, temperature: float, sample: int) -> np.random.Generator:
    """Random numbers of one sample."""
    return np.random.Generator(np.random.PCG64([seed, round(temperature * 1e6), sample]))


def order_of(
    random: np.random.Generator, drawn: NDArray[np.bool_], tied: Sequence[Sequence[int]] = ()
) -> tuple[NDArray[np.int32], list[list[int]]]:
    """Rank of every position [L], and the groups that are drawn, in order.

    As in ProteinMPNN, what is not drawn comes first and all else in random order; a group comes where the
    first of its members would.
    """
    keys = random.random(len(drawn)) + drawn
    of_group = {position: list(group) for group in tied for position in group}
    order: list[int] = []
    groups: list[list[int]] = []
    taken: set[int] = set()
    for position in np.argsort(keys, kind="stable").tolist():
        if position in taken:
            continue
        group = of_group.get(position, [position])
        taken.update(group)
        order += group
        if drawn[position]:
            groups.append(group)
    rank = np.empty(len(drawn), np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    return rank, groups


def draw(
    random: np.random.Generator, drawn: NDArray[np.bool_], tied: Sequence[Sequence[int]], padded: int
) -> Draw:
    """One sample's draw, padded to length `padded`."""
    rank, groups = order_of(random, drawn, tied)
    uniform = np.maximum(random.random((len(drawn), len(LETTERS))), np.finfo(np.float64).tiny)
    noise = -np.log(-np.log(uniform))  # Gumbel: its largest sum with the logits is a draw from their softmax
    widest = max(map(len, tied), default=1)
    members = np.full((min(padded_length(len(groups)), padded), widest), padded, np.int32)
    for place, group in enumerate(groups):
        members[place, : len(group)] = group
    return Draw(members, padded_rank(rank, padded), _padded(noise.astype(np.float32), padded))


def shift(random: np.random.Generator, length: int, noise: float, padded: int) -> NDArray[np.float32]:
    """Backbone noise of one sample, float32 [L, 4, 3] in Å."""
    return _padded((noise * random.standard_normal((length, 4, 3))).astype(np.float32), padded)


def padded_rank(rank: NDArray[np.int32], padded: int) -> NDArray[np.int32]:
    """Ranks with those of the padding after all others."""
    return np.concatenate([rank, np.arange(len(rank), padded, dtype=np.int32)])


def _padded(values: NDArray[np.float32], padded: int) -> NDArray[np.float32]:
    return np.pad(values, [(0, padded - len(values)), *[(0, 0)] * (values.ndim - 1)])
