"""The 92 CAMEO targets in the shape of profiles/kubernetes: alignment pods side by side, one GPU worker.

    PYTHONPATH=. python benchmarks/cameo.py cameo92.fasta [--pods 3]

Real: `snakefold run --profile ./kubernetes` on all targets, twice: one model without relaxation (the settings
of the published 8 hours), and five models with relaxation. Snakemake plans, submits a pod for each alignment
(jackhmmer on the demo database) and each batch, collects, and makes tables and report; pods exchange files
through a bucket, and the store is there. Cluster and bucket are those of the tests, on this machine: an API
server on loopback whose pods are processes, and SeaweedFS. In place of a network, structures are drawn
(cameo_engines.py), so that files have their true sizes; all of them say REHEARSAL.

Simulated: what takes the hours. The run's own plan is played through with the cost model's seconds of
alignments (jackhmmer, AlphaFold's reduced databases) and of a GPU, with nodes that start, one GPU worker, and
the CPU seconds that steps and pods of the real run took. CPU seconds, because other work on the machine
disturbs them little: a step runs on one core.

Not in it: the download of databases, and distances to a bucket and an API server that are not on the same
machine. Writes cameo.json and cameo.md.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from tests.kubernetes.cluster import Cluster as Pods
from tests.kubernetes.cluster import Node
from tests.kubernetes.conftest import IMAGE, manifests
from tests.servers.seaweedfs import WRITER, SeaweedFS, serving

from cpu_by_step import Taken, run

HERE = Path(__file__).resolve().parent
SEEDS = range(1, 11)
#: Published: https://github.com/aws-samples/aws-do-openfold-inference, all 92, downloads included.
PUBLISHED_HOURS = 8.0
#: Amazon's prices on demand, us-east-1, dollars an hour; vCPUs of an alignment node.
GPU_NODE, CPU_NODE, THREADS = 0.526, 0.252, 4
#: Seconds until a node is there and has pulled the image, and that an idle GPU node is kept: assumptions.
NODE_START, IDLE = 180.0, 600.0
JITTER = 0.05
STEPS = ("configure", "plan", "request", "collect", "metrics", "report", "summary")
GPU = {
    "title": "16 GB T4, one in a g4dn.xlarge",
    "memory_gb": 16,
    "dollars_per_second": round(GPU_NODE / 3600, 6),
    "speed": 0.08,
    "speed_source": "estimate: memory bandwidth ratio (320 of 2039 GB/s), halved, for a T4 computes bfloat16 "
    "in float32; not measured",
}
CLASS = "t4_16"
ALIGNS = Node("r6i.xlarge", {"cpu": "4", "memory": "32Gi", "ephemeral-storage": "100G"})
PREDICTS = Node(
    "g4dn.xlarge", {"cpu": "4", "memory": "16Gi", "ephemeral-storage": "100G", "nvidia.com/gpu": "1"}
)
#: Of the simulated alignments; the real ones read the demo database.
SEARCH = {"tool": "jackhmmer", "db_preset": "reduced_dbs", "chunk_size": 1, "threads": THREADS}


@dataclass(frozen=True)
class Study:
    """A run: its stand-in of an engine, and how many alignment nodes there are at once."""

    title: str
    engine: str
    nodes: tuple[int, ...]


STUDIES = (
    Study("one model, no relaxation", "openfold_drawn", (92, 23)),
    Study("five models, the best relaxed", "alphafold2_drawn", (92, 23)),
)


def main() -> None:
    """Run both, simulate, and write the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("fasta", type=Path, help="the 92 targets, or others")
    parser.add_argument("--pods", type=int, default=3, help="alignment pods side by side in the real runs")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cameo-") as temporary:
        folder = Path(temporary)
        install(folder / "engines")
        rows = []
        for study in STUDIES:
            done = real(study, options.fasta.resolve(), folder, options.pods)
            rows += [simulated(study, nodes, done) for nodes in study.nodes]
            print(json.dumps(rows[-1], indent=1), flush=True)
    found = {"published_hours": PUBLISHED_HOURS, "cores": os.cpu_count(), "rows": rows}
    (HERE / "cameo.json").write_text(json.dumps(found, indent=1) + "\n")
    (HERE / "cameo.md").write_text(page(found))
    print(page(found))


def install(folder: Path) -> None:
    """The stand-ins as a distribution: a module and its entry points, for this process and the run's."""
    metadata = folder / "cameo_engines-1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: cameo-engines\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(
        "[snakefold.engines]\nopenfold_drawn = cameo_engines:OPENFOLD\n"
        "alphafold2_drawn = cameo_engines:ALPHAFOLD2\n"
    )
    (folder / "cameo_engines.py").write_bytes((HERE / "cameo_engines.py").read_bytes())
    sys.path.insert(0, str(folder))


@dataclass(frozen=True)
class Done:
    """A real run: what its steps took, CPU seconds of a pod by the mean of all, pods by rule, results."""

    taken: Taken
    pod: float
    pods: dict[str, int]
    results: Path


def real(study: Study, fasta: Path, folder: Path, side_by_side: int) -> Done:
    """The workflow under the profile, counted by step."""
    work = folder / study.engine / "driver" / "workdir"
    work.mkdir(parents=True)
    with serving(folder / study.engine / "s3", "my-bucket") as s3:
        write_profile(work, study, s3)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SNAKE"))}
        own = {"PYTHONPATH": str(folder / "engines")}
        nodes = (*(replace(ALIGNS) for _ in range(side_by_side)), PREDICTS)
        with Pods(folder / study.engine, manifests(), nodes, own, lambda _: False) as cluster:
            environment = {
                **kept,
                **own,
                **WRITER.environment(),
                "KUBECONFIG": str(cluster.kubeconfig()),
                "NO_PROXY": "127.0.0.1",
                "no_proxy": "127.0.0.1",
                "SNAKEFOLD_IMAGE": IMAGE,
                "SNAKEFOLD_STORAGE": "s3://my-bucket/runs",
                "SNAKEMAKE_STORAGE_S3_ENDPOINT_URL": s3.endpoint,
            }
            snakefold = str(Path(sys.executable).with_name("snakefold"))
            command = [snakefold, "run", str(fasta), "--profile", "./kubernetes"]
            before = children()
            taken = run([*command, "--", "--seconds-between-status-checks", "1"], work, environment)
            pods = Counter(pod.rule for pod in cluster.history)
            spent = children() - before - taken.cpu
    lost = (work / "results" / "failures.tsv").read_text().splitlines()[1:]
    if lost:
        raise SystemExit("\n".join(lost))
    return Done(taken, spent / pods.total(), dict(pods), work / "results")


def write_profile(work: Path, study: Study, s3: SeaweedFS) -> None:
    """A user's copy of the profile, for these nodes."""
    snakefold = str(Path(sys.executable).with_name("snakefold"))
    install = [snakefold, "profiles", "install", "--copy", "kubernetes", "--folder", "."]
    subprocess.run(install, check=True, cwd=work, capture_output=True)
    path = work / "kubernetes" / "site.yaml"
    site = yaml.safe_load(path.read_text())
    site["msa"] |= {"db_preset": "demo", "db_root": None, "threads": THREADS, "allow_demo_database": True}
    site["predict"] |= {"mem_mb": 12_000}
    site["kubernetes"] = {"machine_type": ALIGNS.machine_type, "gpus": {CLASS: PREDICTS.machine_type}}
    site["gpu"] |= {"classes": [CLASS], "workers": {CLASS: 1}}
    site |= {
        "store": s3.location("my-bucket", "store"),
        "engine": study.engine,
        "weights": "rehearsal",
        "calibration": "",
    }
    path.write_text(yaml.safe_dump(site))
    (work / "kubernetes" / "gpus.yaml").write_text(yaml.safe_dump({CLASS: GPU}))


def children() -> float:
    """CPU seconds of all processes that this one has waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def simulated(study: Study, nodes: int, done: Done) -> dict[str, Any]:
    """The run's plan with the cost model's seconds, and the range of its uncertainty."""
    import numpy as np

    from snakefold.config import load_config
    from snakefold.plan.cost.gpus import GpuClass
    from snakefold.plan.cost.model import CostModel
    from snakefold.plan.simulate import source
    from snakefold.plan.simulate.cluster import Cluster, LocalSteps, Pool
    from snakefold.plan.simulate.model import simulate
    from snakefold.plan.simulate.prices import prices_of
    from snakefold.plan.simulate.result import summarise

    config = load_config({"engine": study.engine, "msa": SEARCH})
    gpu = GpuClass.model_validate({"name": CLASS, **GPU})
    prices = prices_of(config, CostModel(), {CLASS: gpu}, rehearsal=False)
    taken = done.taken
    each = {name: seconds / taken.jobs[name] for name, seconds in taken.steps.items()}
    once = ("configure", "plan")
    # Snakemake's own process goes on beside the jobs; its share at the start and the end is not told apart.
    steps = LocalSteps(
        plan=sum(each[name] for name in once) + taken.steps["snakemake"],
        request=each["request"],
        collect=each["collect"],
        report=sum(each.get(name, 0.0) for name in ("metrics", "report", "summary")),
    )
    planned = source.from_plan(done.results / "plan", prices)
    # A pod of one chain has a node of its own, which has to start; the pod itself was measured.
    workload = replace(
        planned,
        jobs=[replace(job, load=job.load + done.pod) for job in planned.jobs],
        searches=np.asarray(planned.searches + THREADS * (NODE_START + done.pod)),
    )
    pool = Pool(1, NODE_START, gpu.dollars_per_second, idle_timeout=IDLE)
    cluster = Cluster({CLASS: pool}, cores=THREADS * nodes, msa_threads=THREADS, jitter=JITTER, steps=steps)
    records = [
        simulate(workload, cluster, seed=seed, factors=prices.uncertain_factors(seed) if seed else None)
        for seed in (0, *SEEDS)
    ]
    walls = [record.wall / 3600 for record in records]
    results_of = [summarise(record, workload, cluster) for record in records]
    aligned = [sum(end - begin for begin, end in record.searches) / 3600 for record in records]
    dollars = [result.dollars + CPU_NODE * hours for result, hours in zip(results_of, aligned, strict=True)]
    return {
        "study": study.title,
        "nodes": nodes,
        "targets": planned.targets,
        "residues": planned.residues,
        "batches": len(planned.jobs),
        "hours": round(walls[0], 2),
        "hours_range": [round(min(walls), 2), round(max(walls), 2)],
        "last_alignment_hours": round(max(end for _, end in records[0].searches) / 3600, 2),
        "gpu_dollars": round(results_of[0].dollars, 2),
        "alignment_dollars": round(CPU_NODE * aligned[0], 2),
        "dollars": round(dollars[0], 2),
        "dollars_range": [round(min(dollars), 2), round(max(dollars), 2)],
        "gpu_busy": round(results_of[0].shares["busy"], 3),
        "steps_seconds": {
            "snakemake": round(taken.steps["snakemake"], 1),
            **{name: round(each[name], 2) for name in each if name != "snakemake"},
        },
        "jobs": taken.jobs,
        "pods": done.pods,
        "pod_cpu_seconds": round(done.pod, 2),
        "real_seconds": taken.seconds,
        "real_cpu_seconds": taken.cpu,
    }


def page(found: dict[str, Any]) -> str:
    """The result as Markdown."""
    rows = found["rows"]
    first = rows[0]
    lines = [
        "# 92 CAMEO targets in the shape of profiles/kubernetes",
        "",
        f"`PYTHONPATH=. python benchmarks/cameo.py cameo92.fasta`: {first['targets']} targets, "
        f"{first['residues']:,} residues. **Hours and dollars are simulated**: jackhmmer on AlphaFold's "
        f"reduced databases, a pod for each chain on an r6i.xlarge ({THREADS} vCPUs, ${CPU_NODE} an hour), "
        f"one worker on a g4dn.xlarge (T4, ${GPU_NODE} an hour), by the cost model's published figures. The "
        f"range varies the cost model within its own uncertainty. Nodes take {NODE_START:.0f} s to start, "
        f"and an idle GPU node is kept {IDLE:.0f} s: assumptions. The plan, and the seconds of all other "
        "steps and of each pod, are those of real runs of the workflow under the profile.",
        "",
        "| settings | alignment nodes | batches | hours (range) | of the published 8 h | last alignment, h "
        "| GPU, $ | alignments, $ | all, $ (range) | GPU-busy |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *(
            f"| {row['study']} | {row['nodes']} | {row['batches']} | {row['hours']} "
            f"({row['hours_range'][0]} to {row['hours_range'][1]}) "
            f"| {row['hours'] / found['published_hours']:.2f} | {row['last_alignment_hours']} "
            f"| {row['gpu_dollars']} | {row['alignment_dollars']} | {row['dollars']} "
            f"({row['dollars_range'][0]} to {row['dollars_range'][1]}) | {row['gpu_busy']:.0%} |"
            for row in rows
        ),
        "",
        "The published 8 hours include the download of the data, and do not say how many nodes there were.",
        "Prices are of seconds that nodes are used; volumes and the bucket are not in them.",
        "",
        "## Real: the workflow under the profile, with drawn structures",
        "",
        "CPU seconds; a step of a rule by the mean of its jobs.",
        "",
        f"| settings | pods | each | wall, s | snakemake | {' | '.join(STEPS)} |",
        "|---|---|---|---|---|" + "---|" * len(STEPS),
    ]
    for title in dict.fromkeys(row["study"] for row in rows):
        row = next(row for row in rows if row["study"] == title)
        steps = row["steps_seconds"]
        pods = ", ".join(f"{count} {rule}" for rule, count in row["pods"].items())
        values = " | ".join(f"{steps.get(name, 0):.2f}" for name in STEPS)
        lines.append(
            f"| {title} | {pods} | {row['pod_cpu_seconds']:.1f} | {row['real_seconds']:.0f} "
            f"| {steps['snakemake']:.1f} | {values} |"
        )
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
