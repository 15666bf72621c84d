"""Structure files: what the PDB format holds, remarks in its text, CA atoms read from PDB or mmCIF.

gemmi reads the formats; `mmcif` writes models. A model is there as mmCIF, and as PDB where that holds it.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
from numpy.typing import NDArray

from snakefold.kernel.errors import SnakefoldError

REHEARSAL_NOTE = "REHEARSAL: made with random parameters. The structure means nothing."

#: PDB names a chain by one letter or digit, numbers residues in 4 columns and atoms, ends of chains included,
#: in 5, and has 4 columns before a coordinate's decimal point.
PDB_MAX_CHAINS = 62
PDB_MAX_NAME = 3
PDB_MAX_CHAIN_LENGTH = 9_999
PDB_MAX_ATOMS = 99_999
_PDB_LOWEST, _PDB_HIGHEST = -999.9995, 9_999.9995

#: REMARK 6 is free text in the PDB format.
_REMARK = "REMARK   6 "
_COORDINATES = re.compile(r".{30}[ \d-]{4}\.\d{3}[ \d-]{4}\.\d{3}[ \d-]{4}\.\d{3}")


@dataclass(frozen=True)
class ChainTrace:
    """CA atoms of one chain: float64 [L, 3] in Å; one letter a residue (X: not a standard one)."""

    name: str
    sequence: str
    coordinates: NDArray[np.float64]


def pdb_holds(chains: int, longest: int, positions: NDArray[Any]) -> bool:
    """Whether the PDB format can hold a model.

    Args:
        chains: how many.
        longest: the highest number of a residue.
        positions: of all atoms, [N, 3] in Å.
    """
    return bool(
        chains <= PDB_MAX_CHAINS
        and longest <= PDB_MAX_CHAIN_LENGTH
        and len(positions) + chains <= PDB_MAX_ATOMS
        and np.all((positions > _PDB_LOWEST) & (positions < _PDB_HIGHEST))
    )


def fits_pdb(structure: gemmi.Structure) -> bool:
    """Whether the PDB format can hold every model of a structure, and its names of chains and residues."""
    numbers = [residue.seqid.num or 0 for model in structure for chain in model for residue in chain]
    short = all(
        len(chain.name) == 1 and all(len(residue.name) <= PDB_MAX_NAME for residue in chain)
        for model in structure
        for chain in model
    )
    return short and all(
        pdb_holds(len(model), max(numbers, default=0), gemmi.FlatStructure(_alone(model)).pos)
        for model in structure
    )


def build(
    names: Sequence[str],
    *,
    chain: NDArray[Any],
    number: NDArray[Any],
    residue: Sequence[str],
    atoms: Sequence[str],
    mask: NDArray[np.bool_],
    positions: NDArray[Any],
    plddt: NDArray[Any],
) -> gemmi.Structure:
    """A structure of L residues from arrays.

    Args:
        names: of the chains.
        chain, number, residue, plddt: of every residue [L]: index of its chain, number in it, name, 0 to 100.
        atoms: names of the A atoms that a residue can have.
        mask, positions: which it has [L, A], and where they are [L, A, 3], Å.
    """
    model = gemmi.Model(1)
    for name in names:
        model.add_chain(gemmi.Chain(name))
    for place in np.flatnonzero(mask.any(axis=1)).tolist():
        made = gemmi.Residue()
        made.name, made.seqid, made.het_flag = residue[place], gemmi.SeqId(int(number[place]), " "), "A"
        for which in np.flatnonzero(mask[place]).tolist():
            atom = gemmi.Atom()
            atom.name, atom.element = atoms[which], gemmi.Element(atoms[which][0])
            atom.pos = gemmi.Position(*positions[place, which].tolist())
            atom.occ, atom.b_iso = 1.0, float(plddt[place])
            made.add_atom(atom)
        model[int(chain[place])].add_residue(made)
    structure = _alone(model)
    structure.remove_empty_chains()
    return structure


def model_name(names: Container[str], rank: int) -> str | None:
    """Which of a target's files has the model of a rank: PDB, or mmCIF where that cannot hold it."""
    return next((name for name in (f"ranked_{rank}.pdb", f"ranked_{rank}.cif") if name in names), None)


def model_file(folder: Path, rank: int) -> Path:
    """Where a target's folder has the model of a rank: PDB, or mmCIF where that cannot hold it."""
    pdb = folder / f"ranked_{rank}.pdb"
    return pdb if pdb.is_file() else folder / f"ranked_{rank}.cif"


def annotate(pdb: str, *, rehearsal: bool, key: str, engine: str, origin: str = "") -> str:
    """PDB text with remarks in front: engine, key of the sequences, and whether it is a rehearsal.

    `origin` says, as a sentence, where a model comes from that was not predicted here.
    Earlier remarks of this function are replaced, so that it may be applied twice. The rest stays as it is.
    """
    notes = [REHEARSAL_NOTE] if rehearsal else []
    made = origin or f"Predicted by {engine}."
    notes += [f"{made} B-factor column: pLDDT (0 to 100).", f"KEY {key}"]
    kept = [line for line in pdb.splitlines() if not line.startswith(_REMARK)]
    return "\n".join([*remarks(notes), *kept]) + "\n"


def remarks(notes: Sequence[str]) -> list[str]:
    """PDB remark lines of at most 80 ASCII characters."""
    width = 80 - len(_REMARK)
    wrapped = [textwrap.wrap(_ascii(note), width, break_on_hyphens=False) for note in notes]
    return [f"{_REMARK}{line}" for lines in wrapped for line in lines]


def ca_traces(text: str) -> list[ChainTrace]:
    """CA atoms of every protein chain of PDB or mmCIF text (first model, first alternative location).

    Raises:
        SnakefoldError: the text is neither, or holds no CA atom.
    """
    traces = []
    for chain in read(text)[0]:
        atoms = [(residue, residue.find_atom("CA", "*", gemmi.Element("C"))) for residue in chain]
        found = [(residue, atom) for residue, atom in atoms if atom is not None]
        if found:
            letters = (gemmi.find_tabulated_residue(residue.name).one_letter_code for residue, _ in found)
            sequence = "".join(letter.upper() if letter.isalpha() else "X" for letter in letters)
            coordinates = np.array([atom.pos.tolist() for _, atom in found], dtype=np.float64)
            traces.append(ChainTrace(chain.name, sequence, coordinates))
    if not traces:
        raise SnakefoldError("The structure holds no CA atom. Expected a protein in PDB or mmCIF format.")
    return traces


def ca_coordinates(text: str) -> NDArray[np.float64]:
    """CA coordinates of all chains in order, float64 [L, 3] in Å; PDB or mmCIF text."""
    return np.concatenate([trace.coordinates for trace in ca_traces(text)])


def read(text: str) -> gemmi.Structure:
    """Structure of PDB or mmCIF text.

    Raises:
        SnakefoldError: the text is neither, or holds no atom.
    """
    if re.search(r"^data_\S", text, re.MULTILINE):
        try:
            structure = gemmi.make_structure_from_block(gemmi.cif.read_string(text).sole_block())
        except (RuntimeError, ValueError) as error:
            raise SnakefoldError(f"The text is no valid mmCIF: {error}.") from error
        if len(structure) == 0 or structure[0].count_atom_sites() == 0:
            raise SnakefoldError("The mmCIF text holds no atoms.")
        return structure
    return _read_pdb(text)


def read_file(path: Path) -> str:
    """Text of a structure file.

    Raises:
        SnakefoldError: the file is missing or no text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SnakefoldError(
            f"{path}: cannot be read as a structure ({error}). Expected PDB or mmCIF."
        ) from error


def _read_pdb(pdb: str) -> gemmi.Structure:
    number = 0
    for number, line in enumerate(pdb.splitlines(), 1):
        if line.startswith(("ATOM  ", "HETATM")) and not _COORDINATES.match(line):
            raise SnakefoldError(
                f"PDB line {number}: coordinates are not in columns 31 to 54: {line[:80]!r}. "
                "Atom or residue numbers, or coordinates, outgrew the format."
            )
    try:
        structure = gemmi.read_pdb_string(pdb)
    except (RuntimeError, ValueError) as error:
        raise SnakefoldError(f"The text is no valid PDB: {error}.") from error
    if len(structure) == 0 or structure[0].count_atom_sites() == 0:
        raise SnakefoldError(f"The PDB text ({number} lines) holds no atoms.")
    return structure


def _alone(model: gemmi.Model) -> gemmi.Structure:
    structure = gemmi.Structure()
    structure.add_model(model)
    return structure


def _ascii(text: str) -> str:
    return text.encode("ascii", "replace").decode()
