"""Prediction: `snakefold task` against `colabfold_batch` and a process per target, all in one run.

    python benchmarks/predict.py [--targets 24] [--jobs 2]

All sides fold the same targets (20 to 60 residues, MSAs of 48 rows) with the same random parameters of two
Evoformer blocks, in float32, one recycle, two models, the same MSA shape (--max-msa 32:32), XLA's defaults.
colabfold_batch writes no plots. CPU seconds are user plus system time of the processes, so that other work on
the machine disturbs them little.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from snakefold.engines.alphafold2 import rehearsal
from snakefold.engines.alphafold2.settings import AlphaFold2Settings
from snakefold.kernel import archive
from snakefold.kernel.contracts import FoldRequest, RelaxSettings, TargetInput
from snakefold.kernel.recipes import sequence_key

HERE = Path(__file__).resolve().parent
REFERENCE = HERE.parent / "tests" / "engine" / "colabfold_reference.py"
EDGES = (40, 60)
#: The plan puts targets of both buckets into one batch.
BATCH = "batch"
ROWS = 48
CLUSTERS, EXTRA = 32, 32
BLOCKS = 2
MODELS = [1, 2]
RECYCLES = 1
LETTERS = "ACDEFGHIKLMNPQRSTVWY"


def make_targets(number: int) -> dict[str, str]:
    """Random sequences of 20 to 60 residues, evenly spread."""
    source = random.Random(1)
    lengths = np.linspace(20, 60, number).round().astype(int)
    return {f"t{i:02d}": "".join(source.choices(LETTERS, k=length)) for i, length in enumerate(lengths)}


def make_a3m(sequence: str) -> str:
    """The sequence, and copies of it with 30 % of the residues changed or missing."""
    source = random.Random(sequence)
    rows = [sequence]
    for _ in range(ROWS - 1):
        changed = (c if source.random() < 0.7 else source.choice(LETTERS + "-") for c in sequence)
        rows.append("".join(changed))
    return "".join(f">{'query' if i == 0 else f'row{i}'}\n{row}\n" for i, row in enumerate(rows))


def cpu_seconds(command: list[str]) -> float:
    """Run a command and return the CPU seconds of it and its children."""
    # XLA's own defaults: flags that spare compilation make every prediction ten times slower.
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            raise SystemExit(f"{command} failed:\n{errors.read().decode()[-3000:]}")
    return usage.ru_utime + usage.ru_stime


class Ours:
    """`snakefold task` on batches of targets."""

    def __init__(self, folder: Path, weights: Path) -> None:
        self.folder, self.weights = folder, weights

    def run(
        self, name: str, targets: dict[str, str], edges: tuple[int, ...], cache: Path, **settings: Any
    ) -> float:
        """CPU seconds of one task. Each has a store of its own, so that nothing is taken from another's."""
        work = self.folder / name
        work.mkdir(parents=True)
        values = {
            "models": MODELS,
            "num_recycle": RECYCLES,
            "precision": "float32",
            "max_msa_clusters": CLUSTERS,
            "max_extra_msa": EXTRA,
        }
        request = FoldRequest(
            batch="benchmark",
            engine="alphafold2",
            settings=AlphaFold2Settings.model_validate(values | settings).model_dump(mode="json"),
            relax=RelaxSettings.model_validate({"models_to_relax": "none"}),
            recipe="0" * 16,
            rehearsal=True,
            bucket_edges=list(edges),
            targets=[
                TargetInput(id=key, key=sequence_key([sequence]), chains=[sequence])
                for key, sequence in targets.items()
            ],
        )
        (work / "request.json").write_text(request.model_dump_json())
        msas = {f"chains/{sequence_key([s])}/msa.a3m": make_a3m(s).encode() for s in targets.values()}
        (work / "inputs.tar.zst").write_bytes(archive.pack(msas))
        command = [str(Path(sys.executable).with_name("snakefold")), "task", str(work / "request.json")]
        command += ["--inputs", str(work / "inputs.tar.zst"), "--store", str(work / "store")]
        command += ["--weights", str(self.weights), "--cache", str(cache), "--out", str(work / "out.tar.zst")]
        seconds = cpu_seconds(command)
        outcomes = json.loads(archive.unpack((work / "out.tar.zst").read_bytes())["response.json"])[
            "outcomes"
        ]
        failed = [outcome for outcome in outcomes if outcome["state"] != "done"]
        if failed:
            raise SystemExit(f"{name}: {failed}")
        return seconds

    def plddt(self, name: str, sequence: str) -> dict[str, list[float]]:
        """pLDDT by model of one target of a task."""
        files = archive.unpack((self.folder / name / "out.tar.zst").read_bytes())
        inner = archive.unpack(files[f"targets/{sequence_key([sequence])}.tar.zst"])
        return {item["name"][:7]: item["plddt"] for item in json.loads(inner["confidence.json"])["models"]}


def programs(cache: Path) -> int:
    """Programs for the network in a compilation cache."""
    return len(list(cache.glob("jit_apply_fn-*-cache")))


def entries(cache: Path) -> int:
    """Programs of any kind in a compilation cache."""
    return len(list(cache.glob("*-cache")))


def colabfold(folder: Path, weights: Path, targets: dict[str, str]) -> float:
    """CPU seconds of one colabfold_batch over all targets."""
    (folder / "a3m").mkdir(parents=True)
    for key, sequence in targets.items():
        (folder / "a3m" / f"{key}.a3m").write_text(make_a3m(sequence))
    arguments = [
        "--data",
        str(weights),
        "--num-models",
        "2",
        "--model-order",
        "1,2",
        "--skip-output",
        "plots",
    ]
    arguments += ["--num-recycle", str(RECYCLES), "--max-msa", f"{CLUSTERS}:{EXTRA}"]
    results = folder / "results"
    return cpu_seconds(
        [
            sys.executable,
            str(REFERENCE),
            str(BLOCKS),
            "float32",
            *arguments,
            str(folder / "a3m"),
            str(results),
        ]
    )


def largest_difference(ours: Ours, targets: dict[str, str], results: Path) -> float:
    """Largest difference of a residue's pLDDT between the two sides, over all targets and models."""
    largest = 0.0
    for key, sequence in targets.items():
        for model, plddt in ours.plddt(BATCH, sequence).items():
            (path,) = results.glob(f"{key}_scores_rank_*_{model}_seed_000.json")
            reference = json.loads(path.read_text())["plddt"]
            largest = max(largest, float(np.abs(np.array(plddt) - np.array(reference)).max()))
    return largest


def measure(number: int, jobs: int, folder: Path) -> dict[str, Any]:
    """All sides, in one run."""
    weights = folder / "weights"
    rehearsal.draw(weights, ["model_1_ptm", "model_2_ptm", "model_3_ptm"], BLOCKS)
    for model in (4, 5):
        (weights / "params" / f"params_model_{model}_ptm.npz").symlink_to(
            weights / "params" / "params_model_3_ptm.npz"
        )
    (weights / "params" / "download_finished.txt").touch()
    targets = make_targets(number)
    ours, cache = Ours(folder / "ours", weights), folder / "cache"

    def cold_then_warm() -> tuple[float, int, int, float]:
        cold = ours.run(BATCH, targets, EDGES, cache)
        return cold, programs(cache), entries(cache), ours.run("warm", targets, EDGES, cache)

    few = dict(list(targets.items())[:3])
    free: dict[str, Any] = {"max_msa_clusters": None, "max_extra_msa": None, "models": [1], "num_recycle": 0}
    full = {**free, "max_msa_clusters": 512, "max_extra_msa": 5120}
    with ThreadPoolExecutor(jobs) as pool:
        batched = pool.submit(cold_then_warm)
        colab = pool.submit(colabfold, folder / "colabfold", weights, targets)
        single = [
            pool.submit(ours.run, f"alone-{key}", {key: sequence}, (), folder / "alone" / key)
            for key, sequence in targets.items()
        ]
        shrunk = pool.submit(ours.run, "shrunk", few, EDGES[:1], folder / "shrunk", **free)
        whole = pool.submit(ours.run, "full", few, EDGES[:1], folder / "full", **full)
    cold, compiled, kept, warm = batched.result()
    reference, alone = colab.result(), sum(run.result() for run in single)
    shrunk_seconds, full_seconds = shrunk.result(), whole.result()
    return {
        "targets": number,
        "buckets": list(EDGES),
        "versions": {name: version(name) for name in ("colabfold", "alphafold-colabfold", "jax")},
        "cpu_seconds": {
            "snakefold": round(cold, 1),
            "snakefold_warm_cache": round(warm, 1),
            "colabfold_batch": round(reference, 1),
            "process_per_target": round(alone, 1),
        },
        "ratio_to_colabfold_batch": round(cold / reference, 3),
        "ratio_to_process_per_target": round(cold / alone, 3),
        "compilations": compiled,
        "compilations_with_warm_cache": programs(cache) - compiled,
        "cache_entries_added_with_warm_cache": entries(cache) - kept,
        "largest_plddt_difference": round(
            largest_difference(ours, targets, folder / "colabfold" / "results"), 3
        ),
        "max_msa": {
            "targets": len(few),
            "shrunk_cpu_seconds": round(shrunk_seconds, 1),
            "full_512_5120_cpu_seconds": round(full_seconds, 1),
        },
    }


def report(found: dict[str, Any]) -> str:
    """The result as Markdown."""
    cpu, rows, versions = found["cpu_seconds"], found["max_msa"], found["versions"]
    again, added = found["compilations_with_warm_cache"], found["cache_entries_added_with_warm_cache"]
    return f"""# Prediction: one warm process a batch

`python benchmarks/predict.py`: {found["targets"]} targets of 20 to 60 residues, random parameters (REHEARSAL)
of {BLOCKS} Evoformer blocks, {len(MODELS)} models, {RECYCLES} recycle, float32, the same MSA shape
({CLUSTERS}:{EXTRA}) on all sides. colabfold {versions["colabfold"]}, jax {versions["jax"]}.

| | CPU seconds | snakefold's share | required |
|---|---|---|---|
| `snakefold task`, one batch of {len(EDGES)} buckets | {cpu["snakefold"]} | | |
| `colabfold_batch` | {cpu["colabfold_batch"]} | {found["ratio_to_colabfold_batch"]} | at most 0.7 |
| a process per target | {cpu["process_per_target"]} | {found["ratio_to_process_per_target"]} | at most 0.15 |
| `snakefold task` again, warm cache | {cpu["snakefold_warm_cache"]} | | |

- Compilations: {found["compilations"]} for {len(EDGES)} buckets, {again} with a warm cache
  (to which {added} other programs were added).
- Largest difference of a residue's pLDDT to colabfold_batch, over all targets and models:
  {found["largest_plddt_difference"]}.
- Left to itself snakefold shrinks the MSA shape to the batch's deepest MSA, where colabfold_batch keeps
  512:5120 for several queries. {rows["targets"]} targets, one model, no recycle, start and compilation
  included: {rows["shrunk_cpu_seconds"]} CPU seconds instead of {rows["full_512_5120_cpu_seconds"]}.
"""


def main() -> None:
    """Measure, print, and write predict.json and predict.md beside this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--targets", type=int, default=24)
    parser.add_argument("--jobs", type=int, default=2, help="processes side by side")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(options.targets, options.jobs, Path(folder))
    (HERE / "predict.json").write_text(json.dumps(found, indent=1) + "\n")
    (HERE / "predict.md").write_text(report(found))
    sys.stdout.write(report(found))


if __name__ == "__main__":
    main()
