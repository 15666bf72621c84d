"""Checkpoints as torch.save writes them, without PyTorch."""

from __future__ import annotations

import io
import pickle
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray


class Window:
    """A tensor as PyTorch pickles it: a window of a storage."""

    def __init__(self, key: str, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
        self.key, self.arguments = key, (offset, shape, strides)


class Writer(pickle.Pickler):
    """Names what PyTorch's pickles name, without PyTorch."""

    def __init__(self, stream: io.BytesIO, kind: str, storages: dict[str, NDArray[np.float32]]) -> None:
        super().__init__(stream, protocol=2)
        self._kind, self._storages = kind, storages

    def reducer_override(self, thing: Any) -> Any:
        if isinstance(thing, Window):
            return sys.modules["torch._utils"]._rebuild_tensor_v2, (  # type: ignore[attr-defined]
                Stored(thing.key),
                *thing.arguments,
                False,
                OrderedDict(),
            )
        return NotImplemented

    def persistent_id(self, thing: Any) -> Any:
        if isinstance(thing, Stored):
            kind = getattr(sys.modules["torch"], self._kind)
            return "storage", kind, thing.key, "cpu", self._storages[thing.key].size
        return None


class Stored:
    def __init__(self, key: str) -> None:
        self.key = key


@pytest.fixture(scope="module", autouse=True)
def torch_names() -> Any:
    """Modules with the names that a checkpoint contains, and nothing else."""
    patch = pytest.MonkeyPatch()
    torch, utils = ModuleType("torch"), ModuleType("torch._utils")
    for kind in ("FloatStorage", "HalfStorage"):
        setattr(torch, kind, type(kind, (), {"__module__": "torch", "__qualname__": kind}))

    def _rebuild_tensor_v2(*_: object) -> None:
        """Never called."""

    _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2  # type: ignore[attr-defined]
    torch._utils = utils  # type: ignore[attr-defined]
    patch.setitem(sys.modules, "torch", torch)
    patch.setitem(sys.modules, "torch._utils", utils)
    yield
    patch.undo()


def checkpoint(
    content: Any,
    storages: dict[str, NDArray[np.float32]] | None = None,
    kind: str = "FloatStorage",
    **members: bytes,
) -> bytes:
    """A file as torch.save writes it."""
    index, stream = io.BytesIO(), io.BytesIO()
    Writer(index, kind, storages or {}).dump(content)
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("name/data.pkl", index.getvalue())
        for key, storage in (storages or {}).items():
            archive.writestr(f"name/data/{key}", storage.astype("<f4").tobytes())
        for member, data in members.items():
            archive.writestr(f"name/{member}", data)
    return stream.getvalue()


def dense(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(np.prod(shape[place + 1 :])) for place in range(len(shape)))


def state_checkpoint(state: Mapping[str, NDArray[np.float32]], wrap: Any = lambda tensors: tensors) -> bytes:
    """A file of named tensors; `wrap` puts their dictionary into others."""
    storages = {str(number): tensor.ravel() for number, tensor in enumerate(state.values())}
    tensors = OrderedDict(
        (name, Window(str(number), 0, tensor.shape, dense(tensor.shape)))
        for number, (name, tensor) in enumerate(state.items())
    )
    return checkpoint(wrap(tensors), storages)
