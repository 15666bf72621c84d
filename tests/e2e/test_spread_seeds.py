"""Seeds of a target spread over several jobs: one ranking of all, equal to that of one job."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from snakefold.plan.files import read_rows
from tests.e2e.conftest import TRP_ZIPPER, VILLIN, Run

pytestmark = pytest.mark.slow

ENGINE = ["weights=rehearsal", "msa.tool=single_sequence", "alphafold2.num_seeds=3", "rehearsal.models=[1]"]
ONE_JOB = [*ENGINE, "relax.models_to_relax=none", "store=store"]


def words(results: str, *more: str) -> list[str]:
    settings = [*ONE_JOB, *more, f"results={results}"]
    return ["run", "set.fasta", *(word for setting in settings for word in ("--set", setting))]


def read_table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


def test_parts_are_ranked_as_one_job_ranks_all_and_are_found_again(run: Run) -> None:
    (run.folder / "set.fasta").write_text(f">villin\n{VILLIN}\n>zipper\n{TRP_ZIPPER}\n>again\n{VILLIN}\n")
    done = run.call(*words("whole", "store=other"))
    assert done.returncode == 0, done.stdout + done.stderr
    done = run.call(*words("spread", "batch.seeds_per_job=2"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "done:    3 targets\nfailed:  0 targets\n" in done.stdout

    rows = {row.batch: row for row in read_rows(run.folder / "spread" / "plan")}
    parts = {name: row for name, row in rows.items() if row.part is not None}
    assert sorted(row.part for row in parts.values()) == [0, 1]
    assert rows["s0001"].parts.split(",") == sorted(parts)
    for name, row in parts.items():
        request = json.loads((run.folder / "spread" / "requests" / name / "request.json").read_text())
        seeds = range(request["settings"].get("skip_seeds", 0), request["settings"]["num_seeds"])
        assert list(seeds) == ([0, 1] if row.part == 0 else [2])

    for target in ("villin", "zipper", "again"):
        whole, spread = (run.folder / name / "structures" / target for name in ("whole", "spread"))
        told, found = (json.loads((each / "confidence.json").read_text()) for each in (whole, spread))
        assert found["models"] == told["models"] and len(told["models"]) == 3
        assert (whole / "ranking_debug.json").read_bytes() == (spread / "ranking_debug.json").read_bytes()
        for rank in range(3):
            name = f"ranked_{rank}.pdb"
            assert (whole / name).read_bytes() == (spread / name).read_bytes()
            assert f"array rank_{rank}'" in (spread / f"ranked_{rank}.cif").read_text()
        with np.load(whole / "pae.npz") as one, np.load(spread / "pae.npz") as other:
            assert one.files == other.files
            assert all(np.array_equal(one[each], other[each]) for each in one.files)
    bill = read_table(run.folder / "spread" / "bill.tsv")
    assert {line["state"] for line in bill if line["level"] == "target" and line["batch"] in parts} == {
        "part"
    }
    computed = json.loads((run.folder / "spread" / "bill.json").read_text())["this"]["computed"]
    assert computed == 2
    targets = read_table(run.folder / "spread" / "plan" / "targets.tsv")
    assert [row["state"] for row in targets] == ["to_do", "to_do", "duplicate_of"]
    expected = sum(float(row["seconds"]) for row in targets)
    assert expected == pytest.approx(sum(row.seconds for row in parts.values()), rel=0.01)

    # The same again: nothing is computed.
    done = run.call(*words("again", "batch.seeds_per_job=2"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert [row.batch for row in read_rows(run.folder / "again" / "plan")] == ["s0001"]
    assert [row["state"] for row in read_table(run.folder / "again" / "plan" / "targets.tsv")][:2] == [
        "stored"
    ] * 2
    for rank in range(3):
        name = f"structures/zipper/ranked_{rank}.pdb"
        assert (run.folder / "again" / name).read_bytes() == (run.folder / "whole" / name).read_bytes()
