"""Atoms of models as small as they can be drawn from: a page carries five models of a target.

Coordinates are whole multiples of `STEP`; each atom is written as its difference from the atom of its residue
that is nearest to it (a bond away, as a rule), and a residue's first atom from the residue before. Names of
atoms are written once for every kind of residue. Hydrogens are left out. static/molecule.js reads this.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snakefold.kernel.errors import SnakefoldError
from snakefold.report.embed import packed

#: Å; an atom is drawn at most half of it from its place, along each axis.
STEP = 0.04

_WIDTH = 80


@dataclass(frozen=True)
class Atoms:
    """Heavy atoms of one model, in the order of its file.

    Attributes:
        chain, number, residue, name: of every atom: chain letter, residue number, residue name, atom name.
        xyz: float64 [N, 3], Å.
        starts: index of the first atom of every residue.
    """

    chain: NDArray[np.bytes_]
    number: NDArray[np.int64]
    residue: NDArray[np.bytes_]
    name: NDArray[np.bytes_]
    xyz: NDArray[np.float64]
    starts: NDArray[np.int64]

    @property
    def chains(self) -> list[tuple[str, int]]:
        """Letter and number of residues of every chain, in order."""
        letters = self.chain[self.starts]
        ends = np.flatnonzero(np.append(letters[1:] != letters[:-1], True))
        return [
            (letters[end].decode(), int(count))
            for end, count in zip(ends, np.diff(ends, prepend=-1), strict=True)
        ]

    def ca(self) -> NDArray[np.float64]:
        """CA atoms of the residues, float64 [L, 3]; NaN where a residue has none."""
        found = np.full((len(self.starts), 3), np.nan)
        at = np.flatnonzero(self.name == b"CA")
        found[np.searchsorted(self.starts, at, side="right") - 1] = self.xyz[at]
        return found

    def moved(self, rotation: NDArray[np.float64], translation: NDArray[np.float64]) -> Atoms:
        """The atoms at `x @ rotation.T + translation`."""
        return replace(self, xyz=self.xyz @ rotation.T + translation)


def read_atoms(pdb: str) -> list[Atoms]:
    """Heavy atoms of every model of PDB text (first alternative locations).

    Raises:
        SnakefoldError: a line's numbers are not in the columns of the format.
    """
    models: list[list[str]] = [[]]
    for line in pdb.splitlines():
        if line.startswith(("ATOM", "HETATM")):
            models[-1].append(line[:_WIDTH].ljust(_WIDTH))
        elif line.startswith("ENDMDL"):
            models.append([])
    return [_atoms(lines) for lines in models if lines]


def _atoms(lines: Sequence[str]) -> Atoms:
    table = np.frombuffer("".join(lines).encode("ascii", "replace"), "S1").reshape(-1, _WIDTH)

    def column(start: int, end: int) -> NDArray[np.bytes_]:
        return np.char.strip(np.ascontiguousarray(table[:, start:end]).view(f"S{end - start}").ravel())

    name = column(12, 16)
    heavy = (np.char.lstrip(name, b"0123456789").astype("S1") != b"H") & np.isin(
        column(16, 17), (b"", b"A", b"1")
    )
    table, name = table[heavy], name[heavy]
    if not len(table):
        raise SnakefoldError("The PDB text holds no atoms.")
    try:
        xyz = np.stack([column(at, at + 8).astype(np.float64) for at in (30, 38, 46)], axis=1)
        number = column(22, 26).astype(np.int64)
    except ValueError as error:
        raise SnakefoldError(f"PDB: numbers are not in their columns ({error}).") from error
    chain = column(21, 22)
    residue = column(17, 20)
    same = (chain[1:] == chain[:-1]) & (column(22, 27)[1:] == column(22, 27)[:-1])
    starts = np.flatnonzero(np.append(True, ~same))
    return Atoms(chain, number, residue, name, xyz, starts)


class Packer:
    """Packs the molecules of one page, which share the list of kinds of residues."""

    def __init__(self) -> None:
        self._kinds: dict[bytes, int] = {}
        #: [residue name, atom names, parents]: parents[j] < j is the atom that atom j is written from.
        self.kinds: list[tuple[str, list[str], list[int]]] = []

    def pack(self, atoms: Atoms) -> dict[str, Any]:
        """`{chains, step, atoms}` of a molecule; `atoms` is packed as static/molecule.js says."""
        step = max(STEP, float(np.abs(atoms.xyz).max()) / 16_000)
        places = np.rint(atoms.xyz / step).astype(np.int64)
        kinds, parents = self._describe(atoms)
        change = places.copy()
        change[1:] -= places[parents[1:]]
        change[0] = places[0]
        folded = ((change << 1) ^ (change >> 63)).astype(np.uint16).T
        numbers = np.diff(atoms.number[atoms.starts], prepend=0).astype("<i2")
        planes = ((folded & 255).astype(np.uint8), (folded >> 8).astype(np.uint8))
        body = b"".join(np.ascontiguousarray(plane).tobytes() for plane in planes)
        head = kinds.astype("<u2").tobytes() + numbers.tobytes()
        return {"chains": atoms.chains, "step": step, "atoms": packed(head + body)}

    def _describe(self, atoms: Atoms) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Kind of every residue, and of every atom the one it is written from."""
        ends = np.append(atoms.starts[1:], len(atoms.name))
        kinds, parents = np.zeros(len(ends), np.int64), np.zeros(len(atoms.name), np.int64)
        for place, (start, end) in enumerate(zip(atoms.starts, ends, strict=True)):
            key = atoms.residue[start] + b" " + atoms.name[start:end].tobytes()
            if key not in self._kinds:
                self._kinds[key] = len(self.kinds)
                self.kinds.append(_kind(atoms, start, end))
            kinds[place] = self._kinds[key]
            parents[start:end] = start + np.array(self.kinds[kinds[place]][2])
            # A residue's first atom follows the C of the one before, or its last atom, if it has none.
            if place:
                before = self.kinds[kinds[place - 1]][1]
                anchor = before.index("C") if "C" in before else len(before) - 1
                parents[start] = atoms.starts[place - 1] + anchor
        return kinds, parents


def _kind(atoms: Atoms, start: int, end: int) -> tuple[str, list[str], list[int]]:
    points = atoms.xyz[start:end]
    apart = np.linalg.norm(points[:, None] - points[None], axis=2)
    parents = [0] + [int(np.argmin(apart[at, :at])) for at in range(1, len(points))]
    names = [name.decode("ascii", "replace") for name in atoms.name[start:end]]
    return atoms.residue[start].decode("ascii", "replace"), names, parents
