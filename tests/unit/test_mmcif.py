"""Models as mmCIF: checked against the ModelCIF dictionary, and read by programs that are to read them."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import biotite.structure as bts
import gemmi
import ihm.dictionary
import modelcif.reader
import numpy as np
import pytest
from alphafold.common import protein, residue_constants
from alphafold.data import mmcif_parsing
from Bio.PDB.MMCIF2Dict import MMCIF2Dict
from Bio.PDB.MMCIFParser import MMCIFParser
from Bio.PDB.PDBParser import PDBParser
from biotite.structure.io import pdbx

from snakefold import __version__
from snakefold.kernel.contracts import ModelScores
from snakefold.kernel.errors import SnakefoldError
from snakefold.molecules.entities import Assembly
from snakefold.structures import files as structures
from snakefold.structures import mmcif
from snakefold.structures.chains import End, Kind, Molecule, bonds_of, chain_names, molecules_of, proteins
from snakefold.structures.mmcif import Making

#: Debian's libcifpp-data: ModelCIF 1.4.2 with PDBx.
DICTIONARY = Path("/usr/share/libcifpp/mmcif_ma.dic")
#: What 1.4.9, the version that modelcif writes, has changed since.
CHANGED = {
    "Mandatory keyword ma_model_list.model_id cannot be missing from the file",
    "Keyword ma_entry_associated_files.file_content value QA metrics is not a valid enumerated value "
    "(options are archive with multiple files, input restraints, local pairwise QA scores, multiple sequence "
    "alignments, other, validation report)",
    "The following IDs referenced by _ma_qa_metric_global.model_id were not defined in the parent category "
    "(_ma_model_list.model_id): 1",
    "The following IDs referenced by _ma_qa_metric_local.model_id were not defined in the parent category "
    "(_ma_model_list.model_id): 1",
    "The following categories are not defined in the dictionary: _ma_model_group, _ma_model_group_link",
    "The following keywords are not defined in the dictionary: _ma_entry_associated_files.data_id",
}
MAKING = Making(
    "alphafold2",
    "2.3.20",
    parameters={"num_recycle": 3, "use_templates": False, "precision": "bfloat16", "tolerance": 0.5},
    alignment="jackhmmer: uniref90, mgnify",
    pae=("pae.npz", "rank_0"),
)


def drawn(*chains: str, seed: int = 0) -> tuple[str, list[float]]:
    """PDB text as AlphaFold writes it (X has no atoms), and the pLDDT of all residues."""
    sequence = "".join(chains)
    random = np.random.default_rng(seed)
    plddt = random.uniform(0, 100, len(sequence)).round(2)
    types = np.array([residue_constants.restype_order_with_x[letter] for letter in sequence])
    made = protein.Protein(
        atom_positions=random.normal(scale=40, size=(len(sequence), 37, 3)),
        aatype=types,
        atom_mask=residue_constants.STANDARD_ATOM_MASK[types],
        residue_index=np.concatenate([np.arange(len(chain)) + 1 for chain in chains]),
        chain_index=np.repeat(np.arange(len(chains)), [len(chain) for chain in chains]),
        b_factors=np.repeat(plddt[:, None], 37, axis=1),
    )
    return protein.to_pdb(made), plddt.tolist()


def scores(plddt: list[float], **more: float | str) -> ModelScores:
    known = {"name": "model_1_ptm_pred_0", "mean_plddt": float(np.mean(plddt)), "ranking_confidence": 0.5}
    return ModelScores.model_validate({**known, "plddt": plddt, **more})


def written(*chains: str, making: Making = MAKING, **more: float | str) -> str:
    pdb, plddt = drawn(*chains)
    return mmcif.write(structures.read(pdb), proteins(chains), scores(plddt, **more), making, name="a1b2")


def everything() -> str:
    """A complex of all kinds of molecules, as engines to come may predict it."""
    molecules = [
        Molecule(Kind.PROTEIN, "MXGY"),
        Molecule(Kind.DNA, "ACGTN"),
        Molecule(Kind.RNA, "ACGUN"),
        Molecule(Kind.LIGAND, "ATP"),
        Molecule(Kind.LIGAND, "MG"),
        Molecule(Kind.PROTEIN, "MXGY"),
        Molecule(Kind.PROTEIN, "G"),
    ]
    model = gemmi.Model(1)
    for name, molecule in zip(chain_names(len(molecules)), molecules, strict=True):
        chain = gemmi.Chain(name)
        for number, component in enumerate(molecule.components(), 1):
            residue = gemmi.Residue()
            residue.name, residue.seqid = component, gemmi.SeqId(number, " ")
            atom = gemmi.Atom()
            atom.name, atom.element = (
                ("MG", gemmi.Element("Mg")) if component == "MG" else ("C", gemmi.Element("C"))
            )
            atom.pos = gemmi.Position(number, 2 * number, len(model))
            residue.add_atom(atom)
            if component not in ("UNK", "DN", "N"):
                chain.add_residue(residue)
        model.add_chain(chain)
    structure = gemmi.Structure()
    structure.add_model(model)
    plddt = [50.0] * sum(len(molecule.components()) for molecule in molecules)
    return mmcif.write(structure, molecules, scores(plddt, ptm=0.5, iptm=0.25), MAKING, name="all")


TAKEN = Making("reuse", "1", origin='Taken from "it\'s" a\\b é.cif, sha256 12: AlphaFold.', rehearsal=False)
ASSEMBLY = Assembly.model_validate(
    {
        "entities": [
            {"kind": "protein", "sequence": "GSH", "modifications": [{"position": 2, "ccd": "SEP"}]},
            {"kind": "dna", "sequence": "AC", "modifications": [{"position": 1, "ccd": "6MA"}]},
            {"kind": "ligand", "smiles": "C/C=C/O", "copies": 2},
            {"kind": "ligand", "smiles": "CCO"},
            {"kind": "ligand", "ccd": ["NAG", "NAG"]},
            {"kind": "ligand", "ccd": ["ATP"]},
        ]
    }
)
COMPONENTS = [["GLY", "SEP", "HIS"], ["6MA", "DC"], ["LIG1"], ["LIG1"], ["LIG2"], ["NAG", "NAG"], ["ATP"]]


def assembled() -> str:
    """An assembly with one atom in every residue."""
    model = gemmi.Model(1)
    for name, residues in zip(chain_names(len(COMPONENTS)), COMPONENTS, strict=True):
        chain = gemmi.Chain(name)
        for number, residue in enumerate(residues, 1):
            made = gemmi.Residue()
            made.name, made.seqid = residue, gemmi.SeqId(number, " ")
            atom = gemmi.Atom()
            atom.name, atom.element, atom.pos = "C1", gemmi.Element("C"), gemmi.Position(number, 0, 0)
            made.add_atom(atom)
            chain.add_residue(made)
        model.add_chain(chain)
    structure = gemmi.Structure()
    structure.add_model(model)
    plddt = scores([50.0] * sum(map(len, COMPONENTS)))
    return mmcif.write(structure, molecules_of(ASSEMBLY), plddt, MAKING, name="assembly")


#: A glycan bound to a protein that is closed to a ring, zinc at it; and atoms that are not there.
BOUND = Assembly.model_validate(
    {
        "entities": [
            {"kind": "ligand", "ccd": ["ZN"], "chains": ["Z"]},
            {"kind": "protein", "sequence": "NSH", "chains": ["P"], "cyclic": True},
            {"kind": "ligand", "ccd": ["NAG", "NAG"], "chains": ["G"]},
        ],
        "constraints": [
            {
                "kind": "bond",
                "atoms": [{"chain": chain, "residue": number, "atom": atom} for chain, number, atom in ends],
            }
            for ends in (
                (("P", 1, "ND2"), ("G", 1, "C1")),
                (("G", 2, "C1"), ("G", 1, "O4")),
                (("Z", 1, "ZN"), ("P", 3, "NE2")),
                (("P", 2, "OG"), ("G", 2, "O4")),
            )
        ],
    }
)
ATOMS = {
    ("A", 1, "ZN"): ["ZN"],
    ("B", 1, "ASN"): ["N", "C", "ND2"],
    ("B", 2, "SER"): ["N", "C"],
    ("B", 3, "HIS"): ["N", "C", "NE2"],
    ("C", 1, "NAG"): ["C1", "O4"],
    ("C", 2, "NAG"): ["C1", "O4"],
}


def bound() -> str:
    model = gemmi.Model(1)
    for (name, number, residue), atoms in ATOMS.items():
        if not len(model) or model[-1].name != name:
            model.add_chain(gemmi.Chain(name))
        made = gemmi.Residue()
        made.name, made.seqid = residue, gemmi.SeqId(number, " ")
        for place, each in enumerate(atoms):
            atom = gemmi.Atom()
            atom.name, atom.element = each, gemmi.Element("Zn" if each == "ZN" else each[0])
            atom.pos = gemmi.Position(3 * number, place, 5 * len(model))
            made.add_atom(atom)
        model[-1].add_residue(made)
    structure = gemmi.Structure()
    structure.add_model(model)
    given = scores([50.0] * len(ATOMS))
    return mmcif.write(structure, molecules_of(BOUND), given, MAKING, name="bound", bonds=bonds_of(BOUND))


FILES = {
    "bound molecules": bound,
    "monomer": lambda: written("MKTAYIAKQR"),
    "complex": lambda: written("ACDEF", "GHIKL", "ACDEF", ptm=0.5, iptm=0.25),
    "unknown residues": lambda: written("XMXTAYXX", "GG", "MX"),
    "relaxed rehearsal": lambda: written(
        "MKTAY", making=Making("a", "1", {"b": [1, 2]}, relaxer=("OpenMM", "8.6"), rehearsal=True)
    ),
    "taken": lambda: written("MKTAY", making=TAKEN),
    "every kind of molecule": everything,
    "assembly": assembled,
}


def columns(cif: str) -> Mapping[str, list[str]]:
    return MMCIF2Dict(io.StringIO(cif))


@pytest.fixture(scope="module")
def dictionary() -> ihm.dictionary.Dictionary:
    with DICTIONARY.open(encoding="utf-8") as stream:
        return ihm.dictionary.read(stream)


@pytest.mark.needs("libcifpp-data")
@pytest.mark.parametrize("name", FILES)
def test_the_file_is_valid_by_the_dictionary(name: str, dictionary: ihm.dictionary.Dictionary) -> None:
    with pytest.raises(ihm.dictionary.ValidatorError) as found:
        dictionary.validate(io.StringIO(FILES[name]()))
    assert set(str(found.value).split("\n\n")) <= CHANGED


@pytest.mark.needs("libcifpp-data")
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("_ma_qa_metric.mode", "_ma_qa_metric.made"),
        ("'model coordinates'", "'model co-ordinates'"),
        ("1 polymer man", "1 polymere man"),
    ],
)
def test_the_dictionary_finds_what_is_wrong(
    old: str, new: str, dictionary: ihm.dictionary.Dictionary
) -> None:
    text = written("MKTAY")
    assert old in text
    with pytest.raises(ihm.dictionary.ValidatorError) as found:
        dictionary.validate(io.StringIO(text.replace(old, new)))
    assert set(str(found.value).split("\n\n")) - CHANGED


@pytest.mark.parametrize("name", FILES)
def test_modelcif_reads_what_it_wrote(name: str) -> None:
    (system,) = modelcif.reader.read(io.StringIO(FILES[name]()))
    (group,) = system.model_groups
    (model,) = group
    assert len(list(model.get_atoms())) > 0
    assert {type(metric).__name__ for metric in model.qa_metrics} >= {"pLDDT"}


@pytest.mark.parametrize("chains", [("MKTAYIAKQR",), ("ACDEF", "GHIKL", "ACDEF"), ("MXTAY", "XG")])
def test_biopython_gemmi_and_biotite_read_every_atom(chains: tuple[str, ...]) -> None:
    pdb, _ = drawn(*chains)
    text = written(*chains)
    theirs = [
        (atom.get_full_id()[2:], atom.element, *np.round(atom.coord, 3).tolist(), round(atom.bfactor, 2))
        for atom in PDBParser(QUIET=True).get_structure("s", io.StringIO(pdb)).get_atoms()
    ]
    ours = [
        (atom.get_full_id()[2:], atom.element, *np.round(atom.coord, 3).tolist(), round(atom.bfactor, 2))
        for atom in MMCIFParser(QUIET=True).get_structure("s", io.StringIO(text)).get_atoms()
    ]
    assert ours == theirs
    structure = structures.read(text)
    assert [
        (chain.name, residue.seqid.num, residue.name, atom.name, atom.pos.tolist())
        for chain in structure[0]
        for residue in chain
        for atom in residue
    ] == [
        (chain.name, residue.seqid.num, residue.name, atom.name, atom.pos.tolist())
        for chain in structures.read(pdb)[0]
        for residue in chain
        for atom in residue
    ]
    assert [entity.entity_type.name for entity in structure.entities] == ["Polymer"] * len(set(chains))
    atoms = pdbx.get_structure(pdbx.CIFFile.read(io.StringIO(text)), model=1, extra_fields=["b_factor"])
    assert isinstance(atoms, bts.AtomArray)
    assert atoms.coord == pytest.approx(np.array([atom[2:5] for atom in theirs]), abs=1e-3)
    assert atoms.b_factor == pytest.approx([atom[5] for atom in theirs], abs=1e-3)
    assert list(dict.fromkeys(atoms.chain_id)) == list("ABC"[: len(chains)])


def test_all_kinds_of_molecules_are_read_as_what_they_are() -> None:
    text = everything()
    found = columns(text)
    assert found["_entity.type"] == ["polymer"] * 3 + ["non-polymer"] * 2 + ["polymer"]
    assert found["_entity_poly.type"] == [
        "polypeptide(L)",
        "polydeoxyribonucleotide",
        "polyribonucleotide",
        "other",
    ]
    assert found["_pdbx_entity_nonpoly.comp_id"] == ["ATP", "MG"]
    structure = structures.read(text)
    assert [residue.het_flag for chain in structure[0] for residue in chain][-6:] == ["H", "H", *"AAAA"]
    atoms = pdbx.get_structure(pdbx.CIFFile.read(io.StringIO(text)), model=1)
    assert atoms.res_name[atoms.hetero].tolist() == ["ATP", "MG"]
    assert bts.filter_nucleotides(atoms).sum() == 8


def test_bonds_that_no_sequence_says_are_read_back_with_their_atoms() -> None:
    read = gemmi.make_structure_from_block(gemmi.cif.read_string(bound()).sole_block())
    found = []
    for each in read.connections:
        ends = [read[0].find_cra(end) for end in (each.partner1, each.partner2)]
        assert all(end.atom is not None for end in ends)
        places = [(end.chain.name, end.residue.seqid.num, end.residue.name, end.atom.name) for end in ends]
        assert ends[0].atom.pos.dist(ends[1].atom.pos) == pytest.approx(each.reported_distance, abs=1e-3)
        found.append((each.type, *places))
    bond, metal = gemmi.ConnectionType.Covale, gemmi.ConnectionType.MetalC
    # That to an atom which is not in the model is left out.
    assert found == [
        (metal, ("A", 1, "ZN", "ZN"), ("B", 3, "HIS", "NE2")),
        (bond, ("B", 1, "ASN", "N"), ("B", 3, "HIS", "C")),
        (bond, ("B", 1, "ASN", "ND2"), ("C", 1, "NAG", "C1")),
        (bond, ("C", 1, "NAG", "O4"), ("C", 2, "NAG", "C1")),
    ]
    rows = (
        gemmi.cif.read_string(bound())
        .sole_block()
        .find("_struct_conn.", ["ptnr1_label_seq_id", "ptnr2_label_seq_id"])
    )
    assert [list(row) for row in rows] == [[".", "3"], ["1", "3"], ["1", "1"], ["1", "2"]]
    assert "_struct_conn" not in assembled()


def test_bonds_have_an_order_of_their_own() -> None:
    turned = [
        each.model_copy(update={"atoms": each.atoms[::-1]})
        for each in reversed(BOUND.constraints)
        if each.kind == "bond"
    ]
    assert bonds_of(BOUND.model_copy(update={"constraints": tuple(turned)})) == bonds_of(BOUND)
    assert End("B", 1, "N") in bonds_of(BOUND)[1]


def test_identical_chains_are_one_entity() -> None:
    found = columns(written("ACDEF", "GHIKL", "ACDEF"))
    assert found["_entity.id"] == ["1", "2"]
    assert found["_entity_poly.pdbx_seq_one_letter_code"] == ["ACDEF", "GHIKL"]
    assert found["_entity_poly.pdbx_strand_id"] == ["A,C", "B"]
    assert dict(zip(found["_struct_asym.id"], found["_struct_asym.entity_id"], strict=True)) == {
        "A": "1",
        "B": "2",
        "C": "1",
    }
    assert set(found["_atom_site.label_asym_id"]) == {"A", "B", "C"}
    assert found["_atom_site.label_asym_id"] == found["_atom_site.auth_asym_id"]
    assert found["_atom_site.label_seq_id"] == found["_atom_site.auth_seq_id"]


def metrics(cif: str) -> dict[str, float]:
    """Global metrics by name."""
    found = columns(cif)
    names = dict(zip(found["_ma_qa_metric.id"], found["_ma_qa_metric.name"], strict=True))
    values = zip(
        found["_ma_qa_metric_global.metric_id"], found["_ma_qa_metric_global.metric_value"], strict=True
    )
    return {names[number]: float(value) for number, value in values}


def test_scores_are_metrics_and_none_is_invented() -> None:
    _, plddt = drawn("MKTAY", "IAKQRQ")
    text = written("MKTAY", "IAKQRQ", ptm=0.625, iptm=0.75)
    found = columns(text)
    assert [float(value) for value in found["_ma_qa_metric_local.metric_value"]] == pytest.approx(plddt)
    assert found["_ma_qa_metric_local.label_asym_id"] == ["A"] * 5 + ["B"] * 6
    assert found["_ma_qa_metric_local.label_seq_id"] == [*map(str, range(1, 6)), *map(str, range(1, 7))]
    assert metrics(text) == pytest.approx(
        {"pLDDT": np.mean(plddt), "ranking confidence": 0.5, "pTM": 0.625, "ipTM": 0.75}, rel=1e-5
    )
    assert dict(zip(found["_ma_qa_metric.name"], found["_ma_qa_metric.type"], strict=True)) == {
        "pLDDT": "pLDDT",
        "ranking confidence": "other",
        "pTM": "pTM",
        "ipTM": "ipTM",
    }
    assert set(metrics(written("MKTAY"))) == {"pLDDT", "ranking confidence"}


def test_software_parameters_steps_and_the_pae_are_there() -> None:
    found = columns(written("MKTAY", recycles=3, seed=7))
    assert list(zip(found["_software.name"], found["_software.version"], strict=True)) == [
        ("snakefold", __version__),
        ("alphafold2", "2.3.20"),
    ]
    names, values = found["_ma_software_parameter.name"], found["_ma_software_parameter.value"]
    assert dict(zip(names, values, strict=True)) == {
        "model": "model_1_ptm_pred_0",
        "num_recycle": "3",
        "use_templates": "NO",
        "precision": "bfloat16",
        "tolerance": "0.500",
        "seed": "7",
        "recycles": "3",
    }
    assert found["_ma_protocol_step.method_type"] == ["coevolution MSA", "modeling", "model selection"]
    assert "jackhmmer: uniref90, mgnify" in found["_ma_protocol_step.details"]
    assert found["_ma_entry_associated_files.file_url"] == ["pae.npz"]
    assert "rank_0" in found["_ma_entry_associated_files.details"][0]
    relaxed = columns(FILES["relaxed rehearsal"]())
    assert relaxed["_ma_protocol_step.method_type"] == ["modeling", "model refinement", "model selection"]
    assert relaxed["_software.name"][-1] == "OpenMM" and "_ma_entry_associated_files.id" not in relaxed


def test_where_a_model_was_taken_from_is_said_and_no_step_is_invented() -> None:
    found = columns(FILES["taken"]())
    assert found["_struct.title"] == [TAKEN.origin] and TAKEN.origin in found["_software.description"]
    assert found["_ma_protocol_step.method_type"] == ["other", "model selection"]
    assert found["_ma_model_list.model_type"] == ["Other"]
    assert "seed" not in found["_ma_software_parameter.name"]


def test_a_residue_without_atoms_stays_in_the_sequence() -> None:
    found = columns(written("MXTAYX"))
    assert found["_entity_poly.pdbx_seq_one_letter_code_can"] == ["MXTAYX"]
    assert found["_entity_poly_seq.mon_id"] == ["MET", "UNK", "THR", "ALA", "TYR", "UNK"]
    assert found["_ma_qa_metric_local.label_seq_id"] == ["1", "3", "4", "5"]
    assert found["_pdbx_poly_seq_scheme.auth_seq_num"] == ["1", "?", "3", "4", "5", "?"]


@pytest.mark.parametrize("rehearsal", [True, False])
def test_rehearsal_is_said(rehearsal: bool) -> None:
    text = written("MKTAY", making=Making("a", "1", rehearsal=rehearsal))
    found = columns(text)
    assert ("REHEARSAL" in found["_struct.title"][0]) is rehearsal
    assert ("REHEARSAL" in found["_ma_model_list.model_name"][0]) is rehearsal
    assert ("REHEARSAL" in text) is rehearsal


@pytest.mark.parametrize("chains", [("MKTAYIAKQRQISFVKSHFSRQ",), ("MKTXYIAKQR", "GG")])
def test_alphafold_takes_the_file_as_a_template(
    chains: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    text = written(*chains)
    with caplog.at_level(logging.WARNING):
        found = mmcif_parsing.parse(file_id="s", mmcif_string=text, catch_all_errors=False).mmcif_object
    assert found is not None and not caplog.records
    assert found.header["release_date"] == mmcif.RELEASED.isoformat()
    assert found.chain_to_seqres == dict(zip("AB", chains, strict=False))
    older = gemmi.cif.read_string(text)
    older.sole_block().find_mmcif_category("_pdbx_audit_revision_history.").erase()
    without = mmcif_parsing.parse(file_id="s", mmcif_string=older.as_string()).mmcif_object
    assert without is not None and "release_date" not in without.header


def test_colabfold_takes_the_file_as_a_template_as_it_is(tmp_path: Path) -> None:
    from colabfold.batch import validate_and_fix_mmcif

    path = tmp_path / "1abc.cif"
    path.write_text(written("MKTAY"))
    validate_and_fix_mmcif(path)
    assert path.read_text() == written("MKTAY") and [*tmp_path.iterdir()] == [path]


def test_equal_models_have_equal_bytes_in_any_process() -> None:
    code = (
        "import hashlib; from tests.unit.test_mmcif import FILES;"
        "print(*(hashlib.sha256(make().encode()).hexdigest() for make in FILES.values()))"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "TZ": zone},
            cwd=Path(__file__).parents[2],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed, zone in (("1", "UTC"), ("2", "Asia/Tokyo"))
    }
    assert len(said) == 1 and len(said.pop().split()) == len(FILES)


def test_chains_have_names_without_end() -> None:
    names = chain_names(62 + 26 * 26 + 1)
    assert "".join(names[:62]) == protein.PDB_CHAIN_IDS
    assert names[62:65] == ["AA", "AB", "AC"] and names[-1] == "AAA"
    assert len(set(names)) == len(names)


def test_what_pdb_cannot_hold_is_written_and_read() -> None:
    """70 chains, and one of 12,000 residues."""
    for chains in (["AG"] * 70, ["G" * 12_000]):
        lengths = [len(chain) for chain in chains]
        count = sum(lengths)
        positions = np.random.default_rng(0).normal(size=(count, 1, 3), scale=40).round(3)
        structure = structures.build(
            chain_names(len(chains)),
            chain=np.repeat(np.arange(len(chains)), lengths),
            number=np.concatenate([np.arange(1, length + 1) for length in lengths]),
            residue=[residue_constants.restype_1to3[letter] for letter in "".join(chains)],
            atoms=["CA"],
            mask=np.ones((count, 1), bool),
            positions=positions,
            plddt=np.full(count, 50.0),
        )
        assert not structures.fits_pdb(structure)
        text = mmcif.write(structure, proteins(chains), scores([50.0] * count), MAKING, name="large")
        assert structures.ca_coordinates(text) == pytest.approx(positions[:, 0], abs=1e-3)
        assert [trace.sequence for trace in structures.ca_traces(text)] == chains
        found = MMCIFParser(QUIET=True).get_structure("s", io.StringIO(text))
        assert [chain.id for chain in found.get_chains()] == chain_names(len(chains))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda chain: setattr(chain, "name", "Z"), "chain 'Z'"),
        (lambda chain: setattr(chain[0], "name", "TRP"), "residue 1 is TRP, and the target has MET"),
        (lambda chain: setattr(chain[0], "seqid", gemmi.SeqId(9, " ")), "no such residue"),
    ],
)
def test_what_is_not_the_target_is_refused(spoil: object, message: str) -> None:
    pdb, plddt = drawn("MKTAY")
    structure = structures.read(pdb)
    spoil(structure[0][0])  # type: ignore[operator]
    with pytest.raises(SnakefoldError, match=message):
        mmcif.write(structure, proteins(["MKTAY"]), scores(plddt), MAKING, name="x")


# ---- assemblies ------------------------------------------------------------------------------------------
def test_assemblies_have_modified_residues_and_ligands_of_all_kinds() -> None:
    assert [molecule.components() for molecule in molecules_of(ASSEMBLY)] == COMPONENTS
    text = assembled()
    again = structures.read(text)
    assert [[residue.name for residue in chain] for chain in again[0]] == COMPONENTS
    block = gemmi.cif.read_string(text).sole_block()
    polymer, alone = "polymer", "non-polymer"
    assert list(block.find_values("_entity.type")) == [polymer, polymer, alone, alone, polymer, alone]
    smiles = block.find("_ma_chem_comp_descriptor.", ["chem_comp_id", "value"])
    assert [tuple(map(gemmi.cif.as_string, row)) for row in smiles] == [("LIG1", "C/C=C/O"), ("LIG2", "CCO")]


def test_names_of_four_letters_are_no_pdb() -> None:
    structure = gemmi.read_pdb_string(drawn("GSH")[0])
    assert structures.fits_pdb(structure)
    structure[0][0][0].name = "LIG1"
    assert not structures.fits_pdb(structure)
