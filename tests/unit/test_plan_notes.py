"""What a plan says of targets before they are predicted: notes of engines, and equal molecules."""

from __future__ import annotations

from pathlib import Path

from planning import table
from sequence_files import UBQ, write

from snakefold.config import load_config
from snakefold.kernel.notes import MEANINGS, Code
from snakefold.plan.draft import Draft
from snakefold.plan.notes import summary
from snakefold.plan.planner import make_plan
from snakefold.plan.present import Recipes

RECIPES = Recipes(folds=["0" * 16] * 4, msa="1" * 16, paired_msa="2" * 16, rehearsals=[True] * 4)


def screen(folder: Path, ligands: str, **more: object) -> Draft:
    """The plan of a screen with Boltz-2."""
    settings = {
        "input": str(write(folder, "receptor.fasta", f">r\n{UBQ}\n")),
        "engine": "boltz2",
        "screen": {"ligands": str(write(folder, "ligands.smi", ligands)), **more},
    }
    return make_plan(load_config(settings), folder / "plan", name=lambda _: RECIPES)


def notes(folder: Path) -> dict[str, str]:
    return {row["id"]: row["note"] for row in table(folder / "plan" / "targets.tsv")}


def test_a_plan_says_what_boltz_computes_as_less_than_was_given(tmp_path: Path) -> None:
    ligands = f"CCO plain\n{'C' * 57} long\n[Na+].CC(=O)[O-] salt\nCC(N)C(=O)O open\nC[C@H](N)C(=O)O given\n"
    made = screen(tmp_path, ligands, affinity=True)
    assert notes(tmp_path) == {
        "plain": "",
        "long": "large_ligand: affinity of a ligand of 57 heavy atoms; Boltz-2 was trained with at most 56",
        "salt": "several_molecules: ligand [Na+].CC(=O)[O-]: 2 molecules, the largest is predicted alone, "
        "because its affinity is asked for",
        "open": "undefined_stereo: ligand CC(N)C(=O)O: 1 stereocentre not given",
        "given": "",
    }
    said = summary(made.records.notes, made.records.targets)
    assert [line.partition(":")[0] for line in said] == [
        "large_ligand, 1 target (long)",
        "several_molecules, 1 target (salt)",
        "undefined_stereo, 1 target (open)",
    ]
    assert said[0].endswith(MEANINGS[Code.LARGE_LIGAND].text)


def test_sizes_are_told_in_the_units_of_their_engines(tmp_path: Path) -> None:
    assert "2 targets (158 tokens)" in str(screen(tmp_path, "CCO a\nCCN b\n"))
    folder = tmp_path / "both"
    text = f"id,sequence,engine\na,{UBQ},boltz2\nb,{UBQ},alphafold2\n"
    recipes = Recipes(folds=["0" * 16] * 8, msa="1" * 16, paired_msa="2" * 16, rehearsals=[True] * 8)
    config = load_config(
        {"input": str(write(tmp_path, "sheet.csv", text)), "engines": ["alphafold2", "boltz2"]}
    )
    made = make_plan(config, folder, name=lambda _: recipes)
    assert "2 targets (76 residues and 76 tokens)" in str(made)


def test_without_an_affinity_a_large_ligand_is_no_matter_and_a_salt_is_whole(tmp_path: Path) -> None:
    screen(tmp_path, f"{'C' * 57} long\n[Na+].CC(=O)[O-] salt\n")
    assert notes(tmp_path) == {
        "long": "",
        "salt": "several_molecules: ligand [Na+].CC(=O)[O-]: 2 molecules, predicted as one ligand",
    }


def test_one_molecule_written_differently_is_predicted_twice_and_said(tmp_path: Path) -> None:
    made = screen(
        tmp_path, "CCO one\nOCC two\nC(O)C three\nCCN other\nCCO again\nC[C@H](N)O left\nC[C@@H](N)O right\n"
    )
    same = "same_molecule: as one, with another SMILES"
    assert notes(tmp_path) == {
        "one": "",
        "two": same,
        "three": same,
        "other": "",
        "again": "",
        "left": "",
        "right": "",
    }
    assert made.counts()["to_do"] == 6
    assert made.counts()["duplicate_of"] == 1
    (line,) = summary(made.records.notes, made.records.targets)
    assert line.startswith("same_molecule, 2 targets (two, three): Two targets")


def test_equal_ligands_with_other_proteins_are_other_targets(tmp_path: Path) -> None:
    text = "id,sequence,ligand_smiles\n" + f"a,{UBQ},CCO\nb,{UBQ}A,OCC\nc,{UBQ},OCC;CCN\nd,{UBQ},CCN;CCO\n"
    config = load_config({"input": str(write(tmp_path, "sheet.csv", text)), "engine": "boltz2"})
    make_plan(config, tmp_path / "plan", name=lambda _: RECIPES)
    assert set(notes(tmp_path).values()) == {""}
