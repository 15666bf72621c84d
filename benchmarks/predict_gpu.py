"""Prediction on a GPU: the network with and without fused kernels, and `colabfold_batch`, all in one run.

    python benchmarks/predict_gpu.py [--lengths 128 256 512 1024] [--targets 24] [--weights FOLDER]

Needs a GPU that JAX sees (pip install "snakefold[gpu]"), and says so where there is none.
At each length, three processes after each other predict the same batch: `snakefold task` with kernels: stock
and with the fused kernels of this GPU, and `colabfold_batch --use-fast-kernels`. One model, three recycles,
bfloat16, the largest MSA shape (512:5120), no padding, no relaxation. Each process compiles for itself.

Without --weights (a folder of official parameters, with the marks that colabfold_batch looks for) parameters
are random ones of the official sizes: the results say REHEARSAL and mean nothing, the seconds are those of
the network. On an A100 the whole takes about two hours, by the published figures.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from snakefold.engines.alphafold2 import rehearsal
from snakefold.engines.alphafold2.settings import OFFICIAL_BLOCKS, AlphaFold2Settings, Kernels
from snakefold.kernel import archive
from snakefold.kernel.contracts import FoldRequest, RelaxSettings, TargetInput
from snakefold.kernel.recipes import sequence_key

HERE = Path(__file__).resolve().parent
REFERENCE = HERE.parent / "tests" / "engine" / "colabfold_reference.py"
LENGTHS, TARGETS = (128, 256, 512, 1024), 24
#: Rows of the alignments: the network computes with 512 + 5,120 rows, however few there are.
ROWS, CLUSTERS, EXTRA, RECYCLES = 64, 512, 5120, 3
LETTERS = "ACDEFGHIKLMNPQRSTVWY"
_TOOK = re.compile(r"alphafold2_ptm_model_1_seed_000 took ([\d.]+)s")


def device() -> tuple[str, Kernels]:
    """Name of the GPU and the fused kernels that it takes.

    Raises:
        SystemExit: there is none, or it takes none.
    """
    # In a process of its own: JAX would keep the GPU's memory while others measure.
    code = (
        "import jax; from snakefold.engines.alphafold2 import kernels as k; "
        "from snakefold.engines.alphafold2.settings import AlphaFold2Settings as S; "
        "r = k.running(S(kernels='fused')); "
        "print(jax.devices()[0].device_kind, r.kernels, r.missing, sep='|')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"JAX does not start here:\n{done.stderr[-2000:]}")
    name, kernels, missing = done.stdout.splitlines()[-1].split("|")
    if missing:
        raise SystemExit(
            f"This benchmark needs a GPU with fused kernels: {missing} (JAX predicts on {name}). Run it on a "
            'machine with an NVIDIA GPU and JAX\'s plugin (pip install "snakefold[gpu]"). Nothing was done.'
        )
    return name, Kernels(kernels)


def make_targets(length: int, number: int) -> dict[str, str]:
    """Random sequences of one length."""
    source = random.Random(length)
    return {f"t{index:02d}": "".join(source.choices(LETTERS, k=length)) for index in range(number)}


def make_a3m(sequence: str) -> str:
    """The sequence, and copies of it with 30 % of the residues changed or missing."""
    source = random.Random(sequence)
    rows = [sequence]
    for _ in range(ROWS - 1):
        changed = (c if source.random() < 0.7 else source.choice(LETTERS + "-") for c in sequence)
        rows.append("".join(changed))
    return "".join(f">{'query' if i == 0 else f'row{i}'}\n{row}\n" for i, row in enumerate(rows))


def draw(folder: Path, blocks: int) -> None:
    """Random parameters where colabfold_batch looks for official ones; links for what is not read."""
    rehearsal.draw(folder, ["model_1_ptm", "model_3_ptm"], blocks)
    params = folder / "params"
    for number, as_is in ((2, 1), (4, 3), (5, 3)):
        (params / f"params_model_{number}_ptm.npz").symlink_to(params / f"params_model_{as_is}_ptm.npz")
    (params / "download_finished.txt").touch()


def timed(command: list[str]) -> tuple[float, str]:
    """Wall seconds of a process, and what it said."""
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    started = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    seconds = time.monotonic() - started
    if done.returncode:
        raise SystemExit(f"{command} failed:\n{(done.stdout + done.stderr)[-3000:]}")
    return seconds, done.stdout + done.stderr


def ours(
    folder: Path, weights: Path, targets: dict[str, str], kernels: Kernels, *, random: bool
) -> dict[str, Any]:
    """`snakefold task` on one batch: seconds, and pLDDT by target. A result of other kernels ends it."""
    folder.mkdir(parents=True)
    settings = {
        "models": [1],
        "num_recycle": RECYCLES,
        "max_msa_clusters": CLUSTERS,
        "max_extra_msa": EXTRA,
        "kernels": kernels,
    }
    request = FoldRequest(
        batch="benchmark",
        engine="alphafold2",
        settings=AlphaFold2Settings.model_validate(settings).model_dump(mode="json"),
        relax=RelaxSettings.model_validate({"models_to_relax": "none"}),
        recipe="0" * 16,
        rehearsal=random,
        targets=[TargetInput(id=key, key=sequence_key([s]), chains=[s]) for key, s in targets.items()],
    )
    (folder / "request.json").write_text(request.model_dump_json())
    msas = {f"chains/{sequence_key([s])}/msa.a3m": make_a3m(s).encode() for s in targets.values()}
    (folder / "inputs.tar.zst").write_bytes(archive.pack(msas))
    command = [str(Path(sys.executable).with_name("snakefold")), "task", str(folder / "request.json")]
    command += ["--inputs", str(folder / "inputs.tar.zst"), "--store", str(folder / "store")]
    command += ["--weights", str(weights), "--cache", str(folder / "cache")]
    seconds, _ = timed([*command, "--out", str(folder / "out.tar.zst")])
    files = archive.unpack((folder / "out.tar.zst").read_bytes())
    outcomes = json.loads(files["response.json"])["outcomes"]
    if failed := [each for each in outcomes if each["state"] != "done"]:
        raise SystemExit(f"{folder.name}: {failed}")
    network, compiled, plddt = [], 0.0, {}
    for key, sequence in targets.items():
        inner = archive.unpack(files[f"targets/{sequence_key([sequence])}.tar.zst"])
        told, times = json.loads(inner["confidence.json"]), json.loads(inner["timings.json"])
        if told["scores"]["kernels"] != kernels:
            raise SystemExit(f"{key}: {kernels} kernels were asked for: {told['warnings']}")
        (model,) = told["models"]
        plddt[key] = model["plddt"]
        network.append(times[f"predict_{model['name']}"] - times["compile"])
        compiled += times["compile"]
    return {"seconds": seconds, "network": statistics.median(network), "compile": compiled, "plddt": plddt}


def colabfold(
    folder: Path, weights: Path, targets: dict[str, str], *, blocks: int, fused: bool
) -> dict[str, Any]:
    """`colabfold_batch` on the same batch. Its first target compiles, so the median is of the others."""
    (folder / "a3m").mkdir(parents=True)
    for key, sequence in targets.items():
        (folder / "a3m" / f"{key}.a3m").write_text(make_a3m(sequence))
    arguments = ["--data", str(weights), "--num-models", "1", "--model-order", "1", "--skip-output", "plots"]
    arguments += [
        "--num-recycle",
        str(RECYCLES),
        "--max-msa",
        f"{CLUSTERS}:{EXTRA}",
        "--recompile-padding",
        "0",
    ]
    arguments += ["--use-fast-kernels"] if fused else []
    command = [sys.executable, str(REFERENCE), str(blocks), "bfloat16", *arguments]
    seconds, said = timed([*command, str(folder / "a3m"), str(folder / "results")])
    took = [float(each) for each in _TOOK.findall(said)]
    if len(took) != len(targets):
        raise SystemExit(f"colabfold_batch: expected {len(targets)} predictions, its log tells {len(took)}.")
    network = statistics.median(took[1:] or took)
    plddt = {}
    for key in targets:
        (path,) = (folder / "results").glob(f"{key}_scores_rank_*_model_1_seed_000.json")
        plddt[key] = json.loads(path.read_text())["plddt"]
    return {"seconds": seconds, "network": network, "compile": max(0.0, took[0] - network), "plddt": plddt}


def largest(one: dict[str, Any], other: dict[str, Any]) -> float:
    """Largest difference of a residue's pLDDT, over all targets."""
    pairs = [(one["plddt"][key], other["plddt"][key]) for key in one["plddt"]]
    return max(abs(a - b) for values, others in pairs for a, b in zip(values, others, strict=True))


def measure(
    folder: Path, weights: Path | None, options: argparse.Namespace, kernels: Kernels
) -> list[dict[str, Any]]:
    """All sides at each length."""
    drawn = weights is None
    if weights is None:
        weights = folder / "weights"
        draw(weights, options.blocks)
    rows = []
    for length in options.lengths:
        targets, place = make_targets(length, options.targets), folder / str(length)
        sides = {
            "stock": ours(place / "stock", weights, targets, Kernels.STOCK, random=drawn),
            "fused": ours(place / "fused", weights, targets, kernels, random=drawn),
            "colabfold_batch": colabfold(
                place / "colabfold",
                weights,
                targets,
                blocks=options.blocks,
                fused=kernels is not Kernels.STOCK,
            ),
        }
        rows.append(
            {
                "length": length,
                **{
                    side: {name: round(found[name], 2) for name in ("seconds", "network", "compile")}
                    for side, found in sides.items()
                },
                "plddt_fused_stock": round(largest(sides["fused"], sides["stock"]), 3),
                "plddt_fused_colabfold": round(largest(sides["fused"], sides["colabfold_batch"]), 3),
            }
        )
        sys.stderr.write(f"{json.dumps(rows[-1])}\n")
    return rows


def report(found: dict[str, Any]) -> str:
    """The result as Markdown."""
    network, batch = [], []
    for row in found["rows"]:
        stock, fused, other = (row[side] for side in ("stock", "fused", "colabfold_batch"))
        ratio = f"{stock['network'] / fused['network']:.2f}"
        cells = [row["length"], stock["network"], fused["network"], ratio, other["network"]]
        cells += [row["plddt_fused_stock"], row["plddt_fused_colabfold"]]
        network.append("| " + " | ".join(map(str, cells)) + " |")
        cells = [row["length"], *(f"{side['seconds']:.0f}" for side in (stock, fused, other))]
        cells += [f"{side['compile']:.0f}" for side in (stock, fused, other)]
        batch.append("| " + " | ".join(map(str, cells)) + " |")
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    drawn = "random parameters of the official sizes (REHEARSAL)"
    table, batches = "\n".join(network), "\n".join(batch)
    return f"""# Prediction on a GPU: fused kernels

`python benchmarks/predict_gpu.py` on one {found["device"]} ({found["kernels"]} kernels): batches of
{found["targets"]} targets of one length, {drawn if found["rehearsal"] else "official parameters"}, one model,
{RECYCLES} recycles, bfloat16, MSA shape {CLUSTERS}:{EXTRA}. {versions}. colabfold_batch runs with
--use-fast-kernels. The cost model says that fused kernels make the network 2.5 times as fast (sm_70 and
sm_75: 2.0).

Seconds of the network for one target (median, compilation excluded), and largest difference of a residue's
pLDDT between fused kernels and the others:

| residues | stock | fused | ratio | colabfold_batch | pLDDT to stock | to colabfold_batch |
|---|---|---|---|---|---|---|
{table}

Seconds of the whole process for the batch, and of these for compilation:

| residues | stock | fused | colabfold_batch | compile: stock | fused | colabfold_batch |
|---|---|---|---|---|---|---|
{batches}
"""


def main() -> None:
    """Measure, print, and write predict_gpu.json and predict_gpu.md beside this file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS)
    parser.add_argument("--targets", type=int, default=TARGETS, help="of each batch")
    parser.add_argument("--weights", type=Path, help="folder with official parameters in params/")
    options = parser.parse_args()
    options.blocks = OFFICIAL_BLOCKS
    name, kernels = device()
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(Path(folder), options.weights, options, kernels)
    packages = ("colabfold", "alphafold-colabfold", "jax", "jaxlib")
    found = {
        "device": name,
        "kernels": str(kernels),
        "targets": options.targets,
        "rehearsal": options.weights is None,
        "versions": {each: version(each) for each in packages},
        "rows": rows,
    }
    (HERE / "predict_gpu.json").write_text(json.dumps(found, indent=1) + "\n")
    (HERE / "predict_gpu.md").write_text(report(found))
    sys.stdout.write(report(found))


if __name__ == "__main__":
    main()
