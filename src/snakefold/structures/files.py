"""Structure files: remarks in PDB text, ModelCIF written, CA atoms read from PDB or mmCIF.

gemmi reads and writes the formats; added here is what a *predicted* structure needs: pLDDT as ModelCIF
quality metrics (https://mmcif.wwpdb.org/dictionaries/mmcif_ma.dic), one entity for identical chains, and the
word REHEARSAL where the parameters were random.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
from numpy.typing import NDArray

from snakefold.kernel.errors import Reason, SnakefoldError, TargetError

REHEARSAL_NOTE = "REHEARSAL: made with random parameters. The structure means nothing."

#: PDB names a chain by one letter or digit, numbers residues in 4 columns and atoms in 5. Tryptophan, the
#: largest residue, has 14 heavy atoms: with this many residues the atom numbers cannot overflow.
PDB_MAX_CHAINS = 62
PDB_MAX_CHAIN_LENGTH = 9_999
PDB_MAX_RESIDUES = 99_999 // 14

#: REMARK 6 is free text in the PDB format.
_REMARK = "REMARK   6 "
_COORDINATES = re.compile(r".{30}[ \d-]{4}\.\d{3}[ \d-]{4}\.\d{3}[ \d-]{4}\.\d{3}")


@dataclass(frozen=True)
class ChainTrace:
    """CA atoms of one chain: float64 [L, 3] in Å; one letter a residue (X: not a standard one)."""

    name: str
    sequence: str
    coordinates: NDArray[np.float64]


def check_pdb_limits(chains: Sequence[str]) -> None:
    """Refuse a target that the PDB format cannot hold, before anything is computed.

    Raises:
        TargetError: more than 62 chains, a chain of more than 9,999 residues, or more than 7,142 in all.
    """
    longest, total = max(map(len, chains)), sum(map(len, chains))
    for found, limit, what in (
        (len(chains), PDB_MAX_CHAINS, "chains"),
        (longest, PDB_MAX_CHAIN_LENGTH, "residues in a chain"),
        (total, PDB_MAX_RESIDUES, "residues in all"),
    ):
        if found > limit:
            raise TargetError(
                Reason.INVALID_INPUT,
                f"{found} {what}: the PDB format, in which models are written, holds {limit}.",
                "Split the target.",
            )


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


def to_mmcif(pdb: str, *, name: str, rehearsal: bool, software: str, origin: str = "") -> str:
    """ModelCIF text of a predicted model.

    Args:
        pdb: one model; residues numbered from 1 in each chain; pLDDT (0 to 100) in the B column. A number
            that is left out is a residue without atoms (X): it stays in the sequence as UNK.
        name: name of the data block.
        rehearsal: the parameters were random.
        software: name and version of the engine, separated by a space.
        origin: where a model comes from that was not predicted here, as a sentence.

    Raises:
        SnakefoldError: the text holds no atoms, or numbers that ran out of their PDB columns.
    """
    structure = _read_pdb(pdb)
    structure.name = re.sub(r"[^A-Za-z0-9_.-]", "_", name) or "model"
    _describe_entities(structure)
    groups = gemmi.MmcifOutputGroups(False)
    groups.block_name = groups.entry = groups.atoms = groups.entity = groups.entity_poly = True
    groups.group_pdb = True
    groups.entity_poly_seq = groups.struct_asym = groups.chem_comp = groups.atom_type = groups.auth_all = True
    document = structure.make_mmcif_document(groups)
    block = document.sole_block()
    for row in block.find("_chem_comp.", ["id", "type"]):
        row[1] = gemmi.cif.quote("peptide linking" if row[0] == "GLY" else "L-peptide linking")
    _add_model_categories(block, structure, rehearsal, software, origin)
    return document.as_string(gemmi.cif.WriteOptions(gemmi.cif.Style.Pdbx))


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


def _describe_entities(structure: gemmi.Structure) -> None:
    """One entity per distinct sequence, chain names as asym ids, label_seq_id = number in the chain."""
    entities: dict[tuple[str, ...], gemmi.Entity] = {}
    for chain in structure[0]:
        sequence = _full_sequence(chain)
        for position, residue in enumerate(chain, 1):
            residue.label_seq = residue.seqid.num if len(sequence) > len(chain) else position
            residue.subchain = chain.name
            residue.entity_type = gemmi.EntityType.Polymer
        if sequence not in entities:
            entity = gemmi.Entity(str(len(entities) + 1))
            entity.entity_type = gemmi.EntityType.Polymer
            entity.polymer_type = gemmi.PolymerType.PeptideL
            entity.full_sequence = list(sequence)
            entities[sequence] = entity
        entities[sequence].subchains = [*entities[sequence].subchains, chain.name]
    structure.entities = gemmi.EntityList(list(entities.values()))
    for chain in structure[0]:
        for residue in chain:
            residue.entity_id = structure.get_entity_of(chain.whole()).name


def _full_sequence(chain: gemmi.Chain) -> tuple[str, ...]:
    numbers = [residue.seqid.num or 0 for residue in chain]
    plain = all(residue.seqid.icode == " " for residue in chain) and numbers == sorted(set(numbers))
    if not plain or numbers[0] < 1:
        return tuple(residue.name for residue in chain)
    names = dict(zip(numbers, (residue.name for residue in chain), strict=True))
    return tuple(names.get(number, "UNK") for number in range(1, numbers[-1] + 1))


def _add_model_categories(
    block: gemmi.cif.Block, structure: gemmi.Structure, rehearsal: bool, software: str, origin: str
) -> None:
    engine, _, version = software.rpartition(" ")
    title = REHEARSAL_NOTE if rehearsal else origin or f"Predicted by {software}"
    names = [entity.name for entity in structure.entities]
    chains = [(chain.name, chain[0].entity_id) for chain in structure[0]]
    residues = [(chain.name, residue) for chain in structure[0] for residue in chain]
    plddt = [_plddt(residue) for _, residue in residues]
    categories: dict[str, dict[str, list[Any]]] = {
        "_audit_conform.": {"dict_name": ["mmcif_ma.dic"], "dict_version": ["1.4.9"]},
        "_struct.": {"entry_id": [structure.name], "title": [title]},
        "_software.": {
            "pdbx_ordinal": [1],
            "name": [engine or software],
            "classification": ["model building"],
            "description": [origin or None],
            "version": [version if engine else None],
            "type": ["package"],
        },
        "_ma_software_group.": {"ordinal_id": [1], "group_id": [1], "software_id": [1]},
        "_ma_data.": {
            "id": [1, 2],
            "name": ["Sequence", "Model"],
            "content_type": ["target", "model coordinates"],
        },
        "_ma_target_entity.": {
            "entity_id": names,
            "data_id": [1] * len(names),
            "origin": ["designed"] * len(names),
        },
        "_ma_target_entity_instance.": {
            "asym_id": [name for name, _ in chains],
            "entity_id": [entity for _, entity in chains],
        },
        "_ma_model_list.": {
            "ordinal_id": [1],
            "model_name": ["REHEARSAL model" if rehearsal else "Predicted model"],
            "data_id": [2],
            "model_type": ["Ab initio model"],
        },
        "_ma_qa_metric.": {
            "id": [1, 2],
            "name": ["pLDDT", "pLDDT"],
            "type": ["pLDDT", "pLDDT"],
            "mode": ["global", "local"],
            "software_group_id": [1, 1],
        },
        "_ma_qa_metric_global.": {
            "ordinal_id": [1],
            "model_id": [1],
            "metric_id": [1],
            "metric_value": [f"{np.mean(plddt):.2f}"],
        },
        "_ma_qa_metric_local.": {
            "ordinal_id": list(range(1, len(residues) + 1)),
            "model_id": [1] * len(residues),
            "label_asym_id": [name for name, _ in residues],
            "label_seq_id": [residue.label_seq for _, residue in residues],
            "label_comp_id": [residue.name for _, residue in residues],
            "metric_id": [2] * len(residues),
            "metric_value": [f"{value:.2f}" for value in plddt],
        },
    }
    for category, columns in categories.items():
        block.set_mmcif_category(category, columns)


def _plddt(residue: gemmi.Residue) -> float:
    atom = residue.find_atom("CA", "*")
    return float(atom.b_iso if atom is not None else np.mean([item.b_iso for item in residue]))


def _ascii(text: str) -> str:
    return text.encode("ascii", "replace").decode()
