"""Engine esmfold without its environment: what it refuses, what it takes, what its recipes name."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakefold import engines
from snakefold.cli import main
from snakefold.engines.environments import lock_for
from snakefold.engines.esmfold import ENGINE, chunks, weights
from snakefold.engines.esmfold.cost import EsmFoldWork
from snakefold.engines.esmfold.folder import Files
from snakefold.engines.esmfold.settings import EsmFoldSettings
from snakefold.engines.spec import Engine, Hardware, locked
from snakefold.kernel.contracts import TargetInput
from snakefold.kernel.errors import TargetError, WeightsMissingError
from snakefold.kernel.recipes import sequence_key
from snakefold.molecules.accepts import why_not
from snakefold.molecules.entities import Assembly

SETTINGS = EsmFoldSettings()
SEQUENCE = "MKTAYIAKQRQISFVKSH"


def target(*chains: str) -> TargetInput:
    return TargetInput(id="t", key=sequence_key(chains), chains=list(chains))


# ---- the specification -----------------------------------------------------------------------------------
def test_it_follows_the_protocol() -> None:
    assert isinstance(ENGINE, Engine)
    assert engines.get("esmfold") is ENGINE
    assert not ENGINE.needs("monomer", SETTINGS).alignment


def test_a_plan_imports_no_torch() -> None:
    code = (
        "import sys; from snakefold import engines; e = engines.get('esmfold'); e.version; "
        "from snakefold.engines.esmfold import cost, rehearsal, weights; "
        "sys.exit(len({'torch', 'transformers', 'jax'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_both_locks_have_the_same_versions() -> None:
    gpu, cpu = (locked(lock_for(ENGINE.environment, gpu=gpu)) for gpu in (True, False))
    assert {"torch", "transformers", "safetensors", "numpy"} <= cpu.keys() <= gpu.keys()
    assert all(version.partition("+")[0] in gpu[name] for name, (version,) in cpu.items())


@pytest.mark.parametrize(
    ("chains", "found", "advice"),
    [
        ([SEQUENCE, SEQUENCE], "2 chains", r"engines: \[esmfold, alphafold2\]"),
        (["XXXX"], "unknown", "Give a sequence"),
    ],
)
def test_it_refuses_what_it_would_predict_as_something_else(
    chains: list[str], found: str, advice: str
) -> None:
    with pytest.raises(TargetError, match=found) as raised:
        ENGINE.check(target(*chains), SETTINGS)
    assert raised.match(advice)


def test_it_takes_proteins_only() -> None:
    ligand = {"kind": "ligand", "smiles": "CCO"}
    assembly = Assembly.model_validate({"entities": [{"kind": "protein", "sequence": SEQUENCE}, ligand]})
    assert why_not(assembly, ENGINE.accepts)


def test_unknown_residues_are_said_before_anything_is_paid() -> None:
    assert ENGINE.notes(target(SEQUENCE), SETTINGS) == []
    (said,) = ENGINE.notes(target("MKXXAY"), SETTINGS)
    assert "2 residues (X)" in said


# ---- chunks, costs ---------------------------------------------------------------------------------------
@given(length=st.integers(1, 20_000), asked=st.none() | st.integers(1, 1024))
def test_scores_of_a_chunk_can_be_indexed_with_32_bits(length: int, asked: int | None) -> None:
    rows = chunks.chunk_size(length, asked)
    scores = chunks.HEADS * length**2 * (length if rows is None else rows)
    assert rows is None or 1 <= rows < length
    assert scores < 2**31 or rows == 1
    assert scores <= chunks.scores(np.array([float(length)]), asked)[0]


def test_chunks_are_as_large_as_a_gigabyte_allows() -> None:
    assert chunks.chunk_size(300, None) is None
    assert chunks.chunk_size(1000, None) == 67
    assert chunks.chunk_size(1000, 16) == 16
    # More than this overflows, whatever is asked for.
    assert chunks.chunk_size(1058, 1024) == 479


WORKS = st.builds(
    EsmFoldWork,
    recycles=st.integers(0, 20),
    chunk=st.none() | st.integers(1, 1024),
    rehearsal=st.booleans(),
)
SIZES = st.lists(st.integers(1, 6000), min_size=2, max_size=30).map(sorted)


@given(work=WORKS, sizes=SIZES, device=st.sampled_from(["cpu", "gpu"]))
def test_nothing_falls_with_the_size(work: EsmFoldWork, sizes: list[int], device: str) -> None:
    for values in (
        work.network_seconds(sizes, device, 1.0),
        work.features_seconds(sizes, device),
        work.compile_seconds(sizes, device),
        work.memory_gb(sizes),
        *work.result_bytes(sizes),
    ):
        assert values.shape == (len(sizes),)
        assert values.dtype == np.float64
        assert (values >= 0).all() and (np.diff(values) >= 0).all()


def test_published_figures_come_out() -> None:
    """V100 (0.44 of an A100, by memory bandwidth): 14.2 s; A800: 143.8 s with the model on the CPU."""
    seconds = EsmFoldWork().network_seconds([384, 1058], "gpu", 1.0)
    assert 14.2 * 0.44 < seconds[0] < 14.2
    assert 0.8 * 143.8 < seconds[1] < 1.2 * 143.8
    memory = EsmFoldWork().memory_gb([1800, 2664])
    assert memory[0] < 48 < memory[1]


# ---- parameters ------------------------------------------------------------------------------------------
def tensors(path: Path, *, cut: int = 0, metadata: dict[str, str] | None = None) -> None:
    """A file of safetensors with one tensor."""
    head = json.dumps(
        {
            "__metadata__": metadata or {"format": "pt"},
            "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        }
    ).encode()
    data = len(head).to_bytes(8, "little") + head + bytes(24)
    path.write_bytes(data[: len(data) - cut])


def official(weights: Path, **config: Any) -> Files:
    files = Files(weights)
    files.folder.mkdir(parents=True)
    text = {"model_type": "esm", "is_folding_model": True, "num_hidden_layers": 36, **config}
    files.config.write_text(json.dumps(text))
    tensors(files.safetensors)
    return files


def test_official_parameters_are_named_by_their_files(tmp_path: Path) -> None:
    files = official(tmp_path)
    found = weights.find(str(tmp_path), draw=True, blocks=2)
    assert found is not None and (found.folder, found.rehearsal) == (tmp_path, False)
    before = ENGINE.recipe("monomer", SETTINGS, tmp_path)
    assert set(before["weights"]) == {"config.json", "model.safetensors"}
    with files.safetensors.open("r+b") as stream:
        stream.seek(-1, 2)
        stream.write(b"\1")
    assert ENGINE.recipe("monomer", SETTINGS, tmp_path)["weights"] != before["weights"]
    assert ENGINE.parameter_files(tmp_path) == [files.config, files.safetensors]


def test_a_recipe_names_what_changes_a_result(tmp_path: Path) -> None:
    official(tmp_path)

    def recipe(**settings: Any) -> dict[str, Any]:
        return ENGINE.recipe("monomer", EsmFoldSettings(**settings), tmp_path)

    assert recipe() != recipe(num_recycles=1) != recipe(chunk_size=64)
    assert recipe(accelerator="cpu", cpu_threads=1) != recipe(accelerator="cpu", cpu_threads=2)
    assert recipe(accelerator="gpu", cpu_threads=1) == recipe(accelerator="gpu", cpu_threads=2)
    assert recipe()["torch"] == "2.13.0"
    assert ENGINE.settled(SETTINGS, Hardware("gpu")).accelerator == "gpu"
    assert ENGINE.settled(SETTINGS, Hardware()).accelerator == "auto"


def test_a_pickled_file_serves_as_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = official(tmp_path)
    files.safetensors.unlink()
    with zipfile.ZipFile(files.pickled, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}.")
    assert set(weights.identity(tmp_path)) == {"config.json", "pytorch_model.bin"}
    assert main(["weights", "check", "esmfold", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "language model of 36 layers" in said and "whole     pytorch_model.bin" in said
    data = bytearray(files.pickled.read_bytes())
    data[data.index(b"\x80\x02}.")] ^= 1
    files.pickled.write_bytes(data)
    assert main(["weights", "check", "esmfold", str(tmp_path)]) == 1
    assert "damaged   pytorch_model.bin" in capsys.readouterr().out


def test_wrong_parameters_are_refused_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(WeightsMissingError, match=r"lacks config\.json, model\.safetensors or pytorch_model"):
        weights.find(str(tmp_path), draw=True, blocks=2)
    cut = official(tmp_path / "cut")
    tensors(cut.safetensors, cut=1)
    with pytest.raises(WeightsMissingError, match="bytes instead of"):
        weights.identity(tmp_path / "cut")
    assert main(["weights", "check", "esmfold", str(tmp_path / "cut")]) == 1
    assert "damaged   model.safetensors" in capsys.readouterr().out
    noise = official(tmp_path / "noise")
    noise.safetensors.write_bytes(b"\xff" * 100)
    with pytest.raises(WeightsMissingError, match="no header of safetensors"):
        weights.identity(tmp_path / "noise")
    official(tmp_path / "other", is_folding_model=False)
    with pytest.raises(WeightsMissingError, match="another model's"):
        weights.identity(tmp_path / "other")


def test_nothing_is_fetched_that_cannot_be_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["weights", "fetch", "esmfold", str(tmp_path)]) != 0
    assert f"--local-dir {tmp_path}/esmfold" in capsys.readouterr().err


def test_random_parameters_are_declared_by_the_plan(tmp_path: Path) -> None:
    found = weights.find("rehearsal", draw=True, blocks=2, cache=tmp_path)
    assert found is not None and found.folder is not None
    assert (found.rehearsal, found.blocks) == (True, 2)
    assert weights.identity(found.folder) == {"rehearsal": True, "drawing": 1, "seed": 0, "blocks": 2}
    assert weights.find("rehearsal", draw=False, blocks=2, cache=tmp_path) is None
    # A copy keeps its mark, and is no official one.
    copy = Files(tmp_path / "copy")
    official(copy.weights)
    tensors(copy.safetensors, metadata={"format": "pt", "REHEARSAL": '{"seed": 0, "blocks": 2}'})
    again = weights.find(str(copy.weights), draw=True, blocks=9)
    assert again is not None and (again.rehearsal, again.blocks) == (True, 2)
    # Official ones are not overwritten, nor mixed with random ones.
    tensors(Files(found.folder).safetensors)
    with pytest.raises(WeightsMissingError, match="mixes random and other"):
        weights.identity(found.folder)
    with pytest.raises(WeightsMissingError, match="not overwritten"):
        weights.rehearsal.declare(found.folder, 3)
