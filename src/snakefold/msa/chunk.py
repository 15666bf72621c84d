"""The MSA step of one chunk: what the store has is left alone, the rest is searched and stored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from snakefold.kernel import archive
from snakefold.kernel.errors import TargetError
from snakefold.kernel.store import Entry, Store
from snakefold.kernel.wording import count
from snakefold.msa import a3m, search, template_files, templates
from snakefold.msa.agreement import watched
from snakefold.msa.bundle import Log
from snakefold.msa.databases import presets as databases
from snakefold.msa.planned import PlannedChain, PlannedChunk
from snakefold.msa.settings import MsaSettings


def search_to_store(
    chunk: PlannedChunk, settings: MsaSettings, store: Store, work: Path, log: Log
) -> dict[str, Any]:
    """Search the databases for the chunk's chains and put each result into the store as it comes.

    Templates are searched with the MSAs, once those are in the store.

    Returns:
        Summary for `results/msa/<chunk>.json`: chain keys `stored` (nothing was missing), `searched` (MSAs)
        and `templates` (searched), and `failed`, which maps a chain key to what went wrong.

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
    wanted = read | {chain.key for chain in missing}
    log(
        f"{chunk.chunk}: {count(len(chunk.chains), 'chain')}, "
        f"{len(chunk.chains) - len(wanted)} in the store, {len(missing)} to align, "
        f"{len(without_templates)} to search templates for"
    )
    searched: list[str] = []
    with_templates: list[str] = []
    failed: dict[str, str] = {}

    def fail(key: str, error: TargetError) -> None:
        failed[key] = f"{error.message} {error.advice}".strip()
        log(f"{chunk.chunk}: {key[:12]}: {error}")

    if wanted:
        preset = databases.load_preset(settings.db_preset, settings.db_root)
        watch = watched(chunk, settings, preset, msa=bool(missing), templates=bool(without_templates))
    if missing:
        for key, files in search.search_chunk(
            missing, settings, preset, multimer=chunk.pairing, work=work, log=log
        ):
            if isinstance(files, TargetError):
                fail(key, files)
            else:
                watch.check()
                store.put(Entry("msa", chunk.recipe, key), archive.pack(files))
                searched.append(key)
    aligned = [chain for chain in without_templates if chain.key not in failed]
    if aligned and chunk.templates:
        queries = _queries(aligned, chunk.recipe, store)
        for key, found in templates.search(queries, preset, settings, work=work, log=log):
            if isinstance(found, TargetError):
                fail(key, found)
            else:
                watch.check()
                store.put(Entry("templates", chunk.templates, key), template_files.pack(found))
                with_templates.append(key)
    return {
        "chunk": chunk.chunk,
        "recipe": chunk.recipe,
        "stored": [chain.key for chain in chunk.chains if chain.key not in wanted],
        "searched": searched,
        "templates": with_templates,
        "failed": failed,
    }


def _queries(
    chains: Sequence[PlannedChain], recipe: str, store: Store
) -> Iterator[tuple[PlannedChain, a3m.Msa]]:
    """What templates are searched with. A chain whose MSA was removed meanwhile is lost to `request`."""
    for chain in chains:
        entry = store.get(Entry("msa", recipe, chain.key))
        if entry is not None:
            yield chain, templates.query(archive.unpack(entry))
