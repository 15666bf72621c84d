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
from snakefold.msa.databases import presets as databases
from snakefold.plan.demo import hold_to_purpose
from snakefold.plan.executors import Executor
from snakefold.plan.groups import Group
from snakefold.plan.quote.model import Quote
from snakefold.plan.recipes import Recipes
from snakefold.plan.records import Records
from snakefold.plan.run import (
    Log,
    aligns,
    find_parameters,
    named,
    pairs,
    present,
    quoted_draft,
    recipes_of,
    recipes_of_searches,
)
from snakefold.plan.tables import write_plan

#: Names results that nothing is known of: the store has none under this name.
_UNKNOWN = "0" * 16


def preview(config: Config, folder: Path, log: Log, executor: Executor | None = None) -> Quote:
    """Plan and price a run, and write the plan and quote.json into `folder`, which no run reads.

    Databases and model parameters may be missing here, and then are priced by their published sizes. What
    depends on them cannot be looked up in the store, and is counted as still to do.

    Args:
        executor: what the run's jobs would go to; None: this machine.

    Raises:
        InputError, ConfigError, InfeasibleError, CarryError, BudgetError, DeadlineError: as the plan step of
            a run.
    """
    about = hold_to_purpose(config, executor or Executor())
    warnings: list[str] = []

    def name(records: Records) -> Recipes:
        warnings[:] = about  # a plan without limits asks again
        pairing = pairs(records)
        preset = databases.load_preset(config.msa.db_preset, config.msa.db_root)
        kinds = records.kinds
        found = _parameters(config, records, warnings)
        unknown = [_UNKNOWN] * len(kinds)
        rehearsals = [_is_random(config, found, kind) for kind in kinds]
        templates = None if config.msa.templates == "none" else _UNKNOWN
        nothing = Recipes(unknown, _UNKNOWN, _UNKNOWN, rehearsals, templates=templates)
        if not aligns(records):
            return nothing if found is None else _named(config, preset, found, records, pairing=pairing)
        try:
            databases.check(preset, config.msa, pairing=pairing)
        except DatabaseMissingError as error:
            first = str(error).splitlines()[0]
            warnings.append(f"The store was not consulted: databases are missing here. {first[:-1]}.")
            return nothing
        if found is not None:
            return _named(config, preset, found, records, pairing=pairing)
        searches = recipes_of_searches(config.msa, preset, pairing=pairing)
        # Alignments depend on no parameters.
        digests: dict[str, Any] = {name: recipes.digest(recipe) for name, recipe in searches.items()}
        return replace(nothing, **digests)

    draft, quote = quoted_draft(config, folder, name, log, warnings=warnings, executor=executor)
    write_plan(folder, draft)
    return quote


def _named(
    config: Config,
    preset: databases.Preset,
    found: Mapping[str, Parameters],
    records: Records,
    *,
    pairing: bool,
) -> Recipes:
    made_with = recipes_of(config, preset, found, records.kinds, present(records), pairing=pairing)
    return named(made_with, records.kinds, found)


def _is_random(config: Config, found: Mapping[str, Parameters] | None, kind: Group) -> bool:
    """Whether the run would be a rehearsal, where that is known or asked for."""
    if found is not None and kind.engine.name in found:
        return found[kind.engine.name].rehearsal
    return config.weights == "rehearsal"


def _parameters(config: Config, records: Records, warnings: list[str]) -> dict[str, Parameters] | None:
    """The parameters that a run would take, by engine; None if some are not here."""
    try:
        found = find_parameters(config, records, draw=False)
    except WeightsMissingError as error:
        warnings.append(f"Results were not looked up in the store: {error}")
        return None
    wanted = {records.kinds[group].engine.name for group in present(records)}
    if wanted <= set(found):
        return found
    if config.weights != "rehearsal":
        warnings.append(
            "No model parameters are here, so results were not looked up in the store. This is the price "
            "with official parameters. Started now, `snakefold run` would be a REHEARSAL "
            "(--set weights=rehearsal gives its price)."
        )
    return None
