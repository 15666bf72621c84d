"""Whole runs in simulated time: 92 CAMEO targets, 10,000 and 1,000,000 proteins.

    python benchmarks/simulate.py [--cameo cameo92.fasta]

Everything is planned as a run would be (assignment, cuts, cost model from published figures) and simulated on
rented GPUs. Without `--cameo`, lengths are drawn from a distribution like that of the 92 targets. Writes
simulate.json and simulate.md beside this file, and the pictures docs/scale-*.svg. One seed, same result.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from snakefold.config import Config, load_config
from snakefold.plan.cost.gpus import load_classes
from snakefold.plan.cost.model import CostModel
from snakefold.plan.simulate import source
from snakefold.plan.simulate.cluster import Cluster, Job, Pool, Workload
from snakefold.plan.simulate.gantt import draw
from snakefold.plan.simulate.model import simulate
from snakefold.plan.simulate.prices import Prices, prices_of
from snakefold.plan.simulate.result import summarise
from snakefold.plan.simulate.source import draw_lengths

HERE = Path(__file__).resolve().parent
DOCS = HERE.parent / "docs"
SEED = 0
#: Seeds of the runs in which the cost model is off, for the range.
SEEDS = range(1, 11)
JITTER = 0.05
CLASSES = ["ada_24", "ampere_80"]
#: mmseqs with ColabFold's databases, the environmental one not counted: 250 GB.
FAST_MSA = {"tool": "mmseqs", "db_preset": "colabfold"}
#: AlphaFold's search with its reduced databases: 204 GB.
FULL_MSA = {"tool": "jackhmmer", "db_preset": "reduced_dbs"}
#: The same, one chain a job: databases are read more often, and more cores can share the work.
FINE_MSA = {**FULL_MSA, "chunk_size": 1}

Setting = dict[str, Any]
#: Settings that the plan depends on.
PLANNED = ("set", "number", "workers", "msa", "relax", "alphafold2")


def studies(cameo: Path | None) -> dict[str, list[tuple[str, Setting]]]:
    """Studies by title, each a list of named variations of settings."""
    few = {"set": str(cameo) if cameo else "cameo", "number": 92, "workers": 10, "cores": 32, "msa": FAST_MSA}
    many = {"set": "mixed", "number": 10_000, "workers": 20, "cores": 32, "msa": FAST_MSA}
    most = {"set": "mixed", "number": 1_000_000, "workers": 60, "cores": 128, "msa": FAST_MSA}
    cpu_relax = {"relax": {"use_gpu_relax": False}}
    return {
        "92 CAMEO targets": [
            ("5 models, mmseqs", few),
            ("1 model, mmseqs", {**few, "alphafold2": {"models": [1]}}),
            ("1 model, no relaxation, mmseqs", {**few, "alphafold2": {"models": [1]}, "relax": NO_RELAX}),
            ("5 models, jackhmmer on 32 cores", {**few, "msa": FULL_MSA}),
            ("5 models, jackhmmer on 184 cores", {**few, "msa": FULL_MSA, "cores": 184}),
            ("5 models, jackhmmer on 184 cores, a chain a job", {**few, "msa": FINE_MSA, "cores": 184}),
        ],
        "10,000 proteins": [
            ("defaults (relaxation on the GPU)", many),
            ("relaxation on the worker's CPU", {**many, **cpu_relax}),
            ("no relaxation", {**many, "relax": NO_RELAX}),
            ("…, one job per target", {**many, "one_by_one": True}),
            ("…, idle workers kept 60 s", {**many, "idle_timeout": 60.0}),
            ("…, idle workers kept 600 s", {**many, "idle_timeout": 600.0}),
            ("…, 4 cores", {**many, "cores": 4}),
            ("…, 4 cores, idle workers kept 600 s", {**many, "cores": 4, "idle_timeout": 600.0}),
            ("…, jackhmmer on 32 cores", {**many, "msa": FULL_MSA}),
            ("…, jackhmmer on 192 cores", {**many, "msa": FULL_MSA, "cores": 192}),
            ("…, jackhmmer on 192 cores, a chain a job", {**many, "msa": FINE_MSA, "cores": 192}),
            ("…, cold starts of 300 s", {**many, "start": 300.0}),
            ("…, a preemption every 20 worker hours", {**many, "preemptions": 0.05}),
            ("…, 5 % of the jobs die", {**many, "failures": 0.05}),
            ("…, 60 workers", {**many, "workers": 60}),
        ],
        "1,000,000 proteins": [
            ("defaults (relaxation on the GPU)", most),
        ],
    }


NO_RELAX = {"models_to_relax": "none"}
PICTURES = {
    ("92 CAMEO targets", "5 models, mmseqs"): "scale-cameo.svg",
    ("10,000 proteins", "defaults (relaxation on the GPU)"): "scale-10000.svg",
}


def main() -> None:
    """Run the studies and write what comes out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cameo", type=Path, help="FASTA file of the 92 CAMEO targets")
    parser.add_argument("--only", help="repeat the study of this title, keep the results of the others")
    options = parser.parse_args()
    results: dict[str, dict[str, Any]] = {}
    if options.only:
        results = json.loads((HERE / "simulate.json").read_text())
    for title, variations in studies(options.cameo).items():
        if options.only not in (None, title):
            continue
        results[title] = {}
        for name, setting in variations:
            results[title][name] = run(setting, PICTURES.get((title, name)), title)
            print(title, name, f"{results[title][name]['simulation_seconds']:.1f} s", flush=True)
    text = page(results, bool(options.cameo))
    (HERE / "simulate.json").write_text(json.dumps(results, indent=1) + "\n")
    (HERE / "simulate.md").write_text(text)
    print(text)


def run(setting: Setting, picture: str | None, title: str) -> dict[str, Any]:
    """One variation: planned, simulated as expected, and with the cost model off for the range."""
    began = time.monotonic()
    config = config_of(setting)
    classes = {gpu.name: gpu for gpu in load_classes(CLASSES)}
    prices = prices_of(config, CostModel(), classes, rehearsal=False)
    pools = {
        name: Pool(
            setting["workers"],
            setting.get("start", prices.model.start_seconds(gpu)),
            gpu.dollars_per_second,
            idle_timeout=setting.get("idle_timeout", 10.0),
        )
        for name, gpu in classes.items()
    }
    cluster = Cluster(
        pools,
        cores=setting["cores"],
        msa_threads=config.msa.threads,
        preemptions_per_hour=setting.get("preemptions", 0.0),
        failure_rate=setting.get("failures", 0.0),
        retries=config.predict.retries,
        jitter=JITTER,
    )
    workload = planned_once(json.dumps([setting.get(name) for name in PLANNED]), setting, prices, cluster)
    if setting.get("one_by_one"):
        workload = dataclasses.replace(workload, jobs=[one for job in workload.jobs for one in singles(job)])
    planned = time.monotonic()
    record = simulate(workload, cluster, seed=SEED)
    result = summarise(record, workload, cluster)
    simulated = time.monotonic()
    seeds = SEEDS if setting["number"] <= 10_000 else SEEDS[:1]
    others = [
        summarise(
            simulate(workload, cluster, seed=seed, factors=prices.uncertain_factors(seed)), workload, cluster
        )
        for seed in seeds
    ]
    if picture:
        text = f"{title} on {setting['workers']} workers a class and {setting['cores']} cores, simulated"
        (DOCS / picture).write_bytes(draw(record, cluster, title=text))
    return {
        "setting": setting if not Path(setting["set"]).is_file() else {**setting, "set": "FASTA file"},
        "result": result.as_dict(),
        "range": {
            field: [min(values), max(values)]
            for field in ("wall_seconds", "dollars")
            for values in [[getattr(each, field) for each in (result, *others)]]
        },
        "plan_seconds": round(planned - began, 2),
        "simulation_seconds": round(simulated - planned, 2),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


_plans: dict[str, Workload] = {}


def planned_once(key: str, setting: Setting, prices: Prices, cluster: Cluster) -> Workload:
    """The plan of these settings; variations of the cluster alone share it."""
    if key not in _plans:
        if Path(setting["set"]).is_file():
            _plans[key] = source.from_sequences(prices)
        else:
            lengths = draw_lengths(setting["set"], setting["number"], seed=SEED, longest=prices.longest)
            _plans[key] = source.from_lengths(lengths, prices, cluster)
    return _plans[key]


def singles(job: Job) -> Iterator[Job]:
    """A batch's targets, each in a job of its own, as far as loading and compilation go."""
    for number in range(len(job.shapes)):
        own = {
            name: getattr(job, name)[number : number + 1]
            for name in ("shapes", "compile", "predict", "relax")
        }
        yield dataclasses.replace(job, name=f"{job.name}-{number}", **own)


def config_of(setting: Setting) -> Config:
    """The run's configuration."""
    values: Setting = {
        "gpu": {"classes": CLASSES, "workers": setting["workers"]},
        **{name: setting[name] for name in ("msa", "relax", "alphafold2") if name in setting},
    }
    if Path(setting["set"]).is_file():
        values["input"] = setting["set"]
    return load_config(values)


def page(results: dict[str, dict[str, Any]], real: bool) -> str:
    """All results as tables."""
    lines = [
        "# Whole runs in simulated time",
        "",
        f"`python benchmarks/simulate.py{' --cameo cameo92.fasta' if real else ''}`; GPU classes "
        f"{' and '.join(CLASSES)}; the cost model's published figures, never calibrated.",
        "",
    ]
    for title, variations in results.items():
        first = next(iter(variations.values()))["result"]
        lines += [
            f"## {title} ({first['residues']:,} residues)",
            "",
            "| settings | batches | wall, h (range) | dollars (range) | GPU-busy | + CPU relaxation "
            "| + load, compile | idle and start, $ | bottleneck |",
            "|---|---|---|---|---|---|---|---|---|",
            *(row(name, variation) for name, variation in variations.items()),
            "",
        ]
    return "\n".join(lines)


def row(name: str, variation: dict[str, Any]) -> str:
    """One variation as a row."""
    result, ranges = variation["result"], variation["range"]
    wall = [each / 3600 for each in ranges["wall_seconds"]]
    shares = result["shares"]
    limit = result["bottleneck"]
    stage = "MSA" if limit["stage"] == "msa" else "GPU"
    return (
        f"| {name} | {result['jobs']:,} | {number(result['wall_seconds'] / 3600)} "
        f"({number(wall[0])} to {number(wall[1])}) | {number(result['dollars'])} "
        f"({number(ranges['dollars'][0])} to {number(ranges['dollars'][1])}) | {shares['busy']:.1%} "
        f"| {shares['working']:.1%} | {shares['occupied']:.1%} "
        f"| {result['idle_dollars'] + result['start_dollars']:,.2f} "
        f"| {stage}; {limit['balanced_cores']:,} cores balance |"
    )


def number(value: float) -> str:
    """Three digits or so."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


if __name__ == "__main__":
    main()
