"""Model parameters: where they are, whether they are whole, and how to get them.

A weights folder holds `params/params_<model>.npz`, as AlphaFold and ColabFold lay it out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snakefold.engines.alphafold2 import rehearsal as rehearsal_parameters
from snakefold.engines.alphafold2.models import (
    FURTHER,
    MODEL_NUMBERS,
    all_models,
    every_model,
    model_name,
    models_of,
    parse_name,
)
from snakefold.engines.alphafold2.parameters import (
    count_blocks,
    file_name,
    how_to_get,
    parameters_file,
    parameters_folder,
    read_rehearsal_mark,
)
from snakefold.engines.alphafold2.settings import OFFICIAL_BLOCKS, ModelPreset, RehearsalSettings
from snakefold.engines.alphafold2.weights_archive import fetch
from snakefold.engines.alphafold2.weights_whole import ensure_whole, problem
from snakefold.engines.weights_folder import ENVIRONMENT, meant_folder
from snakefold.kernel.errors import WeightsMissingError
from snakefold.kernel.recipes import file_fingerprint
from snakefold.kernel.wording import count

__all__ = [
    "ENVIRONMENT",
    "ModelState",
    "Weights",
    "check",
    "draw_rehearsal",
    "fetch",
    "find",
    "identity",
    "locate",
    "report_check",
]


@dataclass(frozen=True)
class Weights:
    """A weights folder. `rehearsal`: its parameters are random, with `blocks` Evoformer blocks."""

    folder: Path
    rehearsal: bool
    blocks: int = OFFICIAL_BLOCKS


@dataclass(frozen=True)
class ModelState:
    """One model in a weights folder. `state`: whole, missing, damaged or rehearsal."""

    name: str
    state: str
    bytes: int = 0
    problem: str = ""


def locate(
    setting: str,
    rehearsal: RehearsalSettings,
    needed: Sequence[str],
    drawn: Sequence[str] | None = None,
    cache: Path = Path(".snakefold"),
) -> Weights:
    """Find parameters for the models `needed`.

    Args:
        setting: a folder; `auto` for $SNAKEFOLD_WEIGHTS, then the user's data folder, then random parameters;
            `rehearsal` for random parameters whatever is there.
        rehearsal: how random parameters are drawn.
        needed: AlphaFold's names of models.
        drawn: the models that a rehearsal runs, if they are others.
        cache: random parameters are kept in `cache/rehearsal-<blocks>-blocks`.

    Raises:
        WeightsMissingError: the folder named lacks a model, or the user's data folder holds some but not
            all: random parameters never stand in for official ones that were meant to be there. Or a file is
            damaged, or holds something else.
    """
    found = find(setting, needed)
    return draw_for(rehearsal.blocks, needed if drawn is None else drawn, cache) if found is None else found


def draw_for(blocks: int, models: Sequence[str], cache: Path) -> Weights:
    """Random parameters of these models in `cache/rehearsal-<blocks>-blocks`."""
    folder = cache / f"rehearsal-{blocks}-blocks"
    rehearsal_parameters.draw(folder, models, blocks)
    return Weights(folder, rehearsal=True, blocks=blocks)


def find(setting: str, needed: Sequence[str], *, whole: bool = True) -> Weights | None:
    """The parameters that `locate` takes; None where it would draw random ones. Raises what it raises.

    Args:
        whole: see that the files hold what their names say (`weights_whole`); who loads them at once sees it.
    """

    # Who has official parameters and asks for others lacks these, and does not mean random ones.
    further = any(parse_name(name)[0] in FURTHER for name in needed)
    meant_by = every_model() if further else needed

    def some(folder: Path) -> bool:
        return any(parameters_file(folder, name).is_file() for name in meant_by)

    meant = meant_folder(setting, some)
    if meant is None:
        return None
    folder, source = meant
    found = _existing(folder, needed, source)
    if whole:
        ensure_whole(folder, needed)
    return found


def draw_rehearsal(
    folder: Path,
    *,
    models: Iterable[int] = MODEL_NUMBERS,
    blocks: int = OFFICIAL_BLOCKS,
    log: Callable[[str], object] | None = None,
) -> list[Path]:
    """Draw random parameters of these models for one chain (monomer_ptm) and for complexes (multimer)."""
    presets = (ModelPreset.MONOMER_PTM, ModelPreset.MULTIMER)
    names = [model_name(preset, number) for preset in presets for number in sorted(set(models))]
    paths = rehearsal_parameters.draw(folder, names, blocks)
    if log is not None:
        log(f"REHEARSAL: {count(len(paths), 'file')} of random parameters in {parameters_folder(folder)}")
    return paths


def identity(folder: Path, models: Iterable[str]) -> dict[str, Any]:
    """What identifies the parameters of `models` in a recipe; models that are not there are left out.

    Random parameters are named by what they are drawn from, so that every machine that draws them agrees.

    Raises:
        WeightsMissingError: none of the models is there, a file is damaged, or official and random files are
            mixed.
    """
    files = {name: parameters_file(folder, name) for name in models}
    present = {name: path for name, path in files.items() if path.is_file()}
    if not present:
        raise WeightsMissingError(
            f"{parameters_folder(folder)}: has none of {', '.join(files)}. {how_to_get(folder, *files)}"
        )
    marks = {name: read_rehearsal_mark(path) for name, path in present.items()}
    random = [mark for mark in marks.values() if mark is not None]
    if not random:
        return {name: file_fingerprint(path) for name, path in present.items()}
    if len(random) < len(marks) or any(mark != random[0] for mark in random):
        raise WeightsMissingError(
            f"{parameters_folder(folder)}: mixes random and other parameters. Keep them in separate folders."
        )
    return {"rehearsal": True, **random[0]}


def check(folder: Path, models: Iterable[str]) -> list[ModelState]:
    """Read every file of `models` through (zip checksums) and compare it with what the network expects.

    A monomer model's file takes a few CPU-seconds. Nothing is raised: every problem is a `ModelState`.
    """
    return [_check_model(folder, name) for name in models]


def report_check(folder: Path, log: Callable[[str], object], models: Iterable[str] | None = None) -> int:
    """Check a folder and log a line a model. Without `models`, complete sets are asked for, not all of them.

    Returns:
        0 if everything found is whole and at least one preset has all five models (or is a rehearsal), else
        1.
    """
    states = check(folder, list(models) if models is not None else _looked_for(folder))
    for state in states:
        log(f"{state.state:<9} {file_name(state.name)} {state.problem}".rstrip())
    if models is not None:
        return int(any(state.state in ("missing", "damaged") for state in states))
    by_preset: dict[ModelPreset, list[str]] = {}
    for state in states:
        by_preset.setdefault(parse_name(state.name)[0], []).append(state.state)
    usable = any("missing" not in found or "rehearsal" in found for found in by_preset.values())
    return int(not usable or any(state.state == "damaged" for state in states))


def _looked_for(folder: Path) -> list[str]:
    """The official models, and those of further parameters that a folder has some of."""
    there = {
        preset
        for preset in FURTHER
        if any(parameters_file(folder, name).is_file() for name in models_of(preset))
    }
    return [*all_models(), *(name for preset in FURTHER if preset in there for name in models_of(preset))]


def _check_model(folder: Path, name: str) -> ModelState:
    path = parameters_file(folder, name)
    if not path.is_file():
        return ModelState(name, "missing", problem=f"{path} is not there. {how_to_get(folder, name)}")
    size = path.stat().st_size
    if fault := problem(path, name):
        return ModelState(name, "damaged", size, f"{path}: {fault}. {how_to_get(folder, name)}")
    if read_rehearsal_mark(path) is not None:
        blocks = count_blocks(path)
        return ModelState(name, "rehearsal", size, f"{path}: random parameters, {blocks} Evoformer blocks.")
    return ModelState(name, "whole", size)


def _existing(folder: Path, needed: Sequence[str], source: str) -> Weights:
    missing = [name for name in needed if not parameters_file(folder, name).is_file()]
    if missing:
        files = ", ".join(map(file_name, missing))
        raise WeightsMissingError(
            f"{parameters_folder(folder)} (from {source}) lacks {files}. {how_to_get(folder, *missing)}"
        )
    found = identity(folder, needed)
    if found.get("rehearsal") is True:
        return Weights(folder, rehearsal=True, blocks=found["blocks"])
    return Weights(folder, rehearsal=False)
