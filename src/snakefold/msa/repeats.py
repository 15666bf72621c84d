"""Sequences of a database that are the same as one before: not searched, but hits where that one is.

A ninth of Swiss-Prot's residues are such repeats. The same residues give the same score and alignment: a
repeat is the hit that the first of them is, under another name.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: Digests that are remembered: at least so many sequences back, at most twice as many (some 100 bytes each).
_REMEMBERED = 500_000


@dataclass(frozen=True)
class Block:
    """A piece of a database.

    Attributes:
        unique: sequences (DigitalSequence) of which none is the same as a remembered one.
        digest: digest of a unique sequence by its name; of those whose name is another's, none.
        named: the same sequences by their names.
        repeats: names of the other sequences by their digest; `number_of_repeats` of them.
    """

    unique: Sequence[Any]
    digest: Mapping[str, bytes]
    named: Mapping[str, Any]
    repeats: Mapping[bytes, Sequence[str]]
    number_of_repeats: int

    @property
    def number_of_sequences(self) -> int:
        """All of them, the unique and the repeats."""
        return len(self.unique) + self.number_of_repeats


class Repeats:
    """Tells sequences that are the same as an earlier one of a database, as far back as it remembers."""

    def __init__(self, remembered: int = _REMEMBERED) -> None:
        self._remembered = remembered
        self._recent: set[bytes] = set()
        self._older: set[bytes] = set()

    def split(self, block: Sequence[Any]) -> Block:
        """A block of sequences (DigitalSequence) without those that came before."""
        names = [sequence.name for sequence in block]
        # A hit is known by its name: by one of these it is not known which sequence was hit.
        shared = {name for name, times in Counter(names).items() if times > 1}
        unique: list[Any] = []
        digests: dict[str, bytes] = {}
        named: dict[str, Any] = {}
        repeats: dict[bytes, list[str]] = {}
        for name, sequence in zip(names, block, strict=True):
            digest = hashlib.blake2b(sequence.sequence, digest_size=16).digest()
            if digest in self._recent or digest in self._older:
                repeats.setdefault(digest, []).append(name)
                continue
            unique.append(sequence)
            if name not in shared:
                self._remember(digest)
                digests[name] = digest
                named[name] = sequence
        return Block(unique, digests, named, repeats, len(names) - len(unique))

    def _remember(self, digest: bytes) -> None:
        if len(self._recent) >= self._remembered:
            self._recent, self._older = set(), self._recent
        self._recent.add(digest)
