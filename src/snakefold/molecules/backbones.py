"""Backbones for sequence design: protein chains of a PDB or mmCIF file as ProteinMPNN counts them.

A chain is the positions from its lowest residue number to its highest. Residues with insertion codes are
positions of their own, in the order of their codes. A number that no residue has is a position without
coordinates, a gap, whose letter is X. So ProteinMPNN's own reader does (Dauparas 2022,
doi:10.1126/science.add2187), and positions in programs around it are counted that way, from 1.
Residues of HETATM records are no part of a chain, but selenomethionine, which is methionine.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import gemmi
import numpy as np
from numpy.typing import NDArray

#: Atoms of a residue's backbone, in the order of `BackboneChain.coordinates`.
ATOMS = ("N", "CA", "C", "O")
#: A file may number its residues as it likes: a bound on the positions of one chain.
_MAX_POSITIONS = 20_000
_LETTERS = {
    gemmi.expand_one_letter(letter, gemmi.ResidueKind.AA): letter for letter in "ACDEFGHIKLMNPQRSTVWY"
}


class BadBackboneError(ValueError):
    """The file has no backbone that a sequence could be designed for; the text says why."""


@dataclass(frozen=True)
class BackboneChain:
    """One protein chain.

    Attributes:
        name: the author's.
        sequence: a letter a position; X in gaps and for residues that are none of the twenty.
        numbers: author's residue number with its insertion code, as 52A; empty in gaps.
        coordinates: float32 [L, 4, 3] in Å of `ATOMS`; NaN where the file has no such atom.
    """

    name: str
    sequence: str
    numbers: tuple[str, ...]
    coordinates: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.sequence)

    @property
    def complete(self) -> NDArray[np.bool_]:
        """Positions with all four atoms, bool [L]: a sequence can be designed there."""
        return np.asarray(np.isfinite(self.coordinates).all(axis=(1, 2)))


def read_backbone(data: bytes) -> list[BackboneChain]:
    """Protein chains of the first model, in the file's order.

    Args:
        data: a file in PDB or mmCIF format.

    Raises:
        BadBackboneError: it is neither, or has no chain with a complete residue.
    """
    structure = _parsed(data)
    merged: dict[str, list[gemmi.Residue]] = {}
    for chain in structure[0] if len(structure) else ():
        merged.setdefault(chain.name, []).extend(_residues(chain))
    chains = [_chain(name, residues) for name, residues in merged.items() if residues]
    chains = [chain for chain in chains if chain.complete.any()]
    if not chains:
        raise BadBackboneError("it has no protein chain with the atoms N, CA, C and O")
    return chains


def format_of(data: bytes) -> str:
    """pdb or cif, by the first line that is no comment."""
    for line in data[:100_000].splitlines():
        text = line.strip()
        if text and not text.startswith(b"#"):
            return "cif" if text.lower().startswith(b"data_") else "pdb"
    return "pdb"


def _parsed(data: bytes) -> gemmi.Structure:
    try:
        if format_of(data) == "cif":
            block = gemmi.cif.read_string(data.decode("utf-8", "replace")).sole_block()
            return gemmi.make_structure_from_block(block)
        return gemmi.read_pdb_string(data)
    except (RuntimeError, ValueError, IndexError) as error:
        raise BadBackboneError(f"it cannot be read as PDB or mmCIF ({str(error)[:200]})") from error


def _residues(chain: gemmi.Chain) -> Iterator[gemmi.Residue]:
    """Amino acids of ATOM records, and selenomethionine, which becomes methionine."""
    for residue in chain:
        if residue.name == "MSE":
            residue.name = "MET"
        elif residue.het_flag != "A":
            continue
        if residue.name in _LETTERS or any(atom.name in ATOMS[:3] for atom in residue):
            yield residue


def _chain(name: str, residues: list[gemmi.Residue]) -> BackboneChain:
    placed: dict[tuple[int, str], gemmi.Residue] = {}
    for residue in residues:  # of two residues in one place, the first is taken
        placed.setdefault((residue.seqid.num or 0, residue.seqid.icode.strip()), residue)
    numbered: dict[int, list[str]] = {}
    for number, code in sorted(placed):
        numbered.setdefault(number, []).append(code)
    first, last = min(numbered), max(numbered)
    if last - first >= _MAX_POSITIONS:
        raise BadBackboneError(
            f"residues of chain {name} have the numbers {first} to {last}, and each number between is a "
            f"position; at most {_MAX_POSITIONS} are taken"
        )
    letters: list[str] = []
    numbers: list[str] = []
    coordinates: list[NDArray[np.float32]] = []
    for number in range(first, last + 1):
        at: list[str | None] = [*numbered.get(number, [])]
        for inserted in at or [None]:
            coordinates.append(np.full((len(ATOMS), 3), np.nan, np.float32))
            if inserted is None:
                letters.append("X")
                numbers.append("")
                continue
            residue = placed[number, inserted]
            letters.append(_LETTERS.get(residue.name, "X"))
            numbers.append(f"{number}{inserted}")
            for place, atom in enumerate(ATOMS):
                found = residue.find_atom(atom, "*")
                if found is not None:
                    coordinates[-1][place] = found.pos.tolist()
    return BackboneChain(name, "".join(letters), tuple(numbers), np.stack(coordinates))
