"""A store in a folder: one file an entry.

Writing goes through a temporary name and a rename. A file's modification time is the entry's last use. New
files and folders get what the umask and a setgid folder give them, nothing else.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from snakefold.kernel.errors import StoreError
from snakefold.kernel.store.atomic import write_atomically
from snakefold.kernel.store.entry import (
    AT_WORK,
    COMPILED,
    DAMAGED,
    Entry,
    Leftover,
    Listed,
    entry_of,
    unwrap,
    wrap,
)

#: Seconds. Last use is kept to the day: a write for every read would double the cost of reading.
_TOUCH_AFTER = 86_400


class FolderStore:
    """A folder of results."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    @property
    def local(self) -> Path:
        """The folder."""
        return self.root

    @property
    def location(self) -> str:
        """The folder's path as given."""
        return str(self.root)

    def path(self, entry: Entry) -> Path:
        """Where the entry is (or would be)."""
        return self.root / entry.name

    def has(self, entry: Entry) -> bool:
        """Whether the entry is there; cheap, so its bytes are not verified."""
        return self.path(entry).is_file()

    def get(self, entry: Entry, *, used: bool = True) -> bytes | None:
        """The entry's verified bytes, or None if it is absent or was found damaged (and moved aside)."""
        path = self.path(entry)
        while True:
            found = self._read(path)
            if found is None:
                return None
            content, status = found
            data = unwrap(content)
            if data is None:
                if self._move_aside(entry, status):
                    return None
                continue
            if used and time.time() - status.st_mtime > _TOUCH_AFTER:
                # A store that may only be read is one to read from.
                with suppress(OSError):
                    os.utime(path)
            return data

    def check(self, entry: Entry) -> bool | None:
        """Whether the entry is whole; None if it is absent. A damaged one is moved aside. No use of it."""
        found = self._read(self.path(entry))
        if found is None:
            return None
        content, status = found
        if unwrap(content) is not None:
            return True
        self._move_aside(entry, status)
        return False

    def put(self, entry: Entry, data: bytes) -> None:
        """Write the entry, over the one that was there."""
        try:
            write_atomically(self.path(entry), wrap(data))
        except OSError as error:
            raise StoreError(
                f"{self.path(entry)}: cannot be written ({error}). Check free space and permissions (a "
                "folder that users share: chmod g+ws, and umask 002 for each of them)."
            ) from error

    def remove(self, entry: Entry) -> None:
        """Forget the entry, if it is there."""
        self._unlink(self.path(entry))

    def keys(self, kind: str, recipe: str) -> set[str]:
        """Keys of all entries of one kind and recipe, by one listing."""
        folder = self.root / Entry(kind, recipe, "0").kind / recipe
        return {
            file.name
            for shard in _folders(folder)
            for file in _scan(Path(shard.path))
            if file.is_file() and entry_of(f"{kind}/{recipe}/{shard.name}/{file.name}")
        }

    def listing(self, kind: str | None = None, recipe: str | None = None) -> Iterator[Listed]:
        """All entries, or those of one kind or recipe, in order of their names."""
        for shard in self._shards(kind, recipe):
            for file in _scan(self.root / shard):
                entry = entry_of(f"{shard}/{file.name}")
                status = _status(file) if entry else None
                if entry and status:
                    yield Listed(entry, status.st_size, status.st_mtime)

    def leftovers(self) -> Iterator[Leftover]:
        """Damaged entries that were moved aside, and what killed writers left behind."""
        for folder, _, _ in os.walk(self.root / DAMAGED):
            yield from self._leftovers(Path(folder), "")
        for shard in self._shards(None, None):
            yield from self._leftovers(self.root / shard, ".part")

    def discard(self, leftover: Leftover) -> None:
        """Remove a leftover, if it is still there."""
        self._unlink(self.root / leftover.name)

    def _shards(self, kind: str | None, recipe: str | None) -> Iterator[str]:
        for first in _folders(self.root):
            if first.name in (DAMAGED, COMPILED, AT_WORK) or kind not in (None, first.name):
                continue
            for second in _folders(Path(first.path)):
                if recipe in (None, second.name):
                    for shard in _folders(Path(second.path)):
                        yield f"{first.name}/{second.name}/{shard.name}"

    def _leftovers(self, folder: Path, suffix: str) -> Iterator[Leftover]:
        for file in _scan(folder):
            status = _status(file) if file.name.endswith(suffix) else None
            if status:
                name = Path(file.path).relative_to(self.root).as_posix()
                yield Leftover(name, status.st_size, status.st_mtime)

    def _read(self, path: Path) -> tuple[bytes, os.stat_result] | None:
        try:
            with path.open("rb") as stream:
                return stream.read(), os.fstat(stream.fileno())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"{path}: cannot be read ({error}). Check the store's permissions.") from error

    def _move_aside(self, entry: Entry, damaged: os.stat_result) -> bool:
        """False if another process has written the entry anew since it was read."""
        path = self.path(entry)
        aside = self.root / DAMAGED / entry.kind / entry.recipe / f"{entry.key}.{secrets.token_hex(4)}"
        # A store that may only be read keeps its damaged entry; another process may have been quicker.
        with suppress(OSError):
            if not os.path.samestat(path.stat(), damaged):
                return False
            aside.parent.mkdir(parents=True, exist_ok=True)
            path.replace(aside)
        return True

    def _unlink(self, path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(
                f"{path}: cannot be removed ({error}). Check the store's permissions."
            ) from error


def _scan(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda item: item.name)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise StoreError(f"{folder}: cannot be listed ({error}). Check the store's permissions.") from error


def _folders(folder: Path) -> list[os.DirEntry[str]]:
    return [item for item in _scan(folder) if item.is_dir()]


def _status(file: os.DirEntry[str]) -> os.stat_result | None:
    # Another process may have removed it since.
    with suppress(FileNotFoundError):
        if file.is_file():
            return file.stat()
    return None
