"""OpenFold's checkpoints as AlphaFold2's parameter files. PyTorch is not needed.

Matrices are transposed, heads get a dimension of their own, blocks are stacked; no number changes.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snakefold.engines.alphafold2.layout import Shapes, expected_shapes
from snakefold.engines.alphafold2.parameters import read_rehearsal_mark, rehearsal_mark
from snakefold.engines.alphafold2.settings import OFFICIAL_BLOCKS
from snakefold.engines.checkpoint import Tensor, read_content, tensors_of
from snakefold.engines.openfold import names
from snakefold.engines.openfold.kinds import Kind
from snakefold.engines.spec import Log
from snakefold.kernel.errors import WeightsMissingError
from snakefold.kernel.names import shown
from snakefold.kernel.store.atomic import replacing

_EXPECTED = "Expected a checkpoint of OpenFold's monomer network, such as finetuning_ptm_2.pt."
#: Where a checkpoint of a training has its parameters: averages over steps, as published files have, first.
_PLACES = (("ema", "params"), ("state_dict",), ("module",))


@dataclass(frozen=True)
class Checkpoint:
    """Parameters of OpenFold's monomer network, complete.

    Attributes:
        path: of the file, for errors.
        tensors: by their names in OpenFold's release 2.
        shapes: of AlphaFold2's arrays.
        mark: what random parameters were drawn from; None: they are no random ones.
    """

    path: Path
    tensors: Mapping[str, Tensor]
    kind: Kind
    blocks: int
    shapes: Shapes
    mark: dict[str, Any] | None

    def arrays(self) -> Iterator[tuple[str, NDArray[np.float32]]]:
        """AlphaFold2's arrays, one after the other.

        Raises:
            WeightsMissingError: a tensor has another shape.
        """
        for array, shape in self.shapes.items():
            origin = names.origin(array)
            inner = shape[1:] if origin.stacked else shape
            parts = [self._part(name, inner) for name in origin.names(shape[0])]
            yield array, np.stack(parts) if origin.stacked else np.ascontiguousarray(parts[0])

    def _part(self, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        # Linear layers are [out, in] in PyTorch. In AlphaFold2 either side may be split into heads.
        tensor = self.tensors[name].T
        sides = {(shape[0], math.prod(shape[1:])), (math.prod(shape[:-1]), shape[-1])}
        if tensor.shape not in (sides if tensor.ndim == 2 else {(math.prod(shape),)}):
            raise WeightsMissingError(
                f"{self.path}: {name} has shape {self.tensors[name].shape}, which does not give AlphaFold2's "
                f"{shape}. {_EXPECTED}"
            )
        return tensor.reshape(shape)


def read(path: Path) -> Checkpoint:
    """A checkpoint: published files, those of training (`ema`), and names of releases 1 and 2.

    Raises:
        WeightsMissingError: it is none, or of another network; the text says what is missing.
    """
    if not path.is_file():
        raise WeightsMissingError(f"{path}: there is no such file. {_EXPECTED}")
    try:
        content = _parameters(read_content(path, str(path)))
        given = tensors_of(content, str(path))
        mark = read_rehearsal_mark(path)
    except WeightsMissingError as error:
        raise WeightsMissingError(f"{error} {_EXPECTED}") from error
    tensors = {names.current(name): tensor for name, tensor in given.items()}
    numbers = [
        name.removeprefix(names.EVOFORMER).split(".")[0]
        for name in tensors
        if name.startswith(names.EVOFORMER)
    ]
    blocks = len(set(numbers))
    kind = Kind(
        templates=any(name.startswith(names.TEMPLATES) for name in tensors),
        pae=any(name.startswith(names.PTM) for name in tensors),
    )
    shapes = expected_shapes(kind.layout, max(1, blocks))
    _compare(path, shapes, tensors)
    if blocks != OFFICIAL_BLOCKS and mark is None:
        raise WeightsMissingError(
            f"{path}: has {blocks} Evoformer blocks, and OpenFold's network {OFFICIAL_BLOCKS}. {_EXPECTED}"
        )
    return Checkpoint(path, tensors, kind, blocks, shapes, mark)


def write(checkpoint: Checkpoint, path: Path, log: Log) -> None:
    """Write AlphaFold2's npz. A file that has these parameters already stays as it is.

    Raises:
        WeightsMissingError: the file exists and has others, or a tensor has another shape.
    """
    if path.exists():
        if not _has(path, checkpoint):
            raise WeightsMissingError(
                f"{path}: holds other parameters, which are not overwritten. Remove the file, or name "
                "another one with --out."
            )
        log(f"{path}: has the parameters of {checkpoint.path} already")
        return
    with replacing(path) as stream, zipfile.ZipFile(stream, "w") as archive:
        for name, array in checkpoint.arrays():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
        if checkpoint.mark is not None:
            archive.comment = rehearsal_mark(checkpoint.mark)
    size = path.stat().st_size
    log(f"{path}: {len(checkpoint.shapes)} arrays, {size / 1e6:.0f} MB, from {checkpoint.path}")


def _parameters(content: object) -> object:
    for place in _PLACES:
        found: object = content
        for key in place:
            found = found.get(key) if isinstance(found, Mapping) else None
        if isinstance(found, Mapping):
            return found
    return content


def _compare(path: Path, shapes: Shapes, tensors: Mapping[str, Tensor]) -> None:
    wanted = [name for array, shape in shapes.items() for name in names.origin(array).names(shape[0])]
    missing = [name for name in wanted if name not in tensors]
    if missing:
        raise WeightsMissingError(
            f"{path}: lacks {len(missing)} of {len(wanted)} tensors, first {missing[0]}. {_EXPECTED}"
        )
    other = sorted(set(tensors) - set(wanted) - names.CONSTANTS)
    if other:
        raise WeightsMissingError(
            f"{path}: has {len(other)} tensors of another network, first {shown(other[0], 100)!r}. "
            f"{_EXPECTED}"
        )


def _has(path: Path, checkpoint: Checkpoint) -> bool:
    try:
        if read_rehearsal_mark(path) != checkpoint.mark:
            return False
        with np.load(path, allow_pickle=False) as there:
            return set(there.files) == set(checkpoint.shapes) and all(
                np.array_equal(there[name], array) for name, array in checkpoint.arrays()
            )
    except (WeightsMissingError, zipfile.BadZipFile, OSError, ValueError, EOFError):
        return False
