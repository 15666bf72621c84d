"""OpenFold's tensors out of AlphaFold2's arrays: the other way than `weights convert` goes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snakefold.engines.openfold import names

State = dict[str, NDArray[np.float32]]
#: What a checkpoint may have around the tensors, and before their names.
WRAPPED = {
    "plain": ("", lambda tensors: tensors),
    "ema": ("model.", lambda tensors: {"ema": {"params": tensors, "decay": 0.999}, "epoch": 7}),
    "state_dict": ("module.model.", lambda tensors: {"state_dict": tensors, "loops": {"fit": [1, None]}}),
}


def arrays_of(path: Path) -> State:
    """The arrays of an npz."""
    with np.load(path) as arrays:
        return {name: arrays[name] for name in arrays.files}


def state_of(arrays: Mapping[str, NDArray[np.float32]]) -> State:
    """Tensors by their names in release 2."""
    found = {}
    for array, values in arrays.items():
        origin = names.origin(array)
        parts = values if origin.stacked else [values]
        for name, part in zip(origin.names(len(parts)), parts, strict=True):
            found[name] = _tensor(array.partition("//")[2], part)
    return found


def _tensor(leaf: str, part: NDArray[np.float32]) -> NDArray[np.float32]:
    if leaf.endswith(("_b", "bias")) or part.ndim == 1:
        return part.ravel()
    matrix = part.reshape(-1, part.shape[-1]) if leaf == "output_w" else part.reshape(part.shape[0], -1)
    return np.ascontiguousarray(matrix.T)


def older(name: str) -> str:
    """A tensor's name in release 1."""
    name = name.removeprefix("template_embedder.")
    name = name.replace("template_single_embedder", "template_angle_embedder")
    name = re.sub(r"(linear_(?:q|kv)_points)\.linear\.", r"\1.", name)
    name = re.sub(r"(\.blocks\.\d+\.)pair_stack\.", r"\1core.", name)
    return re.sub(r"(\.blocks\.\d+\.)(?=msa_transition\.|outer_product_mean\.)", r"\1core.", name)


def digest(tensor: NDArray[Any]) -> str:
    """Of shape and numbers, as benchmarks/openfold_parity.py records them."""
    text = f"{list(tensor.shape)} ".encode() + np.ascontiguousarray(tensor, "<f4").tobytes()
    return hashlib.sha256(text).hexdigest()[:12]
