"""failures.tsv: a row for every target that has no structure, and for every record that was refused."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from snakefold.kernel import tables


@dataclass(frozen=True, slots=True)
class FailureRow:
    """A row of failures.tsv. `state`: failed or refused; `source`: the file and line of the record."""

    id: str
    key: str = ""
    state: str = ""
    reason: str = ""
    message: str = ""
    advice: str = ""
    source: str = ""


def read_failures(results: Path) -> list[FailureRow]:
    """Read failures.tsv of a results folder.

    Raises:
        SnakefoldError, OSError: see `tables.rows`.
    """
    return tables.read(results / "failures.tsv", FailureRow)


def write_failures(path: Path, rows: list[FailureRow]) -> None:
    """Write failures.tsv."""
    tables.write(path, tables.row_lines(FailureRow, rows))
