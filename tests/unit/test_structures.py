"""Remarks, ModelCIF and CA atoms, read back with Biopython."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from alphafold.common import protein, residue_constants
from Bio.PDB.MMCIF2Dict import MMCIF2Dict
from Bio.PDB.MMCIFParser import MMCIFParser
from Bio.PDB.PDBParser import PDBParser
from hypothesis import given
from hypothesis import strategies as st

from snakefold.kernel.errors import Reason, SnakefoldError, TargetError
from snakefold.structures import files as structures

REFERENCE = Path(__file__).parents[2] / "resources" / "demo" / "references" / "7CTH-HL.pdb"
SOFTWARE = "alphafold2 2.3.20"
KEY = "ab" * 32
NAMES = [*"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"]


def model(*chains: str, seed: int = 0) -> tuple[str, np.ndarray]:
    """PDB text as AlphaFold writes it (X has no atoms), and the pLDDT in its B column."""
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
    return protein.to_pdb(made), plddt


def to_mmcif(pdb: str, **more: bool) -> str:
    return structures.to_mmcif(pdb, name="a1b2", rehearsal=more.get("rehearsal", False), software=SOFTWARE)


def columns(cif: str) -> dict[str, list[str]]:
    return {name: value for name, value in MMCIF2Dict(io.StringIO(cif)).items() if isinstance(value, list)}


@pytest.mark.parametrize(
    "text", [model("MKTAYIAKQR")[0], model("ACDEF", "GHIKL", "ACDEF")[0], REFERENCE.read_text()]
)
def test_mmcif_holds_every_atom_of_the_pdb_text(text: str) -> None:
    def atoms(parsed: object) -> list[tuple[object, ...]]:
        return [
            (atom.get_full_id()[2:], atom.element, *np.round(atom.coord, 3).tolist(), round(atom.bfactor, 2))
            for atom in parsed.get_atoms()
        ]

    ours = MMCIFParser(QUIET=True).get_structure("s", io.StringIO(to_mmcif(text)))
    theirs = PDBParser(QUIET=True).get_structure("s", io.StringIO(text))
    assert atoms(ours) == atoms(theirs)


def test_identical_chains_are_one_entity() -> None:
    found = columns(to_mmcif(model("ACDEF", "GHIKL", "ACDEF")[0]))
    assert found["_entity.id"] == ["1", "2"]
    assert found["_entity_poly.pdbx_seq_one_letter_code"] == ["ACDEF", "GHIKL"]
    assert found["_entity_poly.pdbx_strand_id"] == ["A,C", "B"]
    assert found["_entity_poly.type"] == ["polypeptide(L)"] * 2
    assert dict(zip(found["_struct_asym.id"], found["_struct_asym.entity_id"], strict=True)) == {
        "A": "1",
        "B": "2",
        "C": "1",
    }
    assert set(found["_atom_site.label_asym_id"]) == {"A", "B", "C"}
    assert found["_atom_site.label_asym_id"] == found["_atom_site.auth_asym_id"]
    assert found["_atom_site.label_seq_id"] == found["_atom_site.auth_seq_id"]
    assert "." not in found["_chem_comp.type"]


def test_plddt_is_a_quality_metric_local_and_global() -> None:
    text, plddt = model("MKTAY", "IAKQRQ")
    found = columns(to_mmcif(text))
    assert [float(value) for value in found["_ma_qa_metric_local.metric_value"]] == pytest.approx(
        plddt.tolist()
    )
    assert float(found["_ma_qa_metric_global.metric_value"][0]) == pytest.approx(plddt.mean(), abs=0.006)
    assert found["_ma_qa_metric_local.label_asym_id"] == ["A"] * 5 + ["B"] * 6
    assert found["_ma_qa_metric_local.label_seq_id"] == [*map(str, range(1, 6)), *map(str, range(1, 7))]
    assert found["_ma_qa_metric.mode"] == ["global", "local"]
    assert found["_ma_qa_metric.type"] == ["pLDDT", "pLDDT"]
    assert found["_software.name"] + found["_software.version"] == SOFTWARE.split()


def test_a_residue_without_atoms_stays_in_the_sequence() -> None:
    found = columns(to_mmcif(model("MXTAY")[0]))
    assert found["_entity_poly.pdbx_seq_one_letter_code"] == ["MXTAY"]
    assert found["_entity_poly_seq.mon_id"] == ["MET", "UNK", "THR", "ALA", "TYR"]
    assert found["_ma_qa_metric_local.label_seq_id"] == ["1", "3", "4", "5"]


@pytest.mark.parametrize("rehearsal", [True, False])
def test_rehearsal_is_said_in_both_files(rehearsal: bool) -> None:
    text = structures.annotate(model("MKTAY")[0], rehearsal=rehearsal, key=KEY, engine=SOFTWARE)
    assert ("REHEARSAL" in text) is rehearsal
    cif = to_mmcif(text, rehearsal=rehearsal)
    found = columns(cif)
    assert ("REHEARSAL" in found["_struct.title"][0]) is rehearsal
    assert ("REHEARSAL" in found["_ma_model_list.model_name"][0]) is rehearsal


def test_remarks_leave_the_model_as_it_is_and_may_be_made_twice() -> None:
    pdb = model("MKTAY", "IAK")[0]
    once = structures.annotate(pdb, rehearsal=True, key=KEY, engine="alphafold2 é 2.3\n20")
    assert structures.annotate(once, rehearsal=True, key=KEY, engine="alphafold2 é 2.3\n20") == once
    assert once.endswith("\n".join(pdb.splitlines()) + "\n")
    added = once.splitlines()[: -len(pdb.splitlines())]
    assert all(line.startswith("REMARK   6 ") and len(line) <= 80 and line.isascii() for line in added)
    assert f"REMARK   6 KEY {KEY}" in added
    relabelled = structures.annotate(once, rehearsal=False, key=KEY, engine=SOFTWARE)
    assert "REHEARSAL" not in relabelled


def test_all_chain_names_of_the_format_work() -> None:
    found = columns(to_mmcif(model(*["AG"] * 62)[0]))
    assert found["_struct_asym.id"] == NAMES
    assert found["_entity.id"] == ["1"]


@pytest.mark.parametrize(
    ("chains", "what"),
    [
        (["AG"] * 63, "63 chains"),
        (["A" * 10_000], "10000 residues in a chain"),
        (["A" * 4000, "G" * 4000], "8000 residues in all"),
    ],
)
def test_what_the_pdb_format_cannot_hold_is_refused(chains: list[str], what: str) -> None:
    with pytest.raises(TargetError, match=what) as error:
        structures.check_pdb_limits(chains)
    assert error.value.reason is Reason.INVALID_INPUT


def test_what_the_pdb_format_holds_is_not_refused() -> None:
    structures.check_pdb_limits(["A" * 100] * 62)
    structures.check_pdb_limits(["W" * 7142])


def test_numbers_that_outgrew_their_columns_are_found() -> None:
    lines = model("MKTAY")[0].splitlines()
    shifted = lines[3][:6] + "100000" + lines[3][11:]
    with pytest.raises(SnakefoldError, match="line 4: coordinates are not in columns 31 to 54"):
        to_mmcif("\n".join([*lines[:3], shifted, *lines[4:]]))


@pytest.mark.parametrize("text", ["", "HEADER\n", "data_x\n_cell.length_a 1\n", "REMARK nothing\nEND\n"])
def test_text_without_atoms_is_refused(text: str) -> None:
    with pytest.raises(SnakefoldError, match="no atoms"):
        structures.read(text)


@given(st.text(max_size=300) | st.text(alphabet="ATOM HET123.-\n", max_size=300))
def test_any_text_is_a_structure_or_refused(text: str) -> None:
    for junk in (text, f"data_x\nloop_\n_atom_site.id\n{text}"):
        try:
            structures.ca_traces(junk)
        except SnakefoldError:
            continue


def test_ca_atoms_only_of_residues_first_location_only() -> None:
    text = (
        "ATOM      1  CA AMET A   1      11.000  12.000  13.000  0.60 10.00           C  \n"
        "ATOM      2  CA BMET A   1      91.000  12.000  13.000  0.40 10.00           C  \n"
        "HETATM    3  CA  MSE A   2      14.000  15.000  16.000  1.00 10.00           C  \n"
        "ATOM      4  N   GLY A   3      24.000  15.000  16.000  1.00 10.00           N  \n"
        "ATOM      5  CA  UNK B   1      17.000  18.000  19.000  1.00 10.00           C  \n"
        "HETATM    6 CA    CA C   1       0.000   0.000   0.000  1.00 10.00          CA  \n"
        "HETATM    7  O   HOH C   2       0.000   0.000   0.000  1.00 10.00           O  \n"
    )
    traces = structures.ca_traces(text)
    assert [(trace.name, trace.sequence) for trace in traces] == [("A", "MM"), ("B", "X")]
    assert structures.ca_coordinates(text).tolist() == [[11, 12, 13], [14, 15, 16], [17, 18, 19]]


def test_pdb_and_mmcif_give_the_same_ca_atoms() -> None:
    text = REFERENCE.read_text()
    for ours, theirs in zip(structures.ca_traces(to_mmcif(text)), structures.ca_traces(text), strict=True):
        assert (ours.name, ours.sequence) == (theirs.name, theirs.sequence)
        assert ours.coordinates == pytest.approx(theirs.coordinates)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SnakefoldError, match=r"nowhere\.pdb"):
        structures.read_file(tmp_path / "nowhere.pdb")
    (tmp_path / "binary.pdb").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SnakefoldError, match=r"binary\.pdb"):
        structures.read_file(tmp_path / "binary.pdb")
