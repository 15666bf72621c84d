"""A plan and its price before there is anything to run it with: nothing is started, searched or drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from snakefold.config import Config, engine_settings
from snakefold.engines.alphafold2 import weights
from snakefold.engines.alphafold2.models import needed_models
from snakefold.kernel import recipes
from snakefold.kernel.errors import DatabaseMissingError, WeightsMissingError
from snakefold.molecules.targets import Target
from snakefold.msa.databases import presets as databases
from snakefold.plan.demo import hold_to_purpose
from snakefold.plan.executors import Executor
from snakefold.plan.quote.model import Quote
from snakefold.plan.recipes import Recipes
from snakefold.plan.run import (
    Log,
    Parameters,
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

    def name(targets: Sequence[Target]) -> Recipes:
        warnings[:] = about  # a plan without limits asks again
        pairing = any(len(set(target.chains)) > 1 and target.msa is None for target in targets)
        preset = databases.load_preset(config.msa.db_preset, config.msa.db_root)
        found = _parameters(config, targets, warnings)
        rehearsal = config.weights == "rehearsal" if found is None else found.rehearsal
        named: dict[str, Any] = dict.fromkeys(("fold", "complex_fold", "msa", "paired_msa"), _UNKNOWN)
        if config.msa.templates != "none":
            named["templates"] = _UNKNOWN
        try:
            databases.check(preset, config.msa, pairing=pairing)
        except DatabaseMissingError as error:
            first = str(error).splitlines()[0]
            warnings.append(f"The store was not consulted, for databases are missing here. {first[:-1]}.")
        else:
            named |= _digests(config, preset, found, targets, pairing=pairing)
        return Recipes(**named, rehearsal=rehearsal)

    draft, quote = quoted_draft(config, folder, name, log, warnings=warnings, executor=executor)
    write_plan(folder, draft)
    return quote


def _digests(
    config: Config,
    preset: databases.Preset,
    found: Parameters | None,
    targets: Sequence[Target],
    *,
    pairing: bool,
) -> dict[str, str]:
    """Names of results, as far as they are known: alignments depend on no parameters."""
    if found is None:
        made_with = recipes_of_searches(config.msa, preset, pairing=pairing)
    else:
        made_with = recipes_of(config, preset, found, targets, pairing=pairing)
    return {name: recipes.digest(recipe) for name, recipe in made_with.items()}


def _parameters(config: Config, targets: Sequence[Target], warnings: list[str]) -> Parameters | None:
    """The parameters that a run would take; None if they are not here."""
    if config.engine != "alphafold2":
        return Parameters(None, rehearsal=False)
    complexes = sum(len(target.chains) > 1 for target in targets)
    needed = needed_models(
        engine_settings(config, rehearsal=False),
        monomers=complexes < len(targets),
        multimers=complexes > 0,
    )
    try:
        found = weights.find(config.weights, needed)
    except WeightsMissingError as error:
        warnings.append(f"Results were not looked up in the store: {error}")
        return None
    if found is not None:
        return Parameters(found.folder, found.rehearsal)
    if config.weights != "rehearsal":
        warnings.append(
            "No model parameters are here, and results were not looked up in the store. This is the price "
            "with the official ones; started now, `snakefold run` would be a REHEARSAL "
            "(--set weights=rehearsal gives its price)."
        )
    return None
