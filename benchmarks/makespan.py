"""All GPUs of a machine: when the last of four workers ends, against what no schedule can undercut.

    python benchmarks/makespan.py [--seconds 480]

The workers are real: `snakefold run`, one process for each of four GPUs, which a stand-in for nvidia-smi
lists. Their work is a timed wait in proportion to a target's length (tests/gate/wait_site): two cores do.
120 targets of 40 to 1,200 residues; once on equal GPUs, once where two are of another model and take twice as
long, which nobody tells the plan, and once where a worker is killed. The bound is the work, divided by what
the four do in a second.
Writes makespan.json and makespan.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SITE = HERE.parent / "tests" / "gate" / "wait_site"
GPUS = 4
TARGETS = 120


def make_input(folder: Path) -> int:
    """Proteins of many lengths; residues of all."""
    source = random.Random(4)
    lengths = [min(1200, max(40, int(source.lognormvariate(5.6, 0.6)))) for _ in range(TARGETS)]
    with (folder / "proteins.fasta").open("w") as stream:
        for number, length in enumerate(lengths):
            stream.write(f">t{number:03d}\n{''.join(source.choices('ACDEFGHIKLMNPQRSTVWY', k=length))}\n")
    (folder / "bin").mkdir()
    return sum(lengths)


def make_gpus(folder: Path, slow: set[str]) -> None:
    """A stand-in for nvidia-smi: GPUs of one model, and the slow ones of another."""
    names = [f"GPU-{number}" for number in range(GPUS)]
    models = ["NVIDIA A40" if name in slow else "NVIDIA H100 NVL" for name in names]
    rows = (
        f"{number}, {name}, {model}, 46068, 8.6"
        for number, (name, model) in enumerate(zip(names, models, strict=True))
    )
    program = folder / "bin" / "nvidia-smi"
    program.write_text("#!/bin/sh\n" + "".join(f"echo '{row}'\n" for row in rows))
    program.chmod(0o755)


def lines(log: Path) -> list[list[Any]]:
    """Of each target that waited: its name, GPU and process, and from when to when."""
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def run(
    folder: Path, name: str, rate: float, *, slower: str = "", kill_after: int | None = None
) -> dict[str, Any]:
    """One run; with `kill_after`, the worker that finished the last of so many targets is killed."""
    log = folder / f"{name}.log"
    slow = set(filter(None, slower.split(",")))
    make_gpus(folder, slow)
    environment = {
        **os.environ,
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(SITE),
        "WAIT_LOG": str(log),
        "WAIT_CORES": "16",
        "WAIT_SLOWER": slower,
    }
    settings = {"results": name, "store": f"{name}-store", "engine": "wait", "wait.seconds_per_residue": rate}
    command = [str(Path(sys.executable).with_name("snakefold")), "run", "proteins.fasta", "--cores", "16"]
    command += [word for item in settings.items() for word in ("--set", "{}={}".format(*item))]
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    killed = None
    while kill_after is not None and killed is None and process.poll() is None:
        time.sleep(0.1)
        done = lines(log)
        if len(done) >= kill_after:
            killed = done[-1][2]
            os.kill(killed, signal.SIGKILL)
    said, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"{name}: the run failed:\n{said[-3000:]}")
    found = lines(log)
    work = sum(end - start for *_, start, end in found)
    gpus = Counter(gpu for _, gpu, *_ in found)
    # Work is counted as an equal GPU would do it.
    equal = sum((end - start) / (2 if gpu in slow else 1) for _, gpu, _, start, end in found)
    power = sum(0.5 if gpu in slow else 1.0 for gpu in (f"GPU-{number}" for number in range(GPUS)))
    makespan = max(end for *_, end in found) - min(start for *_, start, _ in found)
    return {
        "targets": len({target for target, *_ in found}),
        "computed_twice": len(found) - TARGETS,
        "batches": len(list((folder / name / "plan" / "batches").glob("*.json"))),
        "seconds_of_work": round(work, 1),
        "bound": round(equal / power, 1),
        "makespan": round(makespan, 1),
        "ratio": round(makespan / (equal / power), 3),
        "targets_by_gpu": dict(sorted(gpus.items())),
    }


def report(found: dict[str, Any]) -> str:
    """The result as Markdown."""
    rows = "\n".join(
        f"| {name} | {each['batches']} | {each['bound']} | {each['makespan']} | {each['ratio']:.2f} | "
        f"{each['computed_twice']} |"
        for name, each in found["runs"].items()
    )
    return f"""# All GPUs of a machine

`python benchmarks/makespan.py`: {TARGETS} targets, {GPUS} workers whose work is a timed wait,
{found["cores"]} cores, load {found["load"]:.1f} at the end. The bound is the work divided by
what the four GPUs do in a second. The start of processes is in the makespan, not in the bound.

| GPUs | batches | bound, s | makespan, s | ratio | computed twice |
|---|---|---|---|---|---|
{rows}
"""


def main() -> None:
    """Measure, print, and write the results beside this file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=480.0, help="of work, all targets together")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        rate = options.seconds / make_input(folder)
        runs = {
            "equal": run(folder, "equal", rate),
            "two of half the speed": run(folder, "slower", rate, slower="GPU-2,GPU-3"),
            "a worker killed": run(folder, "killed", rate, kill_after=TARGETS // 3),
        }
    found = {"cores": os.cpu_count(), "load": os.getloadavg()[1], "runs": runs}
    (HERE / "makespan.json").write_text(json.dumps(found, indent=1) + "\n")
    (HERE / "makespan.md").write_text(report(found))
    sys.stdout.write(report(found))


if __name__ == "__main__":
    main()
