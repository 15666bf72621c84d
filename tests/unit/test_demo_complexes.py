"""The inputs of `make demo-boltz` are what their comments say, and small enough for a CPU."""

from __future__ import annotations

import re

import pytest

from snakefold.kernel.paths import house
from snakefold.molecules import tokens
from snakefold.molecules.entities import Assembly, Kind
from snakefold.molecules.readers import boltz

FOLDER = house() / "resources" / "demo" / "complexes"


def read(name: str) -> Assembly:
    found = boltz.read((FOLDER / f"{name}.yaml").read_text(), name)
    return found.assembly


@pytest.mark.parametrize(
    ("name", "size"), [("protein_G_B1", 56), ("kringle_4_aminocaproate", 87), ("engrailed_DNA", 82)]
)
def test_their_sizes(name: str, size: int) -> None:
    assembly = read(name)
    assert assembly.residues + tokens.ligand_atoms(assembly) == size


def test_there_are_no_others() -> None:
    assert len(list(FOLDER.iterdir())) == 3


def test_proteins_are_those_of_the_demo_set() -> None:
    text = (FOLDER.parent / "proteins.fasta").read_text()
    chains = dict(re.findall(r"^>(\S+).*\n(\S+)$", text, re.MULTILINE))
    assert read("protein_G_B1").entities[0].sequence == chains["protein_G_B1"]
    assert read("engrailed_DNA").entities[0].sequence == chains["engrailed_homeodomain"]


def test_strands_of_dna_are_complementary() -> None:
    one, other = (each.sequence for each in read("engrailed_DNA").entities if each.kind is Kind.DNA)
    assert other == one[::-1].translate(str.maketrans("ACGT", "TGCA"))


def test_an_affinity_is_asked_for_without_a_search() -> None:
    assembly = read("kringle_4_aminocaproate")
    assert assembly.affinity == "B"
    assert assembly.entities[0].msa == "empty"
    assert len(assembly.entities[0].sequence) == 454 - 377 + 1
