"""The store: results by content, `(kind, recipe, key)` → bytes, in a folder that many runs may share.

An entry is one file, `<kind>/<recipe>/<key[:2]>/<key>`: a zstd skippable frame with the sha256 of the rest,
then the bytes themselves, so that an entry which is a `.tar.zst` can be opened as one. Sum and bytes are one
file because two runs that finish the same target at once would otherwise mix theirs. Writing goes through a
temporary name and a rename: an entry is either whole or absent. Reading verifies the sha256; a damaged entry
is moved to `damaged/` and reported as absent, so that it is computed again.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import struct
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from snakefold.errors import StoreError

#: RFC 8878, 3.1.2: magic number and size of the frame, then what decoders skip.
_FRAME = struct.pack("<II", 0x184D2A50, 64)
_HEADER_SIZE = len(_FRAME) + 64
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,127}")


@dataclass(frozen=True)
class Entry:
    """Address of one result: what it is, how it was made, what it was made from."""

    kind: str
    recipe: str
    key: str

    def __post_init__(self) -> None:
        for part in (self.kind, self.recipe, self.key):
            if not _NAME.fullmatch(part):
                raise StoreError(f"{part!r} is no store name: expected lower-case letters, digits, '-', '_'.")


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` to `path` so that other readers see the old file or the whole new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.part")
    try:
        with part.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


class Store:
    """A folder of results. Safe for several processes and users at once; every method may be repeated."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def path(self, entry: Entry) -> Path:
        """Where the entry's bytes are (or would be)."""
        return self.root / entry.kind / entry.recipe / entry.key[:2] / entry.key

    def has(self, entry: Entry) -> bool:
        """Whether the entry is there; cheap, so its bytes are not verified."""
        return self.path(entry).is_file()

    def get(self, entry: Entry) -> bytes | None:
        """The entry's verified bytes, or None if it is absent or was found damaged (and moved aside)."""
        path = self.path(entry)
        try:
            found = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"{path}: cannot be read ({error}). Check the store's permissions.") from error
        data = found[_HEADER_SIZE:]
        if found[:_HEADER_SIZE] == _header(data):
            return data
        self._move_aside(entry)
        return None

    def put(self, entry: Entry, data: bytes) -> None:
        """Write the entry, over the one that was there."""
        try:
            write_atomically(self.path(entry), _header(data) + data)
        except OSError as error:
            raise StoreError(
                f"{self.path(entry)}: cannot be written ({error}). Check free space and permissions."
            ) from error

    def remove(self, entry: Entry) -> None:
        """Forget the entry, if it is there."""
        self.path(entry).unlink(missing_ok=True)

    def _move_aside(self, entry: Entry) -> None:
        aside = self.root / "damaged" / f"{entry.kind}.{entry.recipe}.{entry.key}.{secrets.token_hex(4)}"
        aside.parent.mkdir(parents=True, exist_ok=True)
        # Another process may have been quicker.
        with suppress(FileNotFoundError):
            self.path(entry).replace(aside)


def _header(data: bytes) -> bytes:
    return _FRAME + hashlib.sha256(data).hexdigest().encode()
