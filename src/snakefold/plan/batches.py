"""Targets cut into batches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from snakefold.plan.assignment.assign import Assignment, Bucket
from snakefold.plan.assignment.types import Sizes
from snakefold.plan.files import Kind
from snakefold.plan.join import Measure, Piece, cut_bucket, join

#: Results that one local job fetches at the most: its archive is made in memory.
FETCHED_TARGETS = 1000
FETCHED_RESIDUES = 100_000
FETCHED_BYTES = 1 << 30

#: Jobs that a run should not have many more of: each costs Snakemake milliseconds whenever it looks at them.
MOST_BATCHES = 5000


@dataclass(frozen=True, slots=True)
class Batch:
    """Targets of one job, by their index.

    `bucket_edges` are those of its buckets, none where every target is predicted at its own length. The name
    is `b<number>-l<largest edge>` for buckets, `c<number>-l<longest>` for targets at their own length (mostly
    complexes), with `-p<number>` if a part of their seeds is predicted, `s<number>` for results of the store
    (all of them, or parts that are predicted first) and `r<number>` for those of a collection, for rules are
    chosen by names. `gpu` is empty for the last two.
    """

    name: str
    bucket_edges: tuple[int, ...]
    gpu: str
    members: tuple[int, ...]
    kind: Kind = Kind.PREDICT


#: First letters of the names of what is fetched.
_FETCHED = {Kind.RESTORE: "s", Kind.REUSE: "r"}


def coarsened(plan: Assignment, most: int = MOST_BATCHES) -> Assignment:
    """The plan with larger batches, if it would be cut into more than about `most`.

    A large set has no use for small batches, which are there so that several workers end together. Those that
    were chosen for a deadline stay as they are.
    """
    if plan.sizes is None:
        return plan
    batches = sum(-(-bucket.count // bucket.batch_targets) for bucket in plan.buckets)
    factor = max(1, -(-batches // most))
    buckets = tuple(replace(bucket, batch_targets=bucket.batch_targets * factor) for bucket in plan.buckets)
    return replace(plan, buckets=buckets, sizes=replace(plan.sizes, seconds=plan.sizes.seconds * factor))


def cut_batches(
    lengths: NDArray[np.int64],
    groups: NDArray[np.int64],
    members: NDArray[np.int64],
    buckets: Sequence[Bucket],
    sizes: Sizes,
    *,
    measure: Measure | None = None,
    parts: Mapping[int, int] | None = None,
) -> list[Batch]:
    """Every member in exactly one batch: padded ones from the shortest to the longest, then the others.

    Groups are predicted by different programs and never share a batch. The targets of a batch
    are in order of length, so that one program after the other is used.

    Args:
        lengths, groups: size and group of every target.
        members: indices of the targets to cut.
        buckets: what `assign` made of the lengths of these targets.
        sizes: what a batch has at the most, padding included; a longer target runs alone. The seconds bound
            only the batches that neighbouring buckets share.
        measure: what targets take; without it every batch is of one bucket.
        parts: which part of the seeds a group predicts, of those that do not predict all.

    Raises:
        ValueError: the buckets are not those of these targets.
    """
    order = {
        kind: _by_length(members[groups[members] == kind], lengths).tolist()
        for kind in np.unique(groups[members]).tolist()
    }
    taken = dict.fromkeys(order, 0)
    pieces: list[Piece] = []
    # Sorting is stable: buckets of one edge stay in the order in which the targets fill them.
    for bucket in sorted(buckets, key=_place):
        start = taken.setdefault(bucket.group, 0)
        taken[bucket.group] = end = start + bucket.count
        inside = order.get(bucket.group, [])[start:end]
        if len(inside) < bucket.count or any(not _fits(int(lengths[index]), bucket) for index in inside):
            raise ValueError(f"{bucket} does not hold the targets that are planned")
        pieces += cut_bucket(bucket, lengths[inside], sizes, measure, first=start)
    if any(taken[kind] < len(order[kind]) for kind in order):
        raise ValueError("some targets are in no bucket")
    joined = [[piece] for piece in pieces] if measure is None else join(pieces, sizes)
    return [
        _named(number, batch, order, lengths, parts or {}) for number, batch in enumerate(joined, start=1)
    ]


def cut_fetched(
    kind: Kind,
    groups: Iterable[Sequence[int]],
    lengths: NDArray[np.int64],
    results: NDArray[np.float64] | None = None,
) -> list[Batch]:
    """Batches of results that are there already, in the order given, so that what is added comes last.

    Args:
        results: bytes of each target's results, if they are known.
    """
    batches: list[Batch] = []
    for group in groups:
        for piece in _cut(group, lengths, results):
            batches.append(Batch(f"{_FETCHED[kind]}{len(batches) + 1:04d}", (), "", tuple(piece), kind))
    return batches


def named(letter: str, number: int, longest: int, part: int | None = None) -> str:
    """Name of a batch that is predicted; `part` of the seeds, from 0 on."""
    return f"{letter}{number:04d}-l{longest:04d}" + ("" if part is None else f"-p{part + 1}")


def _by_length(members: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    return members[np.argsort(lengths[members], kind="stable")]


def _place(bucket: Bucket) -> tuple[bool, int, int]:
    return bucket.padded_length is None, bucket.group, bucket.padded_length or 0


def _fits(length: int, bucket: Bucket) -> bool:
    return bucket.shortest <= length <= min(bucket.longest, bucket.padded_length or length)


def _cut(
    indices: Sequence[int], lengths: NDArray[np.int64], results: NDArray[np.float64] | None
) -> list[list[int]]:
    pieces: list[list[int]] = []
    residues, heavy = 0, 0.0
    for index in indices:
        size, load = int(lengths[index]), 0.0 if results is None else float(results[index])
        full = not pieces or len(pieces[-1]) == FETCHED_TARGETS
        if full or residues + size > FETCHED_RESIDUES or heavy + load > FETCHED_BYTES:
            pieces.append([])
            residues, heavy = 0, 0.0
        pieces[-1].append(index)
        residues, heavy = residues + size, heavy + load
    return pieces


def _named(
    number: int,
    pieces: Sequence[Piece],
    order: Mapping[int, Sequence[int]],
    lengths: NDArray[np.int64],
    parts: Mapping[int, int],
) -> Batch:
    bucket = pieces[0].bucket
    members = [index for piece in pieces for index in order[bucket.group][piece.start : piece.stop]]
    edges = {piece.bucket.padded_length for piece in pieces if piece.bucket.padded_length is not None}
    letter = "b" if edges else "c"
    longest = max(edges) if edges else int(lengths[members[-1]])
    name = named(letter, number, longest, parts.get(bucket.group))
    return Batch(name, tuple(sorted(edges)), bucket.gpu, tuple(members))
