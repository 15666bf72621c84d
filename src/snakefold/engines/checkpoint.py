"""Tensors of a PyTorch checkpoint, read without PyTorch.

The format (torch.save since 1.6) is a zip archive. Its `data.pkl` is a pickle, in which persistent ids stand
for storages: flat arrays, each a member `data/<key>`. A pickle can call whatever it names, so three names are
known here and no other: the ordered dictionary, the storage of float32, and the function that makes a tensor.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snakefold.kernel.errors import WeightsMissingError

Tensor = NDArray[np.float32]
#: The names that a pickle may contain.
_DICTIONARY = ("collections", "OrderedDict")
_STORAGE = ("torch", "FloatStorage")
_REBUILD = ("torch._utils", "_rebuild_tensor_v2")


def read_tensors(data: bytes, name: str, inside: str = "") -> dict[str, Tensor]:
    """The tensors of a checkpoint by name.

    Args:
        data: the file.
        name: what an error calls it.
        inside: key of the dictionary that has them, where a checkpoint has more than tensors; empty: it has
            nothing else.

    Raises:
        WeightsMissingError: it is no such archive, or contains anything but named tensors of float32.
    """
    found = read_content(data, name)
    return tensors_of(found.get(inside) if inside and isinstance(found, dict) else found, name)


def tensors_of(found: object, name: str) -> dict[str, Tensor]:
    """A dictionary of tensors, which is what a part of a checkpoint should be; `name` is for the error.

    Raises:
        WeightsMissingError: it is none.
    """
    if not isinstance(found, Mapping) or not all(isinstance(each, np.ndarray) for each in found.values()):
        raise WeightsMissingError(f"{name}: is no dictionary of tensors.")
    return {str(key): tensor for key, tensor in found.items()}


def read_content(source: bytes | Path, name: str) -> object:
    """All of a checkpoint: dictionaries, lists, texts and numbers, with arrays in place of tensors.

    Args:
        source: the file, or its path: then no second copy of it is held.
        name: what an error calls it.

    Raises:
        WeightsMissingError: it is no such archive, or contains anything else.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(source) if isinstance(source, bytes) else source) as archive:
            index = next(member for member in archive.namelist() if member.endswith("/data.pkl"))
            folder = index.removesuffix("data.pkl")
            return _Reader(archive, folder, index).load()
    except Exception as error:  # a damaged pickle may raise anything
        told = "it has no data.pkl" if isinstance(error, StopIteration) else str(error)
        raise WeightsMissingError(f"{name}: cannot be read as a checkpoint: {told}.") from error


class _Reader(pickle.Unpickler):
    """Makes dictionaries and arrays, and refuses every other name."""

    def __init__(self, archive: zipfile.ZipFile, folder: str, index: str) -> None:
        super().__init__(io.BytesIO(archive.read(index)))
        self._archive, self._folder = archive, folder
        order = f"{folder}byteorder"  # which earlier releases of PyTorch do not write
        if order in archive.namelist() and archive.read(order) != b"little":
            raise pickle.UnpicklingError("its numbers are not little-endian")

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == _DICTIONARY:
            return OrderedDict
        if (module, name) == _STORAGE:
            return ".".join(_STORAGE)
        if (module, name) == _REBUILD:
            # A new object each time: a pickle can set attributes of what it was given.
            return lambda *arguments: _tensor(*arguments)  # noqa: PLW0108
        raise pickle.UnpicklingError(f"it contains {module}.{name}, which is no part of a tensor")

    def persistent_load(self, pid: Any) -> Tensor:
        what, kind, key, _, count = pid
        if (what, kind) != ("storage", ".".join(_STORAGE)):
            raise pickle.UnpicklingError(f"it contains {what} of {kind}, which is no storage of float32")
        return np.frombuffer(self._archive.read(f"{self._folder}data/{key}"), "<f4", count)


def _tensor(storage: Tensor, offset: int, shape: Sequence[int], strides: Sequence[int], *_: object) -> Tensor:
    """A tensor is a window of a storage: `strides` in numbers, not bytes."""
    if min((offset, *shape, *strides)) < 0:
        raise pickle.UnpicklingError("a tensor has a negative size")
    last = offset + sum((size - 1) * step for size, step in zip(shape, strides, strict=True))
    if 0 not in shape and last >= storage.size:
        raise pickle.UnpicklingError("a tensor reaches beyond its storage")
    steps = [step * storage.itemsize for step in strides]
    return np.lib.stride_tricks.as_strided(storage[offset:], tuple(shape), steps).copy()
