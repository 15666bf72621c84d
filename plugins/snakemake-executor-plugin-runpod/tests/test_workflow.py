"""Whole workflows: Snakemake in its own process, the emulated service in this one."""

from __future__ import annotations

import json
from pathlib import Path

from running import command, environment, prepare, result, run
from workers import service_of


def test_a_job_for_which_no_endpoint_is_named_runs_here(tmp_path: Path) -> None:
    with service_of() as service:
        prepare(tmp_path, 2)
        text = (tmp_path / "Snakefile").read_text()
        text = text.replace('="fold",', '=lambda wildcards: "fold" if wildcards.i == "0" else "",')
        text = text.replace("exit 1 # runs on RunPod", "cp {input.data} {output}")
        (tmp_path / "Snakefile").write_text(text)
        code, told = run(tmp_path, command(tmp_path, service.url, 2), environment(tmp_path))
        assert code == 0, told
        assert len(service.jobs) == 1
    assert (tmp_path / "out/0.bin").read_bytes() == result(0, 0.05)
    assert (tmp_path / "out/1.bin").read_text() == "data of 1"


def test_every_output_log_benchmark_and_record_is_there(tmp_path: Path) -> None:
    with service_of() as service:
        prepare(tmp_path, 4)
        # The rules without an endpoint run on this machine.
        (tmp_path / "in/3.bin").unlink()
        code, text = run(tmp_path, command(tmp_path, service.url, 4), environment(tmp_path))
        assert code == 0, text
        assert service.live_jobs() == []
    for i in range(4):
        assert (tmp_path / f"out/{i}.bin").read_bytes() == result(i, 0.05)
        assert "worker says: done" in (tmp_path / f"logs/{i}.log").read_text()
        header, row = (tmp_path / f"benchmarks/{i}.tsv").read_text().splitlines()
        assert header.split("\t")[0] == "s" and float(row.split("\t")[0]) >= 0
        record = json.loads((tmp_path / f"executions/{i}.json").read_text())
        assert (record["gpu"], record["attempts"], record["start_seconds"]) == ("NVIDIA TEST", 1, 0.5)
    assert not list(tmp_path.rglob("*.part"))
