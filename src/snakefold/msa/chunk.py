"""The MSA step of one chunk: what the store has is left alone, the rest is searched and stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from snakefold import archive
from snakefold.config import Config
from snakefold.errors import TargetError
from snakefold.msa import databases, search
from snakefold.msa.bundle import Log
from snakefold.plan.files import PlannedChunk
from snakefold.store import Entry, Store


def search_to_store(
    chunk: PlannedChunk, config: Config, store: Store, work: Path, log: Log
) -> dict[str, Any]:
    """Search the databases for the chunk's chains and put each result into the store as it comes.

    Returns:
        Summary for `results/msa/<chunk>.json`: `stored` and `searched` chain keys, and `failed`, which maps a
        chain key to what went wrong.
    """
    stored = [chain.key for chain in chunk.chains if store.has(Entry("msa", chunk.recipe, chain.key))]
    missing = [chain for chain in chunk.chains if chain.key not in set(stored)]
    log(f"{chunk.chunk}: {len(chunk.chains)} chains, {len(stored)} in the store, {len(missing)} to search")
    searched: list[str] = []
    failed: dict[str, str] = {}
    if missing:
        preset = databases.load_preset(config.msa.db_preset, config.msa.db_root)
        for key, files in search.search_chunk(
            missing, config.msa, preset, multimer=chunk.pairing, work=work, log=log
        ):
            if isinstance(files, TargetError):
                failed[key] = str(files)
                log(f"{chunk.chunk}: {key[:12]}: {files}")
                continue
            store.put(Entry("msa", chunk.recipe, key), archive.pack(files))
            searched.append(key)
    return {
        "chunk": chunk.chunk,
        "recipe": chunk.recipe,
        "stored": stored,
        "searched": searched,
        "failed": failed,
    }
