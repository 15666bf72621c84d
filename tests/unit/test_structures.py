"""Remarks, what the PDB format holds, and CA atoms."""

from __future__ import annotations

from pathlib import Path

import gemmi
import numpy as np
import pytest
from alphafold.common import protein, residue_constants
from hypothesis import given
from hypothesis import strategies as st

from snakefold.kernel.errors import SnakefoldError
from snakefold.structures import files as structures

REFERENCE = Path(__file__).parents[2] / "resources" / "demo" / "references" / "7CTH-HL.pdb"
SOFTWARE = "alphafold2 2.3.20"
KEY = "ab" * 32


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


def test_rehearsal_is_said_in_the_remarks() -> None:
    for rehearsal in (True, False):
        text = structures.annotate(model("MKTAY")[0], rehearsal=rehearsal, key=KEY, engine=SOFTWARE)
        assert ("REHEARSAL" in text) is rehearsal


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


@pytest.mark.parametrize(
    ("chains", "longest", "atoms", "far", "held"),
    [
        (62, 9_999, 99_937, 0.0, True),
        (63, 10, 100, 0.0, False),
        (1, 10_000, 100, 0.0, False),
        # The end of a chain has a number, too.
        (1, 100, 99_998, 0.0, True),
        (1, 100, 99_999, 0.0, False),
        (1, 100, 10, 9_999.999, True),
        (1, 100, 10, 10_000.0, False),
        (1, 100, 10, -999.999, True),
        (1, 100, 10, -1_000.0, False),
        (1, 100, 10, float("nan"), False),
    ],
)
def test_what_the_pdb_format_holds(chains: int, longest: int, atoms: int, far: float, held: bool) -> None:
    positions = np.zeros((atoms, 3))
    positions[-1, 2] = far
    assert structures.pdb_holds(chains, longest, positions) is held


def test_a_structure_fits_by_its_names_numbers_and_atoms() -> None:
    assert structures.fits_pdb(structures.read(model("MKTAY", "GG")[0]))
    named = structures.read(model("MKTAY", "GG")[0])
    named[0][1].name = "AA"
    assert not structures.fits_pdb(named)
    numbered = structures.read(model("MKTAY")[0])
    numbered[0][0][4].seqid = gemmi.SeqId(10_000, " ")
    assert not structures.fits_pdb(numbered)


def test_a_model_is_read_from_pdb_or_from_mmcif_where_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "ranked_0.cif").touch()
    assert structures.model_file(tmp_path, 0).name == "ranked_0.cif"
    (tmp_path / "ranked_0.pdb").touch()
    assert structures.model_file(tmp_path, 0).name == "ranked_0.pdb"
    assert structures.model_name({"ranked_1.cif", "ranked_1.pdb"}, 1) == "ranked_1.pdb"
    assert structures.model_name({"ranked_1.cif"}, 1) == "ranked_1.cif"
    assert structures.model_name({"ranked_1.cif"}, 0) is None


def test_numbers_that_outgrew_their_columns_are_found() -> None:
    lines = model("MKTAY")[0].splitlines()
    shifted = lines[3][:6] + "100000" + lines[3][11:]
    with pytest.raises(SnakefoldError, match="line 4: coordinates are not in columns 31 to 54"):
        structures.read("\n".join([*lines[:3], shifted, *lines[4:]]))


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
    cif = structures.read(text).make_mmcif_document().as_string()
    for ours, theirs in zip(structures.ca_traces(cif), structures.ca_traces(text), strict=True):
        assert (ours.name, ours.sequence) == (theirs.name, theirs.sequence)
        assert ours.coordinates == pytest.approx(theirs.coordinates)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SnakefoldError, match=r"nowhere\.pdb"):
        structures.read_file(tmp_path / "nowhere.pdb")
    (tmp_path / "binary.pdb").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SnakefoldError, match=r"binary\.pdb"):
        structures.read_file(tmp_path / "binary.pdb")
