"""The plan step of a run: check what is there, name what results depend on, cut the set up."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from snakefold.config import Config, inputs_of
from snakefold.engines.spec import Parameters
from snakefold.kernel import recipes
from snakefold.kernel.errors import SnakefoldError, WeightsMissingError
from snakefold.kernel.store import open_store, write_atomically
from snakefold.kernel.wording import listed
from snakefold.molecules.targets import passed_over
from snakefold.msa import search, templates
from snakefold.msa.databases import presets as databases
from snakefold.msa.server import facts as server
from snakefold.msa.settings import MsaSettings
from snakefold.plan import endpoints
from snakefold.plan.accept import to_do_check
from snakefold.plan.alignments import Chunk, is_complex
from snakefold.plan.asked import leaving, may_ask
from snakefold.plan.assignment.assign import InfeasibleError
from snakefold.plan.cost.gpus import GpuClass, load_classes
from snakefold.plan.demo import hold_to_purpose
from snakefold.plan.draft import Draft
from snakefold.plan.executors import Executor, announced
from snakefold.plan.files import WEIGHTS, PlannedParameters
from snakefold.plan.groups import Group, Groups, settings_of
from snakefold.plan.needed import find_environments, find_parameters, present
from snakefold.plan.notes import summary
from snakefold.plan.planner import draft_plan
from snakefold.plan.preflight import check_comparisons, check_databases, check_weights_folder
from snakefold.plan.present import Recipes
from snakefold.plan.provenance import write_provenance
from snakefold.plan.quote.limits import check_limits
from snakefold.plan.quote.model import Quote
from snakefold.plan.quote.quote import Search, make_quote
from snakefold.plan.quote.text import quote_text
from snakefold.plan.records import Records
from snakefold.plan.tables import batch_rows, remove_tables, target_rows, write_plan

Log = Callable[[str], None]

#: The alignment of a target that needs none: what the recipe of a search says with msa.tool: single_sequence.
UNALIGNED: dict[str, Any] = {"tool": "single_sequence", "parameters": {}, "databases": []}
#: Part of every recipe: raised when the files of a finished target change their meaning.
_LAYOUT = 1


def plan_run(config: Config, folder: Path, log: Log, executor: Executor | None = None) -> Quote:
    """Check databases and parameters, read the input, say what it takes, and write the plan into `folder`.

    The quote is written (quote.json) and told whatever it says.

    Args:
        executor: what jobs go to; None takes what the process that started this one announced.

    Raises:
        ConfigError, DatabaseMissingError, WeightsMissingError, InputError, InfeasibleError, CarryError,
        BudgetError, DeadlineError, SnakefoldError (an engine's environment is not installed):
            before anything is computed or paid; `folder` then holds nothing that passes for a plan.
    """
    try:
        return _plan_run(config, folder, log, executor or announced())
    except SnakefoldError:
        remove_tables(folder)
        raise


def _plan_run(config: Config, folder: Path, log: Log, executor: Executor) -> Quote:
    about = hold_to_purpose(config, executor)
    warnings: list[str] = []
    preset = check_databases(config)
    check_weights_folder(config)
    check_comparisons(config)
    parameters: dict[str, Parameters] = {}
    made_with: dict[str, Any] = {}
    absent: dict[int, str] = {}

    def name(records: Records) -> Recipes:
        pairing = pairs(records)
        if aligns(records):
            databases.check(preset, config.msa, pairing=pairing)
        absent.clear()
        if executor.shares_disks:
            absent.update(find_environments(config, records))
        without: dict[int, str] = {}
        parameters.update(find_parameters(config, records, draw=True, absent=without))
        absent.update(without)
        _refuse_paid_rehearsal(config, parameters)
        known = present(records) - set(without)
        random = {each for each, found in parameters.items() if found.rehearsal}
        warnings[:] = [*about, *caveats(config, records, random)]  # a plan without limits asks again
        made_with.update(recipes_of(config, preset, parameters, records.kinds, known, pairing=pairing))
        return named(made_with, records.kinds, parameters)

    draft, quote = quoted_draft(
        config, folder, name, log, warnings=warnings, executor=executor, absent=absent
    )
    endpoints.check(batch_rows(draft), config, executor)
    if config.designs:
        # It previews a plan, as preview.py does with what is defined here.
        from snakefold.plan.forecast import forecast

        forecast(config, draft, quote, folder, log=log, executor=executor, strict=True)
    write_plan(folder, draft)
    kinds = draft.records.kinds
    _forget_refused(parameters, made_with, draft.records)
    rehearsal = any(found.rehearsal for found in parameters.values())
    chosen = PlannedParameters(
        rehearsal=rehearsal,
        folders={name: str(found.folder or "") for name, found in parameters.items()},
        absent=sorted({kinds[group].engine.name for group in absent}),
    )
    write_atomically(folder / WEIGHTS, (chosen.model_dump_json(indent=1) + "\n").encode())
    write_provenance(folder.parent / "provenance.json", config, kinds, made_with)
    if rehearsal:
        random = listed([name for name, found in parameters.items() if found.rehearsal])
        log(
            f"REHEARSAL: no parameters of {random} were found, random ones are used: the structures mean "
            "nothing."
        )
        log("`snakefold weights fetch` gets the official ones.")
    return quote


def quoted_draft(
    config: Config,
    folder: Path,
    name: Callable[[Records], Recipes],
    log: Log,
    *,
    warnings: Sequence[str] = (),
    executor: Executor | None = None,
    absent: Mapping[int, str] | None = None,
) -> tuple[Draft, Quote]:
    """Draft a plan, write its quote into `folder`, tell it, and hold it against the limits.

    Args:
        name: says what results of these targets are called (`draft_plan`).
        warnings: filled by `name` with what the quote should say.
        executor: what jobs go to.
        absent: filled by `name` with what engines lack that only records name (`accept.engine_check`).

    Raises:
        CarryError: a target is too large for the executor; there is no quote then.
        InfeasibleError, BudgetError, DeadlineError, ConfigError (an MSA server may not be asked): the quote
            has been written and told all the same.
    """
    draft, too_much = _draft(config, name, log, executor, absent)
    log(str(draft))
    said = [
        *([] if config.designs else passed_over(inputs_of(config))),
        *warnings,
        *draft.notes,
        *summary(draft.records.notes, draft.records.targets[: draft.records.whole]),
    ]
    said += [*_idle_references(draft, config), *leaving(draft, config)]
    said += endpoints.missing(batch_rows(draft), config, executor or Executor())
    said += [str(too_much)] if too_much else []
    quote = _quote(draft, config, executor or Executor(), said)
    write_atomically(folder / "quote.json", (quote.model_dump_json(indent=1) + "\n").encode())
    log(quote_text(quote))
    for warning in check_limits(quote, config, target_rows(draft)):
        log(f"warning: {warning}")
    if too_much:
        raise too_much
    may_ask(draft, config)
    return draft, quote


def _idle_references(draft: Draft, config: Config) -> list[str]:
    """Known structures of ids that no record has: a mistyped id would cost the comparison unseen."""
    ids = set(draft.records.ids()) if config.references else set()
    unknown = [name for name in config.references if name not in ids]
    return [f"references: no record is called {listed(unknown)}."] if unknown else []


def _draft(
    config: Config,
    name: Callable[[Records], Recipes],
    log: Log,
    executor: Executor | None,
    absent: Mapping[int, str] | None,
) -> tuple[Draft, InfeasibleError | None]:
    """The plan within the limits; if there is none, one without them, to quote, and what is wrong."""

    def draft(limits: bool) -> Draft:
        return draft_plan(
            config,
            name=name,
            store=open_store(config.store),
            fits=partial(to_do_check, absent=absent),
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


def _quote(draft: Draft, config: Config, executor: Executor, warnings: Sequence[str]) -> Quote:
    return make_quote(
        list(batch_rows(draft)),
        draft.counts(),
        [_search(each) for each in draft.chunks],
        config=config,
        classes=draft.classes,
        model=draft.model,
        rehearsals={
            kind.engine.name
            for kind, random in zip(draft.records.kinds, draft.recipes.rehearsals, strict=True)
            if random
        },
        aligns_on=aligns_on(config, executor),
        warnings=warnings,
    )


def aligns_on(config: Config, executor: Executor) -> GpuClass | None:
    """Class of the GPUs that alignments are searched on, if their jobs are sent to other machines."""
    name = config.msa_gpu_class
    if name is None or executor.aligns_here:
        return None
    return load_classes([name], Path(config.gpu.table) if config.gpu.table else None)[0]


def _search(chunk: Chunk) -> Search:
    complexes = sum(map(is_complex, chunk.chains))
    chains = len(chunk.chains) - complexes
    return Search(chunk.name, chains, chunk.residues, chunk.cpu_seconds, complexes)


def caveats(config: Config, records: Records, random: Collection[str]) -> list[str]:
    """What engines with targets do not get of where predictions run; `random`: those that are rehearsed.

    Raises:
        ConfigError: the settings ask for what is certainly not there.
    """
    names = dict.fromkeys(records.kinds[group].engine.name for group in sorted(present(records)))
    return [text for name in names for text in config.caveats_of(name, rehearsal=name in random)]


def aligns(records: Records) -> bool:
    """Whether some target needs alignments."""
    return any(records.kinds[group].needs.alignment for group in present(records))


def pairs(records: Records) -> bool:
    """Whether some target needs rows for pairing: one with different chains that are searched."""
    needs = [kind.needs for kind in records.kinds]
    return any(
        needs[group].pairing and len(target.pairable) > 1
        for target, group in zip(records.targets, records.groups.tolist(), strict=True)
    )


def _forget_refused(parameters: dict[str, Parameters], made_with: dict[str, Any], records: Records) -> None:
    """Leave out what only targets needed that are refused by now."""
    left = present(records)
    made_with["folds"] = [recipe if group in left else {} for group, recipe in enumerate(made_with["folds"])]
    for name in set(parameters) - {records.kinds[group].engine.name for group in left}:
        del parameters[name]


def named(made_with: Mapping[str, Any], kinds: Groups, parameters: Mapping[str, Parameters]) -> Recipes:
    """Digests of what `recipes_of` tells."""
    parts = ("msa", "paired_msa", "templates", "pairs")
    searches = {each: made_with[each] for each in parts if each in made_with}
    return Recipes(
        folds=[recipes.digest(recipe) for recipe in made_with["folds"]],
        **{
            "msa": "",
            "paired_msa": "",
            **{each: recipes.digest(recipe) for each, recipe in searches.items()},
        },
        rehearsals=[_rehearsal(parameters, kind) for kind in kinds],
        engines=[recipe.get("engine", {}) for recipe in made_with["folds"]],
        searches={recipes.digest(recipe): recipe for recipe in searches.values()},
    )


def _rehearsal(parameters: Mapping[str, Parameters], kind: Group) -> bool:
    found = parameters.get(kind.engine.name)
    return found is not None and found.rehearsal


def _refuse_paid_rehearsal(config: Config, parameters: Mapping[str, Parameters]) -> None:
    """Nobody pays for structures that mean nothing, unless a rehearsal is what was asked for."""
    random = [name for name, found in parameters.items() if found.rehearsal]
    if not random or config.weights == "rehearsal":
        return
    if paid := _paid(config):
        raise WeightsMissingError(
            f"weights: {config.weights}: no model parameters were found here, and {', '.join(paid)} would be "
            "paid for a rehearsal, whose structures mean nothing. Fetch the official parameters ("
            + ", ".join(f"`snakefold weights fetch {name}`" for name in random)
            + "), or set weights: rehearsal for a rehearsal on rented GPUs."
        )


def _paid(config: Config) -> list[str]:
    """GPU classes of the run that cost something."""
    classes = load_classes(config.gpu.classes, Path(config.gpu.table) if config.gpu.table else None)
    return [gpu.name for gpu in classes if gpu.dollars_per_second]


def recipes_of(
    config: Config,
    preset: databases.Preset,
    parameters: Mapping[str, Parameters],
    kinds: Groups,
    present: Collection[int],
    *,
    pairing: bool,
) -> dict[str, Any]:
    """What results depend on: `folds` by group ({} without targets), and searches by the names of `Recipes`.

    Args:
        present: groups that have a target.
    """
    aligned = any(kinds[number].needs.alignment for number in present)
    searches = recipes_of_searches(config.msa, preset, pairing=pairing) if aligned else {}

    def fold(kind: Group) -> dict[str, Any]:
        found = parameters.get(kind.engine.name, Parameters())
        settings = settings_of(config, kind.engine, rehearsal=found.rehearsal, part=kind.part)
        relax = config.relax_of(rehearsal=found.rehearsal).model_dump(mode="json", exclude={"use_gpu_relax"})
        needs = kind.needs
        paired = {"pairs": searches["pairs"]} if needs.pairing and "pairs" in searches else {}
        return {
            "layout": _LAYOUT,
            "relax": relax if kind.engine.relaxes else None,
            "rehearsal": found.rehearsal,
            "msa": searches["paired_msa" if needs.pairing else "msa"] if needs.alignment else UNALIGNED,
            "templates": searches.get("templates") if needs.templates else None,
            "engine": kind.engine.recipe(kind.name, settings, found.folder),
            **paired,
        }

    wanted = kinds.with_parts(present)
    folds = [fold(kind) if number in wanted else {} for number, kind in enumerate(kinds)]
    return {"folds": folds, **searches}


def recipes_of_searches(
    settings: MsaSettings, preset: databases.Preset, *, pairing: bool
) -> dict[str, dict[str, Any]]:
    """What MSAs depend on, and templates and pairs if they are searched, by the names of `Recipes`."""
    msa = search.recipe(settings, preset, multimer=False)
    found = {
        "msa": msa,
        "paired_msa": search.recipe(settings, preset, multimer=True) if pairing else msa,
    }
    if settings.templates != "none":
        found["templates"] = templates.recipe(settings, preset, msa)
    if settings.asks_server:
        found["pairs"] = server.pairs_recipe(settings.server)
    return found
