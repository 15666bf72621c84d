"""Boltz-2: `snakefold task` against `boltz predict` on each file and on their folder, all in one run.

    python benchmarks/boltz.py [--targets 20]

All sides predict the same targets (proteins of 20 to 40 residues with an alignment, every other one with a
ligand by SMILES in its place) with the same 3.8 million random parameters, one thread, float32, no recycle,
five diffusion steps, one model. Boltz has its own defaults besides, such as two loader workers. CPU seconds
are user plus system time of the processes, so that other work on the machine disturbs them little. Needs
the environment: snakefold engines install boltz2.
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
from snakefold.engines.boltz2 import ENGINE
from snakefold.engines.boltz2.inputs import chains_of, yaml_text
from snakefold.kernel import archive
from snakefold.kernel.contracts import FoldRequest, RelaxSettings, TargetInput
from snakefold.kernel.recipes import sequence_key
from snakefold.molecules.entities import Assembly

HERE = Path(__file__).resolve().parent
LETTERS = "ACDEFGHIKLMNPQRSTVWY"
LIGANDS = ("CCO", "CC(=O)O", "c1ccccc1O", "CC(=O)OC1=CC=CC=C1C(=O)O", "CN1C=NC2=C1C(=O)N(C)C(=O)N2C")
ROWS = 32
SETTINGS = {
    "accelerator": "cpu",
    "cpu_threads": 1,
    "recycling_steps": 0,
    "sampling_steps": 5,
    "diffusion_samples": 1,
}
ARGUMENTS = ["--accelerator", "cpu", "--recycling_steps", "0", "--sampling_steps", "5"]
LARGEST_OF_FILES, LARGEST_OF_FOLDER = 0.35, 1.0


def make_targets(number: int) -> list[TargetInput]:
    """Proteins of 20 to 40 residues, every other one with a ligand."""
    source = random.Random(1)
    found = []
    for place in range(number):
        sequence = "".join(source.choices(LETTERS, k=20 + 20 * place // max(1, number - 1)))
        name = f"t{place:02d}"
        if place % 2 == 0:
            found.append(TargetInput(id=name, key=sequence_key([sequence]), chains=[sequence]))
            continue
        entities = [
            {"kind": "protein", "sequence": sequence, "msa": "empty"},
            {"kind": "ligand", "smiles": LIGANDS[place // 2 % len(LIGANDS)]},
        ]
        assembly = Assembly.model_validate({"entities": entities})
        content = assembly.model_dump(mode="json")
        found.append(TargetInput(id=name, key=assembly.key, chains=[], assembly=content))
    return found


def make_a3m(sequence: str) -> str:
    """The sequence, and copies of it with 30 % of the residues changed or missing."""
    source = random.Random(sequence)
    rows = [sequence]
    for _ in range(ROWS - 1):
        changed = (c if source.random() < 0.7 else source.choice(LETTERS + "-") for c in sequence)
        rows.append("".join(changed))
    return "".join(f">row{number}\n{row}\n" for number, row in enumerate(rows))


def cpu_seconds(command: list[str], variables: dict[str, str]) -> float:
    """Run a command and return the CPU seconds of it and its children."""
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            command, stdout=said, stderr=said, env={**variables, "OMP_NUM_THREADS": "1"}
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise SystemExit(f"{command} failed:\n{said.read().decode()[-3000:]}")
    return usage.ru_utime + usage.ru_stime


def ours(folder: Path, weights: Path, targets: list[TargetInput], **settings: int) -> float:
    """CPU seconds of one task over all targets."""
    folder.mkdir()
    request = FoldRequest(
        batch="benchmark",
        engine=ENGINE.name,
        settings=ENGINE.Settings.model_validate({**SETTINGS, **settings}).model_dump(mode="json"),
        relax=RelaxSettings.model_validate({"models_to_relax": "none"}),
        recipe="0" * 16,
        rehearsal=True,
        targets=targets,
    )
    (folder / "request.json").write_text(request.model_dump_json())
    chains = [chain for target in targets for chain in target.chains]
    msas = {f"chains/{sequence_key([chain])}/msa.a3m": make_a3m(chain).encode() for chain in chains}
    (folder / "inputs.tar.zst").write_bytes(archive.pack(msas))
    command = [str(Path(sys.executable).with_name("snakefold")), "task", str(folder / "request.json")]
    command += ["--inputs", str(folder / "inputs.tar.zst"), "--store", str(folder / "store")]
    command += ["--weights", str(weights), "--out", str(folder / "out.tar.zst")]
    seconds = cpu_seconds(command, dict(os.environ))
    files = archive.unpack((folder / "out.tar.zst").read_bytes())
    failed = [each for each in json.loads(files["response.json"])["outcomes"] if each["state"] != "done"]
    if failed:
        raise SystemExit(f"failed: {failed}")
    return seconds


class Boltz:
    """`boltz predict` in the engine's environment, on the same targets as files of its own format."""

    def __init__(self, folder: Path, weights: Path, targets: list[TargetInput]) -> None:
        prefix = environments.require(ENGINE).prefix
        if prefix is None:
            raise SystemExit("boltz2 has no environment of its own here: snakefold engines install boltz2")
        self.program = str(prefix / "bin" / "boltz")
        self.python = str(environments.interpreter(prefix))
        self.variables = environments.variables(ENGINE, prefix)
        self.folder, self.cache = folder, weights / "boltz2"
        (folder / "inputs").mkdir(parents=True)
        (folder / "msas").mkdir()
        for target in targets:
            for chain in target.chains:
                (folder / "msas" / f"{target.id}.a3m").write_text(make_a3m(chain))
            paths = dict.fromkeys(target.chains, f"../msas/{target.id}.a3m")
            (folder / "inputs" / f"{target.id}.yaml").write_text(yaml_text(chains_of(target), paths))

    def run(self, data: Path, out: str) -> float:
        """CPU seconds of one command; all its predictions must be there."""
        wanted = len(list(data.iterdir())) if data.is_dir() else 1
        command = [self.program, "predict", str(data), "--cache", str(self.cache), "--seed", "0", *ARGUMENTS]
        seconds = cpu_seconds([*command, "--out_dir", str(self.folder / out)], self.variables)
        found = list((self.folder / out).glob("*/predictions/*/*_model_0.cif"))
        if len(found) < wanted:
            raise SystemExit(f"boltz predict {data}: {len(found)} of {wanted} predictions")
        return seconds


def measure(number: int, folder: Path) -> dict[str, Any]:
    """All sides, one after the other."""
    weights = folder / "weights"
    targets = make_targets(number)
    boltz = Boltz(folder / "boltz", weights, targets)
    draw = "import sys, pathlib; from snakefold.engines.boltz2 import rehearsal as r; "
    draw += "f = pathlib.Path(sys.argv[1]); r.declare(f); r.draw(f, affinity=True)"
    cpu_seconds([boltz.python, "-c", draw, str(weights)], boltz.variables)
    batch = ours(folder / "ours", weights, targets)
    in_folder = boltz.run(boltz.folder / "inputs", "folder")
    files = [boltz.run(path, path.stem) for path in sorted((boltz.folder / "inputs").iterdir())]
    return {
        "targets": number,
        "versions": {name: ENGINE.environment.version(name) for name in ENGINE.packages},
        "cpu_seconds": {
            "snakefold": round(batch, 1),
            "boltz_predict_folder": round(in_folder, 1),
            "boltz_predict_per_file": round(sum(files), 1),
        },
        "ratio_to_folder": round(batch / in_folder, 3),
        "ratio_to_per_file": round(batch / sum(files), 3),
    }


def report(found: dict[str, Any]) -> str:
    """The result as Markdown."""
    cpu, versions = found["cpu_seconds"], found["versions"]
    folder, files = found["ratio_to_folder"], found["ratio_to_per_file"]
    return f"""# Boltz-2: one process a batch

`python benchmarks/boltz.py`: {found["targets"]} targets, proteins of 20 to 40 residues with {ROWS} rows,
every other one with a ligand by SMILES and without an alignment. Random parameters (REHEARSAL), 3.8 million,
float32, one thread, no recycle, five diffusion steps. boltz-community {versions["boltz-community"]}, torch
{versions["torch"]}, CPU. Real parameters take longer to load, and to predict with.

| | CPU seconds | snakefold's share | required |
|---|---|---|---|
| `snakefold task` | {cpu["snakefold"]} | | |
| `boltz predict` on the folder | {cpu["boltz_predict_folder"]} | {folder} | at most {LARGEST_OF_FOLDER} |
| `boltz predict` on each file | {cpu["boltz_predict_per_file"]} | {files} | at most {LARGEST_OF_FILES} |
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--targets", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(options.targets, Path(folder))
    (HERE / "boltz.json").write_text(json.dumps(found, indent=1) + "\n")
    (HERE / "boltz.md").write_text(report(found))
    print(report(found))
    if found["ratio_to_per_file"] > LARGEST_OF_FILES or found["ratio_to_folder"] > LARGEST_OF_FOLDER:
        raise SystemExit("A ratio is above what is required.")


if __name__ == "__main__":
    main()
