"""Which databases the flat form searches: those asked for, or the best that the worker has."""

from __future__ import annotations

from dataclasses import dataclass

from snakefold.kernel.errors import ConfigError, DatabaseMissingError
from snakefold.msa.databases import presets as databases
from snakefold.msa.settings import MsaSettings, MsaTool
from snakefold.worker.context import Context
from snakefold.worker.endpoints.alphafold2 import SINGLE_SEQUENCE, FlatRequest
from snakefold.worker.endpoints.checked import InvalidInput

#: Tried in this order where none is asked for; `demo` is for trying things out.
_CANDIDATES = ("full_dbs", "reduced_dbs", "colabfold")
_TOOLS: tuple[MsaTool, ...] = ("hhblits", "jackhmmer", "mmseqs")


@dataclass(frozen=True)
class Searched:
    """Name of the preset (or single_sequence), the settings of the search, and what a person should know."""

    name: str
    msa: MsaSettings
    warnings: list[str]


def choose_databases(request: FlatRequest, context: Context, *, multimer: bool) -> Searched:
    """The preset named, or the first that is whole.

    Raises:
        InvalidInput: no such preset. DatabaseMissingError: the one named is not whole on this worker.
    """
    if request.db_preset == SINGLE_SEQUENCE:
        return _alone([])
    if request.db_preset is not None:
        return _searched(request.db_preset, request, context, multimer)
    for name in _CANDIDATES:
        try:
            return _searched(name, request, context, multimer)
        except (DatabaseMissingError, InvalidInput):
            continue
    return _alone(
        [f"This worker has none of the databases {', '.join(_CANDIDATES)}: no alignment was searched for."]
    )


def _alone(warnings: list[str]) -> Searched:
    return Searched(SINGLE_SEQUENCE, MsaSettings(tool="single_sequence"), warnings)


def _searched(name: str, request: FlatRequest, context: Context, multimer: bool) -> Searched:
    root = str(context.settings.db_root) if context.settings.db_root and name != "demo" else None
    try:
        preset = databases.load_preset(name, root)
    except ConfigError as error:
        raise InvalidInput(f"db_preset: this worker knows no {name!r}.") from error
    tool = next(tool for tool in _TOOLS if any(tool in each.tools for each in preset.databases))
    settings = MsaSettings(tool=tool, db_preset=name, db_root=root, threads=context.settings.threads)
    databases.check(preset, settings, pairing=multimer)
    # As AlphaFold: hmmsearch for complexes, hhsearch for single chains.
    with_templates = settings.model_copy(
        update={
            "templates": "hmmsearch" if multimer else "hhsearch",
            "max_template_date": request.max_template_date,
        }
    )
    try:
        databases.check(preset, with_templates, pairing=multimer)
    except (ConfigError, DatabaseMissingError):
        return Searched(name, settings, [f"{name} on this worker has no template databases: none were used."])
    return Searched(name, with_templates, [])
