"""Boltz-2: models of many seeds are distributed as `boltz predict`, unpinned, distributes its own.

    python benchmarks/boltz_seeds.py [--seeds 20]

snakefold seeds Boltz's random numbers in other places than `boltz predict --seed` does, so that equal seeds
give other models. Both predict a protein with a ligand by SMILES, one model a seed, with the same random
parameters (REHEARSAL), 20 diffusion steps, no recycle. Boltz runs once for each seed, as it comes. Two-sample
Kolmogorov-Smirnov tests compare what the models are like. Needs the environment: snakefold engines install
boltz2.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
from boltz import ARGUMENTS, LETTERS, Boltz, cpu_seconds, ours
from scipy.stats import ks_2samp

from snakefold.engines.boltz2 import ENGINE
from snakefold.kernel import archive
from snakefold.kernel.contracts import TargetInput
from snakefold.molecules.entities import Assembly

HERE = Path(__file__).resolve().parent
SEQUENCE = "".join(LETTERS[(7 * place) % len(LETTERS)] for place in range(30))
LIGAND = "CC(=O)OC1=CC=CC=C1C(=O)O"
STEPS = 20
SCORES = ("confidence_score", "ptm", "ligand_iptm", "complex_plddt", "complex_pde")
#: A true difference of nothing gives less than this once in a hundred tests.
LEAST = 0.01


def target() -> TargetInput:
    """A protein with aspirin."""
    entities = [
        {"kind": "protein", "sequence": SEQUENCE, "msa": "empty"},
        {"kind": "ligand", "smiles": LIGAND},
    ]
    assembly = Assembly.model_validate({"entities": entities})
    return TargetInput(id="t", key=assembly.key, chains=[], assembly=assembly.model_dump(mode="json"))


def shape(cif: str) -> dict[str, float]:
    """Radius of gyration of the protein, and from its centre to that of the ligand, Å."""
    model = gemmi.make_structure_from_block(gemmi.cif.read_string(cif).sole_block())[0]
    protein, ligand = (np.array([list(atom.pos) for residue in chain for atom in residue]) for chain in model)
    centre = protein.mean(axis=0)
    return {
        "radius_of_gyration": float(np.sqrt(((protein - centre) ** 2).sum(axis=1).mean())),
        "centre_to_ligand": float(np.linalg.norm(centre - ligand.mean(axis=0))),
    }


def described(models: Iterable[tuple[str, dict[str, Any]]]) -> dict[str, list[float]]:
    """Values by name, of models as mmCIF and what Boltz says of them."""
    rows = [{**{name: said[name] for name in SCORES}, **shape(cif)} for cif, said in models]
    return {name: [row[name] for row in rows] for name in rows[0]}


def of_boltz(boltz: Boltz, seeds: int) -> dict[str, list[float]]:
    """One process a seed."""
    found = []
    for seed in range(seeds):
        out = boltz.folder / str(seed)
        command = [boltz.program, "predict", str(boltz.folder / "inputs" / "t.yaml"), *ARGUMENTS]
        command += ["--sampling_steps", str(STEPS), "--seed", str(seed), "--cache", str(boltz.cache)]
        cpu_seconds([*command, "--out_dir", str(out)], boltz.variables)
        (cif,) = out.glob("*/predictions/*/*_model_0.cif")
        (said,) = out.glob("*/predictions/*/confidence_*.json")
        found.append((cif.read_text(), json.loads(said.read_text())))
    return described(found)


def of_ours(folder: Path, weights: Path, seeds: int) -> dict[str, list[float]]:
    """All seeds in one task."""
    ours(folder, weights, [target()], sampling_steps=STEPS, num_seeds=seeds)
    packed = archive.unpack((folder / "out.tar.zst").read_bytes())
    (inner,) = (data for name, data in packed.items() if name.startswith("targets/"))
    files = archive.unpack(inner)
    models = json.loads(files["confidence.json"])["models"]
    names = [model["name"] for model in models]
    return described((files[f"{name}.cif"].decode(), json.loads(files[f"{name}.json"])) for name in names)


def measure(seeds: int, folder: Path) -> dict[str, Any]:
    """Both sides, and how far their distributions differ."""
    weights = folder / "weights"
    boltz = Boltz(folder / "boltz", weights, [target()])
    draw = "import sys, pathlib; from snakefold.engines.boltz2 import rehearsal as r; "
    draw += "f = pathlib.Path(sys.argv[1]); r.declare(f); r.draw(f, affinity=True)"
    # `boltz predict` asks for both networks.
    cpu_seconds([boltz.python, "-c", draw, str(weights)], boltz.variables)
    here, there = of_ours(folder / "ours", weights, seeds), of_boltz(boltz, seeds)
    values = {}
    for name in here:
        test = ks_2samp(here[name], there[name])
        values[name] = {
            "snakefold": [round(float(np.mean(here[name])), 4), round(float(np.std(here[name])), 4)],
            "boltz_predict": [round(float(np.mean(there[name])), 4), round(float(np.std(there[name])), 4)],
            "p": round(float(test.pvalue), 3),
        }
    versions = {name: ENGINE.environment.version(name) for name in ENGINE.packages}
    return {"seeds": seeds, "versions": versions, "values": values}


def report(found: dict[str, Any]) -> str:
    """The result as Markdown."""
    rows = "\n".join(
        f"| {name} | {value['snakefold'][0]} ± {value['snakefold'][1]} | "
        f"{value['boltz_predict'][0]} ± {value['boltz_predict'][1]} | {value['p']} |"
        for name, value in found["values"].items()
    )
    return f"""# Boltz-2: many seeds

`python benchmarks/boltz_seeds.py`: {len(SEQUENCE)} residues of protein with aspirin, {found["seeds"]} seeds,
random parameters (REHEARSAL), {STEPS} diffusion steps, no recycle. `boltz predict`
({found["versions"]["boltz-community"]}) as it comes, a process a seed. Mean and standard deviation; p of a
two-sample Kolmogorov-Smirnov test. Distances in Å.

| | snakefold | `boltz predict` | p |
|---|---|---|---|
{rows}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(options.seeds, Path(folder))
    (HERE / "boltz_seeds.json").write_text(json.dumps(found, indent=1) + "\n")
    (HERE / "boltz_seeds.md").write_text(report(found))
    print(report(found))
    if any(value["p"] < LEAST for value in found["values"].values()):
        raise SystemExit("The two are distributed differently.")


if __name__ == "__main__":
    main()
