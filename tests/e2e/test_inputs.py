"""A run does what its inputs and settings say now: files of any name and time, from any current folder."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from snakefold.kernel.paths import house
from snakefold.plan.lock import hold_results
from tests.e2e.conftest import TRP_ZIPPER, VILLIN, Run

pytestmark = pytest.mark.slow

FAST = ["--set", "weights=rehearsal", "--set", "msa.tool=single_sequence", "--set", "rehearsal.models=[1]"]
#: As users have it in a profile of their own: times alone decide what Snakemake runs again.
TIMES = ["--", "--rerun-triggers", "mtime", "--until", "plan"]
OLD, FUTURE = (1_577_836_800,) * 2, (4_000_000_000,) * 2
NOTHING = "Nothing to be done"


def sequences(results: Path) -> list[tuple[str, str]]:
    """Id and length of each planned target."""
    with (results / "plan" / "targets.tsv").open(newline="", encoding="utf-8") as stream:
        return sorted((row["id"], row["length"]) for row in csv.DictReader(stream, delimiter="\t"))


def snakemake(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command: Sequence[str] = [sys.executable, "-m", "snakemake", "--cores", "1", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_inputs_and_settings_count_whatever_their_times(run: Run) -> None:
    here, there = run.folder / "it's $HOME", run.folder / "there"
    files = here / "dir"
    results = run.folder / "é r'e\"s"
    files.mkdir(parents=True)
    there.mkdir()
    (files / "é.fasta").write_text(f">a\n{VILLIN}\n")
    (files / "in's `b`.fasta").write_text(f">b\n{TRP_ZIPPER}\n")
    os.utime(files / "é.fasta", FUTURE)
    run.folder = here
    arguments = ["run", "dir", f"--set=results={results}", *FAST, "--verbose"]

    def plan(*more: str, dry: bool = False) -> str:
        process = run.call(*arguments, *more, *(["-n"] if dry else []), *TIMES)
        assert process.returncode == 0, process.stdout + process.stderr
        return process.stdout + process.stderr

    plan()
    first = [("a", str(len(VILLIN))), ("b", str(len(TRP_ZIPPER)))]
    assert sequences(results) == first
    assert not list(run.folder.rglob("~"))
    # Edited, with an older time: git checkout, unzip, cp -p.
    (files / "é.fasta").write_text(f">a\n{VILLIN[:-1]}\n")
    os.utime(files / "é.fasta", OLD)
    changed = plan(dry=True)
    assert NOTHING not in changed
    assert "configure" in changed
    # The same again: nothing to do. A setting: something to do.
    (files / "é.fasta").write_text(f">a\n{VILLIN}\n")
    assert NOTHING in plan(dry=True)
    assert NOTHING not in plan("--set", "rehearsal.num_recycle=2", dry=True)
    # Another input in another current folder, for the same results; then back to the first.
    (there / "my.fasta").write_text(f">c\n{VILLIN}\n")
    run.folder, arguments[1] = there, "my.fasta"
    assert "since the last run: settings, input." in plan()
    assert sequences(results) == [("c", str(len(VILLIN)))]
    assert [path.suffix for path in (results / "settings").iterdir()] == [".yaml"]
    # That the plan's step plans what it is given is seen: that it would run is enough.
    run.folder, arguments[1] = here, "dir"
    again = plan(dry=True)
    assert re.search(r"^plan +1$", again, re.MULTILINE), again


def test_a_folder_of_many_programs_inputs_is_planned(run: Run) -> None:
    """Proteins alone are targets, of whichever program the file is; all else is refused as what it is."""
    mixed = run.folder / "mixed"
    mixed.mkdir()
    dimer = {"protein": {"id": ["A", "B"], "sequence": VILLIN}}
    job = {"name": "dimer", "modelSeeds": [1], "dialect": "alphafold3", "version": 1}
    (mixed / "a.json").write_text(json.dumps({**job, "sequences": [dimer]}))
    (mixed / "b.yaml").write_text(
        f"version: 1\nsequences:\n- protein: {{id: A, sequence: {VILLIN}}}\n- ligand: {{id: B, ccd: ATP}}\n"
    )
    (mixed / "c.fasta").write_text(f">one\n{TRP_ZIPPER}\n>two\nP12345\n")
    (mixed / "d.fasta").write_text(f">A|protein|\n{VILLIN}\n>B|protein|\n{VILLIN}\n")
    (mixed / "e.csv").write_text("id,sequence\naspirin,CC(=O)Oc1ccccc1C(=O)O\n")
    (mixed / "config.yaml").write_text("input: x\n")
    process = run.call("plan", "mixed", *FAST)
    assert process.returncode == 0, process.stdout + process.stderr
    assert "6 records: 2 targets (96 residues), 1 duplicate, 3 refused" in process.stdout
    with (run.results / "quote" / "targets.tsv").open(newline="", encoding="utf-8") as stream:
        rows = {row["id"]: row for row in csv.DictReader(stream, delimiter="\t")}
    assert {name: row["state"] for name, row in rows.items()} == {
        "dimer": "to_do",
        "b": "refused",
        "one": "to_do",
        "two": "refused",
        "d": "duplicate_of",
        "aspirin": "refused",
    }
    refusals = json.loads((run.results / "quote" / "refusals.json").read_text())
    assert [(each["file"], each["line"], each["code"]) for each in refusals] == [
        ("mixed/b.yaml", 1, "molecules"),
        ("mixed/c.fasta", 4, "accession"),
        ("mixed/e.csv", 2, "smiles"),
    ]
    assert refusals[0]["message"] == (
        "ligand ATP: engine alphafold2 folds proteins only; engines that take it: af3, boltz2."
    )


def test_one_run_of_a_folder_of_results(run: Run) -> None:
    """Whatever the current folder, and however Snakemake was started."""
    (run.folder / "elsewhere").mkdir()
    (run.folder / "my.fasta").write_text(f">a\n{VILLIN}\n")
    hold_results(run.results)
    words = (f"results={run.results}", f"input={run.folder / 'my.fasta'}", "msa={tool: single_sequence}")
    snakefile = str(house() / "workflow" / "Snakefile")
    process = snakemake(
        run.folder / "elsewhere", "--snakefile", snakefile, "--until", "plan", "--config", *words
    )
    assert process.returncode != 0
    assert f"{run.results}: another run is active in this folder" in process.stderr
    assert not (run.results / "plan").exists()
    run.folder = run.folder / "elsewhere"
    process = run.call("run", "../my.fasta", "--set=results=../results")
    assert process.returncode == 2
    assert "../results: another run is active in this folder" in process.stderr


MODULE = """
module snakefold:
    snakefile: {snakefile!r}
    config: {{"input": "made.fasta", "results": "out", "msa": {{"tool": "single_sequence"}}}}
    {prefix}
use rule * from snakefold
rule make:
    output: "made.fasta"
    shell: "false"
"""


@pytest.mark.parametrize(
    ("prefix", "code", "says"),
    [('prefix: "fold"', 1, "Name the folder by the setting `results`"), ("", 0, "make ")],
    ids=["prefix", "none"],
)
def test_as_a_module(run: Run, prefix: str, code: int, says: str) -> None:
    """A prefix is refused in words; sequences may be made by a rule of the workflow around it."""
    snakefile = str(house() / "workflow" / "Snakefile")
    (run.folder / "Snakefile").write_text(MODULE.format(snakefile=snakefile, prefix=prefix))
    process = snakemake(run.folder, "--dry-run", "all")
    assert process.returncode == code, process.stdout + process.stderr
    assert says in process.stdout + process.stderr


def test_a_run_may_end_with_the_alignments(run: Run) -> None:
    """As colabfold_batch --msa-only: what is searched waits in the store for the prediction."""
    (run.folder / "my.fasta").write_text(f">a\n{VILLIN}\n>b\n{VILLIN}:{TRP_ZIPPER}\n")
    given = ["run", "my.fasta", "--set", "weights=rehearsal"]
    process = run.call(*given, "--", "alignments")
    assert process.returncode == 0, process.stderr[-3000:]
    assert list((run.results / "msa").glob("*.json"))
    assert not (run.results / "requests").exists()
    planned = run.call(*given, "--dry-run")
    assert "predict " in planned.stdout + planned.stderr
    assert "rule msa" not in planned.stdout + planned.stderr
