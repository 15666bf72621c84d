"""What a large set costs before anything is folded: CPU seconds and memory of the plan and of a dry run.

    python benchmarks/plan_scale.py [--targets 100000] [--keep FOLDER]

Makes random sequences whose lengths are log-normal with Swiss-Prot's median (295) and mean (360), plans them
for three classes of rented GPUs, and asks Snakemake for a dry run of all that follows, each in a process of
its own. The result is written to plan_scale.json and plan_scale.md beside this file. A million targets are
planned only (plan_scale_million).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
SNAKEFILE = HERE.parent / "workflow" / "Snakefile"
MEDIAN, MEAN = 295, 360
MILLION = 1_000_000
#: CPU seconds and MB: of the plan and the dry run together, and of the plan of a million targets.
GOAL, GOAL_MILLION = (60, 1000), (240, 4000)
#: Nothing is searched: the plan is the same, and needs no database.
SETTINGS = {
    "input": "set.fasta",
    "msa": {"tool": "single_sequence"},
    "gpu": {"classes": ["ada_24", "ampere_80", "b200"], "workers": 20},
    "alphafold2": {"max_msa_clusters": 512, "max_extra_msa": 5120},
}
SNAKEMAKE = [
    *(sys.executable, "-m", "snakemake", "--snakefile", str(SNAKEFILE), "--workflow-profile", "none"),
    *("--cores", "2", "--dry-run", "--quiet", "rules", "--config"),
]


def main() -> None:
    """Run both steps and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--targets", type=int, default=100_000)
    parser.add_argument(
        "--keep", type=Path, help="work here and leave everything; otherwise a temporary folder"
    )
    parser.add_argument("--plan", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.plan:
        plan()
        return
    with tempfile.TemporaryDirectory(prefix="plan-scale-") as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        result = measure(folder, options.targets)
    name = "plan_scale_million" if options.targets >= MILLION else "plan_scale"
    (HERE / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    text = table(result)
    (HERE / f"{name}.md").write_text(text)
    print(text)


def measure(folder: Path, targets: int) -> dict[str, Any]:
    """Both steps on a new set in `folder`."""
    residues = write_set(folder / "set.fasta", targets)
    planned = run(folder, [sys.executable, str(Path(__file__).resolve()), "--plan"])
    counts = json.loads((folder / "counts.json").read_text())
    planned.pop("output")
    result = {"targets": targets, "residues": residues, **counts, "plan": planned}
    parts = [planned]
    if targets < MILLION:
        dry = run(folder, [*SNAKEMAKE, *(f"{name}={json.dumps(SETTINGS[name])}" for name in SETTINGS)])
        line = next(line for line in dry.pop("output").splitlines() if line.startswith("total"))
        result |= {"jobs": int(line.split()[1]), "dry_run": dry}
        parts.append(dry)
    return {
        **result,
        "cpu_seconds": round(sum(part["cpu_seconds"] for part in parts), 1),
        "peak_mb": max(part["peak_mb"] for part in parts),
        "versions": {"python": sys.version.split()[0], "snakemake": version("snakemake")},
    }


def write_set(path: Path, targets: int) -> int:
    """Write `targets` random sequences; returns their residues."""
    random = np.random.default_rng(0)
    sigma = math.sqrt(2 * math.log(MEAN / MEDIAN))
    lengths = np.clip(random.lognormal(math.log(MEDIAN), sigma, targets), 16, 5000).astype(int)
    letters = np.frombuffer(b"ACDEFGHIKLMNPQRSTVWY", dtype=np.uint8)
    with path.open("w", encoding="ascii") as stream:
        for number, length in enumerate(lengths):
            sequence = letters[random.integers(0, 20, length)].tobytes().decode()
            wrapped = "\n".join(sequence[start : start + 60] for start in range(0, length, 60))
            stream.write(f">t{number} random\n{wrapped}\n")
    return int(lengths.sum())


def plan() -> None:
    """The plan of the working folder's set, as the workflow finds it after its checkpoint."""
    import yaml

    from snakefold.config import load_config
    from snakefold.kernel.store import open_store, write_atomically
    from snakefold.plan.contents import contents_of, name_of
    from snakefold.plan.planner import make_plan
    from snakefold.plan.present import Recipes

    # As Snakemake has them, which reads config/config.yaml first.
    config = load_config(SETTINGS)
    contents = name_of(contents_of(config))
    text = yaml.safe_dump(config.model_dump(mode="json")).encode()
    for path in ("config.yaml", f"settings/{contents}.yaml"):
        write_atomically(Path("results", path), text)
    made = make_plan(
        config,
        Path("results/plan"),
        name=lambda _: Recipes(["0" * 16] * 2, "1" * 16, "1" * 16, [False, False]),
        store=open_store(config.store),
    )
    write_atomically(Path("results/plan/weights.json"), b'{"folder": "", "rehearsal": false}\n')
    # The plan step's, which asks for databases and parameters besides.
    write_atomically(Path("results/plan/quote.json"), b"{}")
    write_atomically(Path("results/plan/contents", contents), b"")
    counts = {"batches": len(made.batches), "chunks": len(made.chunks)}
    write_atomically(Path("counts.json"), json.dumps(counts).encode())


def run(folder: Path, command: list[str]) -> dict[str, Any]:
    """Run a command in `folder`: its CPU seconds, its peak memory and what it wrote."""
    with (folder / "output.txt").open("w+") as output:
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        output.seek(0)
        text = output.read()
    if status:
        sys.exit(f"{' '.join(command)} failed:\n{text[-4000:]}")
    return {
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_mb": round(usage.ru_maxrss / 1024),
        "output": text,
    }


def table(result: dict[str, Any]) -> str:
    """The result as a page."""
    steps = [("plan", "plan"), ("`snakemake --dry-run`", "dry_run"), ("together", None)]
    steps = steps if "dry_run" in result else steps[:1]
    amounts = [(name, result[key] if key else result) for name, key in steps]
    goal = GOAL if "dry_run" in result else GOAL_MILLION
    jobs = f", {result['jobs']:,} jobs" if "jobs" in result else ""
    return "\n".join(
        [
            f"# Plan{' and dry run' if 'dry_run' in result else ''} of {result['targets']:,} targets",
            "",
            f"`python benchmarks/plan_scale.py --targets {result['targets']}`:",
            f"{result['residues']:,} residues, {result['batches']:,} batches on three GPU classes,",
            f"{result['chunks']:,} MSA chunks{jobs};",
            f"Snakemake {result['versions']['snakemake']}, Python {result['versions']['python']}.",
            "",
            "| step | CPU seconds | peak memory, MB |",
            "|---|---|---|",
            *(f"| {name} | {amount['cpu_seconds']} | {amount['peak_mb']} |" for name, amount in amounts),
            f"| goal | {goal[0]} | {goal[1]} |",
            "",
        ]
    )


if __name__ == "__main__":
    main()
