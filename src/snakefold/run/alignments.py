"""Batches that wait for alignments which nobody searches: the store has lost them, or their search failed."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Literal

from snakefold.kernel.store import KeptStore, Store
from snakefold.kernel.store.kept import FOLDER
from snakefold.plan.files import BatchRow, Kind, PlannedBatch, read_batch, read_rows
from snakefold.plan.present import known_keys
from snakefold.run.products import archive_of, table_of
from snakefold.run.requests import entries_of, searched_for

#: Why an alignment, or what belongs to it, is searched again.
GONE = "alignment or templates no longer in the store"
FAILED = "search of the alignment failed"
#: Kind, recipe and key of what the store should have.
_Name = tuple[str, str, str]


def unaligned(results: Path, open_store: Callable[[], Store]) -> Iterator[tuple[str, str, str]]:
    """Targets of batches that wait, by id, batch and why: an alignment was lost, or its search failed.

    What a chunk has still to search is none of this: its job looks into the store itself. The store is asked
    once for each recipe, and only if a request is still to be made.

    Raises:
        OSError, ValueError, SnakefoldError: the plan or the store cannot be read.
    """
    plan = results / "plan"
    waiting = [row for row in read_rows(plan) if _waits(results, row)]
    if not waiting:
        return
    chains = _chains_of_chunks(plan)
    unsearched: set[str] = set()
    failed: set[str] = set()
    for chunk in {chunk for row in waiting for chunk in _chunks(row)}:
        found = _failed(results, chunk)
        unsearched |= chains[chunk] if found is None else set()
        failed |= chains[chunk] if found == "damaged" else set(found or ())
    wanted: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in waiting:
        if not _is_requested(results, row):
            batch = read_batch(plan, row.batch)
            for key in {*batch.msa_recipes, *batch.complexes} - unsearched - failed:
                for kind, recipe, _ in _names(batch, key):
                    wanted[kind, recipe].add(key)
    # What the store did not take of the searches lies beside their summaries.
    store = KeptStore(open_store(), results / "msa" / FOLDER, print) if wanted else None
    lost: set[_Name] = set()
    for (kind, recipe), keys in wanted.items():
        lost |= {(kind, recipe, key) for key in keys - known_keys(store, kind, recipe, keys)}
    for row in waiting if lost or failed else ():
        batch = read_batch(plan, row.batch)
        requested = _is_requested(results, row)
        for planned in batch.targets:
            keys = searched_for(batch, planned)
            if keys & failed:
                yield planned.target.id, row.batch, FAILED
            elif not requested and any(lost.intersection(_names(batch, key)) for key in keys):
                yield planned.target.id, row.batch, GONE


def _names(batch: PlannedBatch, key: str) -> Iterable[_Name]:
    """What the request of a batch reads of a chain, or of a complex."""
    return ((entry.kind, entry.recipe, entry.key) for entry in entries_of(batch, key))


def _waits(results: Path, row: BatchRow) -> bool:
    """Whether a batch is still to be predicted."""
    made = (table_of(results, row.batch), archive_of(results, row.batch))
    return row.kind == Kind.PREDICT and not any(path.is_file() for path in made)


def _is_requested(results: Path, row: BatchRow) -> bool:
    """Whether the request of a batch is there, and as new as what it is made from."""
    made = [results / "requests" / row.batch / name for name in ("request.json", "inputs.tar.zst")]
    read = [
        results / "plan" / "batches" / f"{row.batch}.json",
        *(results / "msa" / f"{chunk}.json" for chunk in _chunks(row)),
    ]
    times = [path.stat().st_mtime for path in made if path.is_file()]
    newest = max((path.stat().st_mtime for path in read if path.is_file()), default=0.0)
    return len(times) == len(made) and min(times) >= newest


def _chunks(row: BatchRow) -> list[str]:
    return [chunk for chunk in row.chunks.split(",") if chunk]


def _failed(results: Path, chunk: str) -> set[str] | Literal["damaged"] | None:
    """Keys of the chains whose search failed, by the summary of a chunk; None if there is none yet."""
    try:
        return set(json.loads((results / "msa" / f"{chunk}.json").read_bytes())["failed"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        return "damaged"


def _chains_of_chunks(plan: Path) -> defaultdict[str, set[str]]:
    """Keys of the chains that the plan has searched, by chunk."""
    chains: defaultdict[str, set[str]] = defaultdict(set)
    with (plan / "chains.tsv").open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream, delimiter="\t"):
            chains[row["chunk"]].add(row["key"])
    return chains
