"""The gate: an engine that no module of snakefold names goes from plan to report."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from pyarrow import parquet

SITE = Path(__file__).parent / "site"
SNAKEFOLD = Path(sys.executable).parent / "snakefold"
YAML = "version: 1\nsequences:\n  - ligand:\n      id: A\n      smiles: '{smiles}'\n"
LIGANDS = {"ethanol": "CCO", "benzene": "c1ccccc1", "again": "CCO", "endless": "C" * 100}
ZIPPER = "GSWTWENGKWTWKGSWTWENGKWTWK"


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


def call(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`snakefold` in an environment where the toy's distribution is installed."""
    return call_in({**os.environ, "PYTHONPATH": str(SITE)}, folder, *words)


def call_in(environment: dict[str, str], folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(SNAKEFOLD), *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A run of ligands, and of a protein, with the toy."""
    folder = tmp_path_factory.mktemp("toy")
    (folder / "in").mkdir()
    for name, smiles in LIGANDS.items():
        (folder / "in" / f"{name}.yaml").write_text(YAML.format(smiles=smiles))
    (folder / "in" / "protein.fasta").write_text(f">protein\n{ZIPPER}\n")
    return folder, call(folder, "run", "in", "--set", "engine=toy", "--set", "toy.weight=2.5")


def test_the_run_ends_as_any_other(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, process = finished
    said = process.stdout + process.stderr
    assert process.returncode == 1, said
    assert "done:    3 targets\nfailed:  1 target\n" in said
    assert "refused: 1 record\n" in said
    assert "REHEARSAL" not in said
    assert "Warning" not in said
    (failed,) = [row for row in rows(folder / "results" / "failures.tsv") if row["state"] == "failed"]
    assert (failed["id"], failed["message"]) == ("endless", "Too many atoms to count.")
    (refused,) = [row for row in rows(folder / "results" / "failures.tsv") if row["state"] == "refused"]
    assert "This is a protein, and engine toy takes ligands only." in refused["message"]


def test_the_plan_is_the_toys_own(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, _ = finished
    plan = folder / "results" / "plan"
    quote = json.loads((plan / "quote.json").read_text())
    # 900 s each of its own; 3 GB of its own.
    assert quote["hours"]["expected"] == pytest.approx(3 * 900 / 3600, rel=0.02)
    batches = rows(plan / "batches.tsv")
    assert {(row["engine"], row["group"], row["memory_gb"]) for row in batches} == {("toy", "ligand", "3.0")}
    assert quote["chains"] == quote["chunks"] == 0
    assert rows(plan / "chains.tsv") == []
    assert not (folder / "results" / "msa").exists()
    assert {row["engine"] for row in rows(plan / "targets.tsv") if row["state"] == "to_do"} == {"toy"}
    told = (folder / "results" / "logs" / "plan.log").read_text().split("Quote")[1].split("disk")[0]
    assert "3 by toy" in told
    assert "alignments" not in told


def test_scores_are_in_the_metrics_and_on_the_page(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, _ = finished
    found = {row["id"]: row for row in rows(folder / "results" / "metrics.tsv")}
    assert {name: row["toy_atoms"] for name, row in found.items()} == {
        "ethanol": "3",
        "benzene": "6",
        "again": "3",
    }
    assert found["benzene"]["toy_score"] == "15"
    assert {row[name] for row in found.values() for name in ("mean_plddt", "length")} == {""}
    assert {row["chains"] for row in found.values()} == {"1"}
    assert (folder / "results" / "structures" / "benzene" / "toy.txt").read_text() == "counted\n"
    page = (folder / "results" / "report" / "assets" / "run.js").read_text()
    assert "toy_atoms" in page
    assert "Heavy atoms of the ligand." in page


def test_methods_tell_of_the_toy_and_of_nothing_else(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, _ = finished
    text = (folder / "results" / "methods.md").read_text()
    assert "Atoms were counted with toyengine 1.0, run by snakefold" in text
    for word in ("AlphaFold", "jackhmmer", "relaxed", "templates", "alignment", "pLDDT"):
        assert word not in text


def test_a_second_run_computes_nothing_and_another_setting_does(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, _ = finished
    planned = call(folder, "plan", "in", "--set", "engine=toy", "--set", "toy.weight=2.5", "--out", "again")
    assert planned.returncode == 0, planned.stderr
    states = {row["id"]: row["state"] for row in rows(folder / "again" / "targets.tsv")}
    assert states == {
        "again": "stored",
        "benzene": "stored",
        "ethanol": "duplicate_of",
        "endless": "to_do",
        "protein": "refused",
    }
    other = call(folder, "plan", "in", "--set", "engine=toy", "--set", "toy.weight=3", "--out", "other")
    assert other.returncode == 0, other.stderr
    assert {row["id"]: row["state"] for row in rows(folder / "other" / "targets.tsv")}["again"] == "to_do"


def test_its_settings_are_settings(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, _ = finished
    assert "toy.weight" in call(folder, "run", "--help").stdout
    assert "| `toy.weight` | " in call(folder, "config", "table").stdout
    assert "What an atom counts." in call(folder, "config", "schema").stdout
    assert "(`engine: toy`) adds:" in call(folder, "columns").stdout
    wrong = call(folder, "plan", "in", "--set", "engine=toy", "--set", "toy.weight=heavy")
    assert wrong.returncode == 2
    assert "toy.weight" in wrong.stderr


def test_what_is_stored_is_found_beside_what_cannot_be_looked_up(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    """The random parameters of another engine are not drawn yet; that says nothing of the toy's results."""
    folder, _ = finished
    words = ["--set", "engines=[toy, alphafold2]", "--set", "toy.weight=2.5", "--set", "weights=rehearsal"]
    planned = call(folder, "plan", "in", *words, "--out", "both")
    assert planned.returncode == 0, planned.stderr
    assert "Results of alphafold2 were not looked up in the store" in planned.stdout
    found = {row["id"]: row for row in rows(folder / "both" / "targets.tsv")}
    assert {name: row["state"] for name, row in found.items()} == {
        "again": "stored",
        "benzene": "stored",
        "ethanol": "duplicate_of",
        "endless": "to_do",
        "protein": "to_do",
    }
    assert found["protein"]["reason"].startswith("results were not looked up in the store")


CALLED = "from toyengine import Toy\nENGINE = Toy()\nENGINE.name = {name!r}"


@pytest.mark.parametrize(
    ("name", "value", "module", "said"),
    [
        ("other", "nowhere:ENGINE", "", "cannot be loaded (ModuleNotFoundError: No module named 'nowhere')"),
        ("other", "other:ENGINE", "ENGINE = object()", "does not follow the protocol"),
        ("other", "other:ENGINE", "from toyengine import ENGINE", "calls itself 'toy'"),
        ("msa", "other:ENGINE", CALLED, "engine msa: other:ENGINE is called as a setting of snakefold"),
        ("copy", "other:ENGINE", CALLED, "engine copy: other:ENGINE is called as a setting of snakefold"),
    ],
)
def test_a_broken_engine_breaks_nothing_else(
    tmp_path: Path, name: str, value: str, module: str, said: str
) -> None:
    site = tmp_path / "site" / "other-1.0.dist-info"
    site.mkdir(parents=True)
    (site / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (site / "entry_points.txt").write_text(f"[snakefold.engines]\n{name} = {value}\n")
    (site.parent / "other.py").write_text(module.format(name=name))
    (tmp_path / "protein.fasta").write_text(f">protein\n{ZIPPER}\n")
    environment = {**os.environ, "PYTHONPATH": f"{site.parent}{os.pathsep}{SITE}"}
    words = ["protein.fasta", "--set", "weights=rehearsal", "--out", "plan"]
    assert call_in(environment, tmp_path, "plan", *words).returncode == 0
    assert said in call_in(environment, tmp_path, "engines", "list").stdout
    doctor = call_in(environment, tmp_path, "engines", "doctor")
    assert (doctor.returncode, said in doctor.stdout) == (1, True)
    named = call_in(environment, tmp_path, "plan", *words, "--set", f"engine={name}")
    assert named.returncode == 2
    assert said in named.stderr


def test_results_outlive_their_engine(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    """What only reads a run reads it where the toy is not installed."""
    folder, _ = finished
    without = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    for words in (["status"], ["bill", "results"], ["methods"], ["summary", "results"]):
        found = call_in(without, folder, *words)
        assert "not installed" not in found.stderr + found.stdout, words
        assert "Traceback" not in found.stderr, words
        assert found.returncode in (0, 1), (words, found.stderr)  # 1: a target failed
    assert (
        "Predictions were made with toy (toyengine 1.0), run by" in call_in(without, folder, "methods").stdout
    )
    again = call_in(without, folder, "plan", "--config", "results/config.yaml", "--out", "none")
    assert again.returncode == 2
    assert "no such engine is installed" in again.stderr


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A results folder with room for a target, on a disk of its own."""
    folder = tmp_path / "results"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "none", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.needs("root")
def test_metrics_outlive_a_report_that_finds_no_room(tmp_path: Path, small_disk: Path) -> None:
    """Snakemake deletes what a failed job made."""
    (tmp_path / "ethanol.yaml").write_text(YAML.format(smiles="CCO"))
    words = ["run", "ethanol.yaml", "--set", "engine=toy", "--set", "results=results"]
    assert call(tmp_path, *words).returncode == 0
    for name in ("metrics.tsv", "metrics.parquet", "failures.tsv", "summary.txt"):
        (small_disk / name).unlink()
    shutil.rmtree(small_disk / "report")
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(shutil.disk_usage(small_disk).free - (1 << 19)))
    full = call(tmp_path, *words)
    assert full.returncode != 0, full.stdout + full.stderr
    assert not (small_disk / "report" / "index.html").exists()
    assert [row["id"] for row in rows(small_disk / "metrics.tsv")] == ["ethanol"]
    assert (small_disk / "failures.tsv").is_file()
    ballast.unlink()
    assert call(tmp_path, *words).returncode == 0
    assert (small_disk / "report" / "index.html").is_file()


@pytest.mark.parametrize(
    ("lost", "meaning"), [((), True), (("engines",), True), (("engines", "metrics.parquet"), False)]
)
def test_its_columns_outlive_it(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
    tmp_path: Path,
    lost: Sequence[str],
    meaning: bool,
) -> None:
    """A report that is made again has them as recorded; results of an earlier release record less."""
    results = shutil.copytree(finished[0] / "results", tmp_path / "results")
    before = (results / "metrics.tsv").read_text()
    schema = parquet.read_schema(results / "metrics.parquet")
    if "engines" in lost:
        recorded = json.loads((results / "provenance.json").read_text())
        del recorded["engines"]
        (results / "provenance.json").write_text(json.dumps(recorded))
    if "metrics.parquet" in lost:
        (results / "metrics.parquet").unlink()
    (results / "metrics.tsv").unlink()
    without = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    again = call_in(without, tmp_path, "report", "results")
    assert again.returncode == 0, again.stderr
    assert (results / "metrics.tsv").read_text() == before
    written = parquet.read_schema(results / "metrics.parquet")
    assert written.equals(schema, check_metadata=True) is meaning
    assert written.names == schema.names
    page = (results / "report" / "assets" / "run.js").read_text()
    assert "toy_atoms" in page
    assert ("Heavy atoms of the ligand." in page) is meaning
    assert "toyengine 1.0" in (results / "methods.md").read_text()


def test_one_run_holds_targets_of_several_engines(tmp_path: Path) -> None:
    """Each goes to the first engine that takes it."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "ethanol.yaml").write_text(YAML.format(smiles="CCO"))
    (tmp_path / "in" / "protein.fasta").write_text(f">protein\n{ZIPPER}\n")
    words = ["--set", "engines=[toy, alphafold2]", "--set", "weights=rehearsal"]
    planned = call(tmp_path, "plan", "in", *words, "--out", "plan")
    assert planned.returncode == 0, planned.stderr
    assert {row["id"]: row["engine"] for row in rows(tmp_path / "plan" / "targets.tsv")} == {
        "ethanol": "toy",
        "protein": "alphafold2",
    }
    assert (
        "1 by toy and 1 by alphafold2" in planned.stdout or "1 by alphafold2 and 1 by toy" in planned.stdout
    )
    batches = {row["engine"]: row for row in rows(tmp_path / "plan" / "batches.tsv")}
    assert set(batches) == {"toy", "alphafold2"}
    assert batches["toy"]["chunks"] == ""
    assert batches["alphafold2"]["chunks"] == "m0001"


def test_a_ligand_is_told_who_would_take_it(tmp_path: Path) -> None:
    (tmp_path / "ethanol.yaml").write_text(YAML.format(smiles="CCO"))
    (tmp_path / "protein.fasta").write_text(f">protein\n{ZIPPER}\n")
    words = ["ethanol.yaml", "protein.fasta", "--set", "weights=rehearsal"]
    assert call(tmp_path, "plan", *words, "--out", "plan").returncode == 0
    (refused,) = json.loads((tmp_path / "plan" / "refusals.json").read_text())
    assert (
        "ligand CCO: engine alphafold2 folds proteins only; engines that take it: af3, boltz2, toy"
        in refused["message"]
    )


def test_a_record_that_no_engine_takes_whole_says_so(tmp_path: Path) -> None:
    """Each takes a part of it and none takes it: without other kinds, or templates, or affinity."""
    (tmp_path / "complex.yaml").write_text(
        YAML.format(smiles="CCO")
        + f"  - protein:\n      id: B\n      sequence: {ZIPPER}\ntemplates:\n  - pdb: known.pdb\n"
        + "properties:\n  - affinity:\n      binder: A\n"
    )
    (tmp_path / "known.pdb").write_text(
        "ATOM      1  CA  ALA A   1       0.000   0.000   0.000  1.00  0.00           C\n"
    )
    (tmp_path / "protein.fasta").write_text(f">protein\n{ZIPPER}\n")
    words = [
        "complex.yaml",
        "protein.fasta",
        "--set",
        "weights=rehearsal",
        "--set",
        "engines=[toy, alphafold2]",
    ]
    assert call(tmp_path, "plan", *words, "--out", "plan").returncode == 0
    (refused,) = json.loads((tmp_path / "plan" / "refusals.json").read_text())
    assert "engines that take the whole record: none is installed" in refused["message"]
