"""A plan and its price before there is anything to run it with: nothing is started, searched or drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from snakefold.config import Config
from snakefold.engines.spec import Parameters
from snakefold.kernel import recipes
from snakefold.kernel.errors import DatabaseMissingError, WeightsMissingError
from snakefold.kernel.wording import listed
from snakefold.msa.databases import presets as databases
from snakefold.plan.demo import hold_to_purpose
from snakefold.plan.executors import Executor
from snakefold.plan.forecast import forecast
from snakefold.plan.groups import Group
from snakefold.plan.needed import find_parameters, present
from snakefold.plan.preflight import check_comparisons, check_weights_folder
from snakefold.plan.present import UNKNOWN, Recipes
from snakefold.plan.quote.model import Quote
from snakefold.plan.records import Records
from snakefold.plan.run import (
    Log,
    aligns,
    caveats,
    named,
    pairs,
    quoted_draft,
    recipes_of,
    recipes_of_searches,
)
from snakefold.plan.tables import write_plan


def preview(
    config: Config, folder: Path, log: Log, executor: Executor | None = None, *, strict: bool = False
) -> Quote:
    """Plan and price a run, and write the plan and quote.json into `folder`, which no run reads.

    Databases and model parameters may be missing here, and then are priced by their published sizes. What
    depends on them cannot be looked up in the store, and is counted as still to do.

    Args:
        executor: what the run's jobs would go to; None: this machine.
        strict: a database or a parameter that is missing is an error.

    Raises:
        InputError, ConfigError, InfeasibleError, CarryError, BudgetError, DeadlineError: as the plan step of
            a run.
        WeightsMissingError: `weights` names a folder that is not there, or, if `strict`, lacks some.
        DatabaseMissingError: of a `strict` one, or `design.novelty` is none.
    """
    check_weights_folder(config)
    check_comparisons(config)
    about = hold_to_purpose(config, executor or Executor())
    warnings: list[str] = []

    def name(records: Records) -> Recipes:
        warnings[:] = about  # a plan without limits asks again
        pairing = pairs(records)
        preset = databases.load_preset(config.msa.db_preset, config.msa.db_root)
        kinds = records.kinds
        found: Mapping[str, Parameters] = (
            find_parameters(config, records, draw=False) if strict else _parameters(config, records, warnings)
        )
        searched = aligns(records)
        if searched:
            try:
                databases.check(preset, config.msa, pairing=pairing)
            except DatabaseMissingError as error:
                if strict:
                    raise
                first = str(error).splitlines()[0]
                warnings.append(f"The store was not consulted: databases are missing here. {first[:-1]}.")
                searched = False
        known = {
            number
            for number in present(records)
            if kinds[number].engine.name in found and (searched or not kinds[number].needs.alignment)
        }
        made = named(recipes_of(config, preset, found, kinds, known, pairing=pairing), kinds, found)
        digests: dict[str, Any] = {}
        if searched:  # alignments depend on no parameters
            searches = recipes_of_searches(config.msa, preset, pairing=pairing)
            digests = {name: recipes.digest(recipe) for name, recipe in searches.items()}
        elif aligns(records):
            templates = None if config.msa.templates == "none" else UNKNOWN
            digests = {"msa": UNKNOWN, "paired_msa": UNKNOWN, "templates": templates}
        rehearsals = [_is_random(config, found, kind) for kind in kinds]
        random = {kind.engine.name for kind, mark in zip(kinds, rehearsals, strict=True) if mark}
        warnings.extend(caveats(config, records, random))
        looked_up = kinds.with_parts(known)
        folds = [made.folds[number] if number in looked_up else UNKNOWN for number in range(len(kinds))]
        return replace(made, folds=folds, rehearsals=rehearsals, **digests)

    draft, quote = quoted_draft(config, folder, name, log, warnings=warnings, executor=executor)
    if config.designs:
        forecast(config, draft, quote, folder, log=log, executor=executor)
    write_plan(folder, draft)
    return quote


def _is_random(config: Config, found: Mapping[str, Parameters], kind: Group) -> bool:
    """Whether the run would be a rehearsal, where that is known or asked for."""
    known = found.get(kind.engine.name)
    return config.weights == "rehearsal" if known is None else known.rehearsal


def _parameters(config: Config, records: Records, warnings: list[str]) -> Mapping[str, Parameters]:
    """The parameters that a run would take, of the engines whose parameters are here."""
    try:
        found = find_parameters(config, records, draw=False)
    except WeightsMissingError as error:
        warnings.append(f"Results were not looked up in the store: {error}")
        return {}
    wanted = dict.fromkeys(records.kinds[group].engine.name for group in sorted(present(records)))
    missing = [name for name in wanted if name not in found]
    if not missing:
        return found
    of_some = f" of {listed(missing)}" if found else ""
    if config.weights == "rehearsal":
        warnings.append(
            f"Results{of_some} were not looked up in the store: their random parameters are drawn by the run."
        )
    else:
        warnings.append(
            f"No model parameters{of_some} are here, so results were not looked up in the store. This is the "
            "price with official parameters. Started now, `snakefold run` would be a REHEARSAL "
            "(--set weights=rehearsal gives its price)."
        )
    return found
