"""Sending jobs to SLURM one by one, and as a job array: seconds until all of them are in the queue.

Run in the checkout, with slurm-wlm and munge installed:
    python -m benchmarks.slurm_arrays --jobs 200 --out benchmarks/slurm_arrays.json

The cluster is a real one on this machine whose nodes are drained: no job runs, only the sending counts. Every
second job asks for other minutes, as batches do; `kinds` is how many kinds of jobs SLURM has afterwards.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.servers.slurm import Node, Slurm, running

_SNAKEFILE = """
rule all:
    input: expand("out/{{n}}", n=range({jobs}))

rule one:
    output: "out/{{n}}"
    resources: runtime=lambda wildcards: 10 + int(wildcards.n) % 2
    shell: "touch {{output}}"
"""


def measure(slurm: Slurm, folder: Path, jobs: int, *, arrays: bool) -> dict[str, Any]:
    """Send `jobs` jobs, and cancel them."""
    folder.mkdir()
    (folder / "Snakefile").write_text(_SNAKEFILE.format(jobs=jobs))
    command = [sys.executable, "-m", "snakemake", "--executor", "slurm", "--jobs", str(2 * jobs)]
    command += [
        "--slurm-status-command",
        "squeue",
        "--default-resources",
        "mem_mb=100",
        "slurm_partition=cpu",
    ]
    command += ["--slurm-array-jobs", "all"] if arrays else []
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=os.environ | slurm.environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    first = last = 0.0
    sent = 0
    while sent < jobs:
        if process.poll() is not None:
            raise RuntimeError((folder / "log").read_text())
        sent = len(_queue(slurm))
        last = time.monotonic()
        first = first or (last if "Select jobs" in (folder / "log").read_text() else 0.0)
    cpu = _cpu_seconds(process.pid)
    kinds = len({line.split()[1] for line in _queue(slurm)})
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    slurm.call("scancel", "--user", str(os.getuid()))
    return {"arrays": arrays, "jobs": jobs, "seconds": last - first, "cpu_seconds": cpu, "kinds": kinds}


def _queue(slurm: Slurm) -> list[str]:
    return slurm.call("squeue", "--noheader", "--array", "--format=%i %l").splitlines()


def _cpu_seconds(pid: int) -> float:
    """Of a process and of those that it waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--jobs", type=int, default=200, help="jobs to send")
    parser.add_argument("--out", type=Path, required=True, help="JSON file for the figures")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as name,
        running(Path(name) / "slurm", [Node("node", "a100")]) as slurm,
    ):
        slurm.call("scontrol", "update", "NodeName=node", "State=DRAIN", "Reason=benchmark")
        results = [
            measure(slurm, Path(name) / str(arrays), options.jobs, arrays=arrays) for arrays in (False, True)
        ]
    options.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
