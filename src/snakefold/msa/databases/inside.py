"""Faults inside the files of one database, and which of them explains why a program failed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from snakefold.msa.databases import check_hhsuite, check_mmseqs, check_text
from snakefold.msa.databases.presets import Database
from snakefold.msa.programs import ProgramError


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


_SHOWN = 3


def explained(error: ProgramError, databases: Iterable[Database]) -> ProgramError:
    """The error, with the faults of the databases in front, if they have any."""
    found = ((each, fault) for each in databases for fault in _looked_at(faults(each)))
    return _with(error, ((each.path.parent, fault, each.get) for each, fault in found))


def explained_mmseqs(error: ProgramError, prefix: Path) -> ProgramError:
    """The same for the MMseqs2 database `prefix`."""
    get = "build it again, or copy it again"
    return _with(error, ((prefix.parent, fault, get) for fault in _looked_at(check_mmseqs.faults(prefix))))


def _with(error: ProgramError, faults: Iterable[tuple[Path, str, str]]) -> ProgramError:
    texts = [
        f"{folder}: damaged database: {fault}. Remove it and get it again: {get.rstrip('.')}."
        for folder, fault, get in faults
    ]
    return ProgramError("\n".join([*texts[:_SHOWN], str(error)])) if texts else error


def _looked_at(faults: Iterator[str]) -> Iterator[str]:
    """The faults; a file that cannot even be looked at is one."""
    try:
        yield from faults
    except (OSError, ValueError) as error:
        yield f"cannot be examined ({str(error)[:200]})"
