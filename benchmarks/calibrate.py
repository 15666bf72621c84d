"""Calibrate on one rehearsal run, predict another: how far off are the parts and the whole?

    python benchmarks/calibrate.py --folder /tmp/calibrate

Draws two different sets of natural proteins from the demo's database, runs both from start to end on this
machine (10 to 20 minutes on two cores), fits the cost model to the first and compares it with the second.
`--first` and `--second` take results folders that are there already. Wall seconds are what a run takes, and
what other programs on the machine make longer; CPU seconds tell the two apart.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from snakefold.kernel.paths import resource
from snakefold.plan.cost.gpus import load_classes
from snakefold.plan.cost.model import CostModel
from snakefold.run.calibration.fit import Compared, compare, fit
from snakefold.run.calibration.observations import Observations, read_observations

HERE = Path(__file__).parent
#: Shortest and longest residues, and how many proteins.
SETS = {
    "first": [(30, 60, 4), (61, 100, 5), (101, 150, 3)],
    "second": [(35, 70, 5), (71, 120, 4), (121, 200, 4)],
}


def draw_sets(folder: Path, seed: int = 7) -> dict[str, Path]:
    """FASTA files of natural proteins, no protein in both."""
    proteins: list[tuple[str, str]] = []
    for record in resource("resources/demo/database/swissprot.fasta").read_text().split(">")[1:]:
        head, *lines = record.splitlines()
        proteins.append((head.split()[0].replace("|", "_"), "".join(lines)))
    proteins = [item for item in proteins if set(item[1]) <= set("ACDEFGHIKLMNPQRSTVWY")]
    random.Random(seed).shuffle(proteins)
    taken: set[str] = set()
    paths = {}
    for name, ranges in SETS.items():
        chosen = []
        for shortest, longest, count in ranges:
            fit_in = [p for p in proteins if p[0] not in taken and shortest <= len(p[1]) <= longest][:count]
            taken.update(protein for protein, _ in fit_in)
            chosen += fit_in
        paths[name] = folder / f"{name}.fasta"
        paths[name].write_text("".join(f">{protein}\n{sequence}\n" for protein, sequence in chosen))
    return paths


def run_set(fasta: Path, folder: Path) -> Path:
    """Results folder of a rehearsal run of `fasta`, from an empty store and an empty compilation cache."""
    folder.mkdir(parents=True, exist_ok=True)
    program = Path(sys.executable).with_name("snakefold")
    settings = ["--set", "weights=rehearsal", "--cores", str(os.cpu_count() or 1)]
    subprocess.run([program, "run", fasta, *settings], cwd=folder, check=True)
    return folder / "results"


def in_cpu_seconds(found: Observations) -> Observations:
    """The same observations, each target's parts times its CPU seconds over its wall seconds.

    Alignments are measured in CPU seconds anyway; of loading only wall seconds are known, so it is left out.
    """
    targets = []
    for item in found.targets:
        if item.cpu is None:
            continue
        share = item.cpu / item.seconds
        targets.append(
            replace(
                item,
                network=item.network * share,
                features=item.features * share,
                compile=item.compile * share,
                relax=None if item.relax is None else item.relax * share,
            )
        )
    return Observations(targets, [], found.chunks)


def judged(items: Iterable[Compared]) -> dict[str, dict[str, float]]:
    """Seconds by part, of the whole, and the error of what was predicted."""
    rows = {item.part: (item.measured, item.predicted) for item in items}
    table = {
        part: {
            "observations": len(measured),
            "measured": round(float(measured.sum()), 2),
            "predicted": round(float(predicted.sum()), 2),
            "error_percent": round(100 * float(predicted.sum() / measured.sum() - 1), 1),
            "median_ratio": round(float(np.median(measured / predicted)), 3),
        }
        for part, (measured, predicted) in rows.items()
    }
    measured = sum(row["measured"] for row in table.values())
    predicted = sum(row["predicted"] for row in table.values())
    table["total"] = {
        "observations": 1,
        "measured": round(measured, 2),
        "predicted": round(predicted, 2),
        "error_percent": round(100 * (predicted / measured - 1), 1),
        "median_ratio": round(measured / predicted, 3),
    }
    return table


def experiment(first: Observations, second: Observations) -> dict[str, dict[str, dict[str, float]]]:
    """Second run as published figures have it, and after calibration on the first."""
    names = {item.gpu for item in first.targets + second.targets}
    classes = {gpu.name: gpu for gpu in load_classes(sorted(names))}
    calibrated = CostModel(fit(first, classes))
    return {
        "published": judged(compare(second, classes, CostModel())),
        "calibrated": judged(compare(second, classes, calibrated)),
    }


def page(result: dict) -> str:
    """The result as Markdown."""
    lines = [
        "# Cost model: calibrated on one run, asked about another",
        "",
        f"`python benchmarks/calibrate.py`: {result['targets']['first']} and {result['targets']['second']} "
        "natural proteins, rehearsal (REHEARSAL: random parameters,",
        "2 Evoformer blocks, 2 models, 1 recycle), no protein in both runs, one machine with "
        f"{result['cores']} cores.",
        f"Load average when the runs had ended: {result['load_average']}."
        + (
            " Where it is above the number of cores, judge by CPU seconds."
            if result["load_average"] > result["cores"]
            else ""
        ),
        "",
    ]
    for unit, title in (("wall", "Wall seconds"), ("cpu", "CPU seconds")):
        both = result[unit]
        lines += [
            f"## {title} of the second run",
            "",
            "| part | n | measured | published figures | error | calibrated on the first run | error |",
            "|---|---|---|---|---|---|---|",
        ]
        for part, row in both["calibrated"].items():
            before = both["published"][part]
            lines.append(
                f"| {part} | {row['observations']} | {row['measured']:.1f} | {before['predicted']:.1f} | "
                f"{before['error_percent']:+.0f} % | {row['predicted']:.1f} | {row['error_percent']:+.0f} % |"
            )
        lines.append("")
    lines += [
        "CPU seconds of a target are shared among its parts as its wall seconds are. Alignments are CPU",
        "seconds in both tables; loading is known in wall seconds only.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Run, judge, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=None, help="where to run; a new one if not given")
    parser.add_argument("--first", type=Path, default=None, help="results of a first run that is there")
    parser.add_argument("--second", type=Path, default=None, help="results of a second run that is there")
    parser.add_argument("--out", type=Path, default=HERE / "calibrate.json")
    options = parser.parse_args()
    if options.first is None or options.second is None:
        folder = options.folder or Path(tempfile.mkdtemp(prefix="snakefold-calibrate-"))
        folder.mkdir(parents=True, exist_ok=True)
        sets = draw_sets(folder)
        first, second = (run_set(fasta, folder / name) for name, fasta in sets.items())
    else:
        first, second = options.first, options.second
    runs = read_observations(first), read_observations(second)
    result = {
        "targets": {"first": len(runs[0].targets), "second": len(runs[1].targets)},
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[1], 1),
        "wall": experiment(*runs),
        "cpu": experiment(*map(in_cpu_seconds, runs)),
    }
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    options.out.with_suffix(".md").write_text(page(result))
    print(page(result))


if __name__ == "__main__":
    main()
