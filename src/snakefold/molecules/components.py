"""Codes of the Chemical Component Dictionary: which there are, and their size.

The table is part of snakefold (resources/make_components.py), so that a mistyped code is named where a run is
planned, without the dictionary itself. Reading it takes 20 ms, and only input with codes reads it.
"""

from __future__ import annotations

import difflib
import gzip
import lzma
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from snakefold.kernel.paths import packaged


@dataclass(frozen=True, slots=True)
class Component:
    """Atoms without hydrogen, and the letter of the amino acid or nucleotide that it is or derives from."""

    heavy_atoms: int
    letter: str


@cache
def _table() -> tuple[str, dict[str, str]]:
    """The day of the youngest entry, and what follows each code."""
    text = gzip.decompress(packaged("resources/components.tsv.gz").read_bytes()).decode("ascii")
    day, _, rows = text.partition("\n")
    return day.removeprefix("# "), dict(row.split("\t", 1) for row in rows.splitlines())


def component(code: str) -> Component | None:
    """What is known of a code; None of one that the dictionary did not have."""
    rest = _table()[1].get(code)
    if rest is None:
        return None
    atoms, letter = rest.split("\t")
    return Component(int(atoms), letter)


@cache
def _structures() -> str:
    return "\n" + lzma.decompress(packaged("resources/component_molecules.tsv.xz").read_bytes()).decode(
        "ascii"
    )


def structure(code: str) -> tuple[str, list[str]] | None:
    """SMILES of a component, and names of its atoms in that order; None of one that the table does not have.

    The table is another one, of 1.4 MB: reading it takes 0.1 s.
    """
    table = _structures()
    start = table.find(f"\n{code}\t")
    if start < 0 or not code:
        return None
    _, text, names = table[start + 1 : table.index("\n", start + 1)].split("\t")
    return text, names.split()


def unknown(codes: Iterable[str]) -> list[str]:
    """The codes that the dictionary did not have."""
    return [code for code in codes if code not in _table()[1]]


def day() -> str:
    """The day of the youngest entry, as 2026-01-16."""
    return _table()[0]


def alike(code: str) -> list[str]:
    """Codes that are spelled nearly so."""
    return difflib.get_close_matches(code, _table()[1], 3, 0.75)
