"""The nearest known sequence of every design: one search for the unique chains of all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from snakefold.kernel import tables
from snakefold.kernel.wording import count
from snakefold.msa.nearest import nearest
from snakefold.run.designs.columns import DESIGN_COLUMNS
from snakefold.run.designs.listed import read_designed_chains, read_list
from snakefold.run.designs.made import Design

#: Of designs.tsv.
COLUMNS = ("id", "nearest_chain", "nearest", "nearest_identity", "nearest_coverage", "nearest_evalue")


def write_nearest(
    designed: Path,
    database: Path,
    out: Path,
    work: Path,
    log: Callable[[str], None],
    *,
    threads: int,
    mem_mb: int,
) -> int:
    """Write the nearest sequence of each design that has one, of the chain where it is nearest; how many.

    Args:
        designed: the list of all designs.
        database, work, threads, mem_mb: see `msa.nearest`.

    Raises:
        SnakefoldError: a file is missing or damaged, or the search failed.
    """
    designs, designed_of = read_list(designed), read_designed_chains(designed)
    chains = {each.design: list(_chains(each, designed_of[each.backbone])) for each in designs}
    unique = list(dict.fromkeys(letters for found in chains.values() for _, letters in found))
    hits = nearest(unique, database, work, log, threads=threads, mem_mb=mem_mb)
    known = dict(zip(unique, hits, strict=True))
    rows = []
    for name, found in chains.items():
        ranked = [(hit.rank, chain, hit) for chain, letters in found if (hit := known[letters])]
        if ranked:
            # Of chains that are as near, the first.
            _, chain, hit = max(ranked, key=lambda each: each[0])
            rows.append([name, chain, hit.name, hit.identity, hit.coverage, hit.evalue])
    out.parent.mkdir(parents=True, exist_ok=True)
    tables.write(out, tables.lines(COLUMNS, rows))
    log(f"{count(len(unique), 'unique chain')} of {count(len(designs), 'design')}: {len(rows)} have a hit")
    return len(rows)


def read_nearest(path: Path) -> dict[str, dict[str, object]]:
    """What was found, by design."""
    kinds = {name: DESIGN_COLUMNS[name].type for name in COLUMNS}
    return {row["id"]: row for row in tables.read_columns(path, kinds)}


def _chains(design: Design, designed: frozenset[str]) -> Iterator[tuple[str, str]]:
    names, letters = design.chains.split(":"), design.sequence.split(":")
    return ((name, text) for name, text in zip(names, letters, strict=True) if name in designed)
