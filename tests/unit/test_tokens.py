"""The size of an assembly: atoms counted without any chemistry, against biotite's dictionary."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakefold.molecules import smiles, tokens
from snakefold.molecules.entities import Assembly, Entity, Kind


def ligand(text: str = "", ccd: tuple[str, ...] = (), copies: int = 1) -> Entity:
    return Entity(kind=Kind.LIGAND, smiles=text, ccd=ccd, copies=copies)


@pytest.mark.parametrize(
    ("text", "atoms"),
    [
        ("CCO", 3),
        ("CC(=O)Oc1ccccc1C(=O)O", 13),  # aspirin, C9H8O4
        ("Cn1cnc2c1c(=O)n(C)c(=O)n2C", 14),  # caffeine, C8H10N4O2
        ("C[C@H](N)C(=O)O", 6),
        ("[H]O[H]", 1),
        ("[2H]C([2H])([2H])O", 2),
        ("[Na+].[Cl-]", 2),
        ("ClCBr", 3),
        ("[NH4+]", 1),
        ("C%10CCCCC%10", 6),
        ("[Hg]", 1),
        ("[nH]1cccc1", 5),
    ],
)
def test_heavy_atoms_of_a_smiles(text: str, atoms: int) -> None:
    assert smiles.problem(text) == ""
    assert smiles.heavy_atoms(text) == atoms


def test_components_are_those_of_the_dictionary() -> None:
    np = pytest.importorskip("numpy")
    ccd = pytest.importorskip("biotite.structure.info.ccd")
    atoms = ccd.get_ccd()["chem_comp_atom"]
    owner = atoms["comp_id"].as_array()
    heavy = ~np.isin(atoms["type_symbol"].as_array(), ["H", "D"])
    codes, first = np.unique(owner, return_index=True)
    order = np.argsort(first)
    counted = np.add.reduceat(heavy.astype(int), first[order])
    newer = {str(code): int(n) for code, n in zip(codes[order], counted, strict=True)}
    # Another release of biotite has more of them, and mends a few.
    ours = tokens._components()
    same = sum(newer.get(code) == n for code, n in ours.items())
    assert same > 0.995 * len(ours)
    assert {code: tokens.component_atoms(code) for code in ("ATP", "HEM", "MG", "HOH", "NAG")} == {
        "ATP": 31,
        "HEM": 43,
        "MG": 1,
        "HOH": 1,
        "NAG": 15,
    }


def test_the_table_has_every_code_once() -> None:
    text = (tokens.files("snakefold.molecules") / "components.tsv").read_text("ascii")
    codes = [code for line in text.splitlines() for code in line.split("\t")[1].split(" ")]
    assert len(codes) == len(set(codes)) == 49_195
    assert tokens.is_component("ATP")
    assert not tokens.is_component("ZZZZ9")


def test_a_component_that_the_table_lacks_is_estimated() -> None:
    assert tokens.component_atoms("ZZZZ9") == tokens.UNKNOWN


def test_ligands_of_an_assembly_are_counted_with_their_copies() -> None:
    assembly = Assembly(
        entities=(
            Entity(kind=Kind.PROTEIN, sequence="MKTAYIAK", copies=2),
            Entity(kind=Kind.DNA, sequence="ACGT"),
            ligand("CCO", copies=3),
            ligand(ccd=("NAG", "NAG")),
            ligand(ccd=("MG",)),
        )
    )
    assert tokens.ligand_atoms(assembly) == 9 + 30 + 1
    assert tokens.ligand_atoms(assembly.model_dump(mode="json")) == 40
    assert tokens.ligand_atoms(assembly.model_dump(mode="json", exclude_defaults=True)) == 40
    assert assembly.residues + tokens.ligand_atoms(assembly) == 2 * 8 + 4 + 40
    assert tokens.ligand_atoms(None) == 0


@given(
    parts=st.lists(st.sampled_from(["C", "N", "c1ccccc1", "[O-]", "C(=O)O", "Cl"]), min_size=1, max_size=20),
    copies=st.integers(1, 5),
)
def test_more_atoms_and_more_copies_are_never_smaller(parts: list[str], copies: int) -> None:
    protein = Entity(kind=Kind.PROTEIN, sequence="MKT")

    def atoms(text: str, times: int) -> int:
        return tokens.ligand_atoms(Assembly(entities=(protein, ligand(text, copies=times))))

    whole, less = "".join(parts), "".join(parts[:-1]) or parts[0]
    assert atoms(whole, copies) == copies * atoms(whole, 1)
    assert atoms(whole, 1) >= atoms(less, 1) > 0


def test_ten_thousand_ligands_are_counted_in_a_second_or_two() -> None:
    protein = Entity(kind=Kind.PROTEIN, sequence="MKTAYIAK" * 40)
    screen = [
        Assembly(entities=(protein, ligand(f"CC(=O)Oc1ccccc1C(=O)N{'C' * (n % 40)}O"))) for n in range(10_000)
    ]
    start = time.process_time()
    sizes = [tokens.ligand_atoms(each) for each in screen]
    assert time.process_time() - start < 4
    assert len(set(sizes)) == 40
