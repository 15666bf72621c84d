"""The MSA step: searches by the chosen tool, merged as AlphaFold merges them, as the files of a chain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from snakefold.kernel import recipes
from snakefold.kernel.errors import Reason, TargetError
from snakefold.msa import hhblits, jackhmmer, mmseqs
from snakefold.msa.bundle import Found, Log, RawMsa
from snakefold.msa.chain_files import chain_files
from snakefold.msa.databases import presets as databases
from snakefold.msa.databases.presets import Preset
from snakefold.msa.planned import PlannedChain
from snakefold.msa.server import facts as server
from snakefold.msa.settings import MsaSettings

_SEARCHES = {"jackhmmer": jackhmmer, "hhblits": hhblits, "mmseqs": mmseqs}


def recipe(settings: MsaSettings, preset: Preset, *, multimer: bool = True) -> dict[str, Any]:
    """What a chain's MSA (without templates) depends on besides its sequence: tools, versions, parameters,
    databases.

    `multimer` as in `search_chunk`: with it and without, results differ where the preset has a database for
    pairing.
    """
    if settings.asks_server:
        return server.recipe(settings.server)
    tools = databases.TOOLS[settings.tool]
    return {
        "tool": settings.tool,
        "parameters": {tool: _SEARCHES[tool].parameters(settings) for tool in tools},
        "databases": databases.fingerprint(preset, databases.only(settings, "msa"), pairing=multimer),
    }


def search_chunk(
    chains: Sequence[PlannedChain],
    settings: MsaSettings,
    preset: Preset,
    *,
    work: Path,
    log: Log,
    multimer: bool = True,
) -> Iterator[tuple[str, dict[str, bytes] | TargetError]]:
    """Search all chains, and give key and files (as in `contracts`, without templates) of one after the
    other.

    Args:
        multimer: search databases for pairing as well. AlphaFold does for complexes only; but a chain that is
            stored without pairing rows has none when it is part of a complex later, hence the default.
        work: folder for scratch files, made and emptied by the tools.

    Yields:
        In place of files a TargetError for a chain that failed; the others go on.

    Raises:
        DatabaseMissingError, MissingProgramError, ProgramError, ServerError: nothing can be searched.
    """
    if settings.tool == "precomputed":
        for chain in chains:
            yield chain.key, _brings_none(chain)
        return
    if settings.asks_server:
        yield from _from_server(chains, settings, log)
        return
    settings = databases.only(settings, "msa")
    databases.check(preset, settings, pairing=multimer)
    limits = {database.name: database.limit for database in preset.databases}
    used = {
        each["name"]: (limits[each["name"]], recipes.digest(each))
        for each in databases.fingerprint(preset, settings, pairing=multimer)
    }
    found = _search(chains, settings, preset, multimer=multimer, work=work, log=log)
    for chain in chains:
        raws = found[chain.key]
        if isinstance(raws, TargetError):
            yield chain.key, raws
        else:
            try:
                yield chain.key, chain_files(chain, raws, settings, used)
            except ValueError as error:
                yield (
                    chain.key,
                    TargetError(
                        Reason.MSA_FAILED, f"{settings.tool} wrote an alignment that cannot be read: {error}"
                    ),
                )


def _search(
    chains: Sequence[PlannedChain],
    settings: MsaSettings,
    preset: Preset,
    *,
    multimer: bool,
    work: Path,
    log: Log,
) -> Found:
    """Alignments of every program behind the tool, in the preset's order of databases."""
    position = {database.name: number for number, database in enumerate(preset.databases)}
    found: dict[str, list[RawMsa] | TargetError] = {chain.key: [] for chain in chains}
    for tool in databases.TOOLS[settings.tool]:
        todo = [chain for chain in chains if not isinstance(found[chain.key], TargetError)]
        results = _SEARCHES[tool].search(todo, preset, settings, work, log, pairing=multimer)
        for chain in todo:
            result, so_far = results[chain.key], found[chain.key]
            if isinstance(result, TargetError):
                found[chain.key] = result
            elif isinstance(so_far, list):
                so_far.extend(result)
                so_far.sort(key=lambda raw: position[raw.database.partition("+")[0]])
    return found


def _from_server(
    chains: Sequence[PlannedChain], settings: MsaSettings, log: Log
) -> Iterator[tuple[str, dict[str, bytes] | TargetError]]:
    # What speaks HTTP is imported where it is used: a plan reads this module.
    from snakefold.msa.server.search import search
    from snakefold.msa.server.stream import one_stream

    of_key = {chain.key: chain for chain in chains}
    with one_stream(settings.server, log) as client:
        for key, found in search(chains, client, log):
            if isinstance(found, TargetError):
                yield key, found
                continue
            raws, templates = found
            asked = f"{settings.server.url}, asked on {server.today()}"
            used = {raw.database: (None, asked) for raw in raws}
            files = chain_files(of_key[key], raws, settings, used, as_found=True)
            yield key, {**files, server.TEMPLATE_HITS: "".join(f"{name}\n" for name in templates).encode()}


def _brings_none(chain: PlannedChain) -> TargetError:
    return TargetError(
        Reason.MSA_FAILED,
        f"msa.tool is precomputed, and no A3M was given for the chain {chain.sequence[:20]}… "
        f"({len(chain.sequence)} residues).",
        "Give its target as an A3M file, or choose a search tool.",
    )
