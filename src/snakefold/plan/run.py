"""The plan step of a run: check what is there, name what results depend on, cut the set up."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snakefold import engines, recipes, weights
from snakefold.config import Config
from snakefold.contracts import TargetInput
from snakefold.engines.alphafold2.models import needed_models, preset_for
from snakefold.msa import databases, search
from snakefold.plan.planner import Recipes, make_plan
from snakefold.provenance import write_provenance
from snakefold.requests import engine_settings, relax_settings
from snakefold.store import open_store, write_atomically

Log = Callable[[str], None]

#: Part of every recipe: raised when the files of a finished target change their meaning.
_LAYOUT = 1


def plan_run(config: Config, folder: Path, log: Log) -> None:
    """Check databases and parameters, read the input, and write the plan into `folder`.

    Raises:
        DatabaseMissingError, WeightsMissingError, InputError: before anything is computed.
    """
    preset = databases.load_preset(config.msa.db_preset, config.msa.db_root)
    databases.check(preset, config.msa, pairing=False)
    parameters = _Parameters(None, rehearsal=False)
    made_with: dict[str, Any] = {}

    def name(targets: Sequence[TargetInput]) -> Recipes:
        nonlocal parameters
        pairing = any(len(set(target.chains)) > 1 and target.msa_sha256 is None for target in targets)
        databases.check(preset, config.msa, pairing=pairing)
        parameters = _parameters(config, targets)
        made_with.update(_recipes(config, preset, parameters, targets, pairing=pairing))
        return Recipes(
            **{each: recipes.digest(recipe) for each, recipe in made_with.items()},
            rehearsal=parameters.rehearsal,
        )

    store = open_store(config.store)
    plan = make_plan(config, folder, name=name, store=store, check=engines.get(config.engine).check)
    chosen = {"folder": str(parameters.folder or ""), "rehearsal": parameters.rehearsal}
    write_atomically(folder / "weights.json", (json.dumps(chosen, indent=1) + "\n").encode())
    write_provenance(folder.parent / "provenance.json", config, made_with)
    log(str(plan))
    if parameters.rehearsal:
        log("REHEARSAL: no model parameters were found, random ones are used. The structures mean nothing.")
        log("`snakefold weights fetch FOLDER` gets the official ones; then set `weights: FOLDER`.")


@dataclass(frozen=True)
class _Parameters:
    folder: Path | None
    rehearsal: bool


def _parameters(config: Config, targets: Sequence[TargetInput]) -> _Parameters:
    """Where the parameters of the models that these targets need are; some engines bring their own."""
    if config.engine != "alphafold2":
        return _Parameters(None, rehearsal=False)
    complexes = sum(len(target.chains) > 1 for target in targets)
    official, rehearsed = (
        needed_models(
            engine_settings(config, rehearsal),
            monomers=complexes < len(targets),
            multimers=complexes > 0,
        )
        for rehearsal in (False, True)
    )
    found = weights.locate(config.weights, config.rehearsal, official, rehearsed)
    return _Parameters(found.folder, found.rehearsal)


def _recipes(
    config: Config,
    preset: databases.Preset,
    parameters: _Parameters,
    targets: Sequence[TargetInput],
    *,
    pairing: bool,
) -> dict[str, dict[str, Any]]:
    """What results depend on, by the names of `Recipes`."""
    settings = engine_settings(config, parameters.rehearsal)
    engine = engines.get(config.engine)
    shared = {
        "layout": _LAYOUT,
        "relax": relax_settings(config, parameters.rehearsal).model_dump(
            mode="json", exclude={"use_gpu_relax"}
        ),
        "rehearsal": parameters.rehearsal,
    }
    msa = search.recipe(config.msa, preset, multimer=False)
    paired_msa = search.recipe(config.msa, preset, multimer=True) if pairing else msa

    def fold(chains: int, alignments: dict[str, Any]) -> dict[str, Any]:
        if not any((len(target.chains) > 1) == (chains > 1) for target in targets):
            return {}
        chosen = settings.model_copy(update={"model_preset": preset_for(settings.model_preset, chains)})
        fields = (chosen if config.engine == "alphafold2" else config.flashabb).model_dump(mode="json")
        return {**shared, "msa": alignments, "engine": engine.recipe(fields, parameters.folder)}

    return {
        "fold": fold(1, msa),
        "complex_fold": fold(2, paired_msa),
        "msa": msa,
        "paired_msa": paired_msa,
    }
