"""What a structure file holds: whole protein chains with a pLDDT for every residue, or a reason why not.

Only predicted models are taken. The B column of an experimental structure is no confidence, and a result of
snakefold never has an invented one.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise

import gemmi
import numpy as np
from numpy.typing import NDArray

from snakefold.engines.reuse.found import UnusableError, expand
from snakefold.kernel.errors import SnakefoldError
from snakefold.structures import files as structures
from snakefold.structures.chains import chain_names

_LETTERS = {
    gemmi.expand_one_letter(letter, gemmi.ResidueKind.AA): letter for letter in "ACDEFGHIKLMNPQRSTVWY"
}
_BACKBONE = ("N", "CA", "C")
#: How a PDB file says that its B column is pLDDT: AlphaFold DB's title, or a remark that names it.
_PDB_SAYS_PLDDT = re.compile(
    r"^TITLE .*\bALPHAFOLD\b.*\bPREDICTION\b|^(?:TITLE|REMARK) .*\bpLDDT\b", re.MULTILINE | re.IGNORECASE
)
_LONGEST_TITLE = 200
#: Where snakefold writes its mark. Not anywhere in the text: REHEARSAL is a sequence of amino acids, too.
_PDB_REHEARSAL = re.compile(r"^(?:HEADER|TITLE|REMARK) .*\bREHEARSAL\b", re.MULTILINE)
_CIF_REHEARSAL = ("_struct.title", "_ma_model_list.model_name")


@dataclass(frozen=True)
class Predicted:
    """A predicted model.

    Attributes:
        chains: sequences in the file's order, of the twenty standard amino acids.
        structure: first model of the file, without alternative locations.
        plddt: float64 [L], 0 to 100.
        rehearsal: the file says that it was made with random parameters.
        title: what the file calls itself, on one line.
    """

    chains: tuple[str, ...]
    structure: gemmi.Structure
    plddt: NDArray[np.float64]
    rehearsal: bool
    title: str = ""

    def model(self) -> gemmi.Structure:
        """Chains A, B, …, residues numbered from 1 in each, pLDDT as B factors."""
        model = gemmi.Model(1)
        values = iter(self.plddt)
        for name, found in zip(chain_names(len(self.chains)), self.structure[0], strict=True):
            chain = gemmi.Chain(name)
            for number, residue in enumerate(found, 1):
                copy = residue.clone()
                copy.seqid = gemmi.SeqId(number, " ")
                copy.het_flag, copy.segment = "A", ""
                value = float(next(values))
                for atom in copy:
                    atom.b_iso, atom.occ = value, 1.0
                    atom.aniso = gemmi.SMat33f(0, 0, 0, 0, 0, 0)
                chain.add_residue(copy)
            model.add_chain(chain)
        structure = gemmi.Structure()
        structure.add_model(model)
        structure.setup_entities()
        return structure

    def pdb(self) -> str:
        """PDB text of `model`; empty where the format cannot hold it."""
        model = self.model()
        if not structures.fits_pdb(model):
            return ""
        return model.make_pdb_string(gemmi.PdbWriteOptions(minimal=True, cryst1_record=False))


def read_predicted(data: bytes) -> Predicted:
    """A structure file, compressed or not, as it lies in a collection.

    Raises:
        UnusableError: it is damaged, experimental, incomplete, or holds something besides protein chains.
    """
    try:
        text = expand(data).decode("utf-8")
    except UnicodeDecodeError as error:
        raise UnusableError("it is no text") from error
    is_cif = re.search(r"^data_\S", text, re.MULTILINE) is not None
    block: gemmi.cif.Block | None = None
    try:
        if is_cif:
            block = gemmi.cif.read_string(text).sole_block()
            structure = gemmi.make_structure_from_block(block)
            _complete_sequences(structure, block)
        else:
            structure = structures.read(text)
    except (RuntimeError, ValueError, SnakefoldError) as error:
        raise UnusableError(f"it is no valid {'mmCIF' if is_cif else 'PDB'} file ({error})") from error
    if len(structure) == 0 or structure[0].count_atom_sites() == 0:
        raise UnusableError("it holds no atoms")
    _check_is_predicted(structure, block, text)
    del structure[1:]
    structure.remove_alternative_conformations()
    if not np.isfinite(gemmi.FlatStructure(structure).pos).all():
        raise UnusableError("it has coordinates that are no numbers")
    if block is None or not structure.entities:
        structure.setup_entities()
    chains = tuple(_sequence(structure, chain) for chain in structure[0])
    plddt = _plddt(structure[0], block)
    title = " ".join(dict(structure.info.items()).get("_struct.title", "").split())
    return Predicted(chains, structure, plddt, _is_rehearsal(block, text), title[:_LONGEST_TITLE].rstrip("."))


def _is_rehearsal(block: gemmi.cif.Block | None, text: str) -> bool:
    if block is None:
        return _PDB_REHEARSAL.search(text) is not None
    return any("REHEARSAL" in value for name in _CIF_REHEARSAL for value in block.find_values(name))


def _complete_sequences(structure: gemmi.Structure, block: gemmi.cif.Block) -> None:
    """Sequences of `_entity_poly` for entities that `_entity_poly_seq`, which gemmi reads, leaves out."""
    for row in block.find("_entity_poly.", ["entity_id", "pdbx_seq_one_letter_code"]):
        entity = structure.get_entity(row.str(0))
        letters = "".join(row.str(1).split())
        if entity is not None and not entity.full_sequence and letters:
            entity.full_sequence = gemmi.expand_one_letter_sequence(letters, gemmi.ResidueKind.AA)


def _check_is_predicted(structure: gemmi.Structure, block: gemmi.cif.Block | None, text: str) -> None:
    methods = dict(structure.info.items()).get("_exptl.method", "")
    if methods.strip(" ?.'") and "THEORETICAL" not in methods.upper():
        raise UnusableError(f"it is an experimental structure ({methods}): its B column is no pLDDT")
    says_plddt = _PDB_SAYS_PLDDT.search(text) if block is None else _metrics(block)
    if not says_plddt:
        raise UnusableError("it does not say that it is a predicted model with pLDDT")


def _metrics(block: gemmi.cif.Block) -> set[str]:
    """Ids of the metrics that are a pLDDT of every residue."""
    table = block.find("_ma_qa_metric.", ["id", "mode", "?name", "?type"])
    found = set()
    for row in table:
        words = {row.str(column).lower() for column in (2, 3) if row.has(column)}
        if row.str(1).lower() == "local" and "plddt" in words:
            found.add(row.str(0))
    return found


def _sequence(structure: gemmi.Structure, chain: gemmi.Chain) -> str:
    """Sequence of a chain that is one protein, every residue of which has coordinates."""
    if {residue.entity_type for residue in chain} != {gemmi.EntityType.Polymer} or len(chain.subchains()) > 1:
        raise UnusableError(f"chain {chain.name} is not one protein chain and nothing else")
    modelled = [residue.name for residue in chain]
    entity = structure.get_entity_of(chain.whole())
    stated = list(entity.full_sequence) if entity is not None else []
    if stated and modelled != stated:
        raise UnusableError(
            f"chain {chain.name}: the coordinates ({len(modelled)} residues) do not cover its sequence "
            f"({len(stated)})"
        )
    if not stated and _is_broken(chain):
        raise UnusableError(f"chain {chain.name}: residue numbers have gaps, and no sequence is stated")
    if strange := sorted(set(modelled) - set(_LETTERS)):
        raise UnusableError(f"chain {chain.name} holds {', '.join(strange[:5])}: no standard amino acid")
    for residue in chain:
        if any(residue.find_atom(name, "*") is None for name in _BACKBONE):
            raise UnusableError(f"chain {chain.name}: residue {residue.seqid} has no whole backbone")
    return "".join(_LETTERS[name] for name in modelled)


def _is_broken(chain: gemmi.Chain) -> bool:
    numbers = [residue.seqid.num or 0 for residue in chain]
    consecutive = all(later == earlier + 1 for earlier, later in pairwise(numbers))
    return not consecutive or any(residue.seqid.icode != " " for residue in chain)


def _plddt(model: gemmi.Model, block: gemmi.cif.Block | None) -> NDArray[np.float64]:
    residues = [residue for chain in model for residue in chain]
    stated = _local_plddt(block) if block is not None else {}
    if stated:
        values = [stated.get((residue.subchain, residue.label_seq or 0), np.nan) for residue in residues]
    else:
        values = [residue.find_atom("CA", "*").b_iso for residue in residues]
    # The B column has two decimals, which gemmi keeps in single precision.
    plddt = np.asarray(values, dtype=np.float64).round(2)
    if not bool(np.all((plddt >= 0) & (plddt <= 100))):
        raise UnusableError("not every residue has a pLDDT from 0 to 100")
    if bool(plddt.max() <= 1):
        raise UnusableError("its pLDDT is not on the scale of 0 to 100")
    return plddt


def _local_plddt(block: gemmi.cif.Block) -> dict[tuple[str, int], float]:
    """pLDDT by label_asym_id and label_seq_id, of the first model that has them."""
    metrics = _metrics(block)
    found: dict[tuple[str, int], float] = {}
    columns = ["metric_id", "label_asym_id", "label_seq_id", "metric_value"]
    for row in block.find("_ma_qa_metric_local.", columns):
        if row.str(0) in metrics:
            with suppress(ValueError):
                found.setdefault((row.str(1), int(row.str(2))), float(row.str(3)))
    return found
