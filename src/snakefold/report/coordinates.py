"""Atoms of models as small as they can be drawn from: a page carries five models of a target.

Coordinates are whole multiples of `STEP`; each atom is written as its difference from the atom of its residue
that is nearest to it (a bond away, as a rule), and a residue's first atom from the residue before. Names of
atoms are written once for every kind of residue. Hydrogens are left out. static/molecule.js reads this.
What is no protein says so: a page of proteins is as small as if there were nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import gemmi
import numpy as np
from numpy.typing import NDArray

from snakefold.kernel.errors import SnakefoldError
from snakefold.report.libraries import packed
from snakefold.structures import files as structures

#: Å; an atom is drawn at most half of it from its place, along each axis.
STEP = 0.04


@dataclass(frozen=True)
class Atoms:
    """Heavy atoms of one model, in the order of its file.

    Attributes:
        chain, number, residue, name, element: of every atom: its chain, number and name of its residue, its
            name, its element.
        xyz: float64 [N, 3], Å.
        starts: index of the first atom of every residue.
    """

    chain: NDArray[np.bytes_]
    number: NDArray[np.int64]
    residue: NDArray[np.bytes_]
    name: NDArray[np.bytes_]
    element: NDArray[np.bytes_]
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

    def ca(self, kinds: Sequence[str] = ()) -> NDArray[np.float64]:
        """CA atoms of protein residues, float64 [L, 3]; NaN of every other residue, and where one has none.

        Args:
            kinds: of the chains (`Confidence.chain_kinds`), in order; none: all are protein.
        """
        return self._points(kinds, {"protein": b"CA"})

    def trace(self, kinds: Sequence[str] = ()) -> NDArray[np.float64]:
        """As `ca`, with the C1' atoms of nucleotides: what models of an assembly are laid on each other by.

        A ligand is left out, whatever its atoms are called: where it lies is what models differ in.
        """
        return self._points(kinds, {"protein": b"CA", "dna": b"C1'", "rna": b"C1'"})

    def _points(self, kinds: Sequence[str], atoms: dict[str, bytes]) -> NDArray[np.float64]:
        found = np.full((len(self.starts), 3), np.nan)
        counts = [count for _, count in self.chains]
        wanted = np.repeat([atoms.get(kind, b"") for kind in kinds or ["protein"] * len(counts)], counts)
        # A calcium ion is called CA as well.
        at = np.flatnonzero(np.isin(self.name, list(atoms.values())) & (self.element == b"C"))
        of = np.searchsorted(self.starts, at, side="right") - 1
        right = self.name[at] == wanted[of]
        found[of[right]] = self.xyz[at[right]]
        return found

    def moved(self, rotation: NDArray[np.float64], translation: NDArray[np.float64]) -> Atoms:
        """The atoms at `x @ rotation.T + translation`."""
        return replace(self, xyz=self.xyz @ rotation.T + translation)


def read_atoms(text: str) -> list[Atoms]:
    """Heavy atoms of every model of mmCIF or PDB text (first alternative locations).

    Raises:
        SnakefoldError: the text is neither, or holds no atom.
    """
    if not re.search(r"^data_\S", text, re.MULTILINE):
        models = structures.read(text)
        return _of_table(models.make_mmcif_document().sole_block())
    try:
        block = gemmi.cif.read_string(text).sole_block()
    except (RuntimeError, ValueError) as error:
        raise SnakefoldError(f"The text is no valid mmCIF: {error}.") from error
    return _of_table(block)


def _of_table(block: gemmi.cif.Block) -> list[Atoms]:
    """Atoms of `_atom_site`, column by column: atom by atom takes ten times as long."""

    def column(name: str) -> NDArray[np.bytes_]:
        values = [gemmi.cif.as_string(value) for value in block.find_values(f"_atom_site.{name}")]
        return np.array(values, dtype=object).astype("S")

    names = ("pdbx_PDB_model_num", "auth_asym_id", "auth_seq_id", "pdbx_PDB_ins_code", "label_comp_id")
    model, chain, number, insertion, residue = map(column, names)
    name, location, element = map(column, ("label_atom_id", "label_alt_id", "type_symbol"))
    try:
        xyz = np.stack([column(f"Cartn_{axis}").astype(np.float64) for axis in "xyz"], axis=1)
        numbers = number.astype(np.int64)
    except ValueError as error:
        raise SnakefoldError(f"The table of atoms has what is no number ({error}).") from error
    if not len(xyz) or any(len(each) != len(xyz) for each in (model, chain, number, residue, name)):
        raise SnakefoldError("The text holds no atoms.")
    keep = ~np.isin(element, (b"H", b"D")) & np.isin(location, (b"", b"A", b"1"))
    found = []
    for which in dict.fromkeys(model.tolist()):
        at = np.flatnonzero(keep & (model == which))
        if not len(at):
            raise SnakefoldError("The text holds no atoms.")
        same = (chain[at][1:] == chain[at][:-1]) & (number[at][1:] == number[at][:-1])
        same &= insertion[at][1:] == insertion[at][:-1]
        starts = np.flatnonzero(np.append(True, ~same))
        found.append(Atoms(chain[at], numbers[at], residue[at], name[at], element[at], xyz[at], starts))
    return found


class Packer:
    """Packs the molecules of one page, which share the list of kinds of residues."""

    def __init__(self) -> None:
        self._kinds: dict[bytes, int] = {}
        #: [residue name, atom names, parents]: parents[j] < j is the atom that atom j is written from.
        #: Elements follow where the names do not begin with them.
        self.kinds: list[tuple[str, list[str], list[int]] | tuple[str, list[str], list[int], list[str]]] = []

    def pack(self, atoms: Atoms, kinds: Sequence[str] = ()) -> dict[str, Any]:
        """`{chains, step, atoms}` of a molecule; `atoms` is packed as static/molecule.js says.

        Args:
            kinds: of the chains, in order; none: all are protein. A chain that is none says so.
        """
        step = max(STEP, float(np.abs(atoms.xyz).max()) / 16_000)
        places = np.rint(atoms.xyz / step).astype(np.int64)
        which, parents = self._describe(atoms)
        change = places.copy()
        change[1:] -= places[parents[1:]]
        change[0] = places[0]
        folded = ((change << 1) ^ (change >> 63)).astype(np.uint16).T
        numbers = np.diff(atoms.number[atoms.starts], prepend=0).astype("<i2")
        planes = ((folded & 255).astype(np.uint8), (folded >> 8).astype(np.uint8))
        body = b"".join(np.ascontiguousarray(plane).tobytes() for plane in planes)
        head = which.astype("<u2").tobytes() + numbers.tobytes()
        chains = [
            each if kind == "protein" else (*each, kind)
            for each, kind in zip(atoms.chains, kinds or ["protein"] * len(atoms.chains), strict=True)
        ]
        return {"chains": chains, "step": step, "atoms": packed(head + body)}

    def _describe(self, atoms: Atoms) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Kind of every residue, and of every atom the one it is written from."""
        ends = np.append(atoms.starts[1:], len(atoms.name))
        kinds, parents = np.zeros(len(ends), np.int64), np.zeros(len(atoms.name), np.int64)
        for place, (start, end) in enumerate(zip(atoms.starts, ends, strict=True)):
            key = (
                atoms.residue[start]
                + b" "
                + atoms.name[start:end].tobytes()
                + atoms.element[start:end].tobytes()
            )
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


def _kind(
    atoms: Atoms, start: int, end: int
) -> tuple[str, list[str], list[int]] | tuple[str, list[str], list[int], list[str]]:
    points = atoms.xyz[start:end]
    apart = np.linalg.norm(points[:, None] - points[None], axis=2)
    parents = [0] + [int(np.argmin(apart[at, :at])) for at in range(1, len(points))]
    names = [name.decode("ascii", "replace") for name in atoms.name[start:end]]
    residue = atoms.residue[start].decode("ascii", "replace")
    elements = [element.decode("ascii", "replace").capitalize() for element in atoms.element[start:end]]
    # As static/molecule.js takes them from the names.
    told = [name.lstrip("0123456789")[:1] or "C" for name in names]
    return (residue, names, parents) if elements == told else (residue, names, parents, elements)
