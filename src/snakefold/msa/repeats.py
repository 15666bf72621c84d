"""Sequences of a database that are the same as one before: not searched, but hits where that one is.

A ninth of Swiss-Prot's residues are such repeats. The same residues give the same score and alignment: a
repeat is the hit that the first of them is, under another name.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

#: Digests that are remembered: at least so many sequences back, at most twice as many (some 100 bytes each).
_REMEMBERED = 500_000


@dataclass(frozen=True)
class Block:
    """A piece of a database.

    Attributes:
        unique: sequences (DigitalSequence) of which none is the same as a remembered one.
        digest: digest of a unique sequence by its name; of those whose name is another's, none.
        repeats: names of the other sequences by their digest; `number_of_repeats` of them.
    """

    unique: Sequence[Any]
    digest: Mapping[str, bytes]
    repeats: Mapping[bytes, Sequence[str]]
    number_of_repeats: int


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
        return Block(unique, digests, repeats, len(names) - len(unique))

    def _remember(self, digest: bytes) -> None:
        if len(self._recent) >= self._remembered:
            self._recent, self._older = set(), self._recent
        self._recent.add(digest)


@dataclass
class Copies:
    """Names of the repeats of what a query hits."""

    _digests: dict[tuple[str, float], list[bytes]] = field(default_factory=dict)
    _names: dict[bytes, list[str]] = field(default_factory=dict)

    def add(self, hits: Any, block: Block) -> None:
        """Take the hits (TopHits) of the unique sequences of one more block, in the order of the database."""
        for hit in hits:
            if digest := block.digest.get(hit.name):
                self._digests.setdefault((hit.name, hit.score), []).append(digest)
                self._names.setdefault(digest, [])
        for digest in block.repeats.keys() & self._names.keys():
            self._names[digest].extend(block.repeats[digest])

    def of(self, hits: Any) -> list[list[str]]:
        """Names of the repeats of each hit, of hits of all blocks; each of them once."""
        left = dict(self._names)
        return [
            # A sequence that was forgotten meanwhile has been unique twice.
            [name for digest in self._digests.get((hit.name, hit.score), ()) for name in left.pop(digest, ())]
            for hit in hits
        ]


def judge_domains(hits: Any, repeats: Sequence[Sequence[str]], threshold: float) -> None:
    """Exclude domains as HMMER does that found the repeats, too: by the number of all sequences reported.

    Args:
        hits: TopHits, judged without them.
        repeats: names of the repeats of each hit.
        threshold: conditional E-value, jackhmmer's --incdomE.
    """
    reported = sum(1 + len(names) for hit, names in zip(hits, repeats, strict=True) if hit.reported)
    for hit in hits.included:
        for domain in hit.domains:
            if domain.included and domain.pvalue * reported > threshold:
                domain.included = False


@dataclass(frozen=True)
class Ranked:
    """A sequence that is hit: its name, the hit's place among the searched ones, and how many rows it has."""

    name: str
    place: int
    domains: int


def ranked(hits: Any, repeats: Sequence[Sequence[str]]) -> list[Ranked]:
    """Included hits and their repeats in HMMER's order: by score, then by name.

    Args:
        hits: TopHits.
        repeats: names of the repeats of each hit.
    """
    found: list[tuple[float, Ranked]] = []
    for place, (hit, names) in enumerate(zip(hits, repeats, strict=True)):
        if hit.included:
            domains = sum(domain.included for domain in hit.domains)
            found += [
                (-hit.score, Ranked(name, place, domains)) for name in itertools.chain([hit.name], names)
            ]
    return [each for _, each in sorted(found, key=lambda pair: (pair[0], pair[1].name))]


def select(hits: Any, order: Sequence[Ranked], limit: int | None) -> dict[int, int]:
    """Exclude all hits but those of the first rows, and say where the others' rows begin in the alignment.

    Columns that only excluded rows would open are insertions, which the others do not have.

    Args:
        hits: TopHits, whose alignment has the query as its first row.
        order: its hits and their repeats.
        limit: rows that are wanted, the query's included; None for all.

    Returns:
        Number of the first row by the hit's place.
    """
    wanted: set[int] = set()
    rows = 1
    for each in order:
        if limit is not None and rows >= limit:
            break
        wanted.add(each.place)
        rows += each.domains
    first_row: dict[int, int] = {}
    row = 1
    for place, hit in enumerate(hits):
        if not hit.included:
            continue
        if place in wanted:
            first_row[place] = row
            row += sum(domain.included for domain in hit.domains)
        else:
            hit.included = False
    return first_row


def stockholm(msa: Any, rows: Sequence[tuple[int, str]]) -> str:
    """Stockholm text, one line a row, of numbered rows of an alignment (DigitalMSA) under other names.

    As in jackhmmer's own, `#=GC RF` marks the query's columns. Descriptions and posteriors are not in it.
    """
    numbers = sorted({number for number, _ in rows})
    selected = msa.select(sequences=numbers)
    aligned = dict(zip(numbers, selected.textize().alignment, strict=True))
    lines = [f"{name} {aligned[number]}\n" for number, name in rows]
    return "".join(["# STOCKHOLM 1.0\n\n", *lines, f"#=GC RF {selected.reference}\n", "//\n"])


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
