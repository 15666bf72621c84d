"""Sequences of a database that are the same as one before: searched again only where that one was a hit.

A ninth of Swiss-Prot's residues are such repeats. The same residues give the same score, so that a repeat can
be a hit of a query only if the first of them is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: Digests that are remembered: at least so many sequences back, at most twice as many (some 100 bytes each).
_REMEMBERED = 500_000


@dataclass(frozen=True)
class Block:
    """A piece of a database.

    Attributes:
        unique: sequences of which none is the same as a remembered one (DigitalSequenceBlock).
        digests: digests of the unique sequences by their name; names may repeat.
        repeats: the other sequences, each with its digest.
    """

    unique: Any
    digests: Mapping[str, Sequence[bytes]]
    repeats: Sequence[tuple[bytes, Any]]

    def __len__(self) -> int:
        return len(self.unique) + len(self.repeats)


class Repeats:
    """Tells sequences that are the same as an earlier one of a database, as far back as it remembers."""

    def __init__(self, remembered: int = _REMEMBERED) -> None:
        self._remembered = remembered
        self._recent: set[bytes] = set()
        self._older: set[bytes] = set()

    def split(self, block: Any, alphabet: Any) -> Block:
        """A block of sequences (DigitalSequenceBlock) without those that came before."""
        from pyhmmer.easel import DigitalSequenceBlock

        unique: list[Any] = []
        digests: dict[str, list[bytes]] = {}
        repeats: list[tuple[bytes, Any]] = []
        for sequence in block:
            digest = hashlib.blake2b(sequence.sequence, digest_size=16).digest()
            if digest in self._recent or digest in self._older:
                repeats.append((digest, sequence))
                continue
            self._remember(digest)
            unique.append(sequence)
            digests.setdefault(sequence.name, []).append(digest)
        return Block(DigitalSequenceBlock(alphabet, unique), digests, repeats)

    def _remember(self, digest: bytes) -> None:
        if len(self._recent) >= self._remembered:
            self._recent, self._older = set(), self._recent
        self._recent.add(digest)


def no_hits(hits_of_one: Any, number: int) -> Any:
    """Hits (TopHits) of a search of `number` sequences, none of them a hit, for E-values to be right.

    Args:
        hits_of_one: the same for one sequence. What is doubled again and again is its count.
        number: at least 1.
    """
    found, doubled = None, hits_of_one
    while number:
        if number & 1:
            found = doubled if found is None else found.merge(doubled)
        number >>= 1
        if number:
            doubled = doubled.merge(doubled)
    return found
