"""The MSA step: searches by the chosen tool, merged as AlphaFold merges them, as the files of a chain."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from snakefold.kernel import recipes, tables
from snakefold.kernel.contracts import DatabaseUse, MsaMeta
from snakefold.kernel.errors import Reason, TargetError
from snakefold.msa import a3m, hhblits, jackhmmer, mmseqs
from snakefold.msa.bundle import Found, Log, RawMsa
from snakefold.msa.databases import presets as databases
from snakefold.msa.databases.presets import Preset
from snakefold.msa.planned import PlannedChain
from snakefold.msa.settings import MsaSettings

_SEARCHES = {"jackhmmer": jackhmmer, "hhblits": hhblits, "mmseqs": mmseqs}
_PARSE = {"a3m": a3m.parse_a3m, "sto": a3m.parse_stockholm}


def recipe(settings: MsaSettings, preset: Preset, *, multimer: bool = True) -> dict[str, Any]:
    """What a chain's MSA (without templates) depends on besides its sequence: tools, versions, parameters,
    databases.

    `multimer` as in `search_chunk`: with it and without, results differ where the preset has a database for
    pairing.
    """
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
        DatabaseMissingError, MissingProgramError, ProgramError: nothing can be searched.
    """
    if settings.tool == "precomputed":
        for chain in chains:
            yield chain.key, _brings_none(chain)
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
                yield chain.key, _files(chain, raws, settings, used)
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


def _files(
    chain: PlannedChain,
    raws: Sequence[RawMsa],
    settings: MsaSettings,
    used: dict[str, tuple[int | None, str]],
) -> dict[str, bytes]:
    """Files of one chain. `used` has row limit and fingerprint by name of database."""
    started = time.perf_counter()
    alone = a3m.Msa([chain.key], [chain.sequence])
    uses, own, pairing = [], [alone], [alone]
    for raw in raws:
        limits, fingerprints = zip(*(used[name] for name in raw.database.split("+")), strict=True)
        limit = min((limit for limit in limits if limit is not None), default=None)
        msa = _PARSE[raw.format](raw.text).truncated(limit)
        (pairing if raw.pairing else own).append(msa)
        uses.append(
            DatabaseUse(
                name=raw.database, rows=raw.found, kept=len(msa) - 1, fingerprint="+".join(fingerprints)
            )
        )
    merged = a3m.merge(own)
    files = {"msa.a3m": merged.to_a3m().encode(), "hits.tsv": _table(chain, raws)}
    if len(pairing) > 1:
        files["pairing.a3m"] = a3m.merge(pairing).to_a3m().encode()
    if settings.keep_raw:
        files |= {f"raw/{raw.database}.{raw.format}": raw.text.encode() for raw in raws}
    seconds = {raw.database: round(raw.seconds, 3) for raw in raws}
    neff = a3m.neff(merged)
    meta = MsaMeta(
        key=chain.key,
        length=len(chain.sequence),
        tool=settings.tool,
        depth=merged.depth,
        first_depth=a3m.merge(own[:2]).depth,
        neff=round(neff, 3),
        databases=uses,
        commands=[command for raw in raws for command in raw.commands],
        seconds=seconds | {"merge": round(time.perf_counter() - started, 3)},
        warnings=[text for raw in raws for text in raw.warnings],
    )
    return files | {"meta.json": meta.model_dump_json(indent=1).encode() + b"\n"}


def _table(chain: PlannedChain, raws: Sequence[RawMsa]) -> bytes:
    cells = (
        [chain.key, hit.target, f"{hit.evalue:.3g}", hit.pident, hit.alnlen, raw.database]
        for raw in raws
        for hit in raw.hits
    )
    return "".join(
        tables.lines(["query", "target", "evalue", "pident", "alnlen", "database"], cells)
    ).encode()


def _brings_none(chain: PlannedChain) -> TargetError:
    return TargetError(
        Reason.MSA_FAILED,
        f"msa.tool is precomputed, and no A3M was given for the chain {chain.sequence[:20]}… "
        f"({len(chain.sequence)} residues).",
        "Give its target as an A3M file, or choose a search tool.",
    )
