"""Engine esmfold in its environment, with random parameters: its results are those of transformers' own call.

Needs the environment: snakefold engines install esmfold.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import pytest
from numpy.typing import NDArray

from snakefold.engines import environments
from snakefold.engines.esmfold import ENGINE, rehearsal
from snakefold.engines.esmfold.folder import Files
from snakefold.kernel import archive
from snakefold.kernel.contracts import Confidence, FoldRequest, RelaxSettings, TargetInput
from snakefold.kernel.recipes import sequence_key

pytestmark = pytest.mark.needs("esmfold")
HERE = Path(__file__).parent
SEQUENCES = ["MKTAYIAKQRQISFVKSHFSRQ", "GSHMWWACDEFGHIKLMNPQRSTVWY", "AG", "MKXAYIXKQ"]
RECYCLES, CHUNK = 1, 7


@dataclass
class Own:
    """The engine's interpreter, and random parameters, which are drawn there."""

    python: str
    weights: Path
    variables: dict[str, str]

    def run(self, *arguments: str, fails: bool = False) -> str:
        done = subprocess.run(
            [self.python, *arguments], capture_output=True, text=True, env=self.variables, check=False
        )
        assert (done.returncode != 0) == fails, done.stderr[-3000:]
        return done.stderr if fails else done.stdout


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Own:
    prefix = environments.place_of(ENGINE).prefix
    assert prefix is not None
    weights = tmp_path_factory.mktemp("weights")
    rehearsal.declare(weights, 2)
    variables = {**environments.variables(ENGINE, prefix), "OMP_NUM_THREADS": "1"}
    return Own(str(environments.interpreter(prefix)), weights, variables)


@dataclass
class Both:
    """What the session gave in two rounds, what transformers gave, and what the session said."""

    ours: Path
    theirs: Path
    said: dict[str, Any]

    def reference(self, place: int) -> dict[str, NDArray[Any]]:
        return dict(np.load(self.theirs / f"{place}.npz"))

    def session(self, place: int, number: int = 0, of: str = "") -> dict[str, NDArray[Any]]:
        return dict(np.load(self.ours / str(number) / f"{place}{of}.npz"))


@pytest.fixture(scope="module")
def both(own: Own, tmp_path_factory: pytest.TempPathFactory) -> Both:
    ours, theirs = tmp_path_factory.mktemp("ours"), tmp_path_factory.mktemp("theirs")
    more = [str(RECYCLES), str(CHUNK), *SEQUENCES]
    said = own.run(str(HERE / "esmfold_session.py"), str(own.weights), str(ours), *more)
    own.run(str(HERE / "esmfold_reference.py"), str(Files(own.weights).folder), str(theirs), *more)
    return Both(ours, theirs, json.loads(said.splitlines()[-1]))


@pytest.mark.parametrize("place", range(len(SEQUENCES)))
def test_results_are_those_of_transformers_exactly(place: int, both: Both) -> None:
    sequence, wanted, found = SEQUENCES[place], both.reference(place), both.session(place)
    raw = both.session(place, of="-raw")
    there = wanted["atom14_atom_exists"][0] > 0
    assert raw["mask"].sum() == there.sum()
    by_atom = wanted["positions"][-1, 0]
    for residue, letter in enumerate(sequence):
        # The same atoms in another order: 14 places of a residue here, 37 there.
        ours = {tuple(atom) for atom in raw["positions"][residue][raw["mask"][residue]].tolist()}
        assert ours == {tuple(atom) for atom in by_atom[residue][there[residue]].tolist()}
        assert bool(ours) == (letter != "X")
    assert found["plddt"].tolist() == (100.0 * wanted["plddt"][0, :, 1].astype(np.float64)).tolist()
    assert np.array_equal(found["pae"], wanted["predicted_aligned_error"][0])
    assert found["ptm"] == wanted["ptm"]
    assert found["recycles"] == RECYCLES
    assert found["plddt"].min() > 0 and 1 < found["plddt"].max() <= 100


@pytest.mark.parametrize("place", range(len(SEQUENCES)))
def test_atoms_of_the_file_are_those_of_transformers_file(place: int, both: Both) -> None:
    def atoms(path: Path) -> set[tuple[str, ...]]:
        lines = path.read_text().splitlines()
        return {
            (line[12:16], line[17:20], line[21], line[22:26], line[30:54].replace("-0.000", " 0.000"))
            for line in lines
            if line.startswith("ATOM")
        }

    ours = both.ours / "0" / f"{place}.pdb"
    assert atoms(ours) == atoms(both.theirs / f"{place}.pdb")
    chain = gemmi.read_pdb(str(ours))[0]["A"]
    values = both.session(place)["plddt"]
    for residue in chain:
        assert residue[0].b_iso == pytest.approx(values[residue.seqid.num - 1], abs=0.006)


@pytest.mark.parametrize("place", range(len(SEQUENCES)))
def test_the_order_of_targets_changes_nothing(place: int, both: Both) -> None:
    for of in ("", "-raw"):
        first, second = both.session(place, 0, of), both.session(place, 1, of)
        assert all(np.array_equal(first[name], second[name]) for name in first)


def test_a_gpu_has_the_language_model_in_float16(both: Both) -> None:
    """Computed on a CPU: what is compared is the precision of each part."""

    def numbers(folder: Path) -> set[float]:
        return set(np.load(folder / "half.npz")["positions"].ravel().tolist())

    ours, theirs = numbers(both.ours), numbers(both.theirs)
    assert len(ours) > 100
    assert ours - {0.0} <= theirs
    assert not ours - {0.0} <= set(both.reference(0)["positions"].ravel().tolist())


def test_memory_that_runs_out_is_said(both: Both) -> None:
    assert both.said["reason"] == "out_of_memory"
    assert "esmfold.chunk_size" in both.said["advice"]


def test_a_chunk_changes_no_more_than_the_last_digits(both: Both) -> None:
    whole = dict(np.load(both.theirs / "whole-1.npz"))
    assert np.allclose(whole["positions"], both.reference(1)["positions"], atol=1e-3)


CONVERT = """
import pathlib, sys, torch
from safetensors.torch import load_file
for given in sys.argv[1:]:
    folder, *without = given.split(",")
    path = pathlib.Path(folder) / "model.safetensors"
    found = load_file(path)
    for name in without:
        del found[name]
    torch.save(found, path.with_name("pytorch_model.bin"))
    path.unlink()
"""


def test_the_published_form_gives_the_same_and_lacks_nothing(own: Own, both: Both, tmp_path: Path) -> None:
    """As Hugging Face has it: pytorch_model.bin, without the contacts of the language model."""
    official, damaged = Files(tmp_path / "official"), Files(tmp_path / "damaged")
    for files in (official, damaged):
        shutil.copytree(Files(own.weights).folder, files.folder)
        (files.folder / "REHEARSAL.json").unlink()
    contacts = ",".join(f"esm.contact_head.regression.{name}" for name in ("weight", "bias"))
    lacking = f"{damaged.folder},trunk.trunk2sm_s.weight"
    own.run("-c", CONVERT, f"{official.folder},{contacts}", lacking)
    out = tmp_path / "out"
    out.mkdir()
    more = [str(RECYCLES), str(CHUNK), SEQUENCES[0]]
    own.run(str(HERE / "esmfold_session.py"), str(official.weights), str(out), *more)
    found = dict(np.load(out / "0" / "0.npz"))
    assert all(np.array_equal(found[name], value) for name, value in both.session(0).items())
    said = own.run(str(HERE / "esmfold_session.py"), str(damaged.weights), str(out), *more, fails=True)
    assert "pytorch_model.bin: lacks the tensor trunk.trunk2sm_s.weight" in said.splitlines()[-1]


def test_a_task_predicts_in_the_environment(own: Own, tmp_path: Path) -> None:
    """The whole way: a process of snakefold's own becomes one there, and writes what a run collects."""
    target = TargetInput(id="t", key=sequence_key([SEQUENCES[3]]), chains=[SEQUENCES[3]])
    settings = ENGINE.Settings(accelerator="cpu", cpu_threads=1, num_recycles=0)
    request = FoldRequest(
        batch="b",
        engine="esmfold",
        settings=settings.model_dump(mode="json"),
        relax=RelaxSettings.model_validate({"models_to_relax": "none"}),
        recipe="0" * 16,
        rehearsal=True,
        targets=[target],
    )
    (tmp_path / "request.json").write_text(request.model_dump_json())
    (tmp_path / "inputs.tar.zst").write_bytes(archive.pack({}))
    own.run(
        *("-c", environments.MAIN, "task", str(tmp_path / "request.json")),
        *("--inputs", str(tmp_path / "inputs.tar.zst"), "--store", str(tmp_path / "store")),
        *("--weights", str(own.weights), "--out", str(tmp_path / "out.tar.zst")),
    )
    (packed,) = [
        content
        for name, content in archive.unpack((tmp_path / "out.tar.zst").read_bytes()).items()
        if name.startswith("targets/")
    ]
    files = archive.unpack(packed)
    assert b"REHEARSAL" in files["ranked_0.pdb"] and b"REHEARSAL" in files["ranked_0.cif"]
    told = json.loads(files["esmfold.json"])
    assert told["precision"] == {"folding": "float32", "language model": "float32"}
    assert told["REHEARSAL"] is True
    found = Confidence.model_validate_json(files["confidence.json"])
    assert [note.partition(":")[0] for note in found.warnings] == ["unknown_residues"]
    assert gemmi.cif.read_string(files["ranked_0.cif"].decode()).sole_block().find_values("_atom_site.id")
