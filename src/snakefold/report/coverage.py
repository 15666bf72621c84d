"""MSA coverage of a target: which residues the rows of its alignment cover, and how alike they are to it."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: A picture needs no more: rows and columns beyond this are thinned out evenly.
MAX_ROWS = 300
MAX_COLUMNS = 1000

_INSERTIONS = str.maketrans("", "", "abcdefghijklmnopqrstuvwxyz.\0")
_COMPLEX = re.compile(r"#(\d+(?:,\d+)*)\s+(\d+(?:,\d+)*)\s*")
_GAP, _ANY = ord("-"), ord("X")


@dataclass(frozen=True)
class Coverage:
    """Coverage of a target of L residues.

    Attributes:
        identity: uint8 [rows, columns]: 0 where the row has a gap, else the row's identity to the query,
            1 to 100 %; rows from least to most alike, chain after chain; at most MAX_ROWS × MAX_COLUMNS.
        counts: rows with a residue, for each column of `identity`, over all rows.
        depth: rows in the alignment.
        identities: rows with an identity below 10 %, below 20 %, …, up to 100 %: ten numbers, over all rows.
        step: residues from one column to the next (1 unless L is above MAX_COLUMNS).
    """

    identity: NDArray[np.uint8]
    counts: list[int]
    depth: int
    identities: list[int]
    step: int


def coverage(text: str, chains: Sequence[str], proteins: Sequence[bool] = ()) -> Coverage | None:
    """Coverage from `msa.a3m`, or None if its rows do not fit the target.

    The file is ColabFold's format for complexes, or the alignments of the different chains one after another
    (each starts with its query, gapless). Identity is over all columns of the query, as in ColabFold's plot.

    Args:
        text: A3M.
        chains: Sequences of all chains, in the target's order.
        proteins: which of them are proteins; none: all. Only these are aligned, and of an assembly not all.
    """
    first, _, rest = text.partition("\n")
    layout = _COMPLEX.fullmatch(first)
    rows = _rows(rest if layout else text)
    if not rows:
        return None
    if layout:
        lengths, copies = ([int(item) for item in group.split(",")] for group in layout.groups())
        parts = _complex(rows, lengths, copies)
    else:
        parts = _one_after_another(rows, chains, proteins or [True] * len(chains))
    total = sum(map(len, chains))
    if not parts or any(part.shape[1] != total for part in parts):
        return None
    full = np.concatenate(parts)
    step = -(-total // MAX_COLUMNS)
    kept = np.unique(np.linspace(0, len(full) - 1, min(len(full), MAX_ROWS)).round().astype(int))
    counts = np.count_nonzero(full, axis=0)[::step]
    tenths = np.bincount(np.minimum(full.max(axis=1) // 10, 9), minlength=10)
    return Coverage(
        np.ascontiguousarray(full[kept][:, ::step]), counts.tolist(), len(full), tenths.tolist(), step
    )


def _rows(text: str) -> list[bytes]:
    rows = []
    for record in f"\n{text.lstrip()}".split("\n>")[1:]:
        body = "".join(record.split("\n")[1:])
        rows.append("".join(body.split()).translate(_INSERTIONS).encode("ascii", "replace"))
    return [row for row in rows if row]


def _one_after_another(
    rows: Sequence[bytes], chains: Sequence[str], proteins: Sequence[bool]
) -> list[NDArray[np.uint8]]:
    there = set(rows)
    different = dict.fromkeys(chain for chain, is_one in zip(chains, proteins, strict=True) if is_one)
    queries = [query for chain in different if (query := _query(chain, rows, there)) is not None]
    if not queries:
        return []
    aligned = [
        next((query for query in queries if is_one and _alike(query, chain.encode())), None)
        for chain, is_one in zip(chains, proteins, strict=True)
    ]
    blocks: list[list[bytes]] = []
    for row in rows:
        opens = len(blocks) < len(queries) and row == queries[len(blocks)]
        if opens or not blocks:
            blocks.append([])
        if len(row) != len(queries[len(blocks) - 1]):
            return []
        blocks[-1].append(row)
    parts = []
    for query, block in zip(queries, blocks, strict=False):
        values = _identity(block)
        blank = [np.zeros((len(block), len(chain)), np.uint8) for chain in chains]
        parts.append(
            np.hstack([values if of == query else gaps for of, gaps in zip(aligned, blank, strict=True)])
        )
    return parts


def _query(chain: str, rows: Sequence[bytes], there: Collection[bytes]) -> bytes | None:
    """The row that is a chain; None if it was not aligned. X of a modified residue stands for any letter."""
    found = chain.encode("ascii")
    if found in there or b"X" not in found:
        return found if found in there else None
    return next((row for row in rows if _alike(row, found)), None)


def _alike(row: bytes, chain: bytes) -> bool:
    return row == chain or (
        len(row) == len(chain)
        and b"X" in chain
        and all(one in (other, _ANY) for other, one in zip(row, chain, strict=True))
    )


def _complex(rows: Sequence[bytes], lengths: Sequence[int], copies: Sequence[int]) -> list[NDArray[np.uint8]]:
    if len(lengths) != len(copies) or any(len(row) != sum(lengths) for row in rows):
        return []
    values = _identity(rows)
    starts = np.cumsum([0, *lengths])
    unique = [values[:, start : start + length] for start, length in zip(starts, lengths, strict=False)]
    return [np.hstack([part for part, times in zip(unique, copies, strict=True) for _ in range(times)])]


def _identity(rows: Sequence[bytes]) -> NDArray[np.uint8]:
    letters = np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), -1)
    alike = 100 * (letters == letters[0]).mean(axis=1)
    order = np.argsort(alike, kind="stable")
    percent = np.clip(np.rint(alike[order]), 1, 100).astype(np.uint8)
    return np.where(letters[order] == _GAP, 0, percent[:, None]).astype(np.uint8)
