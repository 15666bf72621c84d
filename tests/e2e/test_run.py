"""`snakefold run` on a small set: everything a user gets, and what a second run does."""

from __future__ import annotations

import csv
import gzip
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from Bio.PDB.MMCIFParser import MMCIFParser
from Bio.PDB.PDBParser import PDBParser

from tests.attempts import gave_up
from tests.e2e.conftest import TRP_ZIPPER, UBIQUITIN, VILLIN, Run

pytestmark = pytest.mark.slow

FASTA = f""">sp|P0CG48|UBC_HUMAN <script>alert(1)</script>
{UBIQUITIN}
>villin $(touch pwned) ../../etc
{VILLIN}
>pair
{TRP_ZIPPER}:{VILLIN}
>ubiquitin-again
{UBIQUITIN}
>broken
MKT1AYIAKQRQISFVK
"""
FAST = ["--set", "rehearsal.models=[1]", "--set", "rehearsal.num_recycle=0"]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


@pytest.fixture(scope="module")
def finished(shared_run: Run) -> tuple[Run, subprocess.CompletedProcess[str]]:
    folder = shared_run.folder / "my set; $(touch pwned)"
    folder.mkdir()
    (folder / "in put.fasta").write_text(FASTA)
    shared_run.folder = folder
    return shared_run, shared_run.call("run", "in put.fasta", *FAST)


def test_ends_well_and_says_where_the_report_is(
    finished: tuple[Run, subprocess.CompletedProcess[str]],
) -> None:
    run, process = finished
    assert process.returncode == 0, process.stdout + process.stderr
    output = process.stdout + process.stderr
    assert f"report:  {(run.results / 'report' / 'index.html').as_uri()}" in output
    assert "REHEARSAL" in output
    assert "done:    4 targets\nfailed:  0 targets\nrefused: 1 record\n" in output


def test_every_id_has_its_files(finished: tuple[Run, subprocess.CompletedProcess[str]]) -> None:
    run, _ = finished
    metrics = rows(run.results / "metrics.tsv")
    assert len(metrics) == 4
    for row in metrics:
        folder = run.results / "structures" / row["id"]
        names = {path.name for path in folder.iterdir()}
        assert {
            "ranked_0.pdb",
            "ranked_0.cif",
            "unrelaxed_0.pdb",
            "ranking_debug.json",
            "confidence.json",
            "pae.npz",
            "timings.json",
            "msa.a3m",
            "msa.json",
            "hits.tsv",
        } <= names
        (msa, *_) = json.loads((folder / "msa.json").read_text())
        assert msa["depth"] >= 1
        assert any(command.startswith("jackhmmer ") for command in msa["commands"])
        hits = rows(folder / "hits.tsv")
        # One hit may give several rows, one a domain.
        assert 0 < len(hits) <= sum(database["rows"] for database in msa["databases"]) or msa["depth"] == 1
        assert json.loads((folder / "timings.json").read_text())["msa"] > 0
        pdb = PDBParser(QUIET=True).get_structure("x", folder / "ranked_0.pdb")
        cif = MMCIFParser(QUIET=True).get_structure("x", folder / "ranked_0.cif")
        assert sum(1 for _ in pdb.get_residues()) == sum(1 for _ in cif.get_residues()) == int(row["length"])
        scores = json.loads((folder / "confidence.json").read_text())
        assert scores["rehearsal"] is True
        assert float(row["mean_plddt"]) == pytest.approx(
            sum(scores["models"][0]["plddt"]) / int(row["length"]), abs=0.02
        )


def test_rehearsal_is_said_in_every_kind_of_file(
    finished: tuple[Run, subprocess.CompletedProcess[str]],
) -> None:
    run, _ = finished
    made_without_parameters = {"msa.json", "timings.json"}
    for path in sorted((run.results / "structures").glob("*/*")):
        if path.suffix in {".pdb", ".cif", ".json"} and path.name not in made_without_parameters:
            assert "rehearsal" in path.read_text().lower(), path
    assert "REHEARSAL" in (run.results / "report" / "index.html").read_text()


def test_duplicate_is_folded_once_and_given_twice(
    finished: tuple[Run, subprocess.CompletedProcess[str]],
) -> None:
    run, _ = finished
    targets = {row["id"]: row for row in rows(run.results / "plan" / "targets.tsv")}
    duplicates = [row for row in targets.values() if row["state"] == "duplicate_of"]
    assert len(duplicates) == 1
    first, second = duplicates[0]["duplicate_of"], duplicates[0]["id"]
    structures = run.results / "structures"
    assert (structures / first / "ranked_0.pdb").read_bytes() == (
        structures / second / "ranked_0.pdb"
    ).read_bytes()


def test_refused_record_is_in_the_table_and_on_the_page(
    finished: tuple[Run, subprocess.CompletedProcess[str]],
) -> None:
    run, _ = finished
    (failure,) = rows(run.results / "failures.tsv")
    assert failure["state"] == "refused"
    assert "1" in failure["message"]
    assert "in put.fasta" in failure["source"]
    assert "broken" in (run.results / "report" / "index.html").read_text()


def test_nothing_from_the_input_was_executed(finished: tuple[Run, subprocess.CompletedProcess[str]]) -> None:
    run, _ = finished
    assert not list(run.folder.parent.rglob("pwned"))
    assert "<script>alert(1)" not in (run.results / "report" / "index.html").read_text()


def test_second_run_has_nothing_to_do(finished: tuple[Run, subprocess.CompletedProcess[str]]) -> None:
    run, _ = finished
    before = {path: path.stat().st_mtime_ns for path in (run.results / "predictions").iterdir()}
    process = run.call("run", "in put.fasta", *FAST)
    assert process.returncode == 0, process.stderr
    assert {path: path.stat().st_mtime_ns for path in (run.results / "predictions").iterdir()} == before


def test_results_of_the_version_before_go_on(
    finished: tuple[Run, subprocess.CompletedProcess[str]],
) -> None:
    """They had no names by content: they are planned again, nothing is searched or predicted again."""
    run, _ = finished
    for folder in ("settings", "plan/contents", ".snakefold"):
        shutil.rmtree(run.results / folder)
    (run.results / "lost.tsv").touch()
    made = [
        path
        for folder in ("store/fold", "store/msa", "msa", "logs/msa", "logs/predict", "predictions")
        for path in (run.results / folder).rglob("*")
        if path.is_file()
    ]
    before = {path: path.stat().st_mtime_ns for path in made}
    process = run.call("run", "in put.fasta", *FAST, "--verbose")
    output = process.stdout + process.stderr
    assert process.returncode == 0, output
    assert "These results identify their inputs by time" in output
    assert "Rule: restore" in output
    assert not any(f"Rule: {rule}" in output for rule in ("msa", "request", "predict"))
    assert {path: path.stat().st_mtime_ns for path in made} == before


def test_new_setting_reuses_the_msas(finished: tuple[Run, subprocess.CompletedProcess[str]]) -> None:
    run, _ = finished
    store = run.results / "store"
    msas = {path: path.stat().st_mtime_ns for path in (store / "msa").rglob("*") if path.is_file()}
    recipes = set((store / "fold").iterdir())
    process = run.call("run", "in put.fasta", *FAST, "--set", "relax.models_to_relax=none")
    assert process.returncode == 0, process.stdout + process.stderr
    assert {path: path.stat().st_mtime_ns for path in (store / "msa").rglob("*") if path.is_file()} == msas
    assert len(set((store / "fold").iterdir()) - recipes) == 2, "one of monomers, one of complexes"


def test_killed_run_goes_on_where_it_was(run: Run) -> None:
    with gzip.open(run.folder / "set.fasta.gz", "wt") as stream:
        stream.write(f">a\n{VILLIN}\n>b\n{TRP_ZIPPER}\n>c\n{UBIQUITIN[:40]}\n")
    arguments = ["run", "set.fasta.gz", *FAST, "--set", "msa.tool=single_sequence"]
    process = run.start(*arguments)
    stored = run.results / "store" / "fold"
    deadline = time.monotonic() + 3600
    while not list(stored.glob("*/*/[0-9a-f]*")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    first = {path: path.stat().st_mtime_ns for path in stored.glob("*/*/[0-9a-f]*")}
    assert first, (run.folder / "started.log").read_text()
    again = run.call(*arguments)
    assert again.returncode == 0, again.stdout + again.stderr
    assert {path: path.stat().st_mtime_ns for path in first} == first
    assert len(rows(run.results / "metrics.tsv")) == 3


def test_failed_target_does_not_stop_the_others(run: Run) -> None:
    (run.folder / "set.fasta").write_text(f">deadly\n{VILLIN}\n")
    (run.folder / "own.a3m").write_text(f">own\n{TRP_ZIPPER}\n>row\n{TRP_ZIPPER[:-1]}-\n")
    arguments = ["run", "set.fasta", "own.a3m", *FAST, "--set", "msa.tool=single_sequence"]
    process = run.call(*arguments, "--", "--until", "plan")
    assert process.returncode == 0, process.stdout + process.stderr
    gave_up(run.results, "deadly")
    process = run.call(*arguments)
    assert process.returncode == 1, process.stdout + process.stderr
    assert [row["id"] for row in rows(run.results / "metrics.tsv")] == ["own"]
    (failure,) = rows(run.results / "failures.tsv")
    assert (failure["id"], failure["reason"]) == ("deadly", "lost")
    assert (run.results / "report" / "index.html").is_file()


def test_target_without_an_alignment_is_never_dispatched(run: Run) -> None:
    (run.folder / "set.fasta").write_text(f">bare\n{VILLIN}\n")
    (run.folder / "own.a3m").write_text(f">own\n{TRP_ZIPPER}\n>row\n{TRP_ZIPPER[:-1]}-\n")
    arguments = ["run", "set.fasta", "own.a3m", *FAST, "--set", "msa.tool=precomputed", "--verbose"]
    process = run.call(*arguments)
    output = process.stdout + process.stderr
    assert process.returncode == 0, output
    assert "done:    1 target\nfailed:  0 targets\nrefused: 1 record\n" in output
    (failure,) = rows(run.results / "failures.tsv")
    assert (failure["id"], failure["state"], failure["reason"]) == ("bare", "refused", "invalid_input")
    assert failure["source"] == "set.fasta:1"
    assert "bare" in (run.results / "report" / "index.html").read_text()
    (batch,) = (run.results / "predictions").iterdir()
    assert "1 target, 1 to predict" in (run.results / "logs/predict" / f"{batch.name[:-8]}.log").read_text()
    again = run.call(*arguments)
    output = again.stdout + again.stderr
    assert again.returncode == 0, output
    assert not any(f"Rule: {rule}" in output for rule in ("plan", "msa", "request", "predict")), output
    # Without own.a3m, nothing is left that could be folded.
    alone = run.call("run", "set.fasta", *FAST, "--set", "msa.tool=precomputed", "--verbose")
    output = alone.stdout + alone.stderr
    assert alone.returncode != 0
    assert "set.fasta:1 (record 1: 'bare'): The record brings no alignment" in output
    assert not any(f"Rule: {rule}" in output for rule in ("msa", "request", "predict")), output


def test_bad_settings_and_inputs_start_nothing(run: Run) -> None:
    (run.folder / "bad.fasta").write_text(">a\nMKT1\n")
    cases = [
        (["run", "missing.fasta"], "missing.fasta: no such file"),
        (["run", "bad.fasta", "--set", "on_invalid=stop"], "bad.fasta:2"),
        (["run", "bad.fasta", "--set", "enginee=alphafold2"], "enginee"),
        (["run", "bad.fasta", "--set", "msa.db_preset=full_dbs"], "full_dbs"),
    ]
    for arguments, expected in cases:
        process = run.call(*arguments)
        assert process.returncode != 0
        assert expected in process.stdout + process.stderr, arguments
        assert not (run.results / "plan" / "batches.tsv").exists()
