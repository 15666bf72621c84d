"""A design run on RunPod: each stage has a bill of its own, and the budget is that of both."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from snakefold.clusters.emulator import EmulatorThread, ProcessWorkers, StubWorkers
from tests.runpod.test_profile import HOUSE, Place

GIVEN = (
    "design={engine: proteinmpnn}",
    "engine=flashabb",
    "proteinmpnn={num_seq_per_target: 1}",
    "relax={models_to_relax: none}",
    f"input={HOUSE / 'resources' / 'demo' / 'references' / '7CTH-HL.pdb'}",
)


@pytest.mark.slow
def test_both_stages_are_on_the_endpoints_and_in_one_budget(
    tmp_path: Path, proteinmpnn_weights: Path, flashabb_weights: Path
) -> None:
    def workers(_: object) -> ProcessWorkers:
        command = [sys.executable, "-u", "-m", "snakefold.worker.handler"]
        environment = {
            "SNAKEFOLD_STORE": str(tmp_path / "worker-store"),
            "SNAKEFOLD_WEIGHTS": str(proteinmpnn_weights),
        }
        return ProcessWorkers(command, env=environment)

    with EmulatorThread({"theirs": StubWorkers()}) as service:
        service.emulator.account.workers_for = workers
        place = Place(service, tmp_path)
        little = ("--profile", "runpod", "--config", *GIVEN, "budget=0.000001")
        assert "budget" in place.snakemake(*little, code=1)
        assert service.jobs == [] and not (tmp_path / "results/design/plan/batches.tsv").exists()

        place.snakemake("--profile", "runpod", "--config", *GIVEN, "budget=5")
        results = tmp_path / "results"
        for folder in (results / "design", results):
            assert "done:    1 target\nfailed:  0 targets\n" in (folder / "summary.txt").read_text()
            bill = json.loads((folder / "bill.json").read_text())
            assert bill["this"]["batches"] == 1 and bill["this"]["dollars"] > 0
        sent = {job.id for job in service.jobs}
        written = {
            json.loads((folder / "runpod_job.json").read_text())["job_id"]
            for folder in (results / "design", results)
        }
        assert written == sent and len(sent) == 2
