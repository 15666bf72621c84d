"""Sequences of a database that are the same as one before: searched again only where that one was a hit.

A ninth of Swiss-Prot's residues are such repeats. The same residues give the same score, so that a repeat can
be a hit of a query only if the first of them is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: Digests that are remembered: at least so many sequences back, at most twice as many (some 100 bytes each).
_REMEMBERED = 500_000


@dataclass(frozen=True)
class Block:
    """A piece of a database.

    Attributes:
        unique: sequences of which none is the same as a remembered one (DigitalSequenceBlock).
        repeats: the other sequences by their digest; `number_of_repeats` of them.
        digest: digest of a unique sequence by its name; of the first, where names repeat.
        more_digests: those of the others of that name.
    """

    unique: Any
    repeats: Mapping[bytes, Sequence[Any]]
    number_of_repeats: int
    digest: Mapping[str, bytes]
    more_digests: Mapping[str, Sequence[bytes]]

    def digests(self, name: str) -> Iterator[bytes]:
        """Digests of the unique sequences of a name."""
        yield self.digest[name]
        yield from self.more_digests.get(name, ())


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
        repeats: dict[bytes, list[Any]] = {}
        digests: dict[str, bytes] = {}
        more_digests: dict[str, list[bytes]] = {}
        for sequence in block:
            digest = hashlib.blake2b(sequence.sequence, digest_size=16).digest()
            if digest in self._recent or digest in self._older:
                repeats.setdefault(digest, []).append(sequence)
                continue
            self._remember(digest)
            unique.append(sequence)
            name = sequence.name
            if digests.setdefault(name, digest) is not digest:
                more_digests.setdefault(name, []).append(digest)
        return Block(
            DigitalSequenceBlock(alphabet, unique), repeats, len(block) - len(unique), digests, more_digests
        )

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
