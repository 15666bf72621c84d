"""Faults inside the files of one database, whatever its format."""

from __future__ import annotations

from collections.abc import Iterator

from snakefold.msa.databases import check_hhsuite, check_mmseqs, check_text
from snakefold.msa.databases.presets import Database


def faults(database: Database, *, verified: bool = False) -> Iterator[str]:
    """Faults, each of which names its file, by looking at a bounded part of every file.

    Args:
        verified: the files are as they were fetched, so that the end of a text is not guessed at.
    """
    path = database.path
    match database.format:
        case "fasta":
            yield from (f"{path} {fault}" for fault in check_text.fasta(path, verified=verified))
        case "text":
            yield from (f"{path} {fault}" for fault in check_text.text(path))
        case "mmcif":
            yield from (f"{path} {fault}" for fault in check_text.mmcif(path))
        case "mmseqs":
            yield from check_mmseqs.faults(path)
        case "hhsuite":
            yield from check_hhsuite.faults(path)
