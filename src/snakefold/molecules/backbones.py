"""Backbones for sequence design: protein chains of a PDB or mmCIF file, position by position.

A chain is the positions from its first residue to its last. A number that the file skips is a position
without coordinates, a gap, whose letter is X; residues with insertion codes are positions of their own, in
the file's order. So ProteinMPNN's own reader counts (Dauparas 2022, doi:10.1126/science.add2187), and so do
programs around it, from 1. Two things differ: it sorts insertion codes by letter, which splices chains whose
codes run backwards (IMGT's 112B, 112A, 112); and of residues in HETATM records it takes selenomethionine
alone, where here a modified residue of the chain counts as the one that it derives from.
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
            found = gemmi.make_structure_from_block(block)
        else:
            found = gemmi.read_pdb_string(data)
        found.setup_entities()
    except (RuntimeError, ValueError, IndexError) as error:
        raise BadBackboneError(f"it cannot be read as PDB or mmCIF ({str(error)[:200]})") from error
    return found


def _residues(chain: gemmi.Chain) -> Iterator[gemmi.Residue]:
    """Amino acids of the chain: of HETATM records those that are part of the polymer."""
    polymer = {(str(residue.seqid), residue.name) for residue in chain.get_polymer()}
    for residue in chain:
        if (str(residue.seqid), residue.name) not in polymer and residue.het_flag != "A":
            continue
        if _letter(residue) != "X" or all(residue.find_atom(name, "*") for name in ATOMS[:3]):
            yield residue


def _letter(residue: gemmi.Residue) -> str:
    """Of the amino acid that it is or derives from; X if that is not known."""
    found = gemmi.find_tabulated_residue(residue.name)
    letter = found.one_letter_code.upper() if found.is_amino_acid() else "X"
    return letter if letter in "ACDEFGHIKLMNPQRSTVWY" else "X"


def _chain(name: str, residues: list[gemmi.Residue]) -> BackboneChain:
    letters: list[str] = []
    numbers: list[str] = []
    coordinates: list[NDArray[np.float32]] = []
    before: gemmi.Residue | None = None
    taken: set[str] = set()
    for residue in residues:
        number, at = residue.seqid.num or 0, str(residue.seqid).strip()
        if before is not None and at == str(before.seqid).strip():
            continue  # of two residues in one place, the first is taken
        missing = 0 if before is None else number - (before.seqid.num or 0) - 1
        if before is not None and (missing < -1 or at in taken):
            raise BadBackboneError(
                f"residue {at} of chain {name or 'without a name'} comes after residue {before.seqid}: its "
                "numbers begin again, as where two chains have one name. Rename or renumber them"
            )
        if len(letters) + missing >= _MAX_POSITIONS:
            raise BadBackboneError(
                f"residues of chain {name} have numbers up to {number}, and each number between is a "
                f"position; at most {_MAX_POSITIONS} are taken"
            )
        for _ in range(missing):
            letters.append("X")
            numbers.append("")
            coordinates.append(np.full((len(ATOMS), 3), np.nan, np.float32))
        letters.append(_letter(residue))
        numbers.append(at)
        taken.add(at)
        place = np.full((len(ATOMS), 3), np.nan, np.float32)
        for row, atom in enumerate(ATOMS):
            found = residue.find_atom(atom, "*")
            if found is not None:
                place[row] = found.pos.tolist()
        coordinates.append(place)
        before = residue
    return BackboneChain(name, "".join(letters), tuple(numbers), np.stack(coordinates))
