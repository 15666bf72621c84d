"""Targets cut into batches, and their chains into chunks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby


@dataclass(frozen=True, slots=True)
class Batch:
    """Targets of one job, by their index, shortest first.

    `padded_length` is the bucket's edge, None where every target is predicted at its own length. The name is
    `b<number>-l<edge>` for a bucket and `c<number>-l<longest>` for the others, which are mostly complexes.
    """

    name: str
    padded_length: int | None
    members: tuple[int, ...]


def cut_batches(
    lengths: Sequence[int],
    padded: Sequence[int | None],
    complexes: Sequence[bool],
    *,
    max_targets: int,
    max_residues: int,
) -> list[Batch]:
    """Every target in exactly one batch: the buckets from the shortest to the longest, then the unpadded.

    Monomers and complexes are predicted by different networks and never share a batch.

    Args:
        lengths: residues of each target.
        padded: the edge each target is padded to, None for its own length.
        complexes: whether each target has several chains.
        max_targets: targets of one batch at the most.
        max_residues: residues of one batch at the most, padding included; a longer target runs alone.
    """

    def kind(index: int) -> tuple[bool, bool, int]:
        """Sorts the unpadded last, all lengths together."""
        edge = padded[index]
        return edge is None, complexes[index], edge or 0

    order = sorted(range(len(lengths)), key=lambda index: (kind(index), lengths[index], index))
    batches: list[Batch] = []
    for _, group in groupby(order, key=kind):
        members: list[int] = []
        residues = 0
        for index in group:
            size = padded[index] or lengths[index]
            if members and (len(members) == max_targets or residues + size > max_residues):
                batches.append(_batch(len(batches) + 1, members, lengths, padded))
                members, residues = [], 0
            members.append(index)
            residues += size
        batches.append(_batch(len(batches) + 1, members, lengths, padded))
    return batches


def cut_chunks(chains: Iterable[str], chunk_size: int) -> list[list[str]]:
    """Unique chains, in the order in which they come first, `chunk_size` at a time."""
    unique = list(dict.fromkeys(chains))
    return [unique[start : start + chunk_size] for start in range(0, len(unique), chunk_size)]


def _batch(
    number: int, members: Sequence[int], lengths: Sequence[int], padded: Sequence[int | None]
) -> Batch:
    edge = padded[members[0]]
    name = f"{'c' if edge is None else 'b'}{number:04d}-l{edge or max(lengths[i] for i in members):04d}"
    return Batch(name, edge, tuple(members))
