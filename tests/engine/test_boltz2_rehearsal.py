"""Random parameters of Boltz-2 in Boltz's own hands: drawn, loaded strictly, and predicted with by its CLI.

Runs in the engine's environment, which `snakefold engines install boltz2` makes.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snakefold import engines
from snakefold.engines import environments
from snakefold.engines.boltz2 import rehearsal, weights
from snakefold.engines.boltz2.folder import Files
from snakefold.kernel.errors import WeightsMissingError

pytestmark = pytest.mark.needs("boltz2")
SOURCE = Path(weights.__file__).parents[3]
#: Of the absolute values of the structure network's parameters.
SUM = 599_666.9366338323
PROTEIN = "MTYKLILNGKTLKGETTTEAVDAATAEKVF"
AFFINITY = f"""version: 1
sequences:
  - protein: {{id: A, sequence: {PROTEIN}, msa: empty}}
  - ligand: {{id: B, smiles: 'CC(=O)Oc1ccccc1C(=O)O'}}
  - ligand: {{id: C, ccd: ATP}}
properties:
  - affinity: {{binder: B}}
"""

DRAW = """
import json, sys
from pathlib import Path
import torch
from boltz.model.models.boltz2 import Boltz2
from rdkit import Chem
import pickle
from snakefold.engines.boltz2 import weights
torch.manual_seed(7)
expected = torch.rand(3)
torch.manual_seed(7)
codes = ["ATP", "HEM", "ZZZZ9"]
first, second = (weights.ready(Path(folder), codes, affinity=True) for folder in sys.argv[1:])
said = {"generator untouched": bool(torch.equal(torch.rand(3), expected))}
for one, other in zip(first.checkpoints(affinity=True), second.checkpoints(affinity=True)):
    states = [torch.load(path, weights_only=False)["state_dict"] for path in (one, other)]
    said[one.name] = {
        "equal tensors": states[0].keys() == states[1].keys()
        and all(torch.equal(states[0][key], states[1][key]) for key in states[0]),
        "numbers": sum(each.numel() for each in states[0].values()),
        "sum": float(sum(each.double().abs().sum() for each in states[0].values())),
        "megabytes": one.stat().st_size / 2**20,
    }
    network = Boltz2.load_from_checkpoint(one, strict=True, map_location="cpu", weights_only=False, ema=False)
    said[one.name]["loaded"] = all(
        torch.equal(value, states[0][key]) for key, value in network.state_dict().items()
    )
    said[one.name]["blocks"] = len(network.pairformer_module.layers)
files = sorted(path.name for path in first.molecules.iterdir())
said["files"] = files
said["equal molecules"] = all(
    (first.molecules / name).read_bytes() == (second.molecules / name).read_bytes() for name in files
)
atp = pickle.loads((first.molecules / "ATP.pkl").read_bytes())
said["ATP"] = {
    "smiles": Chem.MolToSmiles(Chem.RemoveHs(atp)),
    "names": [atom.GetProp("name") for atom in atp.GetAtoms()][:4],
    "ranked": all(atom.HasProp("_CIPRank") and atom.HasProp("leaving_atom") for atom in atp.GetAtoms()),
    "conformers": atp.GetNumConformers(),
}
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def python() -> Path:
    """The interpreter of the engine's environment."""
    place = environments.place_of(engines.get("boltz2"))
    assert place.prefix is not None
    return environments.interpreter(place.prefix)


def run(command: list[str | Path], folder: Path) -> str:
    """A process of the environment, with this snakefold on one thread."""
    variables = {**os.environ, "PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def drawn(python: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A folder that a plan declared and the environment drew, and what was found there."""
    folder = tmp_path_factory.mktemp("rehearsal")
    for name in ("one", "other"):
        rehearsal.declare(folder / name)
    before = weights.identity(folder / "one", affinity=True)
    said = json.loads(run([python, "-c", DRAW, "one", "other"], folder).splitlines()[-1])
    assert weights.identity(folder / "one", affinity=True) == before
    return folder / "one", said


@pytest.mark.slow
def test_equal_draws_are_equal_and_load_strictly(drawn: tuple[Path, dict[str, Any]]) -> None:
    _, said = drawn
    assert said["generator untouched"]
    for name, million in (("boltz2_conf.ckpt", 3.7), ("boltz2_aff.ckpt", 3.8)):
        found = said[name]
        assert found["equal tensors"]
        assert found["loaded"]
        assert found["blocks"] == 64
        assert found["numbers"] / 1e6 == pytest.approx(million, abs=0.1)
        assert 15 < found["megabytes"] < 18
    # The numbers themselves: of any machine and any torch.
    assert said["boltz2_conf.ckpt"]["sum"] == pytest.approx(SUM, rel=1e-9)


@pytest.mark.slow
def test_components_are_molecules_as_boltz_reads_them(drawn: tuple[Path, dict[str, Any]]) -> None:
    folder, said = drawn
    assert said["equal molecules"]
    assert {"ALA.pkl", "UNK.pkl", "DT.pkl", "N.pkl", "ATP.pkl", "HEM.pkl"} <= set(said["files"])
    assert "ZZZZ9.pkl" not in said["files"]
    assert said["ATP"] == {
        "smiles": "Nc1ncnc2c1ncn2[C@@H]1O[C@H](CO[P@@](=O)(O)O[P@](=O)(O)OP(=O)(O)O)[C@@H](O)[C@H]1O",
        "names": ["PG", "O1G", "O2G", "O3G"],
        "ranked": True,
        "conformers": 1,
    }
    assert rehearsal.read_mark(Files(folder).structure) == rehearsal.mark()


@pytest.mark.slow
def test_boltz_itself_predicts_with_them(
    python: Path, drawn: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    folder, _ = drawn
    (tmp_path / "pair.yaml").write_text(AFFINITY)
    run(
        [
            *(python.with_name("boltz"), "predict", "pair.yaml", "--out_dir", "out"),
            *("--cache", Files(folder).folder, "--accelerator", "cpu", "--num_workers", "0", "--seed", "1"),
            *("--recycling_steps", "0", "--sampling_steps", "10", "--preprocessing-threads", "1"),
            *("--sampling_steps_affinity", "5", "--diffusion_samples_affinity", "1"),
        ],
        tmp_path,
    )
    made = tmp_path / "out" / "boltz_results_pair" / "predictions" / "pair"
    scores = json.loads((made / "confidence_pair_model_0.json").read_text())
    for name in ("confidence_score", "ptm", "iptm", "ligand_iptm", "complex_plddt"):
        assert 0 < scores[name] < 1
    tokens = len(PROTEIN) + 13 + 31
    pae = np.load(made / "pae_pair_model_0.npz")["pae"]
    assert pae.shape == (tokens, tokens)
    assert np.isfinite(pae).all()
    affinity = json.loads((made / "affinity_pair.json").read_text())
    assert np.isfinite(affinity["affinity_pred_value"])
    assert 0 < affinity["affinity_probability_binary"] < 1
    atoms = [line.split() for line in (made / "pair_model_0.cif").read_text().splitlines()]
    places = np.array([row[10:13] for row in atoms if row[:1] in (["ATOM"], ["HETATM"])], dtype=float)
    assert len(places) > 200
    assert np.abs(places).max() < 1000  # so that columns of a PDB file hold them


@pytest.mark.slow
def test_what_another_release_declared_is_not_drawn(python: Path, tmp_path: Path) -> None:
    rehearsal.declare(tmp_path)
    path = Files(tmp_path).folder / "REHEARSAL.json"
    path.write_text(json.dumps({**rehearsal.mark(), "drawing": 0}))
    with pytest.raises(WeightsMissingError, match="Plan again"):
        rehearsal.draw(tmp_path)
