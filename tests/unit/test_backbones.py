"""Backbones as ProteinMPNN counts them: gaps, insertion codes, missing atoms, PDB and mmCIF alike."""

from __future__ import annotations

import gemmi
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.backbones import helix

from snakefold.molecules.backbones import BadBackboneError, format_of, read_backbone


def test_a_missing_number_is_a_gap_and_an_insertion_code_a_position() -> None:
    text = helix("ACDEF", numbers=["10", "11", "11A", "11B", "14"])
    (chain,) = read_backbone(text.encode())
    assert (chain.name, chain.sequence) == ("A", "ACDEXXF")
    assert chain.numbers == ("10", "11", "11A", "11B", "", "", "14")
    assert chain.complete.tolist() == [True] * 4 + [False] * 2 + [True]
    assert np.isnan(chain.coordinates[4:6]).all()


def test_mmcif_gives_what_pdb_gives() -> None:
    text = helix("ACDEF", numbers=["10", "11", "11A", "11B", "14"]) + helix("GHIK", "B", origin=(12, 0, 0))
    structure = gemmi.read_pdb_string(text)
    structure.setup_entities()
    cif = structure.make_mmcif_document().as_string().encode()
    assert (format_of(text.encode()), format_of(cif)) == ("pdb", "cif")
    for ours, theirs in zip(read_backbone(text.encode()), read_backbone(cif), strict=True):
        assert (ours.name, ours.sequence, ours.numbers) == (theirs.name, theirs.sequence, theirs.numbers)
        assert np.array_equal(ours.coordinates, theirs.coordinates, equal_nan=True)


def test_a_residue_without_an_atom_has_a_letter_and_no_backbone() -> None:
    (chain,) = read_backbone(helix("ACD", without=[("2", "O")]).encode())
    assert chain.sequence == "ACD"
    assert chain.complete.tolist() == [True, False, True]
    assert np.isfinite(chain.coordinates[1, :3]).all() and np.isnan(chain.coordinates[1, 3]).all()


def test_selenomethionine_is_methionine_and_other_heteroatoms_are_no_part() -> None:
    lines = helix("AMC").splitlines()
    changed = [
        line.replace("ATOM  ", "HETATM").replace("MET", "MSE") if " MET " in line else line for line in lines
    ]
    water = "HETATM   99  O   HOH A 300       1.000   1.000   1.000  1.00  0.00           O"
    (chain,) = read_backbone("\n".join([*changed, water, ""]).encode())
    assert chain.sequence == "AMC" and chain.complete.all()


def test_nucleic_acids_and_later_models_are_left_out() -> None:
    dna = "ATOM   50  P    DA B   1       9.000   9.000   9.000  1.00  0.00           P\n"
    first, second = helix("ACD"), helix("WWWWW")
    text = f"MODEL        1\n{first}{dna}ENDMDL\nMODEL        2\n{second}ENDMDL\n"
    assert [chain.sequence for chain in read_backbone(text.encode())] == ["ACD"]


def test_of_alternative_places_the_first_counts() -> None:
    lines = helix("AC").splitlines()
    at = next(place for place, line in enumerate(lines) if line[12:16].strip() == "CA")
    first = lines[at][:16] + "A" + lines[at][17:]
    second = lines[at][:16] + "B" + lines[at][17:30] + "  50.000  50.000  50.000" + lines[at][54:]
    (chain,) = read_backbone("\n".join([*lines[:at], first, second, *lines[at + 1 :], ""]).encode())
    assert float(np.abs(chain.coordinates).max()) < 20


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no protein chain"),
        (b"\x00\xff not a structure", "no protein chain"),
        (b"data_x\nloop_\n_atom_site.id\n_atom_site.x\n1\n", "cannot be read"),
        (helix("AC", without=[("1", "O"), ("2", "N")]).encode(), "no protein chain"),
    ],
)
def test_what_is_no_backbone_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(BadBackboneError, match=said):
        read_backbone(data)


def test_residue_numbers_that_would_fill_the_memory_are_refused() -> None:
    structure = gemmi.read_pdb_string(helix("ACD"))
    structure[0]["A"][2].seqid = gemmi.SeqId(40_000_000, " ")
    structure.setup_entities()
    with pytest.raises(BadBackboneError, match="up to 40000000"):
        read_backbone(structure.make_mmcif_document().as_string().encode())


@given(st.lists(st.integers(-5, 60), min_size=1, max_size=25, unique=True))
def test_positions_run_from_the_lowest_number_to_the_highest(numbers: list[int]) -> None:
    numbers.sort()
    (chain,) = read_backbone(helix("A" * len(numbers), numbers=[str(each) for each in numbers]).encode())
    assert len(chain) == numbers[-1] - numbers[0] + 1
    assert [place + numbers[0] for place in np.flatnonzero(chain.complete)] == numbers
    assert [int(number) for number in chain.numbers if number] == numbers


def test_insertion_codes_that_run_backwards_stay_in_the_files_order() -> None:
    """IMGT counts a long loop from both ends: 111, 111A, 112A, 112."""
    numbers = ["110", "111", "111A", "112B", "112A", "112", "113"]
    text = helix("ACDEFGH", numbers=numbers)
    structure = gemmi.read_pdb_string(text)
    structure.setup_entities()
    for data in (text, structure.make_mmcif_document().as_string()):
        (chain,) = read_backbone(data.encode())
        assert (chain.sequence, chain.numbers) == ("ACDEFGH", tuple(numbers))


@pytest.mark.parametrize("name", ["A", " "])
def test_two_chains_of_one_name_are_refused(name: str) -> None:
    first, second = helix("ACDEF", name), helix("GHIKL", name, origin=(12, 0, 0))
    with pytest.raises(BadBackboneError, match=r"residue 1 of chain .* begin again"):
        read_backbone(f"{first}TER\n{second}".encode())


def test_a_modified_residue_of_the_chain_is_the_one_it_derives_from() -> None:
    lines = helix("ASDSC").splitlines()
    changed = [
        line.replace("ATOM  ", "HETATM").replace("SER A   2", "SEP A   2") if "SER A   2" in line else line
        for line in lines
    ]
    calcium = "ATOM     99 CA    CA A 301       9.000   1.000   1.000  1.00  0.00          CA"
    (chain,) = read_backbone("\n".join([*changed, "TER", calcium, ""]).encode())
    assert chain.sequence == "ASDSC" and chain.complete.all()
