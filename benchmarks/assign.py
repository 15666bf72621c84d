"""What the assignment saves against simpler ways to cut a set into jobs, all priced with one cost model.

    python benchmarks/assign.py [--cameo FASTA]

Nothing is predicted. Every side uses the same GPU table, cost model (published figures, no calibration), five
models with three recycles, one relaxed, and pays for worker starts, loading and compilation. At most 20
workers of a class start, each once; every batch loads the parameters:

- assign: `snakefold.plan.assignment.assign`, any class, in batches as a run cuts them (of up to an hour).
- one class: the same, with the best single class, and with the A100.
- arrival order: batches of at most 100 targets cut in input order on the best single class; each distinct
  length of a batch compiles. The same where compiled programs are kept and shared, as assign has it.
- pad by 10: ColabFold's way (sorted; a longer target makes a shape of its length plus 10), on the best single
  class, each shape compiled once, 100 targets a batch however long that takes. A table compares the two on
  every class that has the memory for the set.
- one job a target: start, load and compilation for every target, on the best single class.

Sets: the 92 CAMEO targets (only with --cameo), 4,300 lengths like those of E. coli K-12's proteins
(log-normal with median 281 and mean 316; genome: Blattner et al. 1997, doi:10.1126/science.277.5331.1453) and
10,000 like Swiss-Prot's (median 295, mean 360). The result is written to assign.json and assign.md.
"""

from __future__ import annotations

import argparse
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from snakefold.engines.alphafold2.cost import AlphaFold2Work as Work
from snakefold.kernel.padding import padded_length
from snakefold.kernel.paths import house
from snakefold.plan.assignment.assign import Assignment, Demand, InfeasibleError, Limits, assign
from snakefold.plan.assignment.types import Sizes
from snakefold.plan.batches import cut_batches
from snakefold.plan.cost.gpus import GpuClass, load_classes
from snakefold.plan.cost.model import CostModel
from snakefold.plan.join import measure_with

HERE = Path(__file__).resolve().parent
MODEL, WORK = CostModel(), Work()
WORKERS, MAX_TARGETS, MAX_RESIDUES, LONGEST = 20, 100, 50_000, 2500

#: A batch: the length of every target, and the shape that it is predicted in.
Batch = tuple[list[int], list[int]]


def main() -> None:
    """Price all sets and write the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cameo", type=Path, help="FASTA file of the 92 CAMEO targets")
    options = parser.parse_args()
    names = yaml.safe_load((house() / "resources" / "gpus.yaml").read_text())
    classes = [one for one in load_classes(names) if one.dollars_per_second]
    sets = {
        "E. coli K-12, 4,300": drawn(4300, 281, 316, seed=1),
        "mixed, 10,000": drawn(10_000, 295, 360, seed=2),
    }
    if options.cameo:
        sets = {"CAMEO, 92": fasta_lengths(options.cameo), **sets}
    result: dict[str, Any] = {
        "classes": {one.name: of_table(one) for one in classes},
        "sets": {name: compared(lengths, classes) for name, lengths in sets.items()},
        "limits": limited(sets["mixed, 10,000"], classes),
        "sizes": [sized(number, classes) for number in (10_000, 1_000_000)],
    }
    (HERE / "assign.json").write_text(json.dumps(result, indent=1) + "\n")
    text = tables(result)
    (HERE / "assign.md").write_text(text)
    print(text)


def of_table(one: GpuClass) -> list[float | None]:
    """What the figures depend on: gigabytes, speed, dollars a second."""
    return [one.memory_gb, one.speed, one.dollars_per_second]


def drawn(number: int, median: float, mean: float, seed: int) -> list[int]:
    """Log-normal lengths, in no order."""
    sigma = math.sqrt(2 * math.log(mean / median))
    lengths = np.random.default_rng(seed).lognormal(math.log(median), sigma, number)
    return np.clip(lengths, 16, LONGEST).astype(int).tolist()


def fasta_lengths(path: Path) -> list[int]:
    """Length of every record, in the order of the file."""
    records = path.read_text().split(">")[1:]
    return [len("".join(record.split("\n")[1:]).replace(" ", "")) for record in records]


def demand(lengths: Sequence[int]) -> Demand:
    """The lengths, counted."""
    distinct, counts = np.unique(np.array(lengths, dtype=np.int64), return_counts=True)
    return Demand(group=0, pads=True, work=WORK, lengths=distinct, counts=counts)


def limits(classes: Sequence[GpuClass], workers: int = WORKERS, **others: float) -> Limits:
    """The same number of workers of every class."""
    return Limits({one.name: workers for one in classes}, **others)


def compared(lengths: list[int], classes: Sequence[GpuClass]) -> dict[str, Any]:
    """Dollars of every way to cut the set."""
    plan = assign([demand(lengths)], classes, MODEL, limits(classes))
    singles, padded = {}, {}
    for one in classes:
        try:
            alone = assign([demand(lengths)], [one], MODEL, limits([one]))
        except InfeasibleError:
            continue
        singles[one.name] = planned(alone, lengths, classes)
        padded[one.name] = simple(pad_by_ten(lengths), one, kept=True)
    best = min(singles, key=lambda name: singles[name])
    on = next(one for one in classes if one.name == best)
    dollars = {
        "assign": planned(plan, lengths, classes),
        f"one class, the best ({best})": singles[best],
        "one class, A100 (ampere_80)": singles.get("ampere_80", math.nan),
        "arrival order": simple(arrival(lengths), on),
        "arrival order, programs kept": simple(arrival(lengths), on, kept=True),
        "pad by 10": padded[best],
        "one job a target": simple([([length], [length]) for length in lengths], on, starts=True),
    }
    return {
        "targets": len(lengths),
        "bound": plan.bound,
        "objective": plan.objective,
        "buckets": len(plan.buckets),
        "batches": sum(map(len, cut(plan, lengths, classes).values())),
        "hours": {name: seconds / 3600 for name, seconds in plan.seconds.items() if seconds},
        "dollars": dollars,
        "on_each_class": {name: {"assign": singles[name], "pad by 10": padded[name]} for name in singles},
    }


def cut(plan: Assignment, lengths: Sequence[int], classes: Sequence[GpuClass]) -> dict[str, list[Batch]]:
    """The batches that a run would make of the plan, by class."""
    sizes = plan.sizes or Sizes(MAX_TARGETS, MAX_RESIDUES, math.inf)
    cuts = cut_batches(
        np.array(lengths, dtype=np.int64),
        np.zeros(len(lengths), dtype=bool),
        np.arange(len(lengths)),
        plan.buckets,
        sizes,
        measure=measure_with(classes, {False: WORK}, MODEL) if plan.sizes else None,
    )
    found: dict[str, list[Batch]] = {}
    for one in cuts:
        own = [lengths[member] for member in one.members]
        found.setdefault(one.gpu, []).append(
            (own, [padded_length(length, one.bucket_edges) for length in own])
        )
    return found


def planned(plan: Assignment, lengths: Sequence[int], classes: Sequence[GpuClass]) -> float:
    """Dollars of a plan, in the batches that it is cut into."""
    named = {one.name: one for one in classes}
    batches = cut(plan, lengths, classes)
    return sum(simple(batches[name], named[name], kept=True) for name in batches)


def arrival(lengths: Sequence[int]) -> list[Batch]:
    """Batches in the order of input; every target at its own length."""
    cut = [list(lengths[at : at + MAX_TARGETS]) for at in range(0, len(lengths), MAX_TARGETS)]
    return [(batch, batch) for batch in cut]


def pad_by_ten(lengths: Sequence[int]) -> list[Batch]:
    """ColabFold's: shortest first; a target longer than the last shape makes one of its length plus 10."""
    ordered, shapes = sorted(lengths), []
    for length in ordered:
        shape = shapes[-1] if shapes and length <= shapes[-1] else min(length + 10, ordered[-1])
        shapes.append(shape)
    cuts = range(0, len(ordered), MAX_TARGETS)
    return [(ordered[at : at + MAX_TARGETS], shapes[at : at + MAX_TARGETS]) for at in cuts]


def simple(batches: Sequence[Batch], gpu: GpuClass, *, starts: bool = False, kept: bool = False) -> float:
    """Dollars of batches on one class. `starts`: each starts a worker; `kept`: a shape compiles only once."""
    seconds = 0.0
    known: set[int] = set()
    for own, shapes in batches:
        seconds += float(np.sum(MODEL.predict_seconds(shapes, WORK, gpu)))
        seconds += float(np.sum(MODEL.relax_seconds(own, WORK, gpu)))
        new = sorted(set(shapes) - known)
        seconds += float(np.sum(MODEL.compile_seconds(new, WORK, gpu)))
        known |= set(new) if kept else set()
        seconds += MODEL.load_seconds(WORK, gpu)
    number = len(batches) if starts else min(WORKERS, len(batches))
    return (seconds + number * MODEL.start_seconds(gpu)) * gpu.dollars_per_second


def limited(lengths: list[int], classes: Sequence[GpuClass]) -> list[dict[str, Any]]:
    """The same set under tighter limits: what haste and fewer workers cost."""
    one = demand(lengths)
    free = assign([one], classes, MODEL, limits(classes))
    cases: list[tuple[str, Limits]] = [("none", limits(classes))]
    for share in (0.8, 0.5, 0.3):
        hours = free.wall_seconds * share / 3600
        cases.append((f"deadline {hours:.1f} h", limits(classes, deadline=hours * 3600)))
    hours = free.wall_seconds / 3600
    for workers in (15, 10):
        cases.append(
            (f"{workers} workers a class, {hours:.1f} h", limits(classes, workers, deadline=hours * 3600))
        )
    rows = []
    for name, allowed in cases:
        before = cpu_seconds()
        plan = assign([one], classes, MODEL, allowed)
        rows.append(
            {
                "limit": name,
                "dollars": plan.dollars,
                "hours": plan.wall_seconds / 3600,
                "gap": plan.objective / plan.bound - 1,
                "cpu_seconds": cpu_seconds() - before,
                "classes": sum(seconds > 0 for seconds in plan.seconds.values()),
            }
        )
    return rows


def sized(number: int, classes: Sequence[GpuClass]) -> dict[str, Any]:
    """CPU seconds of the assignment for so many targets, without limits and with a deadline that binds."""
    one = demand(drawn(number, 295, 360, seed=3))
    before = cpu_seconds()
    plan = assign([one], classes, MODEL, limits(classes))
    free = cpu_seconds() - before
    before = cpu_seconds()
    hasty = assign([one], classes, MODEL, limits(classes, deadline=0.7 * plan.wall_seconds))
    return {
        "targets": number,
        "lengths": len(one.lengths),
        "buckets": len(plan.buckets),
        "cpu_seconds": free,
        "gap": plan.objective / plan.bound - 1,
        "cpu_seconds_deadline": cpu_seconds() - before,
        "gap_deadline": hasty.objective / hasty.bound - 1,
    }


def cpu_seconds() -> float:
    """Of this process and of the solver's."""
    return sum(os.times()[:4])


def tables(result: dict[str, Any]) -> str:
    """The result in Markdown."""
    lines = ["# Assignment", "", "`python benchmarks/assign.py`: dollars by resources/gpus.yaml and the cost"]
    lines += [f"model, {WORKERS} workers a class."]
    for name, row in result["sets"].items():
        own = row["dollars"]["assign"]
        classes = ", ".join(f"{gpu} {hours:.1f} h" for gpu, hours in row["hours"].items())
        lines += ["", f"## {name}", "", f"{row['buckets']} buckets, {row['batches']} batches; {classes};", ""]
        lines[-2] += f" {row['objective'] / row['bound'] - 1:.2%} above the bound."
        lines += ["| way | dollars | assign saves |", "|---|---|---|"]
        lines += [f"| {way} | {cost:.2f} | {1 - own / cost:.1%} |" for way, cost in row["dollars"].items()]
        lines += ["", "| on one class | assign | pad by 10 | assign saves |", "|---|---|---|---|"]
        lines += [
            f"| {gpu} | {both['assign']:.2f} | {both['pad by 10']:.2f} "
            f"| {1 - both['assign'] / both['pad by 10']:.2%} |"
            for gpu, both in row["on_each_class"].items()
        ]
    lines += ["", "## Limits that bind (mixed, 10,000)", ""]
    lines += [
        "| limit | dollars | hours | classes used | gap to the bound | CPU s |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['limit']} | {row['dollars']:.2f} | {row['hours']:.1f} | {row['classes']} | {row['gap']:.2%} "
        f"| {row['cpu_seconds']:.1f} |"
        for row in result["limits"]
    ]
    lines += ["", "## Size", ""]
    lines += ["| targets | lengths | buckets | CPU s | gap | CPU s, deadline | gap, deadline |"]
    lines += ["|---|---|---|---|---|---|---|"]
    lines += [
        f"| {row['targets']:,} | {row['lengths']:,} | {row['buckets']} | {row['cpu_seconds']:.1f} "
        f"| {row['gap']:.2%} | {row['cpu_seconds_deadline']:.1f} | {row['gap_deadline']:.2%} |"
        for row in result["sizes"]
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
