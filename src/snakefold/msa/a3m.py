"""Alignments: A3M and Stockholm text in, AlphaFold's merged A3M out, depth and Neff.

Rows are kept as A3M text: capitals and `-` for columns of the query, lower case for insertions before them.
AlphaFold's features follow from it without loss, and the letters of insertions stay.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from string import ascii_lowercase
from typing import Any

import numpy as np
from numpy.typing import NDArray

_DROP_INSERTIONS = str.maketrans("", "", ascii_lowercase)
_GAP = ord("-")
#: Insertions and the column after them. The cell at the end of a row has no column; a second one is empty.
_CELL = re.compile(r"([a-z]*)([A-Z-]|$)")
_BLANKS = re.compile("[ \t]+")
_NEIGHBOUR_IDENTITY = 0.8
#: Rows compared at once: their bit planes stay in a core's cache.
_NEFF_BLOCK = 4096


@dataclass(frozen=True)
class Msa:
    """Names (first words and descriptions as found, without `>`) and A3M rows, query first."""

    names: Sequence[str]
    rows: Sequence[str]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def query(self) -> str:
        """The query's sequence."""
        return self.rows[0]

    @property
    def depth(self) -> int:
        """Number of rows, query included."""
        return len(self.rows)

    def truncated(self, limit: int | None) -> Msa:
        """The first `limit` rows, query included, as AlphaFold counts its `*_max_hits`."""
        if limit is None or limit >= len(self):
            return self
        return Msa(self.names[:limit], self.rows[:limit])

    def aligned(self) -> NDArray[np.uint8]:
        """ASCII codes of the rows without insertions, [rows, query length]."""
        text = "".join(row.translate(_DROP_INSERTIONS) for row in self.rows)
        return np.frombuffer(text.encode("ascii"), np.uint8).reshape(len(self), -1)

    def to_a3m(self) -> str:
        """A3M text."""
        return "".join(f">{name}\n{row}\n" for name, row in zip(self.names, self.rows, strict=True))

    def to_stockholm(self) -> str:
        """Stockholm text; `#=GC RF` marks the query's columns, as jackhmmer does."""
        widths = [0] * (len(self.query) + 1)
        for row in self.rows:
            widths = [
                max(width, len(cell[0])) for width, cell in zip(widths, _CELL.findall(row), strict=False)
            ]
        lines = ["# STOCKHOLM 1.0", ""]
        for number, row in enumerate(self.rows):
            padded = (
                inserted.upper().ljust(width, "-") + residue
                for width, (inserted, residue) in zip(widths, _CELL.findall(row), strict=False)
            )
            # Names may repeat in an A3M, and may not in Stockholm.
            lines.append(f"row_{number} {''.join(padded)}")
        marks = "x".join("." * width for width in widths)
        return "\n".join([*lines, f"#=GC RF {marks}", "//", ""])


def parse_a3m(text: str) -> Msa:
    """Read A3M text; `.` (optional padding) is dropped.

    Raises:
        ValueError: no row, text before the first `>`, or a row without the query's number of columns.
    """
    lead, *records = f"\n{text.lstrip()}".split("\n>")
    if lead.strip() or not records:
        raise ValueError("An A3M starts with '>' and has the query as its first row.")
    names, rows = [], []
    for record in records:
        name, _, body = record.partition("\n")
        names.append(name.strip())
        rows.append("".join(body.split()).replace(".", ""))
    return _checked(Msa(names, rows))


def parse_stockholm(text: str) -> Msa:
    """Read Stockholm text (one block or several), whose first sequence is the query, as jackhmmer writes it.

    Raises:
        ValueError: no sequence, or rows of different width.
    """
    found: dict[str, list[str]] = {}
    # Names may hold what Python, unlike HMMER, takes for a blank or the end of a line.
    for line in text.replace("\r\n", "\n").split("\n"):
        parts = _BLANKS.split(line.strip(" \t"))
        if parts != [""] and line[0] != "#" and parts[0] != "//":
            if len(parts) != 2:
                raise ValueError(f"Stockholm line is not a name and a row: {line[:80]!r}.")
            found.setdefault(parts[0], []).append(parts[1])
    if not found:
        raise ValueError("The Stockholm file has no sequence: expected the query as the first one.")
    return from_columns(list(found), ["".join(parts) for parts in found.values()])


def from_columns(names: Sequence[str], rows: Sequence[str]) -> Msa:
    """Alignment from rows of equal width (gaps `-` or `.`): columns where the query has a gap are insertions.

    Raises:
        ValueError: rows of different width.
    """
    width = len(rows[0])
    if any(len(row) != width for row in rows):
        raise ValueError(f"Rows of an alignment differ in width: expected {width} columns in each.")
    first = np.frombuffer(rows[0].replace(".", "-").encode("ascii"), np.uint8)
    insertion = first == _GAP
    written = []
    for row in rows:
        codes = np.frombuffer(row.upper().replace(".", "-").encode("ascii"), np.uint8)
        # In insertions a letter turns to lower case (bit 0x20) and a gap to NUL, which is dropped.
        inserted = np.where(codes == _GAP, 0, codes | 0x20)
        written.append(np.where(insertion, inserted, codes).astype(np.uint8).tobytes().translate(None, b"\0"))
    return Msa(list(names), [row.decode("ascii") for row in written])


def joined(msas: Sequence[Msa]) -> Msa:
    """Rows of all alignments, one after the other, duplicates included."""
    return Msa([name for msa in msas for name in msa.names], [row for msa in msas for row in msa.rows])


def merge(msas: Iterable[Msa]) -> Msa:
    """Rows of all alignments in order; a row whose aligned sequence was seen before is dropped.

    As AlphaFold's `make_msa_features` does; ColabFold's fork of AlphaFold has that step taken out.

    Raises:
        ValueError: the alignments are not of one query.
    """
    names: list[str] = []
    rows: list[str] = []
    seen: set[str] = set()
    query = None
    for msa in msas:
        query = query or msa.query
        if msa.query != query:
            raise ValueError(f"Alignments of different queries: {query[:20]}… and {msa.query[:20]}….")
        for name, row in zip(msa.names, msa.rows, strict=True):
            aligned = row.translate(_DROP_INSERTIONS)
            if aligned not in seen:
                seen.add(aligned)
                names.append(name)
                rows.append(row)
    return Msa(names, rows)


def neff(msa: Msa) -> float:
    """Effective number of rows: sum over rows of 1 / (rows with at least 80 % identity, itself included).

    Identity is measured on the columns where either of the two rows has a residue, as in the AlphaFold paper
    (Jumper et al., Nature 596:583, 2021, Methods, "MSA depth analysis"). Rows of gaps alone do not count.

    The residues of a row are 5 bit planes of packed words, so that two rows are compared by a few operations
    on words: 10,000 rows of 400 columns cost two CPU seconds.
    """
    codes = msa.aligned()
    codes = np.where(codes == _GAP, 0, codes & 31).astype(np.uint8)
    codes = codes[codes.any(axis=1)]
    if len(codes) == 0:
        return 0.0
    planes = np.stack([_packed((codes >> bit) & 1) for bit in range(5)])
    residue = _packed(codes != 0)
    neighbours = np.ones(len(codes), np.int64)
    for start in range(0, len(codes), _NEFF_BLOCK):
        stop = min(start + _NEFF_BLOCK, len(codes))
        for row in range(stop - 1):
            # Each pair is looked at once: rows after this one, within the block.
            after = slice(max(start, row + 1), stop)
            differ = planes[0, :, after] ^ planes[0, :, row, None]
            for plane in planes[1:]:
                differ |= plane[:, after] ^ plane[:, row, None]
            either = np.bitwise_count(residue[:, after] | residue[:, row, None]).sum(axis=0, dtype=np.int32)
            different = np.bitwise_count(differ).sum(axis=0, dtype=np.int32)
            near = either - different >= _NEIGHBOUR_IDENTITY * either - 1e-9
            neighbours[after] += near
            neighbours[row] += np.count_nonzero(near)
    return math.fsum(1.0 / neighbours)


def _packed(bits: NDArray[Any]) -> NDArray[np.uint64]:
    """Booleans [rows, columns] → words [columns / 64, rows], padded with zeros."""
    padded = np.pad(bits.astype(bool), ((0, 0), (0, -bits.shape[1] % 64)))
    return np.ascontiguousarray(np.packbits(padded, axis=1).view(np.uint64).T)


def _checked(msa: Msa) -> Msa:
    length = len(msa.query.translate(_DROP_INSERTIONS))
    for name, row in zip(msa.names, msa.rows, strict=True):
        if len(row.translate(_DROP_INSERTIONS)) != length:
            raise ValueError(f"A3M row {name[:60]!r} does not have the query's {length} columns.")
    return msa
