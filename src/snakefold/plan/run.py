"""The plan step of a run: check what is there, name what results depend on, cut the set up."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snakefold import engines
from snakefold.config import Config, engine_settings, relax_settings
from snakefold.engines.alphafold2 import weights
from snakefold.engines.alphafold2.models import needed_models, preset_for
from snakefold.kernel import recipes
from snakefold.kernel.errors import SnakefoldError, WeightsMissingError
from snakefold.kernel.store import open_store, write_atomically
from snakefold.molecules.targets import Target
from snakefold.msa import search, templates
from snakefold.msa.databases import presets as databases
from snakefold.msa.settings import MsaSettings
from snakefold.plan.accept import engine_check, memory_check
from snakefold.plan.assignment.assign import InfeasibleError
from snakefold.plan.cost.gpus import load_classes
from snakefold.plan.demo import hold_to_purpose
from snakefold.plan.draft import Draft
from snakefold.plan.executors import Executor, announced
from snakefold.plan.planner import draft_plan
from snakefold.plan.provenance import write_provenance
from snakefold.plan.quote.limits import check_limits
from snakefold.plan.quote.model import Quote
from snakefold.plan.quote.quote import Search, make_quote
from snakefold.plan.quote.text import quote_text
from snakefold.plan.recipes import Recipes
from snakefold.plan.tables import batch_rows, remove_tables, target_rows, write_plan

Log = Callable[[str], None]

#: Part of every recipe: raised when the files of a finished target change their meaning.
_LAYOUT = 1


def plan_run(config: Config, folder: Path, log: Log, executor: Executor | None = None) -> Quote:
    """Check databases and parameters, read the input, say what it takes, and write the plan into `folder`.

    The quote is written (quote.json) and told whatever it says.

    Args:
        executor: what jobs go to; None takes what the process that started this one announced.

    Raises:
        ConfigError, DatabaseMissingError, WeightsMissingError, InputError, InfeasibleError, CarryError,
        BudgetError, DeadlineError:
            before anything is computed or paid; `folder` then holds nothing that passes for a plan.
    """
    try:
        return _plan_run(config, folder, log, executor or announced())
    except SnakefoldError:
        remove_tables(folder)
        raise


def _plan_run(config: Config, folder: Path, log: Log, executor: Executor) -> Quote:
    warnings = hold_to_purpose(config, executor)
    preset = databases.load_preset(config.msa.db_preset, config.msa.db_root)
    databases.check(preset, config.msa, pairing=False)
    parameters = Parameters(None, rehearsal=False)
    made_with: dict[str, Any] = {}

    def name(targets: Sequence[Target]) -> Recipes:
        nonlocal parameters
        pairing = any(len(set(target.chains)) > 1 and target.msa is None for target in targets)
        databases.check(preset, config.msa, pairing=pairing)
        parameters = _parameters(config, targets)
        _refuse_paid_rehearsal(config, parameters)
        made_with.update(recipes_of(config, preset, parameters, targets, pairing=pairing))
        return Recipes(
            **{each: recipes.digest(recipe) for each, recipe in made_with.items()},
            rehearsal=parameters.rehearsal,
            searches={
                recipes.digest(made_with[each]): made_with[each]
                for each in ("msa", "paired_msa", "templates")
                if each in made_with
            },
            engines={
                several: made_with[each].get("engine", {})
                for several, each in ((False, "fold"), (True, "complex_fold"))
            },
        )

    draft, quote = quoted_draft(config, folder, name, log, warnings=warnings, executor=executor)
    write_plan(folder, draft)
    chosen = {"folder": str(parameters.folder or ""), "rehearsal": parameters.rehearsal}
    write_atomically(folder / "weights.json", (json.dumps(chosen, indent=1) + "\n").encode())
    write_provenance(folder.parent / "provenance.json", config, made_with)
    if parameters.rehearsal:
        log("REHEARSAL: no model parameters were found, random ones are used. The structures mean nothing.")
        log("`snakefold weights fetch FOLDER` gets the official ones; then set `weights: FOLDER`.")
    return quote


def quoted_draft(
    config: Config,
    folder: Path,
    name: Callable[[Sequence[Target]], Recipes],
    log: Log,
    *,
    warnings: Sequence[str] = (),
    executor: Executor | None = None,
) -> tuple[Draft, Quote]:
    """Draft a plan, write its quote into `folder`, tell it, and hold it against the limits.

    Args:
        name: says what results of these targets are called (`draft_plan`).
        warnings: filled by `name` with what the quote should say.
        executor: what jobs go to.

    Raises:
        CarryError: a target is too large for the executor; there is no quote then.
        InfeasibleError, BudgetError, DeadlineError: the quote has been written and told all the same.
    """
    draft, too_much = _draft(config, name, log, executor)
    log(str(draft))
    quote = _quote(draft, config, [*warnings, *draft.notes, *([str(too_much)] if too_much else [])])
    write_atomically(folder / "quote.json", (quote.model_dump_json(indent=1) + "\n").encode())
    log(quote_text(quote))
    for warning in check_limits(quote, config, target_rows(draft)):
        log(f"warning: {warning}")
    if too_much:
        raise too_much
    return draft, quote


def _draft(
    config: Config, name: Callable[[Sequence[Target]], Recipes], log: Log, executor: Executor | None
) -> tuple[Draft, InfeasibleError | None]:
    """The plan within the limits; if there is none, one without them, to quote, and what is wrong."""

    def draft(limits: bool) -> Draft:
        return draft_plan(
            config,
            name=name,
            store=open_store(config.store),
            check=engine_check(config),
            fits=memory_check(config),
            limits=limits,
            executor=executor,
            log=log,
        )

    try:
        return draft(limits=True), None
    except InfeasibleError as error:
        if config.budget is None and config.deadline is None:
            raise
        return draft(limits=False), error


def _quote(draft: Draft, config: Config, warnings: Sequence[str]) -> Quote:
    return make_quote(
        list(batch_rows(draft)),
        draft.counts(),
        [Search(each.name, len(each.chains), each.residues, each.cpu_seconds) for each in draft.chunks],
        config=config,
        classes=draft.classes,
        model=draft.model,
        rehearsal=draft.recipes.rehearsal,
        warnings=warnings,
    )


@dataclass(frozen=True)
class Parameters:
    """Folder of the parameters (None: the engine brings its own, or they are not here)."""

    folder: Path | None
    rehearsal: bool


def _parameters(config: Config, targets: Sequence[Target]) -> Parameters:
    """Where the parameters of the models that these targets need are; some engines bring their own."""
    if config.engine != "alphafold2":
        return Parameters(None, rehearsal=False)
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
    return Parameters(found.folder, found.rehearsal)


def _refuse_paid_rehearsal(config: Config, parameters: Parameters) -> None:
    """Nobody pays for structures that mean nothing, unless a rehearsal is what was asked for."""
    if not parameters.rehearsal or config.weights == "rehearsal":
        return
    if paid := _paid(config):
        raise WeightsMissingError(
            f"weights: {config.weights}: no model parameters were found here, and {', '.join(paid)} would be "
            "paid for a rehearsal, whose structures mean nothing. Get the official ones "
            "(`snakefold weights fetch FOLDER`) and set weights: FOLDER, or set weights: rehearsal to "
            "rehearse on rented GPUs."
        )


def _paid(config: Config) -> list[str]:
    """GPU classes of the run that cost something."""
    classes = load_classes(config.gpu.classes, Path(config.gpu.table) if config.gpu.table else None)
    return [gpu.name for gpu in classes if gpu.dollars_per_second]


def recipes_of(
    config: Config,
    preset: databases.Preset,
    parameters: Parameters,
    targets: Sequence[Target],
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
    searches = recipes_of_searches(config.msa, preset, pairing=pairing)

    def fold(chains: int, msa: str) -> dict[str, Any]:
        if not any((len(target.chains) > 1) == (chains > 1) for target in targets):
            return {}
        chosen = settings.model_copy(update={"model_preset": preset_for(settings.model_preset, chains)})
        fields = (chosen if config.engine == "alphafold2" else config.flashabb).model_dump(mode="json")
        return {
            **shared,
            "msa": searches[msa],
            "templates": searches.get("templates"),
            "engine": engine.recipe(fields, parameters.folder),
        }

    return {"fold": fold(1, "msa"), "complex_fold": fold(2, "paired_msa"), **searches}


def recipes_of_searches(
    settings: MsaSettings, preset: databases.Preset, *, pairing: bool
) -> dict[str, dict[str, Any]]:
    """What MSAs depend on, and templates if they are searched, by the names of `Recipes`."""
    msa = search.recipe(settings, preset, multimer=False)
    found = {
        "msa": msa,
        "paired_msa": search.recipe(settings, preset, multimer=True) if pairing else msa,
    }
    if settings.templates != "none":
        found["templates"] = templates.recipe(settings, preset, msa)
    return found
