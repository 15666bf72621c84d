"""Poses of ligands: contacts that are known, and molecules that are right or bent by known amounts."""

from __future__ import annotations

import json
from pathlib import Path

import gemmi
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.browser.make_assembly import (
    ASSEMBLIES,
    SMILES,
    add_residue,
    embedded,
    entities,
    ligand_atoms,
    make_assembly,
    prediction,
)

from snakefold.kernel.parquet import read_rows
from snakefold.molecules import chemistry, components
from snakefold.molecules.entities import Assembly
from snakefold.run.collect import collect_batch
from snakefold.structures import files as structures
from snakefold.structures import scores
from snakefold.structures.scores.poses import CONTACT, Contact, Pose, poses, read_contacts

GLYCINE = [
    ("N", "N", (0.0, 1.46, 0)),
    ("CA", "C", (0.0, 0, 0)),
    ("C", "C", (1.5, 0, 0)),
    ("O", "O", (2.2, 1.0, 0)),
]
#: Where a ligand touches nothing, Å.
AWAY = np.array([0.0, 60.0, 0.0])


def model_of(*residues: tuple[str, str, int, list[tuple[str, str, tuple[float, ...]]]]) -> gemmi.Model:
    """A model of residues: chain, name, number, atoms."""
    model = gemmi.Model(1)
    for name, residue, number, atoms in residues:
        if name not in [chain.name for chain in model]:
            model.add_chain(gemmi.Chain(name))
        add_residue(model[name], residue, number, atoms, 50.0)
    return model


def shifted(
    atoms: list[tuple[str, str, tuple[float, ...]]], by: tuple[float, float, float]
) -> list[tuple[str, str, tuple[float, ...]]]:
    return [(name, element, tuple(np.add(place, by))) for name, element, place in atoms]


def protein_and(ligand: dict[str, object], **more: object) -> Assembly:
    return entities(
        {"kind": "protein", "sequence": "GGG", "chains": ["P"]},
        {**ligand, "kind": "ligand", "chains": ["L"]},
        **more,
    )


def three_glycines(*ligand: tuple[str, str, tuple[float, float, float]], name: str = "LIG1") -> gemmi.Model:
    """Residues 10 Å apart along x, and a ligand."""
    parts = [("A", "GLY", number, shifted(GLYCINE, (10.0 * (number - 1), 0, 0))) for number in (1, 2, 3)]
    return model_of(*parts, ("B", name, 1, list(ligand)))


def test_contacts_of_a_made_structure() -> None:
    # One carbon 4.4 Å below the CA of residue 1; another 3.5 Å below that of residue 2; residue 3 is away.
    model = three_glycines(("C1", "C", (0.0, -4.4, 0.0)), ("C2", "C", (10.0, -3.5, 0.0)))
    (pose,), contacts = poses(model, protein_and({"smiles": "CC"}), 2)
    assert contacts == [
        Contact(2, "B", "LIG1", "A", 2, "GLY", pytest.approx(3.5), "C2", "CA"),
        Contact(2, "B", "LIG1", "A", 1, "GLY", pytest.approx(4.4), "C1", "CA"),
    ]
    assert (pose.rank, pose.chain, pose.name, pose.contacts, pose.clashes) == (2, "B", "LIG1", 2, 0)


def test_hydrogens_and_other_ligands_touch_nothing() -> None:
    two = entities(
        {"kind": "protein", "sequence": "G", "chains": ["P"]}, {"kind": "ligand", "smiles": "C", "copies": 2}
    )
    hydrogen = ("H1", "H", (0.0, -2.0, 0.0))
    far = (0.0, -5.0, 0.0)
    model = model_of(
        ("A", "GLY", 1, GLYCINE),
        ("B", "LIG1", 1, [hydrogen, ("C1", "C", far)]),
        ("C", "LIG1", 1, [("C1", "C", far)]),
    )
    found, contacts = poses(model, two)
    assert [(pose.chain, pose.contacts, pose.clashes) for pose in found] == [("B", 0, 0), ("C", 0, 0)]
    assert contacts == []


@given(st.lists(st.tuples(*[st.floats(-8, 8)] * 3), min_size=1, max_size=6))
@settings(max_examples=40, deadline=None)
def test_contacts_are_those_of_gemmi(places: list[tuple[float, float, float]]) -> None:
    atoms = [(f"C{number}", "C", place) for number, place in enumerate(places)]
    model = three_glycines(*atoms)
    _, contacts = poses(model, protein_and({"smiles": "C" * len(atoms)}))
    found = {each.residue: each.distance for each in contacts}
    expected = {}
    for residue in model["A"]:
        nearest = min(atom.pos.dist(other.pos) for atom in residue for other in model["B"][0])
        if nearest <= CONTACT:
            expected[residue.seqid.num] = nearest
    assert found == pytest.approx(expected, abs=1e-6)
    assert [each.distance for each in contacts] == sorted(found.values())


@pytest.mark.parametrize(
    ("element", "distance", "clashes"),
    [
        # Of C and N: 0.75 × (1.7 + 1.55) = 2.44 Å.
        ("C", 2.4, 1),
        ("C", 2.5, 0),
        # Zinc is where it binds: covalent radii, 0.75 × (1.22 + 0.71) = 1.45 Å.
        ("ZN", 2.1, 0),
        ("ZN", 1.3, 1),
    ],
)
def test_clashes(element: str, distance: float, clashes: int) -> None:
    # Straight away from N, along the bond to it: no other atom is nearer.
    model = three_glycines((element, element, (0.0, 1.46 + distance, 0.0)), name=element)
    ((pose,), _) = poses(model, protein_and({"ccd": [element]} if element == "ZN" else {"smiles": "C"}))
    assert pose.clashes == clashes


def test_a_bond_of_the_input_is_no_clash() -> None:
    model = three_glycines(("C1", "C", (0.0, 2.9, 0.0)), ("C2", "C", (0.0, 4.4, 0.0)), name="GOL")
    assembly = protein_and({"ccd": ["GOL"]})
    assert poses(model, assembly)[0][0].clashes > 0
    bond = {
        "kind": "bond",
        "atoms": [{"chain": "P", "residue": 1, "atom": "N"}, {"chain": "L", "residue": 1, "atom": "C1"}],
    }
    ((pose,), contacts) = poses(model, protein_and({"ccd": ["GOL"]}, constraints=[bond]))
    assert pose.clashes == 0
    assert contacts[0].distance == pytest.approx(1.44)
    # Another atom that is too near still is.
    model = three_glycines(("C1", "C", (0.0, 2.9, 0.0)), ("C2", "C", (10.0, -1.0, 0.0)), name="GOL")
    assert poses(model, protein_and({"ccd": ["GOL"]}, constraints=[bond]))[0][0].clashes > 0


def ligand_pose(elements: list[str], places: NDArray[np.float64], **ligand: object) -> Pose:
    atoms = [(name, element, tuple(place)) for name, element, place in ligand_atoms(elements, places + AWAY)]
    ((pose,), _) = poses(three_glycines(*atoms), protein_and(ligand))
    return pose


def checks(elements: list[str], places: NDArray[np.float64], smiles: str) -> tuple[bool | None, bool | None]:
    pose = ligand_pose(elements, places, smiles=smiles)
    return pose.bonds_ok, pose.chirality_ok


MOLECULES = [
    SMILES,
    "CC(=O)Oc1ccccc1C(=O)O",
    "C[C@@H](N)C(=O)O",
    "F/C=C/Cl",
    "F/C=C\\Cl",
    "C1CC2CCC1C2",
    "O=C(O)[C@H]1C[C@@H]1N",
    "CS(=O)(=O)N",
    "C[S@](=O)c1ccccc1",
]


@pytest.mark.parametrize("smiles", MOLECULES)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_what_rdkit_embeds_is_right(smiles: str, seed: int) -> None:
    elements, places = embedded(smiles, seed)
    has = any(sign in smiles for sign in "@/\\")
    assert checks(elements, places, smiles) == (True, True if has else None)


@pytest.mark.parametrize("smiles", [each for each in MOLECULES if "@" in each])
def test_a_mirror_image_is_not(smiles: str) -> None:
    elements, places = embedded(smiles)
    assert checks(elements, places * [1, 1, -1], smiles) == (True, False)


def test_the_other_side_of_a_double_bond_is_not() -> None:
    elements, places = embedded("F/C=C/Cl")
    assert checks(elements, places, "F/C=C\\Cl") == (True, False)


def test_a_flat_centre_is_none() -> None:
    elements, places = embedded("C[C@@H](N)C(=O)O")
    centre = places[[0, 2, 3]].mean(axis=0)
    assert checks(elements, np.array([places[0], centre, *places[2:]]), "C[C@@H](N)C(=O)O")[1] is False


@pytest.mark.parametrize(
    ("factor", "right"), [(0.6, False), (0.85, True), (1.0, True), (1.15, True), (1.5, False)]
)
def test_lengths_of_bonds(factor: float, right: bool) -> None:
    elements, places = embedded("CC(=O)Oc1ccccc1C(=O)O")
    assert checks(elements, places * factor, "CC(=O)Oc1ccccc1C(=O)O")[0] is right


@pytest.mark.parametrize(("degrees", "right"), [(65, False), (80, True), (109, True), (125, True)])
def test_angles(degrees: float, right: bool) -> None:
    # Propane, bonds of 1.53 Å. The ends may be 25 % nearer: some 74 degrees; or 25 % farther: any angle.
    turn = np.deg2rad(degrees)
    places = 1.53 * np.array([[1.0, 0, 0], [0, 0, 0], [np.cos(turn), np.sin(turn), 0]])
    assert checks(["C", "C", "C"], places, "CCC")[0] is right


@given(st.permutations(range(10)))
@settings(max_examples=25, deadline=None)
def test_the_order_of_the_atoms_does_not_matter(order: list[int]) -> None:
    elements, places = embedded(SMILES)
    moved = [elements[place] for place in order]
    assert len(order) == len(elements)
    assert checks(moved, places[order], SMILES) == (True, True)
    assert checks(moved, places[order] * [1, 1, -1], SMILES) == (True, False)


def test_atoms_that_are_not_the_ligands_are_not_judged() -> None:
    elements, places = embedded("CCO")
    assert checks(elements, places, "CCN") == (None, None)
    assert checks(["ZN"], np.zeros((1, 3)), "[Zn+2]") == (None, None)


def test_atoms_on_one_point_are_no_molecule() -> None:
    elements, places = embedded(SMILES)
    assert checks(elements, places * 0, SMILES) == (False, False)


@pytest.mark.parametrize("code", ["ATP", "NAG", "STI", "CLR", "GOL", "HEM"])
def test_components_by_their_names(code: str) -> None:
    """Coordinates of the dictionary, in another order, are right; their mirror images are not."""
    from biotite.structure.info import residue

    ideal = residue(code)
    ideal = ideal[~np.isin(ideal.element, ("H", "D"))][::-1]

    def pose(places: NDArray[np.float64]) -> Pose:
        atoms = [
            (name, element, tuple(place))
            for name, element, place in zip(ideal.atom_name, ideal.element, places + AWAY, strict=True)
        ]
        return poses(three_glycines(*atoms, name=code), protein_and({"ccd": [code]}))[0][0]

    found = pose(ideal.coord)
    chiral = {"ATP": True, "NAG": True, "CLR": True}.get(code)
    assert (found.bonds_ok, found.chirality_ok) in {(True, chiral), (True, True if code == "HEM" else chiral)}
    if chiral:
        assert pose(ideal.coord * [1, 1, -1]).chirality_ok is False
    assert pose(ideal.coord * 2).bonds_ok is False


def test_the_oxygens_of_a_phosphate_are_alike() -> None:
    from biotite.structure.info import residue

    ideal = residue("ATP")
    ideal = ideal[ideal.element != "H"]
    swapped = {"O1A": "O2A", "O2A": "O1A"}
    atoms = [
        (swapped.get(name, name), element, tuple(place))
        for name, element, place in zip(ideal.atom_name, ideal.element, ideal.coord + AWAY, strict=True)
    ]
    ((pose,), _) = poses(three_glycines(*atoms, name="ATP"), protein_and({"ccd": ["ATP"]}))
    assert pose.chirality_ok is True


def test_what_rdkit_cannot_judge_is_absent() -> None:
    """RDKit's bounds of this organometallic component contradict each other."""
    _, names = components.structure("RIR") or ("", [])
    atoms = [
        (name, "Ir" if name.startswith("IR") else "C", (30.0 + 2 * number, 0.0, 0.0))
        for number, name in enumerate(names)
    ]
    ((pose,), _) = poses(three_glycines(*atoms, name="RIR"), protein_and({"ccd": ["RIR"]}))
    assert pose.bonds_ok is None


def test_the_table_of_molecules_is_that_of_the_codes() -> None:
    for code in ("ATP", "ZN", "HEM", "NAG", "A1LU6", "SEP"):
        smiles, names = components.structure(code) or ("", [])
        known = components.component(code)
        assert known is not None and known.heavy_atoms == len(names), code
        molecule = chemistry.component_molecule(code)
        assert molecule is not None and [atom.GetProp("name") for atom in molecule.GetAtoms()] == names
        assert smiles
    assert components.structure("NOCODE") is None
    assert components.structure("") is None
    assert chemistry.component_molecule("NOCODE") is None


def test_poses_are_in_the_files(tmp_path: Path) -> None:
    results = make_assembly(tmp_path / "results")
    rows = {row["id"]: row for row in read_rows(results / "tables" / "b0001.parquet")}
    for name, assembly in ASSEMBLIES.items():
        folder = results / "structures" / name
        stored = scores.read_scores(folder)
        assert stored is not None
        expected = [poses(prediction(assembly, rank).atoms()[0], assembly, rank) for rank in (0, 1)]
        assert stored.poses == [pose for of_model, _ in expected for pose in of_model]
        contacts = [contact for _, of_model in expected for contact in of_model]
        if name == "plain":
            assert read_contacts(folder) is None and "poses" not in json.loads(
                (folder / "scores.json").read_text()
            )
            assert {
                rows[name][column] for column in ("pose_clashes", "pose_bonds_ok", "pose_chirality_ok")
            } == {None}
            continue
        assert contacts
        found = read_contacts(folder)
        assert found is not None
        assert [(c.rank, c.ligand, c.chain, c.residue) for c in found] == [
            (c.rank, c.ligand, c.chain, c.residue) for c in contacts
        ]
        assert [c.distance for c in found] == pytest.approx([c.distance for c in contacts], abs=0.006)
        best = [pose for pose in stored.poses if pose.rank == 0]
        assert rows[name]["pose_clashes"] == sum(pose.clashes for pose in best)
        assert (rows[name]["pose_bonds_ok"], rows[name]["pose_chirality_ok"]) == (True, True)


def test_collecting_again_changes_nothing(tmp_path: Path) -> None:
    results = make_assembly(tmp_path / "results")

    def collected() -> dict[str, int]:
        collect_batch(
            results / "predictions" / "b0001.tar.zst",
            results / "plan" / "batches" / "b0001.json",
            results / "structures",
            results / "tables" / "b0001.parquet",
        )
        return {str(path): path.stat().st_mtime_ns for path in results.glob("structures/*/*")}

    before = {str(path): path.stat().st_mtime_ns for path in results.glob("structures/*/*")}
    assert collected() == before
    changed = results / "structures" / "binder" / "tokens.json"
    right = changed.read_bytes()
    changed.write_text("{}")
    (changed.parent / "contacts.tsv").unlink()
    collected()
    assert changed.read_bytes() == right
    assert read_contacts(changed.parent)


def test_a_model_that_cannot_be_read_costs_no_target(tmp_path: Path) -> None:
    folder = make_assembly(tmp_path / "results") / "structures" / "binder"
    known = scores.read_scores(folder)
    assert known is not None
    again, contacts = scores.with_poses(known, ["no structure"], ASSEMBLIES["binder"])
    assert again.poses == [] and contacts == [] and "poses" in again.missing
    text = (folder / "ranked_0.cif").read_text()
    again, contacts = scores.with_poses(known, [text], ASSEMBLIES["binder"])
    assert [pose.rank for pose in again.poses] == [0] and contacts
    assert structures.read(text)[0].find_chain("B") is not None
