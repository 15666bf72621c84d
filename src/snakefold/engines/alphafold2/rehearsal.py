"""Rehearsal parameters: random numbers in the official format. They test the machinery, never the science."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snakefold.engines.alphafold2.layout import Shapes, expected_shapes
from snakefold.engines.alphafold2.parameters import parameters_file, read_rehearsal_mark, rehearsal_mark
from snakefold.engines.drawing import uniform
from snakefold.kernel.errors import WeightsMissingError
from snakefold.kernel.store import write_atomically

SEED = 0
#: Raised whenever the same seed gives other numbers, so that older files are drawn again.
DRAWING = 3
#: Scopes whose arrays have one entry a block in front.
_STACKS = ("evoformer_iteration", "extra_msa_stack", "template_embedding_iteration", "__layer_stack_no_state")
_README = """REHEARSAL

The parameters in this folder are random numbers in the format of AlphaFold2's ({blocks} Evoformer blocks).
They were not trained on anything. Structures made with them mean nothing.
"""


def draw(folder: Path, models: Iterable[str], blocks: int, seed: int = SEED) -> list[Path]:
    """Draw random parameters into `folder/params/`, one npz a model. Files drawn by the same recipe are kept.

    Weights are uniform around zero with variance 1/fan-in, biases zero, scales one, so that activations keep
    their magnitude. The same arguments give the same bytes on every machine and with every NumPy
    (`drawing.uniform`).

    Args:
        folder: weights folder.
        models: AlphaFold's names, for example model_1_ptm.
        blocks: Evoformer blocks; fewer make files and predictions smaller.
        seed: of the generator, together with the model's name.

    Returns:
        The files, in the order of `models`.

    Raises:
        WeightsMissingError: a file of that name exists and is not a rehearsal: official parameters are never
            replaced.
    """
    paths = []
    for name in models:
        path = parameters_file(folder, name)
        paths.append(path)
        draw_file(path, name, name, blocks, seed)
    if paths:
        write_atomically(paths[0].parent / "REHEARSAL.txt", _README.format(blocks=blocks).encode())
    return paths


def draw_file(path: Path, name: str, layout: str, blocks: int, seed: int = SEED) -> None:
    """Draw one file, as `draw` does, unless it was drawn by the same recipe.

    Args:
        name: of the parameters: others have other numbers.
        layout: AlphaFold's name of a model with such arrays.

    Raises:
        WeightsMissingError: the file exists and is not a rehearsal.
    """
    mark = {"blocks": blocks, "seed": seed, "drawing": DRAWING}
    found = read_rehearsal_mark(path) if path.exists() else None
    if found == mark:
        return
    if path.exists() and found is None:
        raise WeightsMissingError(
            f"{path}: holds other parameters, which are not overwritten. Choose another folder."
        )
    source = np.random.PCG64(np.random.SeedSequence([seed, *name.encode()]))
    arrays = _draw_arrays(expected_shapes(layout, blocks), source)
    write_atomically(path, _npz(arrays, rehearsal_mark(mark)))


def _draw_arrays(shapes: Shapes, source: np.random.BitGenerator) -> dict[str, NDArray[np.float32]]:
    arrays = {}
    for key, shape in shapes.items():
        name = key.split("//")[1]
        if name == "scale":
            arrays[key] = np.ones(shape, np.float32)
        elif name == "offset" or name.endswith("_b") or "bias" in name:
            arrays[key] = np.zeros(shape, np.float32)
        else:
            arrays[key] = uniform(shape, 1 / _fan_in(key, shape), source)
    return arrays


def _fan_in(key: str, shape: tuple[int, ...]) -> int:
    """Inputs that one output sums over. Assume too few, and attention saturates and rounding errors
    explode."""
    scope, name = key.split("//")
    inner = shape[1:] if any(stack in scope for stack in _STACKS) else shape
    return int(np.prod(inner[:-1])) if name == "output_w" else inner[0]


def _npz(arrays: dict[str, Any], comment: bytes) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    with zipfile.ZipFile(stream, "a") as archive:
        archive.comment = comment
    return stream.getvalue()
