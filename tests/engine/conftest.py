"""Fixtures of the engine's tests: random parameters of two blocks, small MSAs, and the real
colabfold_batch."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

# Compiling costs a third less. Must be set before JAX is imported, here and in children.
os.environ.setdefault(
    "XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
)

from snakefold.engines.alphafold2 import rehearsal, weights_whole
from tests.engine.toys import TOY_PARAMETERS

BLOCKS = 2
HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def weights_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two-block parameters of monomer models 1 to 3 and multimer models 1 and 2.

    Links stand in for the rest: colabfold_batch reads all five, whichever it runs.
    """
    folder = tmp_path_factory.mktemp("weights")
    drawn = ["model_1_ptm", "model_2_ptm", "model_3_ptm", "model_1_multimer_v3", "model_2_multimer_v3"]
    rehearsal.draw(folder, drawn, BLOCKS)
    params = folder / "params"
    for number in (4, 5):
        (params / f"params_model_{number}_ptm.npz").symlink_to(params / "params_model_3_ptm.npz")
    for number in (3, 4, 5):
        (params / f"params_model_{number}_multimer_v3.npz").symlink_to(
            params / "params_model_1_multimer_v3.npz"
        )
    for marker in ("download_finished.txt", "download_complexes_multimer_v3_finished.txt"):
        (params / marker).touch()
    return folder


@pytest.fixture
def toy_network(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A network that has two arrays; the models whose shapes were asked for."""
    asked: list[str] = []
    monkeypatch.setattr(
        weights_whole, "expected_shapes", lambda name, _: asked.append(name) or TOY_PARAMETERS
    )
    return asked


@pytest.fixture(scope="session")
def compile_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compiled programs, kept for all tests of the session."""
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture(scope="session")
def colabfold_batch(weights_folder: Path) -> Callable[..., None]:
    """The real colabfold_batch, on the two-block parameters, in float32."""

    def run(inputs: Path, results: Path, *arguments: str) -> None:
        command = [
            *(sys.executable, str(HERE / "colabfold_reference.py"), str(BLOCKS), "float32"),
            *("--data", str(weights_folder), "--skip-output", "plots", *arguments, str(inputs), str(results)),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]

    return run
