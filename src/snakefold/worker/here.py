"""The steps of a run, one after the other, on this worker: search, gather, predict."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from snakefold.config import Config
from snakefold.engines.spec import Parameters
from snakefold.kernel import archive, recipes
from snakefold.kernel.contracts import FoldResponse
from snakefold.kernel.errors import ConfigError, DatabaseMissingError
from snakefold.kernel.recipes import sequence_key
from snakefold.kernel.store import Entry
from snakefold.molecules.targets import Target
from snakefold.msa.chunk import search_to_store
from snakefold.msa.databases import presets as databases
from snakefold.msa.planned import PlannedChain, PlannedChunk, PlannedComplex
from snakefold.msa.settings import MsaSettings, MsaTool
from snakefold.plan.files import PlannedBatch, PlannedTarget
from snakefold.plan.groups import Groups
from snakefold.plan.records import target_input
from snakefold.plan.run import recipes_of
from snakefold.run.requests import gather_inputs, make_request
from snakefold.worker.endpoints.alphafold2 import SINGLE_SEQUENCE
from snakefold.worker.endpoints.checked import InvalidInput
from snakefold.worker.fold import find_parameters, run
from snakefold.worker.tasks import Context

#: Tried in this order where none is asked for; `demo` is for trying things out.
_CANDIDATES = ("full_dbs", "reduced_dbs", "colabfold")
_TOOLS: tuple[MsaTool, ...] = ("hhblits", "jackhmmer", "mmseqs")


@dataclass(frozen=True)
class Searched:
    """Name of the preset (or single_sequence), the settings of the search, and what a person should know."""

    name: str
    msa: MsaSettings
    warnings: list[str]


def choose_databases(
    wanted: str | None, max_template_date: str | None, context: Context, *, multimer: bool
) -> Searched:
    """The preset named, or the first that is whole.

    Args:
        wanted: name of a preset, or `SINGLE_SEQUENCE`; None: whatever this worker has.
        max_template_date: templates released later are not used; None: none are used at all.

    Raises:
        InvalidInput: no such preset. DatabaseMissingError: the one named is not whole on this worker.
    """
    if wanted == SINGLE_SEQUENCE:
        return alone([])
    if wanted is not None:
        return _searched(wanted, max_template_date, context, multimer)
    for name in _CANDIDATES:
        try:
            return _searched(name, max_template_date, context, multimer)
        except (DatabaseMissingError, InvalidInput):
            continue
    return alone(
        [f"This worker has none of the databases {', '.join(_CANDIDATES)}: no alignment was searched for."]
    )


def alone(warnings: list[str]) -> Searched:
    """No search: every sequence is its own alignment."""
    return Searched(SINGLE_SEQUENCE, MsaSettings(tool="single_sequence"), warnings)


def _searched(name: str, max_template_date: str | None, context: Context, multimer: bool) -> Searched:
    root = str(context.settings.db_root) if context.settings.db_root and name != "demo" else None
    try:
        preset = databases.load_preset(name, root)
    except ConfigError as error:
        raise InvalidInput(f"db_preset: this worker knows no {name!r}.") from error
    tool = next(tool for tool in _TOOLS if any(tool in each.tools for each in preset.databases))
    settings = MsaSettings(tool=tool, db_preset=name, db_root=root, threads=context.settings.threads)
    databases.check(preset, settings, pairing=multimer)
    if max_template_date is None:
        return Searched(name, settings, [])
    # As AlphaFold: hmmsearch for complexes, hhsearch for single chains.
    with_templates = settings.model_copy(
        update={
            "templates": "hmmsearch" if multimer else "hhsearch",
            "max_template_date": max_template_date,
        }
    )
    try:
        databases.check(preset, with_templates, pairing=multimer)
    except (ConfigError, DatabaseMissingError):
        return Searched(name, settings, [f"{name} on this worker has no template databases: none were used."])
    return Searched(name, with_templates, [])


def fold_here(
    targets: Sequence[Target], config: Config, context: Context, *, rehearsal: bool
) -> tuple[FoldResponse, Mapping[str, bytes]]:
    """Align and predict targets of one group; the response, and the files of the batch's archive.

    Args:
        config: names the engine and the search.

    Raises:
        WeightsMissingError: the worker lacks parameters.
    """
    inputs = [target_input(target) for target in targets]
    preset = databases.load_preset(config.msa.db_preset, config.msa.db_root)
    kinds = Groups(config)
    group = kinds.of(targets[0], inputs[0])
    kind = kinds[group]
    settings = config.settings_of(kind.engine.name, rehearsal=rehearsal)
    folder = find_parameters(kind.engine, settings, {kind.name}, context, rehearsal=rehearsal)
    parameters = {kind.engine.name: Parameters(folder, rehearsal=rehearsal)}
    several = [target for target in targets if kind.needs.pairing and len(target.pairable) > 1]
    named = recipes_of(config, preset, parameters, kinds, {group}, pairing=bool(several))
    brought = {told.key: target for told, target in zip(inputs, targets, strict=True)}
    unique = list({each.key: each for each in inputs}.values())
    by_server = config.msa.asks_server and bool(several)
    paired = set() if by_server else {chain for each in several for chain in each.pairable}
    searched = {chain for each in inputs for chain in each.searched} if kind.needs.alignment else set()
    batch = PlannedBatch(
        batch="flat",
        engine=kind.engine.name,
        recipe=recipes.digest(named["folds"][group]),
        msa_recipes={
            sequence_key([chain]): recipes.digest(named["paired_msa" if chain in paired else "msa"])
            for chain in sorted(searched)
        },
        paired=sorted(sequence_key([chain]) for chain in paired),
        templates=recipes.digest(named["templates"]) if "templates" in named else None,
        pairs=recipes.digest(named["pairs"]) if by_server else None,
        complexes=sorted({sequence_key(each.pairable) for each in several}) if by_server else [],
        rehearsal=rehearsal,
        chunks=[],
        targets=[
            PlannedTarget(
                target=each,
                msa_path=None if brought[each.key].msa is None else str(brought[each.key].msa),
                files={digest: str(path) for digest, path in brought[each.key].files},
            )
            for each in unique
        ],
    )
    failed: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="snakefold-msa-") as work:
        for chunk in chunks_of(batch, context):
            failed |= search_to_store(chunk, config.msa, context.store, Path(work), context.log)["failed"]
    files = gather_inputs(batch, failed, context.store)
    response, data = run(make_request(batch, config), files, context)
    return response, archive.unpack(data)


def chunks_of(batch: PlannedBatch, context: Context) -> Iterator[PlannedChunk]:
    """Chains of a batch of which the store lacks something, or has it damaged; those for pairing apart."""
    chains = {sequence_key([chain]): chain for each in batch.targets for chain in each.target.searched}

    def lacks(key: str) -> bool:
        entries = [Entry("msa", batch.msa_recipes[key], key)]
        if batch.templates:
            entries.append(Entry("templates", batch.templates, key))
        return {context.store.check(entry) for entry in entries} != {True}

    lacking = [key for key in chains if key in batch.msa_recipes and lacks(key)]
    for pairing in (False, True):
        wanted = [key for key in lacking if (key in batch.paired) == pairing]
        if wanted:
            yield PlannedChunk(
                chunk=batch.batch,
                recipe=batch.msa_recipes[wanted[0]],
                templates=batch.templates,
                pairing=pairing,
                chains=[PlannedChain(key=key, sequence=chains[key]) for key in wanted],
            )
    together = {sequence_key(each.target.pairable): each.target.pairable for each in batch.targets}
    unpaired = [
        PlannedComplex(key=key, chains=together[key])
        for key in batch.complexes
        if batch.pairs and not context.store.check(Entry("pairs", batch.pairs, key))
    ]
    if unpaired:
        yield PlannedChunk(
            chunk=batch.batch, recipe=batch.recipe, pairs=batch.pairs, chains=[], complexes=unpaired
        )
