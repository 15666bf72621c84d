"""All GPUs of a machine: each has a worker, and a worker that is killed costs one target at the most."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

SITE = Path(__file__).parent / "wait_site"
SNAKEFOLD = Path(sys.executable).parent / "snakefold"
TARGETS = 24


def test_a_killed_worker_loses_one_target(tmp_path: Path) -> None:
    source = random.Random(7)
    lengths = [source.randint(50, 400) for _ in range(TARGETS)]
    records = (f">t{n}\n{''.join(source.choices('ACDEFGHIKL', k=size))}\n" for n, size in enumerate(lengths))
    (tmp_path / "proteins.fasta").write_text("".join(records))
    (tmp_path / "bin").mkdir()
    rows = (f"echo '{n}, GPU-{n}, NVIDIA A100 80GB PCIe, 81920, 8.0'" for n in range(3))
    (tmp_path / "bin" / "nvidia-smi").write_text("\n".join(["#!/bin/sh", *rows, ""]))
    (tmp_path / "bin" / "nvidia-smi").chmod(0o755)
    log = tmp_path / "waited"
    environment = {
        **os.environ,
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(SITE),
        "WAIT_LOG": str(log),
        "WAIT_CORES": "16",
    }
    # A minute of work for three, so that each has a batch of its own.
    words = ["--set", "engine=wait", "--set", f"wait.seconds_per_residue={63 / sum(lengths)}"]
    process = subprocess.Popen(
        [str(SNAKEFOLD), "run", "proteins.fasta", "--cores", "16", *words],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )

    def waited() -> list[list[object]]:
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    while process.poll() is None and len(waited()) < 6:
        time.sleep(0.05)
    killed = waited()[-1][2]
    assert isinstance(killed, int)
    os.kill(killed, signal.SIGKILL)
    said, _ = process.communicate()
    assert process.returncode == 0, said
    assert f"done:    {TARGETS} targets\nfailed:  0 targets\n" in said
    found = waited()
    times = Counter(target for target, *_ in found)
    assert len(times) == TARGETS
    # The one that the killed worker was at; if it had just written its line, it did so twice.
    assert len(found) - TARGETS <= 1
    assert {gpu for _, gpu, *_ in found} == {"GPU-0", "GPU-1", "GPU-2"}
    processes = {process for _, _, process, *_ in found}
    assert killed in processes
    assert len(processes) >= 4
