"""ESMFold: `snakefold task` against a process of transformers for each target, all in one run.

    python benchmarks/esmfold.py [--targets 20]

Both sides predict the same targets (20 to 100 residues) with the same random parameters, one thread, float32,
one recycle. A process of transformers loads the parameters, calls `infer_pdb` and writes the file, as the
model's page on Hugging Face does; its PAE is not written. CPU seconds are user plus system time of the
processes, so that other work on the machine disturbs them little. Coordinates must be the same. Needs the
environment: snakefold engines install esmfold.
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
from snakefold.engines.esmfold import ENGINE, rehearsal
from snakefold.engines.esmfold.folder import Files
from snakefold.kernel import archive
from snakefold.kernel.contracts import FoldRequest, RelaxSettings, TargetInput
from snakefold.kernel.recipes import sequence_key

HERE = Path(__file__).resolve().parent
LETTERS = "ACDEFGHIKLMNPQRSTVWY"
LARGEST = 0.25
THEIRS = """
import sys, torch
from transformers import EsmForProteinFolding
folder, out, *sequences = sys.argv[1:]
torch.set_num_threads(1)
model = EsmForProteinFolding.from_pretrained(folder, local_files_only=True).eval()
model.esm.float()
model.trunk.config.max_recycles = 2  # passes
for place, sequence in enumerate(sequences):
    with open(f"{out}/{place}.pdb", "w") as stream:
        stream.write(model.infer_pdb(sequence))
"""


def make_targets(number: int) -> list[TargetInput]:
    """Random sequences of 20 to 100 residues."""
    source = random.Random(1)
    found = []
    for place in range(number):
        sequence = "".join(source.choices(LETTERS, k=20 + 80 * place // max(1, number - 1)))
        found.append(TargetInput(id=f"t{place:02d}", key=sequence_key([sequence]), chains=[sequence]))
    return found


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


def atoms(pdb: str) -> set[str]:
    """Atom, residue and coordinates, in no order."""
    lines = (line for line in pdb.splitlines() if line.startswith("ATOM"))
    return {line[12:16] + line[22:26] + line[30:54].replace("-0.000", " 0.000") for line in lines}


def ours(folder: Path, weights: Path, targets: list[TargetInput]) -> tuple[float, list[set[str]]]:
    """CPU seconds of one task over all targets, and the atoms of each."""
    settings = ENGINE.Settings(accelerator="cpu", cpu_threads=1, num_recycles=1)
    request = FoldRequest(
        batch="benchmark",
        engine=ENGINE.name,
        settings=settings.model_dump(mode="json"),
        relax=RelaxSettings.model_validate({"models_to_relax": "none"}),
        recipe="0" * 16,
        rehearsal=True,
        targets=targets,
    )
    (folder / "request.json").write_text(request.model_dump_json())
    (folder / "inputs.tar.zst").write_bytes(archive.pack({}))
    command = [str(Path(sys.executable).with_name("snakefold")), "task", str(folder / "request.json")]
    command += ["--inputs", str(folder / "inputs.tar.zst"), "--store", str(folder / "store")]
    command += ["--weights", str(weights), "--out", str(folder / "out.tar.zst")]
    seconds = cpu_seconds(command, dict(os.environ))
    files = archive.unpack((folder / "out.tar.zst").read_bytes())
    results = [archive.unpack(files[f"targets/{each.result_key}.tar.zst"]) for each in targets]
    return seconds, [atoms(each["ranked_0.pdb"].decode()) for each in results]


def measure(number: int, folder: Path) -> dict[str, Any]:
    """Both sides, one after the other; transformers on all targets in one process, too."""
    prefix = environments.require(ENGINE).prefix
    if prefix is None:
        raise SystemExit("esmfold has no environment of its own here: snakefold engines install esmfold")
    weights = folder / "weights"
    rehearsal.declare(weights, 2)
    targets = make_targets(number)
    python, variables = str(environments.interpreter(prefix)), environments.variables(ENGINE, prefix)
    draw = "import sys, pathlib; from snakefold.engines.esmfold import rehearsal as r; "
    cpu_seconds([python, "-c", f"{draw}r.draw(pathlib.Path(sys.argv[1]))", str(weights)], variables)
    batch, found = ours(folder, weights, targets)
    start = [python, "-c", THEIRS, str(Files(weights).folder), str(folder)]
    each = 0.0
    for target, model in zip(targets, found, strict=True):
        each += cpu_seconds([*start, target.chains[0]], variables)
        if atoms((folder / "0.pdb").read_text()) != model:
            raise SystemExit(f"{target.id}: other coordinates than transformers'")
    together = cpu_seconds([*start, *(target.chains[0] for target in targets)], variables)
    return {
        "targets": number,
        "versions": {name: ENGINE.environment.version(name) for name in ENGINE.packages},
        "cpu_seconds": {
            "snakefold": round(batch, 1),
            "process_per_target": round(each, 1),
            "one_process": round(together, 1),
        },
        "ratio_to_process_per_target": round(batch / each, 3),
        "ratio_to_one_process": round(batch / together, 3),
    }


def report(found: dict[str, Any]) -> str:
    """The result as Markdown."""
    cpu, versions = found["cpu_seconds"], found["versions"]
    each, one = found["ratio_to_process_per_target"], found["ratio_to_one_process"]
    return f"""# ESMFold: one process a batch

`python benchmarks/esmfold.py`: {found["targets"]} targets of 20 to 100 residues, random parameters
(REHEARSAL), float32, one thread, one recycle. transformers {versions["transformers"]}, torch
{versions["torch"]}, CPU. Coordinates are equal. The official parameters have 8.4 GB: loading them for each
target takes longer.

| | CPU seconds | snakefold's share | required |
|---|---|---|---|
| `snakefold task`: PDB, ModelCIF, PAE, scores | {cpu["snakefold"]} | | |
| transformers, one each: PDB | {cpu["process_per_target"]} | {each} | at most {LARGEST} |
| transformers, all in one process: PDB | {cpu["one_process"]} | {one} | |
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--targets", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(options.targets, Path(folder))
    (HERE / "esmfold.json").write_text(json.dumps(found, indent=1) + "\n")
    (HERE / "esmfold.md").write_text(report(found))
    print(report(found))
    if found["ratio_to_process_per_target"] > LARGEST:
        raise SystemExit(f"more than {LARGEST} of a process per target")


if __name__ == "__main__":
    main()
