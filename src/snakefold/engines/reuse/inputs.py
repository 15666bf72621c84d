"""Structures that are taken, on their way to the engine `reuse`: files of `inputs.tar.zst`, and its recipe.

A target has `targets/<result key>/structure.cif` or `.pdb` (`.gz` kept), `pae.json` or `pae.npz` if there is
one, and `origin.json`: the name of the structure file and the sha256 of its bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from snakefold.engines.reuse import ENGINE
from snakefold.engines.reuse.found import Found, UnusableError, read_place
from snakefold.kernel import recipes
from snakefold.kernel.errors import SnakefoldError
from snakefold.kernel.unchanged import ADVICE, changed


def batch_recipe(found: Mapping[str, Found]) -> str:
    """Digest that names the results of a batch: they depend on the files taken, result key by result key."""
    files = {
        key: [one.sha256, one.pae.name if one.pae else "", one.pae.size if one.pae else 0]
        for key, one in found.items()
    }
    return recipes.digest({"engine": ENGINE.recipe(ENGINE.groups[0], None, None), "files": files})


def reuse_inputs(result_key: str, found: Found) -> dict[str, bytes]:
    """Files of one target for `inputs.tar.zst`.

    Raises:
        SnakefoldError: the structure is not what it was when the run was planned.
    """
    try:
        data = read_place(found.structure)
    except UnusableError as error:
        raise SnakefoldError(f"{found.structure}: {error}. {ADVICE}") from error
    if hashlib.sha256(data).hexdigest() != found.sha256:
        raise changed([f"{found.structure}"])
    folder = f"targets/{result_key}"
    origin = {"name": found.structure.name, "sha256": found.sha256}
    files = {
        f"{folder}/structure{_ending(found.structure.name)}": data,
        f"{folder}/origin.json": json.dumps(origin).encode(),
    }
    if found.pae is not None:
        size = 0 if found.pae.member else Path(found.pae.file).stat().st_size
        if size > found.pae.size:
            raise changed([f"{found.pae} has {size} bytes, not {found.pae.size}"])
        try:
            files[f"{folder}/pae{_ending(found.pae.name)}"] = read_place(found.pae)
        except UnusableError as error:
            raise SnakefoldError(f"{found.pae}: {error}. {ADVICE}") from error
    return files


def _ending(name: str) -> str:
    """`.cif.gz` of `AF-P12345-F1-model_v4.cif.gz`."""
    suffixes = PurePosixPath(name).suffixes
    return "".join(suffixes[-2:] if suffixes[-1].lower() == ".gz" else suffixes[-1:]).lower()
