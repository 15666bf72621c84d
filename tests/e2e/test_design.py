"""`snakefold run` designs sequences for a backbone and folds them: real parameters, two stages, one store."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from snakefold.kernel.paths import house
from snakefold.run.designs.table import read_table
from tests.e2e.conftest import Run

pytestmark = pytest.mark.slow

BACKBONE = house() / "resources" / "demo" / "references" / "7CTH-HL.pdb"
SETTINGS = ["proteinmpnn.num_seq_per_target=2", "relax.models_to_relax=none", "results=results"]
WORDS = [
    *("run", "backbones.csv", "--configfile", "config/design.yaml"),
    *(word for setting in SETTINGS for word in ("--set", setting)),
]


def test_designs_are_folded_and_a_second_run_computes_nothing(
    shared_run: Run, proteinmpnn_weights: Path, flashabb_weights: Path
) -> None:
    run = shared_run
    (run.folder / "fv.pdb").write_bytes(BACKBONE.read_bytes())
    (run.folder / "backbones.csv").write_text(
        "id,backbone,chains,fixed_positions\nfv,fv.pdb,H,H:1-5\nnone,gone.pdb,,\n"
    )
    done = run.call(*WORDS)
    assert done.returncode == 0, done.stdout + done.stderr
    designs = json.loads((run.results / "design" / "structures" / "fv" / "designs.json").read_text())
    native = designs["sequences"]["H"]
    with (run.results / "metrics.tsv").open(encoding="utf-8") as stream:
        rows = {row["id"]: row for row in csv.DictReader(stream, delimiter="\t")}
    assert sorted(rows) == ["fv_t0.1_1", "fv_t0.1_2"]
    for row in rows.values():
        assert row["state"] == "done" and float(row["mean_plddt"]) > 70 and row["rehearsal"] == "False"
    with (run.results / "designs" / "sequences.csv").open(encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            heavy, light = row["sequence"].split(":")
            assert heavy[:5] == native[:5] and heavy != native
            assert light == designs["sequences"]["L"].replace("X", "")
    for design in read_table(run.results):
        assert 0 < design["sc_rmsd_motif"] < design["sc_rmsd"] < 5 and design["sc_tm"] > 0.8
        assert design["mean_plddt"] == pytest.approx(float(rows[design["id"]]["mean_plddt"]), abs=0.01)
    assert "designs.html" in (run.results / "report" / "index.html").read_text()
    refused = json.loads((run.results / "design" / "plan" / "refusals.json").read_text())
    assert [each["line"] for each in refused] == [3]

    before = {path: path.stat().st_mtime_ns for path in (run.results / "predictions").iterdir()}
    planned = run.call("plan", *WORDS[1:])
    assert "1 in the store" in planned.stdout and "2 in the store" in planned.stdout
    again = run.call(*WORDS)
    assert again.returncode == 0, again.stdout + again.stderr
    assert {path: path.stat().st_mtime_ns for path in (run.results / "predictions").iterdir()} == before


def test_snakemake_alone_does_not_pass_one_stage_off_as_both(run: Run) -> None:
    (run.folder / "fv.pdb").write_bytes(BACKBONE.read_bytes())
    snakefile = str(house() / "workflow" / "Snakefile")
    words = ("input=fv.pdb", "design={engine: proteinmpnn}", "engine=flashabb")
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--snakefile", snakefile, "--cores", "1", "--config", *words],
        cwd=run.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "Start them with snakefold run" in done.stderr
    assert not (run.results / "plan").exists()
