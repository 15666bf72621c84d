"""The plan step of a run: check what is there, name what results depend on, cut the set up."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from snakefold import engines, recipes, weights
from snakefold.config import Config
from snakefold.engines.alphafold2.models import needed_models
from snakefold.msa import databases, search
from snakefold.plan.planner import make_plan
from snakefold.provenance import write_provenance
from snakefold.requests import engine_settings
from snakefold.store import Store, write_atomically

Log = Callable[[str], None]

#: Part of every recipe: raised when the files of a finished target change their meaning.
_LAYOUT = 1


def plan_run(config: Config, folder: Path, log: Log) -> None:
    """Check databases and parameters, read the input, and write the plan into `folder`.

    Raises:
        DatabaseMissingError, WeightsMissingError, InputError: before anything is computed.
    """
    preset = databases.load_preset(config.msa.db_preset, config.msa.db_root)
    databases.check(preset, config.msa)
    msa_recipe = search.recipe(config.msa, preset)
    engine = engines.get(config.engine)
    parameters = _parameters(config)
    settings = engine_settings(config, parameters.rehearsal)
    recipe = {
        "layout": _LAYOUT,
        "engine": engine.recipe(
            (settings if config.engine == "alphafold2" else config.flashabb).model_dump(mode="json"),
            parameters.folder,
        ),
        "relax": config.relax.model_dump(mode="json", exclude={"use_gpu_relax"}),
        "msa": msa_recipe,
        "rehearsal": parameters.rehearsal,
    }
    plan = make_plan(
        config,
        folder,
        recipe=recipes.digest(recipe),
        msa_recipe=recipes.digest(msa_recipe),
        rehearsal=parameters.rehearsal,
        store=Store(Path(config.store)),
        check=engine.check,
    )
    chosen = {"folder": str(parameters.folder or ""), "rehearsal": parameters.rehearsal}
    write_atomically(folder / "weights.json", (json.dumps(chosen, indent=1) + "\n").encode())
    write_provenance(folder.parent / "provenance.json", config, recipe)
    log(str(plan))
    if parameters.rehearsal:
        log("REHEARSAL: no model parameters were found, random ones are used. The structures mean nothing.")
        log("`snakefold weights fetch FOLDER` gets the official ones; then set `weights: FOLDER`.")


@dataclass(frozen=True)
class _Parameters:
    folder: Path | None
    rehearsal: bool


def _parameters(config: Config) -> _Parameters:
    """Where the engine's parameters are; an engine that brings its own needs no folder."""
    if config.engine != "alphafold2":
        return _Parameters(None, rehearsal=False)
    official, rehearsed = (
        needed_models(engine_settings(config, rehearsal), monomers=True, multimers=True)
        for rehearsal in (False, True)
    )
    found = weights.locate(config.weights, config.rehearsal, official, rehearsed)
    return _Parameters(found.folder, found.rehearsal)
