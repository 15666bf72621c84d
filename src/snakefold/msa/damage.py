"""Why a program failed on a database: which of its files is damaged, where a look at them tells."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from snakefold.msa.databases import check_mmseqs, inside
from snakefold.msa.databases.presets import Database
from snakefold.msa.programs import ProgramError

_SHOWN = 3


def explained(error: ProgramError, databases: Iterable[Database]) -> ProgramError:
    """The error, with the faults of the databases in front, if they have any."""
    found = ((each, fault) for each in databases for fault in _looked_at(inside.faults(each)))
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
