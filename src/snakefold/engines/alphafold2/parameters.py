"""Parameter files: `params_<model>.npz` in AlphaFold's layout (`scope//name` → float32 array).

Parameters drawn at random carry the mark REHEARSAL in the npz's own zip comment. It stays with the file when
the file is copied or renamed, and readers of npz do not see it.
"""

from __future__ import annotations

import json
import shlex
import zipfile
import zlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from snakefold.engines.alphafold2.models import FURTHER, parse_name
from snakefold.engines.alphafold2.settings import ModelPreset
from snakefold.kernel.errors import WeightsMissingError
from snakefold.kernel.names import shown

_MARK = "REHEARSAL "
_COUNTED = "alphafold/alphafold_iteration/evoformer/evoformer_iteration/outer_product_mean//output_b"
TEMPLATE_SCOPE = "alphafold/alphafold_iteration/evoformer/template"


def parameters_folder(weights: Path) -> Path:
    """Where the npz files are: `<weights>/params`, or the folder itself if it holds them."""
    inner = weights / "params"
    return weights if not inner.is_dir() and model_files(weights) else inner


def model_files(folder: Path) -> list[Path]:
    """All files of parameters in a folder."""
    return sorted([*folder.glob("params_*.npz"), *folder.glob("deepfold_model_*.npz")])


def how_to_get(weights: Path, *models: str) -> str:
    """How the parameters of models (if none is named: the official ones) get into a folder, in a sentence."""
    presets = sorted({preset for name in models for preset in [parse_name(name)[0]] if preset in FURTHER})
    folder = shlex.quote(str(weights))
    if not presets:
        return f"Get the official parameters with: snakefold weights fetch alphafold2 {folder}"
    commands = " and ".join(f"snakefold weights fetch {preset} {folder}" for preset in presets)
    return f"Get these parameters with: {commands}"


def file_name(name: str) -> str:
    """What a model's file is called: as by AlphaFold, or by ColabFold, which distributes DeepFold's."""
    return f"{name}.npz" if parse_name(name)[0] is ModelPreset.DEEPFOLD else f"params_{name}.npz"


def parameters_file(weights: Path, name: str) -> Path:
    """The file of a model."""
    return parameters_folder(weights) / file_name(name)


def rehearsal_mark(recipe: dict[str, Any]) -> bytes:
    """Zip comment of random parameters: `recipe` is what they were drawn from."""
    return (_MARK + json.dumps(recipe)).encode()


def read_rehearsal_mark(
    path: Path,
    what: str = "AlphaFold2 parameters (npz)",
    advice: str = "Fetch them again: snakefold weights fetch.",
) -> dict[str, Any] | None:
    """The recipe that `rehearsal_mark` wrote, or None for a file without it.

    Args:
        what: the file should be, and `advice` where it is none, for the error.

    Raises:
        WeightsMissingError: the file is no zip file, as npz and checkpoints are.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            comment = archive.comment.decode("utf-8", "replace")
    except (zipfile.BadZipFile, OSError) as error:
        raise WeightsMissingError(
            f"{path}: expected {what}, found a damaged file ({error}). {advice}"
        ) from error
    return json.loads(comment.removeprefix(_MARK)) if comment.startswith(_MARK) else None


def evoformer_blocks(shapes: Mapping[str, tuple[int, ...]]) -> int | None:
    """Evoformer blocks by the shapes of a file's arrays; None if they are not AlphaFold's."""
    shape = shapes.get(_COUNTED)
    return shape[0] if shape else None


def count_blocks(path: Path) -> int:
    """Evoformer blocks of a parameter file, read from the shape of one array."""
    with np.load(path, allow_pickle=False) as arrays:
        return int(arrays[_COUNTED].shape[0])


def load(weights: Path, name: str, *, templates: bool) -> Any:
    """Parameters of a model, as Haiku takes them, on the device.

    Monomer models 1 and 2 without templates drop what reads templates: then all five models have the same
    structure and one compiled program.
    """
    drop = not templates and not parse_name(name)[0].multimer
    return load_file(parameters_file(weights, name), drop_templates=drop, advice=how_to_get(weights, name))


def load_file(path: Path, *, drop_templates: bool, advice: str) -> Any:
    """Parameters in a file, as Haiku takes them, on the device.

    Args:
        drop_templates: leave out the arrays that read templates.
        advice: what to do where the file is missing or damaged, in a sentence.

    Raises:
        WeightsMissingError: it is.
    """
    if not path.is_file():
        raise WeightsMissingError(f"{path}: missing. {advice}")
    status = path.stat()
    version = status.st_size, status.st_mtime_ns, status.st_ctime_ns
    try:
        return _loaded(path.resolve(), version, drop_templates)
    except (zipfile.BadZipFile, zlib.error, OSError, ValueError, EOFError) as error:
        raise WeightsMissingError(f"{path}: the file is damaged ({shown(str(error))}). {advice}") from error


@lru_cache(maxsize=5)
def _loaded(path: Path, _version: tuple[int, int, int], drop: bool) -> Any:
    """The five models of a preset stay on the device from request to request; 370 MB each."""
    import jax
    from alphafold.model import utils

    with np.load(path, allow_pickle=False) as arrays:
        flat = {key: arrays[key] for key in arrays.files if not (drop and key.startswith(TEMPLATE_SCOPE))}
    return jax.device_put(utils.flat_params_to_haiku(flat, fuse=True, to_jnp=False))
