"""HMMER's hits of one query in a database that goes by in blocks: all of them judged, few of them kept whole.

An alignment takes some 10 kB, and a family can have a million members, where a limit of rows needs the best
few thousand. Of a hit beyond these its scores are kept, which decide about all hits at the end, and its
residues, from which HMMER makes the same alignment again should a row be needed after all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from snakefold.msa.bundle import Hit
from snakefold.msa.names import one_word
from snakefold.msa.repeats import Block

#: So many alignments more than a limit of rows are kept at least, before the worst are forgotten.
_SPARE = 100


@dataclass(frozen=True)
class Thresholds:
    """E-values up to which hits are reported and included, and conditional ones of included domains."""

    hit: float
    domain: float


@dataclass(slots=True, eq=False)
class Candidate:
    """A sequence that may be hit, judged by the sequences so far.

    Attributes:
        name: as in the database.
        score: bits.
        pvalue: of the score.
        domains: P-values of the domains that can be included.
        pident: of the best domain, as in `Hit`; `alnlen`, too.
        residues: digital; None if not kept.
        whole: HMMER's hit with its alignments, serialized; None if not kept.
        repeats: names of sequences with the same residues.
    """

    name: str
    score: float
    pvalue: float
    domains: tuple[float, ...]
    pident: float
    alnlen: int
    residues: bytes | None = None
    whole: Any = None
    repeats: list[str] | None = None

    @property
    def names(self) -> list[str]:
        """Its own and those of its repeats."""
        return [self.name, *(self.repeats or ())]


class Hits:
    """Hits of one query. Whole are about as many as rows are wanted, those of the best scores."""

    def __init__(self, limit: int | None, thresholds: Thresholds) -> None:
        """Of at most `limit` rows, the query's included; None for all."""
        self._limit = limit
        self._thresholds = thresholds
        self._sequences = 0
        self._candidates: list[Candidate] = []
        self._by_digest: dict[bytes, Candidate] = {}
        self._whole: list[Candidate] = []
        self._least = float("-inf")

    def add(self, hits: Any, block: Block) -> None:
        """Take the hits (TopHits) among the unique sequences of the next block of the database.

        They are judged by fewer sequences than there are so far, and their domains by one.
        """
        self._sequences += block.number_of_sequences
        for hit in hits:
            pvalue = hit.pvalue
            # More sequences can only make it worse.
            if pvalue * self._sequences <= self._thresholds.hit:
                self._take(hit, pvalue, block)
        for digest in block.repeats.keys() & self._by_digest.keys():
            candidate = self._by_digest[digest]
            if candidate.repeats is None:
                candidate.repeats = []
            candidate.repeats.extend(block.repeats[digest])

    def _take(self, hit: Any, pvalue: float, block: Block) -> None:
        name, score = hit.name, hit.score
        domains = tuple(domain.pvalue for domain in hit.domains if domain.included)
        candidate = Candidate(name, score, pvalue, domains, *_identity(hit))
        self._candidates.append(candidate)
        if digest := block.digest.get(name):
            # A sequence that was forgotten meanwhile is unique again: its repeats are the first one's.
            self._by_digest.setdefault(digest, candidate)
        if not domains:
            return
        # Of two sequences with one name it is not known which was hit: such a hit stays whole.
        if self._limit is not None and digest:
            candidate.residues = bytes(memoryview(block.named[name].sequence))
        if candidate.residues is None:
            candidate.whole = hit.__getstate__()
        elif score >= self._least:
            candidate.whole = hit.__getstate__()
            self._whole.append(candidate)
            self._drop()

    def _drop(self) -> None:
        """Forget alignments, now and then: nearly every hit with a domain is a row or more."""
        if self._limit is None or len(self._whole) <= self._limit + max(self._limit // 4, _SPARE):
            return
        self._whole.sort(key=lambda candidate: candidate.score, reverse=True)
        for candidate in self._whole[self._limit :]:
            candidate.whole = None
        del self._whole[self._limit :]
        self._least = self._whole[-1].score

    def judged(self) -> Judged:
        """Hits, judged by all sequences, repeats too; after the last block, and once."""
        found = [
            candidate
            for candidate in self._candidates
            if candidate.pvalue * self._sequences <= self._thresholds.hit
        ]
        reported = sum(1 + len(candidate.repeats or ()) for candidate in found)
        judged = Judged(self._sequences, reported, self._thresholds.domain)
        # HMMER's order: by score, then by name.
        judged.order = [(name, candidate) for candidate in found for name in candidate.names]
        judged.order.sort(key=lambda each: (-each[1].score, each[0]))
        rows = 1
        for _, candidate in judged.order:
            number = judged.domains(candidate)
            if number and (self._limit is None or rows < self._limit):
                judged.chosen.setdefault(candidate)
            rows += number
        judged.number_of_rows = rows - 1
        self._candidates, self._by_digest, self._whole = [], {}, []
        return judged


@dataclass
class Judged:
    """Hits in HMMER's order, and which of them make the rows that are wanted.

    Attributes:
        sequences: how many there are in the database.
        reported: how many of them are hits.
        threshold: conditional E-value up to which domains are included.
        order: hits under their names and those of their repeats, best first.
        chosen: hits whose rows are wanted, best first (a set that keeps the order).
        number_of_rows: of all hits, without the query's.
    """

    sequences: int
    reported: int
    threshold: float
    order: list[tuple[str, Candidate]] = field(default_factory=list)
    chosen: dict[Candidate, None] = field(default_factory=dict)
    number_of_rows: int = 0

    def included(self, pvalue: float) -> bool:
        """Whether a domain is."""
        return pvalue * self.reported <= self.threshold

    def domains(self, candidate: Candidate) -> int:
        """Rows that a hit makes."""
        return sum(map(self.included, candidate.domains))

    @property
    def lacking(self) -> list[Candidate]:
        """Hits whose rows are wanted, but whose alignments were not kept."""
        return [candidate for candidate in self.chosen if candidate.whole is None]

    def take(self, hits: Any) -> None:
        """Take hits (TopHits) among the `searchable` sequences of what is lacking.

        Raises:
            RuntimeError: HMMER did not find what it had found.
        """
        lacking = self.lacking
        for hit in hits:
            candidate = lacking[int(hit.name)]
            if hit.score == candidate.score:
                candidate.whole = hit.__getstate__()
        if self.lacking:
            raise RuntimeError(f"HMMER finds {self.lacking[0].name} once, but not again")

    def listed(self) -> list[Hit]:
        """All hits, best first."""
        return [
            Hit(one_word(name), each.pvalue * self.sequences, each.pident, each.alnlen)
            for name, each in self.order
        ]

    def rows(self, names: Sequence[str]) -> Iterator[tuple[int, str]]:
        """Number and name of rows, best first, of the alignment whose rows have these names, query first."""
        first_row: dict[Candidate, int] = {}
        row = 1
        for candidate in self.chosen:
            first_row[candidate] = row
            row += self.domains(candidate)
        for name, candidate in self.order:
            if candidate in first_row:
                start = first_row[candidate]
                for row in range(start, start + self.domains(candidate)):
                    # Behind a name, which may have a slash, are the residues of the domain.
                    yield row, f"{one_word(name)}/{names[row].rpartition('/')[2]}"


def searchable(candidates: Sequence[Candidate], alphabet: Any) -> list[Any]:
    """Sequences (DigitalSequence) of candidates, under their numbers."""
    from pyhmmer.easel import DigitalSequence

    return [
        DigitalSequence(alphabet, name=str(number), sequence=candidate.residues)
        for number, candidate in enumerate(candidates)
    ]


def aligned(judged: Judged, model: Any) -> Any:
    """HMMER's TopHits of the hits whose rows are wanted; the serialized ones are given up."""
    from pyhmmer.plan7 import TopHits

    hits = TopHits(model)
    if judged.chosen:
        number = len(judged.chosen)
        hits.__setstate__(
            hits.__getstate__()
            | {
                "unsrt": [candidate.whole for candidate in judged.chosen],
                "hit": list(range(number)),
                "N": number,
                "is_sorted_by_sortkey": True,
                "_empty": False,
            }
        )
        for candidate in judged.chosen:
            candidate.whole = None
    for hit in hits:
        for domain in hit.domains:
            if domain.included and not judged.included(domain.pvalue):
                domain.included = False
    return hits


def _identity(hit: Any) -> tuple[float, int]:
    """Percentage of residues of the best domain that are the query's, and columns of its alignment."""
    alignment = hit.best_domain.alignment
    length = len(alignment.hmm_sequence)
    pairs = length - alignment.hmm_sequence.count(".") - alignment.target_sequence.count("-")
    # The line between model and target: a letter where they are equal, `+` where they are alike.
    between = alignment.identity_sequence
    same = length - between.count(" ") - between.count("+")
    return round(100 * same / max(1, pairs), 1), length


def stockholm(msa: Any, rows: Sequence[tuple[int, str]]) -> str:
    """Stockholm text, one line a row, of numbered rows of an alignment (DigitalMSA) under other names.

    As in jackhmmer's own, `#=GC RF` marks the query's columns. Descriptions and posteriors are not in it.
    """
    numbers = sorted({number for number, _ in rows})
    selected = msa.select(sequences=numbers)
    aligned = dict(zip(numbers, selected.textize().alignment, strict=True))
    lines = [f"{name} {aligned[number]}\n" for number, name in rows]
    return "".join(["# STOCKHOLM 1.0\n\n", *lines, f"#=GC RF {selected.reference}\n", "//\n"])
