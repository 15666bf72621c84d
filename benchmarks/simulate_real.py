"""The simulation against a real run on this machine, with random parameters (REHEARSAL: only times count).

    python benchmarks/simulate_real.py [--proteins resources/demo/proteins.fasta]
        [--held-out OTHER.fasta] [--longest 130] [--number 12] [--keep FOLDER]

Folds the first monomers of `--proteins` with `snakefold run`, calibrates the cost model on that run alone
(`snakefold calibrate`), and simulates it with one worker and all cores here. With `--held-out`, folds other
proteins too and simulates them with the calibration of the first run: that is the test, the other is a fit.
The result is written to simulate_real.json and simulate_real.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SNAKEFOLD = Path(sys.executable).parent / "snakefold"
GOAL = 0.20


def main() -> None:
    """Run, calibrate, simulate, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--proteins", type=Path, default=HERE.parent / "resources/demo/proteins.fasta")
    parser.add_argument("--held-out", type=Path, help="FASTA file of proteins that nothing is fitted to")
    parser.add_argument("--longest", type=int, default=130, help="longest protein taken, residues")
    parser.add_argument("--number", type=int, default=12, help="proteins of each set")
    parser.add_argument(
        "--keep", type=Path, help="work here and leave everything; what is done is not repeated"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="simulate-real-") as temporary:
        folder = options.keep or Path(temporary)
        result = measure(folder.resolve(), options)
    (HERE / "simulate_real.json").write_text(json.dumps(result, indent=1) + "\n")
    text = table(result)
    (HERE / "simulate_real.md").write_text(text)
    print(text)


def measure(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Both sets: measured, simulated, and how far apart."""
    first = real_run(folder / "fitted", options.proteins, options)
    calibration = folder / "calibration.json"
    calibrate = [str(SNAKEFOLD), "calibrate", str(folder / "fitted" / "results"), "--out", str(calibration)]
    subprocess.run(calibrate, check=True, stdout=subprocess.DEVNULL)
    sets = {"fitted": first}
    if options.held_out:
        sets["held out"] = real_run(folder / "held-out", options.held_out, options)
    for name, run in sets.items():
        results = folder / name.replace(" ", "-") / "results"
        run["simulated_seconds"] = round(simulated(results, calibration, first["steps"]), 1)
        run["error"] = round(run["simulated_seconds"] / run["wall_seconds"] - 1, 4)
        run["wall_per_cpu_second"] = round(contention(results), 3)
        loaded = run["wall_per_cpu_second"] / first["wall_per_cpu_second"]
        run["error_at_equal_load"] = round(run["simulated_seconds"] * loaded / run["wall_seconds"] - 1, 4)
    return {
        "made": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cores": len(os.sched_getaffinity(0)),
        "goal": GOAL,
        "sets": sets,
    }


def real_run(folder: Path, source: Path, options: argparse.Namespace) -> dict[str, Any]:
    """A rehearsal run: wall seconds, seconds of Snakemake's local steps, and what neighbours used."""
    done = folder / "measured.json"
    if done.is_file():
        return dict(json.loads(done.read_text()))
    folder.mkdir(parents=True, exist_ok=True)
    lengths = write_set(folder / "set.fasta", source, options.longest, options.number)
    command = [str(SNAKEFOLD), "run", "set.fasta", "--set", "weights=rehearsal", "--set", "calibration="]
    began, cpu, busy, start = time.monotonic(), own_cpu(), machine_cpu(), time.time()
    with (folder / "run.log").open("w") as log:
        status = subprocess.run(command, cwd=folder, stdout=log, stderr=log, check=False).returncode
    wall = time.monotonic() - began
    if status:
        sys.exit(f"{' '.join(command)} failed: see {folder / 'run.log'}")
    cpu, busy = own_cpu() - cpu, machine_cpu() - busy
    run = {
        "proteins": len(lengths),
        "lengths": lengths,
        "wall_seconds": round(wall, 1),
        "cpu_seconds": round(cpu, 1),
        "neighbours_cores": round(max(0.0, busy - cpu) / wall, 2),
        "steps": local_steps(folder / "results", start, start + wall),
    }
    done.write_text(json.dumps(run))
    return run


def write_set(path: Path, source: Path, longest: int, number: int) -> list[int]:
    """The first different monomers of a FASTA file that are short enough; returns their lengths."""
    found: dict[str, str] = {}
    for record in source.read_text().split(">")[1:]:
        header, *lines = record.splitlines()
        sequence = "".join(lines).strip()
        if sequence.isalpha() and sequence.isupper() and 16 <= len(sequence) <= longest:
            found.setdefault(sequence, header)
    chosen = list(found.items())[:number]
    path.write_text("".join(f">{header}\n{sequence}\n" for sequence, header in chosen))
    return [len(sequence) for sequence, _ in chosen]


def local_steps(results: Path, start: float, end: float) -> dict[str, float]:
    """Seconds of Snakemake's own steps, from the times of their files: a step ends when its file is there."""
    made = {
        kind: times(results.glob(pattern))
        for kind, pattern in (
            ("msa", "msa/*.json"),
            ("request", "requests/*/request.json"),
            ("predict", "predictions/*"),
            ("collect", "tables/*"),
        )
    }
    plan = (results / "plan" / "targets.tsv").stat().st_mtime
    moments = sorted([plan, *(moment for each in made.values() for moment in each)])

    def longest(kind: str) -> float:
        # Steps of a kind that run side by side end together: the longest gap is what one takes.
        return max(moment - max(m for m in moments if m < moment) for moment in made[kind])

    return {
        "plan": round(plan - start, 2),
        "request": round(longest("request"), 2),
        "collect": round(longest("collect"), 2),
        "report": round(end - max(made["collect"]), 2),
    }


def times(paths: Iterable[Path]) -> list[float]:
    """Seconds since 1970 at which each file was last written."""
    return [path.stat().st_mtime for path in paths]


def contention(results: Path) -> float:
    """Wall seconds of the prediction jobs for each CPU second they used: what neighbours made of the run."""
    wall = cpu = 0.0
    for path in (results / "benchmarks" / "predict").glob("*.tsv"):
        names, values = (line.split("\t") for line in path.read_text().splitlines()[:2])
        measured = dict(zip(names, values, strict=True))
        wall += float(measured["s"])
        cpu += float(measured["cpu_time"])
    return wall / cpu


def own_cpu() -> float:
    """CPU seconds of the processes that this one has waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def machine_cpu() -> float:
    """CPU seconds that everything on this machine has used."""
    user, nice, system, _, _, irq, soft, steal, *_ = map(
        int, Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    )
    return (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK")


def simulated(results: Path, calibration: Path, steps: dict[str, float]) -> float:
    """Wall seconds of the run's plan, simulated."""
    from snakefold.config import read_config
    from snakefold.plan.cost.gpus import load_classes
    from snakefold.plan.cost.model import load_model
    from snakefold.plan.simulate import source
    from snakefold.plan.simulate.cluster import Cluster, LocalSteps, Pool
    from snakefold.plan.simulate.model import simulate
    from snakefold.plan.simulate.prices import prices_of

    config = read_config(results / "config.yaml")
    classes = {gpu.name: gpu for gpu in load_classes(config.gpu.classes)}
    prices = prices_of(config, load_model(calibration), classes, rehearsal=True)
    here = Pool(1, threads=config.predict.threads, queue_delay=0.0, idle_timeout=0.0)
    cluster = Cluster(
        {"local": here},
        cores=len(os.sched_getaffinity(0)),
        msa_threads=config.msa.threads,
        steps=LocalSteps(**steps),
    )
    workload = source.from_plan(results / "plan", prices)
    for job in workload.jobs:
        parts = {
            part: round(float(sum(values)), 1)
            for part, values in zip(("compile", "predict", "relax"), job.parts_from(0), strict=True)
        }
        print(job.name, len(job.shapes), round(job.load, 1), parts, flush=True)
    print(asdict(cluster.steps))
    return simulate(workload, cluster).wall


def table(result: dict[str, Any]) -> str:
    """The result as a page."""
    rows = [
        f"| {name} | {run['proteins']}, {min(run['lengths'])} to {max(run['lengths'])} residues "
        f"| {run['wall_seconds']:.0f} | {run['simulated_seconds']:.0f} | {run['error']:+.1%} "
        f"| {run['error_at_equal_load']:+.1%} | {run['wall_per_cpu_second']:.2f} |"
        for name, run in result["sets"].items()
    ]
    worst, fair = (
        max(abs(run[error]) for run in result["sets"].values()) for error in ("error", "error_at_equal_load")
    )
    return "\n".join(
        [
            "# The simulation against real runs (REHEARSAL: random parameters, only times count)",
            "",
            f"`python benchmarks/simulate_real.py`, {result['made']}, {result['cores']} cores, one worker.",
            "The model is calibrated on the first run alone; the second run's proteins are new to it.",
            "",
            "| set | proteins | measured, s | simulated, s | off by | at equal load | wall s a CPU s |",
            "|---|---|---|---|---|---|---|",
            *rows,
            "",
            f"Goal: within {result['goal']:.0%}; worst: {worst:.1%}, at equal load {fair:.1%}.",
            "The machine is shared. *wall s a CPU s* is how long the prediction jobs waited for its cores;",
            "*at equal load* scales the simulated seconds by the ratio of the two runs' figures.",
            "",
        ]
    )


if __name__ == "__main__":
    main()
