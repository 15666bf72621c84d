"""AlphaFold 3's family: one process for a batch against a process for each target, all in one run.

    python benchmarks/af3.py [--targets 10] [--model openfold3]

Both sides are `snakefold task` on the same targets (proteins of 16 to 52 residues, every other one with a
ligand by SMILES, in the buckets 32 and 64), with the same random parameters of one block per stack, float32,
no recycle, four diffusion steps, one model. A process for each target is measured twice: with a folder of
compiled programs of its own, as a program that is started anew for each file, and with one that all of them
share. Results must be equal, byte by byte. CPU seconds are user plus system time of the processes, so that
other work on the machine disturbs them little. Needs the environment: snakefold engines install af3.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from snakefold.engines import environments
from snakefold.engines.af3 import ENGINE, rehearsal
from snakefold.engines.af3.models import NETWORKS
from snakefold.kernel import archive
from snakefold.kernel.contracts import FoldRequest, RelaxSettings, TargetInput
from snakefold.molecules.entities import Assembly

HERE = Path(__file__).resolve().parent
LETTERS = "ACDEFGHIKLMNPQRSTVWY"
LIGANDS = ("CCO", "CC(=O)O", "c1ccccc1O", "CC(N)C(=O)O", "OCC(O)CO")
SETTINGS = {
    "accelerator": "cpu",
    "precision": "float32",
    "attention": "xla",
    "num_diffusion_samples": 1,
    "num_recycles": 0,
    "num_sampling_steps": 4,
    "num_msa": 16,
    "buckets": [32, 64],
}
LARGEST = 0.3


def make_targets(number: int) -> list[TargetInput]:
    """Proteins of 16 to 52 residues, every other one with a ligand: half of them in each bucket."""
    source = random.Random(1)
    found = []
    for place in range(number):
        sequence = "".join(source.choices(LETTERS, k=16 + 36 * place // max(1, number - 1)))
        entities: list[dict[str, Any]] = [{"kind": "protein", "sequence": sequence, "msa": "empty"}]
        if place % 2:
            entities.append({"kind": "ligand", "smiles": LIGANDS[place // 2 % len(LIGANDS)]})
        assembly = Assembly.model_validate({"entities": entities})
        content = assembly.model_dump(mode="json")
        found.append(TargetInput(id=f"t{place:02d}", key=assembly.key, chains=[], assembly=content))
    return found


def cpu_seconds(command: list[str]) -> float:
    """Run a command and return the CPU seconds of it and its children."""
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, env=dict(os.environ))
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise SystemExit(f"{command} failed:\n{said.read().decode()[-3000:]}")
    return usage.ru_utime + usage.ru_stime


def task(
    folder: Path, model: str, weights: Path, cache: Path, targets: list[TargetInput]
) -> tuple[float, dict[str, bytes]]:
    """CPU seconds of one task over these targets, and their best models."""
    folder.mkdir(parents=True)
    request = FoldRequest(
        batch="benchmark",
        engine=ENGINE.name,
        settings=ENGINE.Settings.model_validate({**SETTINGS, "model": model}).model_dump(mode="json"),
        relax=RelaxSettings.model_validate({"models_to_relax": "none"}),
        recipe="0" * 16,
        rehearsal=True,
        targets=targets,
    )
    (folder / "request.json").write_text(request.model_dump_json())
    (folder / "inputs.tar.zst").write_bytes(archive.pack({}))
    command = [str(Path(sys.executable).with_name("snakefold")), "task", str(folder / "request.json")]
    command += ["--store", str(folder / "store"), "--out", str(folder / "out.tar.zst")]
    command += ["--weights", str(weights), "--cache", str(cache)]
    seconds = cpu_seconds(command)
    files = archive.unpack((folder / "out.tar.zst").read_bytes())
    outcomes = json.loads(files["response.json"])["outcomes"]
    if failed := [each for each in outcomes if each["state"] != "done"]:
        raise SystemExit(f"failed: {failed}")
    return seconds, {
        each["id"]: archive.unpack(files[f"targets/{each['result_key']}.tar.zst"])["ranked_0.cif"]
        for each in outcomes
    }


def measure(number: int, model: str, folder: Path) -> dict[str, Any]:
    """All sides, one after the other."""
    targets = make_targets(number)
    weights = folder / "weights"
    rehearsal.declare(weights, NETWORKS[model])
    # Draws the parameters, which is no part of either side.
    task(folder / "draw", model, weights, folder / "compiled-draw", targets[:1])
    batch, models = task(folder / "batch", model, weights, folder / "compiled-batch", targets)
    sides = {}
    for name, cache in (("own", "compiled-{}"), ("shared", "compiled-shared")):
        sides[name] = 0.0
        for target in targets:
            where = folder / name / target.id
            seconds, found = task(where, model, weights, folder / cache.format(target.id), [target])
            sides[name] += seconds
            if found[target.id] != models[target.id]:
                raise SystemExit(f"{target.id}: another model alone than in the batch")
    return {
        "targets": number,
        "model": model,
        "residues": [sum(len(each["sequence"]) for each in target.proteins) for target in targets],
        "cpu_seconds": {"batch": batch, **sides},
        "ratio": {name: batch / seconds for name, seconds in sides.items()},
        "equal_bytes": True,
        "versions": environments.packages(ENGINE),
        "cores": os.cpu_count(),
    }


def report(found: dict[str, Any]) -> str:
    """The page of the benchmark."""
    seconds, ratio, versions = found["cpu_seconds"], found["ratio"], found["versions"]
    wheel, jax = versions["alphafold3-colabfold"], versions["jax"]
    each = f"| a process for each target, each compiles | {seconds['own']:.0f} | {ratio['own']:.3f} |"
    shared = (
        f"| the same, one folder of compiled programs | {seconds['shared']:.0f} | {ratio['shared']:.3f} |"
    )
    return f"""# AlphaFold 3's family: one process for a batch

`python benchmarks/af3.py`: {found["targets"]} targets, proteins of 16 to 52 residues, every other one with a
ligand by SMILES, in two buckets (32 and 64 tokens). Model {found["model"]}, random parameters (REHEARSAL) of
one block per stack, float32, no recycle, four diffusion steps. alphafold3-colabfold {wheel}, jax {jax}, CPU,
{found["cores"]} cores. Models are equal, byte by byte. Real parameters take longer to load, to compile and to
predict with.

| | CPU seconds | the batch's share | required |
|---|---|---|---|
| one process for the batch | {seconds["batch"]:.0f} | | |
{each} at most {LARGEST} |
{shared} |
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--targets", type=int, default=10)
    parser.add_argument("--model", default="openfold3", choices=list(NETWORKS))
    parser.add_argument("--out", type=Path, default=HERE / "af3.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="snakefold-benchmark-") as folder:
        found = measure(options.targets, options.model, Path(folder))
    options.out.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    options.out.with_suffix(".md").write_text(report(found))
    print(report(found))
    return int(found["ratio"]["own"] > LARGEST)


if __name__ == "__main__":
    sys.exit(main())
