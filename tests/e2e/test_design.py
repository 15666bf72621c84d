"""`snakefold run` designs sequences for a backbone and folds them: real parameters, two stages, one store."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from snakefold.kernel.paths import house
from snakefold.plan.files import read_rows
from snakefold.run.designs.table import read_table
from tests.e2e.conftest import Run

pytestmark = pytest.mark.slow

BACKBONE = house() / "resources" / "demo" / "references" / "7CTH-HL.pdb"
SETTINGS = ["proteinmpnn.num_seq_per_target=2", "relax.models_to_relax=none", "results=results"]
WORDS = [
    *("run", "backbones.csv", "--configfile", "config/design.yaml"),
    *(word for setting in SETTINGS for word in ("--set", setting)),
]


def test_designs_are_folded_and_only_those_of_another_backbone_are_computed_then(
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
        assert 0 < design["sc_rmsd_motif"] < design["sc_rmsd"] < 5
        assert design["sc_tm"] > 0.9 and design["control_tm"] < 0.7
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

    with (run.folder / "backbones.csv").open("a") as stream:
        stream.write("other,fv.pdb,L,\n")
    more = run.call(*WORDS)
    assert more.returncode == 0, more.stdout + more.stderr
    for results, number in ((run.results / "design", 1), (run.results, 2)):
        planned = {row.kind: row.targets for row in read_rows(results / "plan")}
        assert planned == {"restore": number, "predict": number}
    assert [row["backbone"] for row in read_table(run.results)] == ["fv", "fv", "other", "other"]


SNAKEMAKE = [
    *(sys.executable, "-m", "snakemake", "--snakefile", str(house() / "workflow" / "Snakefile")),
    *(
        "--configfile",
        str(house() / "config" / "design.yaml"),
        "--cores",
        "2",
        "--nolock",
        "--rerun-incomplete",
    ),
    *("--config", "results=results", "relax={models_to_relax: none}", "proteinmpnn={num_seq_per_target: 1}"),
]


def test_snakemake_alone_runs_both_stages_and_goes_on_after_a_kill_between_them(
    run: Run, proteinmpnn_weights: Path, flashabb_weights: Path
) -> None:
    first = run.results / "design"
    with (run.folder / "killed.log").open("wb") as log:
        killed = subprocess.Popen(SNAKEMAKE, cwd=run.folder, stdout=log, stderr=log, start_new_session=True)
    _wait(lambda: (first / "metrics.tsv").exists() or killed.poll() is not None)
    os.killpg(killed.pid, signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert not (run.results / "designs.tsv").exists()
    said = run.call("status", "results").stdout
    assert said.startswith("results/design: stopped;") and "1 of 1 target" in said

    (archive,) = (first / "predictions").glob("*.zst")
    before = archive.stat().st_mtime_ns
    done = _snakemake(run)
    assert done.returncode == 0, done.stdout
    assert archive.stat().st_mtime_ns == before
    (design,) = read_table(run.results)
    assert design["sc_tm"] > 0.8
    assert run.call("status", "results").stdout == "results: finished; 1 of 1 target, 0 failed\n"
    assert (
        run.call("status", "results/design").stdout == "results/design: finished; 1 of 1 target, 0 failed\n"
    )
    # Where the first stage is collected once more, its designs are what they were: their plan is, too.
    (first / "structures" / "7CTH-HL" / "designs.fa").unlink()
    plan = {path: path.stat().st_ino for path in (run.results / "plan").rglob("*.tsv")}
    done = _snakemake(run)
    assert done.returncode == 0, done.stdout
    assert {path: path.stat().st_ino for path in (run.results / "plan").rglob("*.tsv")} == plan
    assert (first / "structures" / "7CTH-HL" / "designs.fa").is_file()
    assert "Nothing to be done" in _snakemake(run).stdout


def test_a_backbone_that_is_lost_keeps_no_other_design_from_being_folded(
    run: Run, proteinmpnn_weights: Path, flashabb_weights: Path
) -> None:
    (run.folder / "fv.pdb").write_bytes(BACKBONE.read_bytes())
    (run.folder / "h.pdb").write_text(
        "".join(line for line in BACKBONE.read_text().splitlines(keepends=True) if line[21:22] == "H")
    )
    (run.folder / "backbones.csv").write_text("id,backbone,chains\nfv,fv.pdb,H\nheavy,h.pdb,\n")
    settings = ("batch.max_targets=1", "predict.retries=0", "proteinmpnn.num_seq_per_target=1")
    words = [*WORDS, *(word for setting in settings for word in ("--set", setting))]
    process = run.start(*words)
    task = b"task\0results/design/requests/c0001"  # the smaller one: a heavy chain alone
    _wait(lambda: _processes(task, process) or process.poll() is not None)
    for number in _processes(task, process):
        os.kill(number, signal.SIGKILL)
    code = process.wait()
    said = (run.folder / "started.log").read_text()
    assert code == 1, said
    assert "1 design of other backbones is folded now." in said
    assert [row["backbone"] for row in read_table(run.results)] == ["fv"]
    assert "1 backbone without designs" in run.call("status", "results").stdout
    done = run.call(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [row["backbone"] for row in read_table(run.results)] == ["fv", "heavy"]


def test_refused_backbones_end_a_run_before_anything_is_computed(run: Run) -> None:
    (run.folder / "backbones.csv").write_text("id,backbone,chains\nnone,gone.pdb,\n")
    done = run.call(*WORDS)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "gone.pdb" in done.stdout + done.stderr
    assert not (run.results / "predictions").exists()


def _snakemake(run: Run) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        SNAKEMAKE,
        cwd=run.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def _wait(what: Callable[[], object], seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


def _processes(words: bytes, of: subprocess.Popen[bytes]) -> list[int]:
    """Processes of a run, by what is in their command lines."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if words in (path / "cmdline").read_bytes() and os.getsid(int(path.name)) == of.pid:
                found.append(int(path.name))
        except OSError:
            continue
    return found
