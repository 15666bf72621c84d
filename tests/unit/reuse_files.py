"""Small structure files in AlphaFold DB's format, and collections of them."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import gemmi

from snakefold.engines.reuse.found import Found
from snakefold.engines.reuse.index import open_index

PROTEIN, OTHER = "MKTAYIAKQRQISFVKSH", "GSHMWWACDEFGHIKLMN"
#: `lookup` of targets given by their chains: the fixture `look`.
Look = Callable[..., dict[str, Found]]

_BACKBONE = (("N", "N", 0.0), ("CA", "C", 1.46), ("C", "C", 2.4), ("O", "O", 3.1))


def model(chains: Sequence[str], plddt: float = 90.0) -> gemmi.Structure:
    """An extended backbone per chain; the k-th residue of all has pLDDT `plddt` - k/100."""
    structure = gemmi.Structure()
    structure.name = "model"
    built = gemmi.Model(1)
    number = 0
    for index, sequence in enumerate(chains):
        chain = gemmi.Chain("ABCDEFGHIJ"[index])
        for position, letter in enumerate(sequence, 1):
            residue = gemmi.Residue()
            residue.name = gemmi.expand_one_letter(letter, gemmi.ResidueKind.AA)
            residue.seqid = gemmi.SeqId(position, " ")
            residue.entity_type = gemmi.EntityType.Polymer
            for name, element, along in _BACKBONE:
                atom = gemmi.Atom()
                atom.name, atom.element = name, gemmi.Element(element)
                atom.pos = gemmi.Position(3.8 * position + along, 10.0 * index, 0.5)
                atom.b_iso = round(plddt - number / 100, 2)
                residue.add_atom(atom)
            chain.add_residue(residue)
            number += 1
        built.add_chain(chain)
    for number, chain in enumerate(built, 1):
        entity = gemmi.Entity(str(number))
        entity.entity_type, entity.polymer_type = gemmi.EntityType.Polymer, gemmi.PolymerType.PeptideL
        entity.full_sequence = [residue.name for residue in chain]
        entity.subchains = [chain.name]
        structure.entities.append(entity)
        for residue in chain:
            residue.subchain, residue.entity_id, residue.label_seq = (
                chain.name,
                str(number),
                residue.seqid.num,
            )
    structure.add_model(built)
    return structure


def cif(
    chains: Sequence[str],
    plddt: float = 90.0,
    *,
    has_metric: bool = True,
    method: str = "",
    structure: gemmi.Structure | None = None,
) -> bytes:
    """ModelCIF as AlphaFold DB writes it: pLDDT in `_ma_qa_metric_local` and in the B column."""
    structure = structure or model(chains, plddt)
    document = structure.make_mmcif_document()
    block = document.sole_block()
    block.name = "AF-TEST-F1"
    if method:
        block.set_mmcif_category("_exptl.", {"entry_id": ["model"], "method": [method]})
    if has_metric:
        block.set_mmcif_category(
            "_ma_qa_metric.",
            {
                "id": ["1", "2"],
                "mode": ["global", "local"],
                "name": ["pLDDT", "pLDDT"],
                "software_group_id": ["1", "1"],
                "type": ["pLDDT", "pLDDT"],
            },
        )
        residues = [residue for chain in structure[0] for residue in chain]
        block.set_mmcif_category(
            "_ma_qa_metric_local.",
            {
                "label_asym_id": [residue.subchain for residue in residues],
                "label_comp_id": [residue.name for residue in residues],
                "label_seq_id": [str(residue.label_seq) for residue in residues],
                "metric_id": ["2"] * len(residues),
                "metric_value": [f"{residue[0].b_iso:.2f}" for residue in residues],
                "model_id": ["1"] * len(residues),
                "ordinal_id": [str(number) for number, _ in enumerate(residues, 1)],
            },
        )
    return document.as_string().encode()


def pdb(
    chains: Sequence[str], plddt: float = 90.0, *, title: str | None = None, seqres: bool = True
) -> bytes:
    """PDB text as AlphaFold DB writes it."""
    structure = model(chains, plddt)
    body = structure.make_pdb_string(gemmi.PdbWriteOptions(minimal=not seqres, seqres_records=seqres))
    lines = [line for line in body.splitlines() if not line.startswith(("HEADER", "TITLE", "CRYST1"))]
    title = "ALPHAFOLD MONOMER V2.0 PREDICTION FOR TEST PROTEIN (P12345)" if title is None else title
    return "\n".join([f"TITLE     {title}", *lines]).encode() + b"\n"


def pae(length: int) -> bytes:
    """AlphaFold DB's predicted aligned error: row i, column j → (i + 2 j) mod 32, in Å."""
    matrix = [[(i + 2 * j) % 32 for j in range(length)] for i in range(length)]
    entry = {"predicted_aligned_error": matrix, "max_predicted_aligned_error": 31.75}
    return json.dumps([entry]).encode()


def folder(place: Path, files: Mapping[str, bytes]) -> Path:
    """A folder with these files; `.gz` names are compressed."""
    for name, data in files.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(data, mtime=0) if name.endswith(".gz") else data)
    return place


def tar(path: Path, files: Mapping[str, bytes]) -> Path:
    """A plain tar with these members; `.gz` names are compressed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, data in files.items():
            content = gzip.compress(data, mtime=0) if name.endswith(".gz") else data
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def problems(collection: Path, cache: Path) -> dict[str, str]:
    """Why files of a collection are not taken, by their names."""
    with open_index(str(collection), lambda _: None, cache / "cache") as index:
        return {Path(place.split(": ")[-1]).name: problem for place, problem in index.problems()}
