"""Checkpoints of PyTorch, read without it: what is a tensor is read, what is not is refused by its name."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from snakefold.engines.checkpoint import read_tensors
from snakefold.kernel.errors import WeightsMissingError
from tests.engine.torch_files import Window, checkpoint, dense, torch_names

__all__ = ["torch_names"]
#: Written into a file if a pickle is obeyed that should be refused.
OBEYED = "obeyed"


@given(
    st.lists(
        arrays.arrays(np.float32, arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5)),
        max_size=4,
    ),
    st.integers(0, 3),
)
def test_tensors_come_back_whatever_their_shape_and_place(
    tensors: list[NDArray[np.float32]], offset: int
) -> None:
    storages = {str(key): np.pad(each.ravel(), (offset, 1)) for key, each in enumerate(tensors)}
    content = OrderedDict(
        (f"layer.{key}.weight", Window(str(key), offset, each.shape, dense(each.shape)))
        for key, each in enumerate(tensors)
    )
    found = read_tensors(checkpoint(content, storages, byteorder=b"little"), "x.pt")
    assert list(found) == list(content)
    for tensor, back in zip(tensors, found.values(), strict=True):
        assert back.dtype == np.float32
        np.testing.assert_array_equal(back, tensor)


def test_a_transposed_tensor_is_a_window_with_other_strides() -> None:
    matrix = np.arange(6, dtype=np.float32)
    found = read_tensors(checkpoint({"w": Window("0", 0, (3, 2), (1, 3))}, {"0": matrix}), "x.pt")
    assert found["w"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert found["w"].flags.owndata


class Calls:
    """Calls a function when it is unpickled."""

    def __init__(self, function: Any, *arguments: object) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> Any:
        return self.function, self.arguments


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (Path.write_text, "Path.write_text"),
        (eval, "eval"),
        (exec, "exec"),
        (getattr, "getattr"),
        (np.zeros, "zeros"),
        (__import__, "__import__"),
    ],
)
def test_whatever_is_no_tensor_is_refused_by_its_name_and_not_called(
    function: Any, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = {"Path.write_text": (Path(OBEYED), ""), "exec": (f"open({OBEYED!r}, 'w')",)}
    made = Calls(function, *arguments.get(name, (f"open({OBEYED!r}, 'w')",)))
    data = checkpoint_of_protocol_4({"weight": made})
    with pytest.raises(WeightsMissingError, match=r"x\.pt: .* which is no part of a tensor"):
        read_tensors(data, "x.pt")
    assert not (tmp_path / OBEYED).exists()


def checkpoint_of_protocol_4(content: Any) -> bytes:
    """Methods of classes have names that older protocols cannot pickle."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("name/data.pkl", pickle.dumps(content, protocol=4))
    return stream.getvalue()


def empty() -> bytes:
    stream = io.BytesIO()
    zipfile.ZipFile(stream, "w").close()
    return stream.getvalue()


ONE = {"w": Window("0", 0, (2, 2), (2, 1))}
FOUR = {"0": np.zeros(4, np.float32)}


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (lambda: b"no archive", "not a zip file"),
        (lambda: checkpoint(ONE, FOUR)[:-30], "not a zip file"),
        (
            lambda: checkpoint(ONE, FOUR, kind="HalfStorage"),
            "torch.HalfStorage, which is no part of a tensor",
        ),
        (lambda: checkpoint(ONE, FOUR, byteorder=b"big"), "not little-endian"),
        (lambda: checkpoint({"w": Window("0", 1, (2, 2), (2, 1))}, FOUR), "beyond its storage"),
        (lambda: checkpoint({"w": Window("0", 0, (2, 2), (1 << 40, 1))}, FOUR), "beyond its storage"),
        (lambda: checkpoint({"w": Window("0", 0, (5,), (1,))}, FOUR), "beyond its storage"),
        (lambda: checkpoint({"w": Window("0", 3, (2,), (-1,))}, FOUR), "negative"),
        (lambda: checkpoint({"w": Window("0", -1, (2,), (1,))}, FOUR), "negative"),
        (lambda: checkpoint({"w": 1.0}), "no dictionary of tensors"),
        (lambda: checkpoint([1]), "no dictionary of tensors"),
        (empty, "it has no data.pkl"),
    ],
)
def test_a_damaged_file_is_refused(data: Any, says: str) -> None:
    with pytest.raises(WeightsMissingError, match=rf"x\.pt.*{says}"):
        read_tensors(data(), "x.pt")


def test_a_storage_that_is_cut_is_refused() -> None:
    short = {"0": np.zeros(3, np.float32)}
    content = checkpoint(ONE, FOUR)
    other = checkpoint(ONE, short)
    stream = io.BytesIO()
    with (
        zipfile.ZipFile(stream, "w") as archive,
        zipfile.ZipFile(io.BytesIO(content)) as whole,
        zipfile.ZipFile(io.BytesIO(other)) as cut,
    ):
        archive.writestr("name/data.pkl", whole.read("name/data.pkl"))
        archive.writestr("name/data/0", cut.read("name/data/0"))
    with pytest.raises(WeightsMissingError, match="cannot be read as a checkpoint"):
        read_tensors(stream.getvalue(), "x.pt")
