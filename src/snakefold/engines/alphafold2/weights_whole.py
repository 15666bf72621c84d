"""Whether parameter files are whole: read through once, and remembered as long as a file stays the same.

Another zip file, a file that was cut and one with a flipped bit look like parameters from outside. Reading a
monomer model's file takes a second.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from snakefold.engines.alphafold2.layout import expected_shapes
from snakefold.engines.alphafold2.parameters import (
    evoformer_blocks,
    how_to_get,
    parameters_file,
    read_rehearsal_mark,
)
from snakefold.engines.alphafold2.settings import OFFICIAL_BLOCKS
from snakefold.kernel.errors import WeightsMissingError
from snakefold.kernel.names import shown
from snakefold.kernel.store import write_atomically

#: Raised when more is checked, so that files are looked at again.
_VERSION = 1
_DTYPE = "float32"

#: Arrays of a file: shape and type by name.
_Arrays = dict[str, tuple[tuple[int, ...], str]]
_known: set[str] = set()


def ensure_whole(folder: Path, models: Iterable[str]) -> None:
    """See that the files of `models` hold what their names say.

    Raises:
        WeightsMissingError: names the first file that does not, and what is wrong with it.
    """
    for name in models:
        ensure_whole_file(parameters_file(folder, name), name, how_to_get(folder, name))


def ensure_whole_file(path: Path, name: str, advice: str) -> None:
    """See that a file holds the arrays of AlphaFold's model `name`.

    Args:
        advice: what to do where it does not, in a sentence.

    Raises:
        WeightsMissingError: it does not; the text says what is wrong with it.
    """
    identity = _identity(path, name)
    if identity in _known or _remembered(identity):
        _known.add(identity)
        return
    if fault := problem(path, name, drawn_shapes=False):
        raise WeightsMissingError(f"{path}: {fault}. {advice}")
    _known.add(identity)
    _remember(identity, path, name)


def problem(path: Path, name: str, *, drawn_shapes: bool = True) -> str:
    """What is wrong with the file of model `name`; empty if it is whole. Every byte is read.

    Args:
        drawn_shapes: also compare the shapes of random parameters, which were drawn by what they would be
            compared with.
    """
    try:
        if damage := zip_problem(path):
            return f"the file is damaged ({shown(damage)})"
        arrays = _headers(path)
        random = read_rehearsal_mark(path) is not None
        return "" if random and not drawn_shapes else _difference(arrays, name, random=random)
    except (WeightsMissingError, zipfile.BadZipFile, zlib.error, OSError, ValueError, EOFError) as error:
        return f"the file cannot be read ({shown(str(error))})"


def zip_problem(path: Path) -> str:
    """What is wrong with an npz as a zip file: every array read and compared with its checksum; or
    nothing."""
    try:
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
    except (zipfile.BadZipFile, EOFError, zlib.error) as error:
        return str(error)
    return f"{bad} does not match its checksum" if bad else ""


def _difference(arrays: _Arrays, name: str, *, random: bool) -> str:
    blocks = evoformer_blocks({key: shape for key, (shape, _) in arrays.items()})
    if blocks is None:
        first = f", the first is {shown(min(arrays), 60)!r}" if arrays else ""
        return f"this is no AlphaFold2 parameter file: it holds {len(arrays)} other arrays{first}"
    if blocks != OFFICIAL_BLOCKS and not random:
        return f"{blocks} Evoformer blocks, expected {OFFICIAL_BLOCKS}"
    have = _normal({key: shape for key, (shape, _) in arrays.items()})
    want = _normal(expected_shapes(name, blocks))
    missing = sorted(set(want) - set(have))
    if missing:
        lacking = f"{len(missing)} of {len(want)} arrays are missing, first {missing[0]}"
        return f"these are not the parameters of {name}: {lacking}"
    wrong = sorted(key for key in set(want) & set(have) if want[key] != have[key])
    if wrong:
        return f"{wrong[0]} has shape {have[wrong[0]]}, expected {want[wrong[0]]}"
    other = sorted(key for key, (_, dtype) in arrays.items() if dtype != _DTYPE)
    return f"{shown(other[0])} is {shown(arrays[other[0]][1], 40)}, expected {_DTYPE}" if other else ""


def _normal(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Triangle multiplications come with separate or with fused projections; both are whole."""
    import numpy as np
    from alphafold.model import utils

    flat = {key: np.empty(shape, np.bool_) for key, shape in shapes.items()}
    nested = utils.flat_params_to_haiku(flat, fuse=True, to_jnp=False)
    return {f"{scope}//{key}": leaf.shape for scope, leaves in nested.items() for key, leaf in leaves.items()}


def _headers(path: Path) -> _Arrays:
    """Shapes and types as the headers of the arrays say them."""
    from numpy.lib import format as npy

    readers: dict[tuple[int, int], Any] = {
        (1, 0): npy.read_array_header_1_0,
        (2, 0): npy.read_array_header_2_0,
    }
    found: _Arrays = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            with archive.open(member) as stream:
                version = npy.read_magic(stream)
                if version not in readers:
                    raise ValueError(f"{member.filename} has an unknown version of the npy format")
                shape, _, dtype = readers[version](stream)
            found[member.filename.removesuffix(".npy")] = (shape, str(dtype))
    return found


def _identity(path: Path, name: str) -> str:
    status = path.stat()
    facts = [_VERSION, str(path.resolve()), name, status.st_ino, status.st_size]
    text = json.dumps([*facts, status.st_mtime_ns, status.st_ctime_ns])
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _folders() -> list[Path]:
    """Where to remember: the user's cache folder, or, where that cannot be written, a temporary one."""
    from platformdirs import user_cache_path

    folders = [Path(tempfile.gettempdir()) / f"snakefold-{os.getuid()}"]
    with contextlib.suppress(RuntimeError):  # neither HOME nor an entry of the user
        folders.insert(0, user_cache_path("snakefold", appauthor=False))
    return [folder / "weights" for folder in folders]


def _remembered(identity: str) -> bool:
    for folder in _folders():
        with contextlib.suppress(OSError):
            if (folder / f"{identity}.json").stat().st_uid == os.getuid():
                return True
    return False


def _remember(identity: str, path: Path, name: str) -> None:
    """Note a whole file. Where nothing can be written, it is read again in the next process."""
    text = json.dumps({"file": str(path.resolve()), "model": name, "whole": True}) + "\n"
    for folder in _folders():
        with contextlib.suppress(OSError):
            write_atomically(folder / f"{identity}.json", text.encode())
            return
