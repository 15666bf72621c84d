"""The MSA step of one chunk: what the store has is left alone, the rest is searched and stored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from snakefold.kernel import archive
from snakefold.kernel.errors import TargetError
from snakefold.kernel.store import Entry, Store
from snakefold.kernel.wording import count
from snakefold.msa import search, template_files, templates
from snakefold.msa.agreement import watched
from snakefold.msa.bundle import Log
from snakefold.msa.databases import presets as databases
from snakefold.msa.databases.presets import Preset
from snakefold.msa.planned import PlannedChain, PlannedChunk, PlannedComplex
from snakefold.msa.settings import MsaSettings
from snakefold.msa.template_files import Templates

#: A chain, and the files of its MSA's entry in the store.
_Entry = tuple[PlannedChain, Mapping[str, bytes]]


def search_to_store(
    chunk: PlannedChunk, settings: MsaSettings, store: Store, work: Path, log: Log
) -> dict[str, Any]:
    """Search the databases for the chunk's chains and put each result into the store as it comes.

    Templates are searched with the MSAs, once those are in the store.

    Returns:
        Summary for `results/msa/<chunk>.json`: chain keys `stored` (nothing was missing), `searched` (MSAs)
        and `templates` (searched), and `failed`, which maps a chain key to what went wrong. Keys of complexes
        that are paired are among them.

    Raises:
        ChangedError: a database, a program or a setting is not what it was when the recipes of the chunk were
            made, or a database changed while it was read. What was read is not stored.
        SnakefoldError: nothing can be searched.
    """
    without_templates = [
        chain
        for chain in chunk.chains
        if chunk.templates and not store.has(Entry("templates", chunk.templates, chain.key))
    ]
    read = {chain.key for chain in without_templates}
    missing = [
        chain
        for chain in chunk.chains
        # What is read to search templates must be whole; a look is enough for the others.
        if not (store.check if chain.key in read else store.has)(Entry("msa", chunk.recipe, chain.key))
    ]
    unpaired = [
        each
        for each in chunk.complexes
        if chunk.pairs and not store.has(Entry("pairs", chunk.pairs, each.key))
    ]
    wanted = read | {chain.key for chain in missing} | {each.key for each in unpaired}
    log(
        f"{chunk.chunk}: {_content(chunk)}, "
        f"{len(_keys(chunk)) - len(wanted)} in the store, {len(missing)} to align, "
        f"{len(without_templates)} to search templates for"
        + (f", {count(len(unpaired), 'complex', 'complexes')} to pair" if chunk.complexes else "")
    )
    searched: list[str] = []
    with_templates: list[str] = []
    failed: dict[str, str] = {}

    def fail(key: str, error: TargetError) -> None:
        failed[key] = f"{error.message} {error.advice}".strip()
        log(f"{chunk.chunk}: {key[:12]}: {error}")

    if wanted:
        preset = databases.load_preset(settings.db_preset, settings.db_root)
        watch = watched(
            chunk,
            settings,
            preset,
            msa=bool(missing),
            templates=bool(without_templates),
            pairs=bool(unpaired),
        )
    for entry, files in _alignments(chunk, missing, unpaired, settings, work=work, log=log):
        if isinstance(files, TargetError):
            fail(entry.key, files)
        else:
            watch.check()
            store.put(entry, archive.pack(files))
            searched.append(entry.key)
    aligned = [chain for chain in without_templates if chain.key not in failed]
    if aligned and chunk.templates:
        entries = _entries(aligned, chunk.recipe, store)
        for key, found in _templates(entries, preset, settings, work, log):
            if isinstance(found, TargetError):
                fail(key, found)
            else:
                watch.check()
                store.put(Entry("templates", chunk.templates, key), template_files.pack(found))
                with_templates.append(key)
    return {
        "chunk": chunk.chunk,
        "recipe": chunk.recipe,
        "stored": [key for key in _keys(chunk) if key not in wanted],
        "searched": searched,
        "templates": with_templates,
        "failed": failed,
    }


def _alignments(
    chunk: PlannedChunk,
    chains: Sequence[PlannedChain],
    complexes: Sequence[PlannedComplex],
    settings: MsaSettings,
    *,
    work: Path,
    log: Log,
) -> Iterator[tuple[Entry, dict[str, bytes] | TargetError]]:
    """Alignments of the chains, and paired rows of the complexes, by their places in the store."""
    if chains:
        preset = databases.load_preset(settings.db_preset, settings.db_root)
        for key, files in search.search_chunk(
            chains, settings, preset, multimer=chunk.pairing, work=work, log=log
        ):
            yield Entry("msa", chunk.recipe, key), files
    if complexes and chunk.pairs:
        from snakefold.msa.server.search import pair
        from snakefold.msa.server.stream import one_stream

        with one_stream(settings.server, log) as client:
            for key, files in pair(complexes, client, log):
                yield Entry("pairs", chunk.pairs, key), files


def _templates(
    entries: Iterator[_Entry], preset: Preset, settings: MsaSettings, work: Path, log: Log
) -> Iterator[tuple[str, Templates | TargetError]]:
    if settings.asks_server:
        from snakefold.msa.server import templates as of_server
        from snakefold.msa.server.stream import one_stream

        with one_stream(settings.server, log) as client:
            yield from of_server.search(entries, settings, client, work=work, log=log)
    else:
        queries = ((chain, templates.query(files)) for chain, files in entries)
        yield from templates.search(queries, preset, settings, work=work, log=log)


def _entries(chains: Sequence[PlannedChain], recipe: str, store: Store) -> Iterator[_Entry]:
    """What templates are searched with. A chain whose MSA was removed meanwhile is lost to `request`."""
    for chain in chains:
        entry = store.get(Entry("msa", recipe, chain.key))
        if entry is not None:
            yield chain, archive.unpack(entry)


def _keys(chunk: PlannedChunk) -> list[str]:
    return [*(chain.key for chain in chunk.chains), *(each.key for each in chunk.complexes)]


def _content(chunk: PlannedChunk) -> str:
    if not chunk.complexes:
        return count(len(chunk.chains), "chain")
    return count(len(chunk.complexes), "complex", "complexes")
