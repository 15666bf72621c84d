"""What is known of files here and there, on disk: a run may have a million of them.

Tables are exchanged as `published.tsv`: path, size, sha256 (at the destination), with the time of the file
(here).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from snakefold.kernel.store.bucket import Object
from snakefold.run.publish.products import File

#: Columns of the manifest, and of its copy here.
COLUMNS = ("path", "size", "sha256")
COPY_COLUMNS = (*COLUMNS, "modified_ns")
#: Nanoseconds. A file that was written so shortly before the copy may have been written again within one
#: tick of the file system's clock: its time proves nothing.
_TOO_YOUNG = 2 * 10**9

_SCHEMA = """
CREATE TABLE here (name TEXT PRIMARY KEY, size INT, sha256 TEXT, modified INT, pass INT) WITHOUT ROWID;
CREATE TABLE there (name TEXT PRIMARY KEY, size INT, modified REAL) WITHOUT ROWID;
CREATE TABLE sent (name TEXT PRIMARY KEY, size INT, sha256 TEXT) WITHOUT ROWID;
"""


class Known(NamedTuple):
    """Of one file: its sha256 here, if the file is still the same; its bytes there; what was sent there."""

    sha256: str | None
    size_there: int | None
    sent: tuple[int, str] | None


class Ledger:
    """Three tables: files `here` with their sums, objects `there`, and what was `sent`. For one thread."""

    def __init__(self) -> None:
        # A private database in a temporary file; what it keeps in memory is bounded.
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;" + _SCHEMA)

    def close(self) -> None:
        """Forget everything."""
        self._database.close()

    def take_copy(self, path: Path) -> None:
        """Sums of an earlier call; a file that is damaged or not there teaches nothing."""
        try:
            before = path.stat().st_mtime_ns - _TOO_YOUNG
        except FileNotFoundError:
            return
        rows = (row for row in _rows(path, COPY_COLUMNS) if int(row[3]) < before)
        self._fill("INSERT OR REPLACE INTO here VALUES (?, ?, ?, ?, 0)", rows)

    def take_listing(self, objects: Iterable[Object]) -> None:
        """What is there now, in place of what was."""
        self._database.execute("DELETE FROM there")
        self._fill("INSERT OR REPLACE INTO there VALUES (?, ?, ?)", objects)

    def take_manifest(self, path: Path, written: float) -> None:
        """What an earlier call sent. Objects younger than its manifest are not what it tells of."""
        rows = _rows(path, COLUMNS)
        self._fill("INSERT OR REPLACE INTO sent VALUES (?, ?, ?)", rows)
        self._database.execute(
            "DELETE FROM sent WHERE name IN (SELECT name FROM there WHERE modified >= ?)", (written,)
        )

    def known(self, file: File) -> Known:
        """What is known of a file."""
        here = self._one("SELECT size, modified, sha256 FROM here WHERE name = ?", file.name)
        there = self.there(file.name)
        sent = self._one("SELECT size, sha256 FROM sent WHERE name = ?", file.name)
        same = here is not None and here[:2] == (file.size, file.modified)
        return Known(here[2] if same else None, there.size if there else None, sent)

    def there(self, name: str) -> Object | None:
        """The object of a name, if one was listed."""
        found = self._one("SELECT name, size, modified FROM there WHERE name = ?", name)
        return Object(*found) if found else None

    def note(self, file: File, sha256: str, number: int) -> None:
        """A file that is there, as it was found in pass `number`."""
        row = (file.name, file.size, sha256, file.modified, number)
        self._database.execute("INSERT OR REPLACE INTO here VALUES (?, ?, ?, ?, ?)", row)
        self._database.execute("INSERT OR REPLACE INTO sent VALUES (?, ?, ?)", row[:3])

    def files(self, number: int) -> Iterator[tuple[str, int, str, int]]:
        """Name, size, sha256 and time of the files of a pass, in order of their names."""
        yield from self._database.execute(
            "SELECT name, size, sha256, modified FROM here WHERE pass = ? ORDER BY name", (number,)
        )

    def _fill(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        self._database.execute("BEGIN")
        self._database.executemany(statement, rows)
        self._database.execute("COMMIT")

    def _one(self, query: str, name: str) -> Any:
        return self._database.execute(query, (name,)).fetchone()


def line(cells: Iterable[object]) -> bytes:
    """A line of a table; no cell has a tab."""
    return ("\t".join(map(str, cells)) + "\n").encode()


def _rows(path: Path, columns: tuple[str, ...]) -> Iterator[list[str]]:
    """Rows of a table that somebody may have cut short or overwritten."""
    with path.open(encoding="utf-8", errors="replace", newline="\n") as stream:
        if next(stream, "").rstrip("\n").split("\t") != list(columns):
            return
        for line in stream:
            cells = line.rstrip("\n").split("\t")
            numbers = cells[1:2] + cells[3:]
            if len(cells) == len(columns) and line.endswith("\n") and all(map(str.isdecimal, numbers)):
                yield cells
