"""What one file of a collection says, and which files are not taken."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import gemmi
import pytest
import reuse_files as make
from hypothesis import given, settings
from hypothesis import strategies as st
from reuse_files import OTHER, PROTEIN, Look

from snakefold.engines.reuse.found import UnusableError
from snakefold.engines.reuse.predicted import read_predicted


def _edited(change: Callable[[gemmi.Structure], object]) -> bytes:
    structure = make.model([PROTEIN])
    change(structure)
    return make.cif([], structure=structure)


def _rename(structure: gemmi.Structure) -> None:
    structure[0][0][4].name = "MSE"
    structure.entities[0].full_sequence = [residue.name for residue in structure[0][0]]


def _add_water(structure: gemmi.Structure) -> None:
    water = structure[0][0][0].clone()
    water.name, water.entity_type, water.subchain = "HOH", gemmi.EntityType.Water, "W"
    water.seqid = gemmi.SeqId(99, " ")
    structure[0][0].add_residue(water)


def _nowhere(structure: gemmi.Structure) -> None:
    structure[0][0][3][1].pos = gemmi.Position(float("nan"), 1, 0)


def _without_ca(structure: gemmi.Structure) -> None:
    structure[0][0][3].remove_atom("CA", "\0")


def _gap(sequence: str) -> bytes:
    """PDB without SEQRES that lacks residue 5."""
    lines = make.pdb([sequence], seqres=False).decode().splitlines(keepends=True)
    return "".join(line for line in lines if line[22:26] != "   5").encode()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (make.cif([PROTEIN], method="X-RAY DIFFRACTION"), "experimental"),
        (make.cif([PROTEIN], has_metric=False), "does not say"),
        (make.pdb([PROTEIN], title="A MODEL"), "does not say"),
        (
            make.pdb([PROTEIN], title="A MODEL\nREMARK   2 B column: pLDDT\nEXPDTA    X-RAY DIFFRACTION"),
            "experim",
        ),
        (_edited(lambda model: model[0][0].__delitem__(7)), "do not cover"),
        (_gap(PROTEIN), "gaps"),
        (_edited(_rename), "MSE"),
        (_edited(_add_water), "nothing else"),
        (_edited(_nowhere), "coordinates"),
        (_edited(_without_ca), "backbone"),
        (make.cif([PROTEIN], 0.9), "scale"),
        (make.cif([PROTEIN], 120.0), "from 0 to 100"),
        (make.cif([PROTEIN])[:700], "no valid mmCIF"),
        (b"data_x\n", "no atoms"),
        (make.cif([PROTEIN])[:-40] + b"\nloop_\n_x", "no valid mmCIF"),
        (b"", "no valid PDB"),
        (b"\xff\xfe\x00", "no text"),
        (gzip.compress(make.cif([PROTEIN]))[:200], "gzip"),
    ],
)
def test_what_is_not_taken(tmp_path: Path, look: Look, data: bytes, reason: str) -> None:
    folder = make.folder(tmp_path / "c", {"bad.cif": data, "good.cif": make.cif([OTHER])})
    assert list(look(folder, wanted=[[PROTEIN], [OTHER]])) == [OTHER]
    assert reason in make.problems(folder, tmp_path)["bad.cif"]


def test_first_of_several_models_counts() -> None:
    structure = make.model([PROTEIN])
    second = make.model([PROTEIN], 20.0)[0].clone()
    structure.add_model(second)
    structure.renumber_models()
    predicted = read_predicted(make.cif([], structure=structure))
    assert predicted.chains == (PROTEIN,)
    assert predicted.plddt[0] == 90.0
    assert predicted.pdb().count(" CA ") == len(PROTEIN)


def test_sequence_of_entity_poly_alone_must_be_covered() -> None:
    document = gemmi.cif.read_string(make.cif([PROTEIN]).decode())
    block = document.sole_block()
    block.find_mmcif_category("_entity_poly_seq.").erase()
    assert read_predicted(document.as_string().encode()).chains == (PROTEIN,)
    block.find("_entity_poly.", ["pdbx_seq_one_letter_code"])[0][0] = PROTEIN + "WW"
    with pytest.raises(UnusableError, match="do not cover"):
        read_predicted(document.as_string().encode())


@pytest.mark.parametrize("data", [make.cif(["REHEARSAL"]), make.pdb(["REHEARSAL"])])
def test_rehearsal_is_a_peptide_too(data: bytes) -> None:
    assert not read_predicted(data).rehearsal


@settings(max_examples=25)
@given(data=st.binary(max_size=600), cut=st.integers(0, 4000), byte=st.integers(0, 255))
def test_damage_is_refused_or_read_never_a_crash(data: bytes, cut: int, byte: int) -> None:
    text = bytearray(make.cif([PROTEIN]))
    text[cut % len(text)] = byte
    for content in (data, bytes(text), make.pdb([PROTEIN])[:cut], gzip.compress(data)[: cut % 100]):
        try:
            read_predicted(content)
        except UnusableError as error:
            assert str(error)
