"""Targets cut into batches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from snakefold.plan.assign import Bucket

#: Results that one local job fetches at the most: its archive is made in memory.
FETCHED_TARGETS = 1000
FETCHED_RESIDUES = 100_000

#: Jobs that a run should not have many more of: each costs Snakemake milliseconds whenever it looks at them.
MOST_BATCHES = 5000


@dataclass(frozen=True, slots=True)
class Batch:
    """Targets of one job, by their index.

    `padded_length` is the bucket's edge, None where every target is predicted at its own length. The name is
    `b<number>-l<edge>` for a bucket, `c<number>-l<longest>` for targets at their own length (mostly
    complexes), `s<number>` for results of the store and `r<number>` for those of a collection. `gpu` is
    empty for the last two.
    """

    name: str
    padded_length: int | None
    gpu: str
    members: tuple[int, ...]


def coarsened(buckets: Sequence[Bucket], most: int = MOST_BATCHES) -> list[Bucket]:
    """The buckets with larger batches, if they would be cut into more than about `most`.

    A large set has no use for small batches, which are there so that several workers end together.
    """
    batches = sum(-(-bucket.count // bucket.batch_targets) for bucket in buckets)
    factor = max(1, -(-batches // most))
    return [replace(bucket, batch_targets=bucket.batch_targets * factor) for bucket in buckets]


def cut_batches(
    lengths: NDArray[np.int64],
    complexes: NDArray[np.bool_],
    members: NDArray[np.int64],
    buckets: Sequence[Bucket],
    *,
    max_targets: int,
    max_residues: int,
) -> list[Batch]:
    """Every member in exactly one batch: padded ones from the shortest to the longest, then the others.

    Monomers and complexes are predicted by different networks and never share a batch. The batches of a
    bucket are of nearly equal size, so that no job is left over with a handful of targets.

    Args:
        lengths, complexes: residues of every target, and whether it has several chains.
        members: indices of the targets to cut.
        buckets: what `assign` made of the lengths of these targets.
        max_targets: targets of one batch at the most.
        max_residues: residues of one batch at the most, padding included; a longer target runs alone.

    Raises:
        ValueError: the buckets are not those of these targets.
    """
    order = {
        kind: _by_length(members[complexes[members] == kind], lengths).tolist() for kind in (False, True)
    }
    taken = {False: 0, True: 0}
    batches: list[Batch] = []
    # Sorting is stable: buckets of one edge stay in the order in which the targets fill them.
    for bucket in sorted(buckets, key=_place):
        start = taken[bucket.complexes]
        taken[bucket.complexes] = end = start + bucket.count
        inside = order[bucket.complexes][start:end]
        if len(inside) < bucket.count or any(not _fits(int(lengths[index]), bucket) for index in inside):
            raise ValueError(f"{bucket} does not hold the targets that are planned")
        most = min(bucket.batch_targets, max_targets)
        pieces = -(-bucket.count // most)
        for piece in _cut(inside, lengths, bucket.padded_length, -(-bucket.count // pieces), max_residues):
            batches.append(_named(len(batches) + 1, piece, lengths, bucket))
    if any(taken[kind] < len(order[kind]) for kind in order):
        raise ValueError("some targets are in no bucket")
    return batches


def cut_fetched(prefix: str, groups: Iterable[Sequence[int]], lengths: NDArray[np.int64]) -> list[Batch]:
    """Batches of results that are there already, in the order given, so that what is added comes last."""
    batches: list[Batch] = []
    for group in groups:
        for piece in _cut(group, lengths, None, FETCHED_TARGETS, FETCHED_RESIDUES):
            batches.append(Batch(f"{prefix}{len(batches) + 1:04d}", None, "", tuple(piece)))
    return batches


def _by_length(members: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    return members[np.argsort(lengths[members], kind="stable")]


def _place(bucket: Bucket) -> tuple[bool, bool, int]:
    return bucket.padded_length is None, bucket.complexes, bucket.padded_length or 0


def _fits(length: int, bucket: Bucket) -> bool:
    return bucket.shortest <= length <= min(bucket.longest, bucket.padded_length or length)


def _cut(
    indices: Sequence[int],
    lengths: NDArray[np.int64],
    padded_length: int | None,
    max_targets: int,
    max_residues: int,
) -> list[list[int]]:
    pieces: list[list[int]] = []
    residues = 0
    for index in indices:
        size = padded_length or int(lengths[index])
        if not pieces or len(pieces[-1]) == max_targets or residues + size > max_residues:
            pieces.append([])
            residues = 0
        pieces[-1].append(index)
        residues += size
    return pieces


def _named(number: int, members: Sequence[int], lengths: NDArray[np.int64], bucket: Bucket) -> Batch:
    letter = "c" if bucket.padded_length is None else "b"
    longest = bucket.padded_length or int(lengths[members[-1]])
    return Batch(f"{letter}{number:04d}-l{longest:04d}", bucket.padded_length, bucket.gpu, tuple(members))
