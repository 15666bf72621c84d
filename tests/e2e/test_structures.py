"""Structures that a sample sheet names: from the sheet to templates.tsv, and once more from the store."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tests.e2e.conftest import VILLIN, Run
from tests.known import toy_pdb

pytestmark = pytest.mark.slow

FAST = ["--set", "weights=rehearsal", "--set", "msa.tool=single_sequence", "--set", "rehearsal.models=[1]"]
FAST += [
    "--set",
    "rehearsal.num_recycle=0",
    "--set",
    "relax.models_to_relax=none",
    "--set",
    "engine=alphafold2",
]
USED = ["--set", "alphafold2.use_templates=true"]


def rows(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return {row["id"]: row for row in csv.DictReader(stream, delimiter="\t")}


def test_a_target_is_predicted_with_the_structures_that_it_brings(run: Run) -> None:
    (run.folder / "known.pdb").write_text(toy_pdb(VILLIN))
    sheet = run.folder / "sheet.csv"
    sheet.write_text(f"id,sequence,templates,initial_guess\nvillin,{VILLIN},known.pdb,known.pdb\n")
    refused = run.call("plan", "sheet.csv", *FAST)
    assert refused.returncode != 0
    assert "alphafold2.use_templates is false" in refused.stdout + refused.stderr

    process = run.call("run", "sheet.csv", *FAST, *USED)
    assert process.returncode == 0, process.stdout + process.stderr
    assert "REHEARSAL" in process.stdout + process.stderr
    folder = run.results / "structures" / "villin"
    table = (folder / "templates.tsv").read_text().splitlines()
    assert [line.split("\t")[2:4] for line in table[1:]] == [["1.000", "1.000"]]
    assert "REHEARSAL" in (folder / "ranked_0.pdb").read_text()
    assert json.loads((folder / "confidence.json").read_text())["chain_lengths"] == [len(VILLIN)]
    assert "no_templates" not in rows(run.results / "metrics.tsv")["villin"]["warnings"]
    planned = rows(run.results / "plan" / "targets.tsv")["villin"]
    assert planned["note"] == "templates: known.pdb; initial guess: known.pdb"
    methods = (run.results / "methods.md").read_text()
    assert "Templates that targets brought were aligned by hhsearch" in methods
    assert "No templates were used" not in methods

    # Its result is in the store, by the content of the file.
    (run.folder / "known.pdb").rename(run.folder / "other.pdb")
    sheet.write_text(sheet.read_text().replace("known.pdb", "other.pdb"))
    again = run.call("run", "sheet.csv", *FAST, *USED, "--", "--until", "plan")
    assert again.returncode == 0, again.stdout + again.stderr
    planned = rows(run.results / "plan" / "targets.tsv")["villin"]
    assert (planned["state"], planned["note"]) == ("stored", "templates: other.pdb; initial guess: other.pdb")
