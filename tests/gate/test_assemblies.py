"""The gate for assemblies: an engine that reads alignments beside ligands gets those of every protein.

Searches are real, in the demo's database.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

SITE = Path(__file__).parent / "dock_site"
SNAKEFOLD = Path(sys.executable).parent / "snakefold"
ALPHA = "LLSHCLLVTLAAHLPAEFTPAVHASLDKFLASVSTVLTSKYR"
BETA = "LLGNVLVCVLAHHFGKEFTPPVQAAYQKVVAGVANALAHKYH"
PDB = "ATOM      1  CA  MET X   1       0.0     0.0     0.0    1.00  0.00           C\nEND\n"
LIGANDS = ("CCO", "c1ccccc1", "CC(=O)O", "CCN")


def entity(kind: str, name: str, **values: str) -> str:
    return f"  - {kind}: {{id: {name}, " + ", ".join(f"{key}: '{it}'" for key, it in values.items()) + "}\n"


def protein(name: str, sequence: str, **values: str) -> str:
    return entity("protein", name, sequence=sequence, **values)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


def call(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(SITE)}
    return subprocess.run(
        [str(SNAKEFOLD), *words, "--set", "engine=dock"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A run of a receptor with ligands, of a heteromer, and of proteins that bring or want no alignment."""
    folder = tmp_path_factory.mktemp("dock")
    inputs = folder / "in"
    inputs.mkdir()
    ligand = entity("ligand", "L", smiles="CO")
    files = {
        **{
            f"screen{number}": protein("A", ALPHA) + entity("ligand", "L", smiles=smiles)
            for number, smiles in enumerate(LIGANDS)
        },
        "copies": "  - protein: {id: [A, B], sequence: " + ALPHA + "}\n" + ligand,
        "hetero": protein("A", ALPHA) + protein("B", BETA) + ligand,
        "none": protein("A", ALPHA, msa="empty") + ligand,
        "own": protein("A", ALPHA, msa="own.csv") + protein("B", BETA, msa="msas/own.a3m") + ligand,
        "template": protein("A", ALPHA, msa="empty")
        + "templates:\n  - {pdb: known.pdb, chain_id: A, template_id: X}\n",
        "mixed": ligand + protein("A", ALPHA, msa="empty") + protein("B", BETA),
    }
    for name, text in files.items():
        (inputs / f"{name}.yaml").write_text(f"version: 1\nsequences:\n{text}")
    (inputs / "known.pdb").write_text(PDB)
    (inputs / "plain.fasta").write_text(f">plain\n{ALPHA}:{ALPHA}\n")
    (folder / "own.csv").write_text(f"key,sequence\n1,{ALPHA}\n7,{ALPHA[:-1]}-\n,{ALPHA[:-2]}a--\n")
    (inputs / "msas").mkdir()
    (inputs / "msas" / "own.a3m").write_text(f">q\n{BETA}\n>x\n{BETA[:-1]}-\n")
    return folder, call(folder, "run", "in")


def got(folder: Path, name: str) -> list[dict[str, object] | None]:
    found: list[dict[str, object] | None] = json.loads(
        (folder / "results" / "structures" / name / "dock.json").read_text()
    )
    return found


def test_each_protein_is_searched_once(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, process = finished
    assert process.returncode == 0, process.stdout + process.stderr
    plan = folder / "results" / "plan"
    # ALPHA with its rows for pairing, which monomers share, and BETA; nothing for each ligand.
    searched = rows(plan / "chains.tsv")
    assert [int(row["length"]) for row in searched] == [len(ALPHA), len(BETA)]
    assert json.loads((plan / "quote.json").read_text())["chains"] == 2
    states = {row["id"]: row for row in rows(plan / "targets.tsv")}
    assert {row["state"] for row in states.values()} == {"to_do"}
    assert states["screen0"]["reason"].endswith("to align")
    assert states["none"]["reason"].endswith("nothing of it is aligned")
    assert (states["copies"]["chains"], states["copies"]["length"]) == ("3", str(2 * len(ALPHA)))


def test_the_engine_gets_them_by_entity(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, _ = finished
    (alone,) = got(folder, "screen0")
    assert alone is not None
    assert alone["keys"] is None
    assert isinstance(alone["depth"], int)
    assert alone["depth"] == alone["rows"]
    assert alone["depth"] > 10, "the demo's database has haemoglobins"
    assert all(got(folder, f"screen{number}") == [alone] for number in range(len(LIGANDS)))
    assert got(folder, "copies") == [alone]
    # Chains without an assembly have an entry each.
    assert got(folder, "plain") == [alone, alone]
    assert got(folder, "none") == [None]
    first, second = got(folder, "hetero")
    assert first is not None
    assert second is not None
    assert first["depth"] == alone["depth"]
    assert isinstance(first["pairing"], int)
    assert first["pairing"] > 1, "rows with species names, which a complex pairs"
    (empty, searched) = got(folder, "mixed")
    assert empty is None
    assert searched is not None
    assert searched["depth"] == second["depth"]


def test_an_alignment_of_its_own_travels(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, _ = finished
    assert got(folder, "own") == [
        {"depth": 3, "rows": 3, "pairing": 0, "keys": [1, 7, None]},
        {"depth": 2, "rows": 2, "pairing": 0, "keys": None},
    ]


def test_a_template_travels_by_its_content(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, _ = finished
    found = folder / "results" / "structures" / "template" / "templates.json"
    digest = hashlib.sha256(PDB.encode()).hexdigest()
    assert json.loads(found.read_text()) == {f"templates/{digest}.pdb": len(PDB)}
    other = folder / "results" / "structures" / "none" / "templates.json"
    assert json.loads(other.read_text()) == {}


def test_a_screen_of_ten_thousand_is_planned_in_seconds(tmp_path: Path) -> None:
    """One receptor, one search; CPU seconds of the whole command, a quarter of what is allowed."""
    groups = ["C", "CC", "CO", "C(=O)N", "c1ccc(C)cc1", "C1CCN(C)CC1", "S(=O)(=O)C", "OC", "CF", "CCl"]
    ligands = ["".join(groups[int(digit)] for digit in f"{number:05}") for number in range(10_000)]
    (tmp_path / "l.smi").write_text("".join(f"{smiles} Z{place}\n" for place, smiles in enumerate(ligands)))
    (tmp_path / "receptor.fasta").write_text(f">receptor\n{ALPHA * 8}\n")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    words = ["--set", "screen.ligands=l.smi", "--set", "screen.affinity=true", "--out", "plan"]
    process = call(tmp_path, "plan", "receptor.fasta", *words)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert process.returncode == 0, process.stderr
    targets = rows(tmp_path / "plan" / "targets.tsv")
    assert len(targets) == 10_000
    assert (targets[0]["id"], targets[0]["state"], targets[0]["source"]) == ("Z0", "to_do", "l.smi:1")
    assert len(rows(tmp_path / "plan" / "chains.tsv")) == 1
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert seconds < 20


def test_a_screen_has_one_receptor(tmp_path: Path) -> None:
    (tmp_path / "l.smi").write_text("CCO\n")
    (tmp_path / "two.fasta").write_text(f">one\n{ALPHA}\n>two\n{BETA}\n")
    process = call(tmp_path, "plan", "two.fasta", "--set", "screen.ligands=l.smi", "--out", "plan")
    assert process.returncode == 2
    assert "one receptor is expected, and the input has 2: one, two." in process.stderr


def test_a_second_run_searches_nothing_and_notices_another_alignment(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, _ = finished
    again = call(folder, "plan", "in", "--out", "again")
    assert again.returncode == 0, again.stderr
    assert {row["state"] for row in rows(folder / "again" / "targets.tsv")} == {"stored"}
    own = folder / "own.csv"
    before = own.read_text()
    own.write_text(before + f"9,{ALPHA}\n")
    changed = call(folder, "plan", "in", "--out", "changed")
    own.write_text(before)
    assert changed.returncode == 0, changed.stderr
    states = {row["id"]: row["state"] for row in rows(folder / "changed" / "targets.tsv")}
    assert {name for name, state in states.items() if state == "to_do"} == {"own"}


def test_a_target_that_pairs_leaves_the_others_results(tmp_path: Path) -> None:
    """Rows for pairing are another search: its recipe is that of a group of its own."""
    single = "version: 1\nsequences:\n" + protein("A", ALPHA, msa="empty") + protein("B", BETA)
    (tmp_path / "single.yaml").write_text(single)
    (tmp_path / "paired.yaml").write_text(
        "version: 1\nsequences:\n"
        + protein("A", ALPHA)
        + protein("B", BETA, msa="empty")
        + entity("protein", "C", sequence=BETA)
    )
    recipes = {}
    for name, inputs in {"alone": ["single.yaml"], "both": ["single.yaml", "paired.yaml"]}.items():
        assert call(tmp_path, "plan", *inputs, "--out", name).returncode == 0
        for path in (tmp_path / name / "batches").iterdir():
            batch = json.loads(path.read_text())
            for each in batch["targets"]:
                recipes[name, each["target"]["id"]] = batch["recipe"]
    assert recipes["alone", "single"] == recipes["both", "single"] != recipes["both", "paired"]


def test_an_alignment_of_another_sequence_is_refused_where_it_is_named(tmp_path: Path) -> None:
    text = "version: 1\nsequences:\n" + protein("B", BETA) + protein("A", ALPHA, msa="x.a3m")
    (tmp_path / "wrong.yaml").write_text(text)
    (tmp_path / "right.yaml").write_text(text.replace("x.a3m", "empty"))
    (tmp_path / "x.a3m").write_text(f">q\n{BETA}\n")
    assert call(tmp_path, "plan", "wrong.yaml", "right.yaml", "--out", "plan").returncode == 0
    (refused,) = json.loads((tmp_path / "plan" / "refusals.json").read_text())
    assert (refused["line"], refused["code"]) == (4, "msa")
    assert refused["message"] == (
        "protein A: the alignment 'x.a3m': The alignment is of another sequence: residue 3 is G in its first "
        "row, and S in the entity."
    )
