"""The index of a collection: key of the sequences → structure, an SQLite file in the user's cache folder.

A file is opened once and again only when its size or time changes. A collection with an index FASTA is not
opened at all until one of its structures is wanted. Any number of processes may use an index: one brings it
up to date at a time, and the others wait.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from snakefold.engines.reuse import collections
from snakefold.engines.reuse.collections import File, Kind
from snakefold.engines.reuse.found import Found, Place, UnusableError, read_place
from snakefold.engines.reuse.predicted import read_predicted
from snakefold.kernel.errors import SnakefoldError
from snakefold.kernel.recipes import sequence_key

Log = Callable[[str], None]

#: Raised when the tables, or what makes a structure usable, change: older indices are made again.
_VERSION = 1
_SECONDS_BETWEEN_LINES = 10.0
_FILES_BETWEEN_COMMITS = 500
_TABLES = """
CREATE TABLE sources (id INTEGER PRIMARY KEY, path TEXT UNIQUE NOT NULL, size INTEGER, mtime INTEGER,
    kind TEXT, problem TEXT);
CREATE TABLE files (id INTEGER PRIMARY KEY, source INTEGER NOT NULL, kind TEXT NOT NULL, folder TEXT NOT NULL,
    name TEXT NOT NULL, version INTEGER, is_cif INTEGER, member TEXT, offset INTEGER, size INTEGER,
    key TEXT, sha256 TEXT, rehearsal INTEGER, problem TEXT);
CREATE INDEX by_source ON files (source);
CREATE INDEX by_name ON files (name, folder, kind);
CREATE INDEX by_key ON files (key) WHERE key IS NOT NULL;
CREATE VIEW located AS SELECT files.*, path FROM files JOIN sources ON sources.id = source;
-- A PDB file is left alone where the same model is there as mmCIF.
CREATE VIEW unopened AS SELECT * FROM located
    WHERE kind = 'structure' AND key IS NULL AND problem IS NULL AND NOT (
        is_cif = 0 AND EXISTS (SELECT 1 FROM files AS twin WHERE twin.name = located.name
            AND twin.folder = located.folder AND twin.kind = 'structure' AND twin.is_cif = 1
            AND twin.version = located.version));
"""


@dataclass(frozen=True)
class Contents:
    """What a collection holds: structures in all, those with a key, those that cannot be taken."""

    structures: int
    indexed: int
    unusable: int


class Index:
    """The index of one collection; open it with `open_index`."""

    def __init__(self, collection: str, database: sqlite3.Connection) -> None:
        self.collection = collection
        self._database = database

    def find(self, key: str, *, rehearsal: bool = False) -> Found | None:
        """The structure of this key, verified: predicted, whole, and of exactly these sequences.

        Real ones come first (one that says REHEARSAL is found only if asked for), then newer versions of a
        model, then names in order.
        """
        rows = self._database.execute(
            "SELECT id, path, member, offset, size, sha256, rehearsal, folder, name, version FROM located"
            " WHERE key = ? AND problem IS NULL ORDER BY version DESC, is_cif DESC, path, member",
            (key,),
        ).fetchall()
        marked: Found | None = None
        for row in rows:
            found = self._verified(key, row)
            if found is not None and not found.rehearsal:
                return found
            marked = marked or found
        return marked if rehearsal else None

    def contents(self) -> Contents:
        """Numbers for the log."""
        row = self._database.execute(
            "SELECT count(*), count(CASE WHEN problem IS NULL THEN key END), count(problem)"
            " FROM files WHERE kind = 'structure'"
        ).fetchone()
        return Contents(*row)

    def problems(self) -> Iterator[tuple[str, str]]:
        """Files that cannot be taken, each with the reason."""
        for path, problem in self._database.execute(
            "SELECT path, problem FROM sources WHERE problem IS NOT NULL ORDER BY path"
        ):
            yield path, problem
        for path, member, problem in self._database.execute(
            "SELECT path, member, problem FROM located WHERE problem IS NOT NULL ORDER BY path, member"
        ):
            yield (f"{path}: {member}" if member else path), problem

    def _verified(self, key: str, row: Sequence[Any]) -> Found | None:
        number, path, member, offset, size, sha256, rehearsal, folder, name, version = row
        place = Place(file=path, member=member, offset=offset, size=size)
        if sha256 is None:  # its key is what the index FASTA says
            sha256, rehearsal = self._open(number, place, key)
            if sha256 is None:
                return None
        pae = self._database.execute(
            "SELECT path, member, offset, size FROM located WHERE name = ? AND folder = ? AND kind = 'pae'"
            " AND version = ? ORDER BY path, member",
            (name, folder, version),
        ).fetchone()
        return Found(
            collection=self.collection,
            structure=place,
            pae=Place(file=pae[0], member=pae[1], offset=pae[2], size=pae[3]) if pae else None,
            sha256=sha256,
            rehearsal=bool(rehearsal),
        )

    def _open(self, number: int, place: Place, expected: str | None = None) -> tuple[str | None, bool]:
        """Open a structure and note what it is: its sha256 (None if it cannot be taken), and the mark."""
        try:
            data = read_place(place)
            predicted = read_predicted(data)
            key = sequence_key(predicted.chains)
            if expected is not None and key != expected:
                raise UnusableError("its sequence is not the one that the index FASTA states")  # noqa: TRY301
        except UnusableError as error:
            self._database.execute("UPDATE files SET problem = ? WHERE id = ?", (str(error), number))
            return None, False
        sha256 = hashlib.sha256(data).hexdigest()
        self._database.execute(
            "UPDATE files SET key = ?, sha256 = ?, rehearsal = ? WHERE id = ?",
            (key, sha256, predicted.rehearsal, number),
        )
        return sha256, predicted.rehearsal

    def refresh(self, log: Log) -> None:
        """Bring the index up to date with the collection."""
        database = self._database
        database.execute("CREATE TEMP TABLE seen (id INTEGER PRIMARY KEY)")
        renamed = False
        for file, stat in collections.walk(collections.check(self.collection)):
            renamed |= self._note(file, stat)
        renamed |= (
            database.execute(
                "SELECT 1 FROM files WHERE kind = 'fasta' AND source NOT IN (SELECT id FROM seen)"
            ).fetchone()
            is not None
        )
        database.execute("DELETE FROM files WHERE source NOT IN (SELECT id FROM seen)")
        database.execute("DELETE FROM sources WHERE id NOT IN (SELECT id FROM seen)")
        database.execute("DROP TABLE seen")
        if renamed:
            database.execute("UPDATE files SET key = NULL, sha256 = NULL, problem = NULL")
        database.commit()
        if database.execute("SELECT 1 FROM unopened LIMIT 1").fetchone():
            self._read_fastas(log)
            self._open_all(log)
            database.commit()

    def _note(self, file: File, stat: os.stat_result) -> bool:
        """Note a file, its members if it is a tar; True if an index FASTA is new or has changed."""
        database, path = self._database, file.place.file
        known = database.execute("SELECT id, size, mtime FROM sources WHERE path = ?", (path,)).fetchone()
        if known is not None:
            database.execute("INSERT INTO seen VALUES (?)", known[:1])
            if known[1:] == (stat.st_size, stat.st_mtime_ns):
                return False
            database.execute("DELETE FROM files WHERE source = ?", known[:1])
            source = known[0]
            database.execute(
                "UPDATE sources SET size = ?, mtime = ?, problem = NULL WHERE id = ?",
                (stat.st_size, stat.st_mtime_ns, source),
            )
        else:
            source = database.execute(
                "INSERT INTO sources (path, size, mtime, kind) VALUES (?, ?, ?, ?)",
                (path, stat.st_size, stat.st_mtime_ns, file.kind),
            ).lastrowid
            database.execute("INSERT INTO seen VALUES (?)", (source,))
        if file.kind is not Kind.TAR:
            self._insert(source, file)
            return file.kind is Kind.FASTA
        has_fasta = False
        try:
            for member in collections.members(Path(path)):
                self._insert(source, member)
                has_fasta |= member.kind is Kind.FASTA
        except UnusableError as error:
            database.execute("UPDATE sources SET problem = ? WHERE id = ?", (str(error), source))
        return has_fasta

    def _insert(self, source: int, file: File) -> None:
        place = file.place
        self._database.execute(
            "INSERT INTO files (source, kind, folder, name, version, is_cif, member, offset, size)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(source, file.kind, file.folder, file.name, file.version, file.is_cif),
                *(place.member, place.offset, place.size),
            ),
        )

    def _read_fastas(self, log: Log) -> None:
        """Give the structures that an index FASTA names the keys of its sequences."""
        fastas = self._database.execute(
            "SELECT id, path, member, offset, size FROM located WHERE kind = 'fasta' ORDER BY path, member"
        ).fetchall()
        for number, path, member, offset, size in fastas:
            place = Place(file=path, member=member, offset=offset, size=size)
            log(f"reuse: reading {place}")
            try:
                records = collections.read_fasta(place)
                while some := list(islice(records, 10_000)):
                    self._database.executemany(
                        "UPDATE files SET key = ? WHERE name = ? AND kind = 'structure' AND key IS NULL"
                        " AND problem IS NULL",
                        [(sequence_key(chains), name) for name, chains in some],
                    )
            except (UnusableError, UnicodeEncodeError) as error:
                self._database.execute("UPDATE files SET problem = ? WHERE id = ?", (str(error), number))
        self._database.commit()

    def _open_all(self, log: Log) -> None:
        """Open every structure whose key is not known yet."""
        todo = self._database.execute(
            "SELECT id, path, member, offset, size FROM unopened ORDER BY path, offset"
        ).fetchall()
        shown = time.monotonic()
        for count, (number, path, member, offset, size) in enumerate(todo, 1):
            self._open(number, Place(file=path, member=member, offset=offset, size=size))
            if count % _FILES_BETWEEN_COMMITS == 0:  # an index that is interrupted goes on from here
                self._database.commit()
            if time.monotonic() - shown > _SECONDS_BETWEEN_LINES:
                shown = time.monotonic()
                log(f"reuse: {self.collection}: {count} of {len(todo)} new structures indexed")


@contextmanager
def open_index(collection: str, log: Log, cache: Path | None = None) -> Iterator[Index]:
    """The index of a collection, up to date.

    Args:
        collection: a folder or a .tar.
        cache: folder of the indices; the user's cache folder if not given.

    Raises:
        SnakefoldError: there is no such collection, or the cache folder cannot be written.
    """
    path = collections.check(collection)
    if cache is None:
        import platformdirs

        cache = platformdirs.user_cache_path("snakefold") / "reuse"
    place = cache / f"{hashlib.sha256(str(path).encode()).hexdigest()[:16]}.sqlite"
    with ExitStack() as opened:
        try:
            cache.mkdir(parents=True, exist_ok=True)
            opened.enter_context(_locked(place.with_suffix(".lock"), log, collection))
            database = _connect(place)
            opened.callback(database.close)
            index = Index(collection, database)
            index.refresh(log)
        except (OSError, sqlite3.Error) as error:
            raise SnakefoldError(
                f"{place}: the index of {collection} cannot be made ({error}). "
                "Check free space and permissions, or delete the file."
            ) from error
        yield index
        database.commit()


def _connect(place: Path) -> sqlite3.Connection:
    """The database; one that is damaged or of another version is made anew."""
    with_tables = False
    database = sqlite3.connect(place)
    with suppress(sqlite3.DatabaseError):
        with_tables = database.execute("PRAGMA user_version").fetchone()[0] == _VERSION
    if not with_tables:
        database.close()
        place.unlink(missing_ok=True)
        database = sqlite3.connect(place)
        database.executescript(f"{_TABLES}; PRAGMA user_version = {_VERSION};")
    # What is lost in a power cut is made again.
    database.execute("PRAGMA synchronous = OFF")
    return database


@contextmanager
def _locked(path: Path, log: Log, collection: str) -> Iterator[None]:
    """Holds a kernel lock: a process that is killed leaves none behind."""
    with path.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log(f"reuse: waiting for another process that indexes {collection}")
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield
