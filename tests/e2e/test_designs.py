"""The second stage of a design as a run: structures are those of a collection, nothing is predicted."""

from __future__ import annotations

import re

import numpy as np
import pytest

from snakefold.run.designs.made import write_sequences
from snakefold.run.designs.places import PASSED
from snakefold.run.designs.table import read_table
from tests.browser.make_results import helices
from tests.designed import A, drawn, write_backbone
from tests.e2e.conftest import Run

pytestmark = pytest.mark.slow


def test_structures_are_compared_and_what_passes_follows_the_settings(run: Run) -> None:
    results = run.folder / "results"
    write_backbone(results, "helix", drawn(3))
    write_sequences(results)
    records = [line.split(",") for line in (results / "designs/sequences.csv").read_text().split()[1:]]
    known = run.folder / "known"
    known.mkdir()
    for number, (name, sequence) in enumerate(records):
        chains = sequence.split(":")
        plddt = np.full(sum(map(len, chains)), 70.0 + 10 * number)
        (known / f"{name}.pdb").write_text("REMARK   6 B: pLDDT\n" + helices(chains, plddt))
    (run.folder / "natural.fasta").write_text(f">natural the native chain\n{A}\n")
    given = ["results/designs/sequences.csv", "--set", "reuse=[known]", "--cores", "1"]
    given += ["--set", "design.engine=proteinmpnn", "--set", "design.stage=structures"]
    given += ["--set", "design.novelty=natural.fasta"]

    done = run.call("run", *given)
    assert done.returncode == 0, done.stderr
    rows = read_table(results)
    assert [(row["engine"], row["passes"]) for row in rows] == [
        ("reuse", False),
        ("reuse", True),
        ("reuse", True),
    ]
    assert all(row["sc_rmsd"] < 0.02 and row["sc_rmsd_motif"] < 0.02 for row in rows)
    assert (results / PASSED).read_text().count(">") == 2
    assert re.search(r"designs.html.*2 of 3 pass", (results / "report/index.html").read_text())
    assert (results / "report/designs.html").is_file()

    compared = {
        path: path.stat().st_mtime_ns
        for path in (results / "designs").rglob("*.*")
        if "passed" not in path.name
    }
    done = run.call("run", *given, "--set", "design.min_plddt=85")
    assert done.returncode == 0, done.stderr
    assert [row["passes"] for row in read_table(results)] == [False, False, True]
    # Only what passes has changed: nothing is compared, or searched, again.
    assert {path: path.stat().st_mtime_ns for path in compared} == compared
    assert len(compared) == 4
