"""What a store holds: entries, where they are kept and what they look like. The same in every backend.

An entry is kept as `<kind>/<recipe>/<key[:2]>/<key>`: a zstd skippable frame with the sha256 of the rest,
then the bytes themselves, so that an entry which is a `.tar.zst` can be opened as one. Sum and bytes are one
object because two runs that finish the same target at once would otherwise mix theirs.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from snakefold.kernel.errors import StoreError

#: RFC 8878, 3.1.2: magic number and size of the frame, then what decoders skip.
_FRAME = struct.pack("<II", 0x184D2A50, 64)
#: Bytes in front of an entry's own.
HEADER_SIZE = len(_FRAME) + 64
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,127}")

#: Where damaged entries are moved to, and what else a store's folder holds: no kinds.
DAMAGED = "damaged"
COMPILED = "compiled"
AT_WORK = "at-work"

#: The kind of the counters that outlive a killed process: state of running work, no result.
ATTEMPT = "attempt"


@dataclass(frozen=True, order=True)
class Entry:
    """Address of one result: what it is, how it was made, what it was made from."""

    kind: str
    recipe: str
    key: str

    def __post_init__(self) -> None:
        for part in (self.kind, self.recipe, self.key):
            if not _NAME.fullmatch(part):
                raise StoreError(f"{part!r} is no store name: expected lower-case letters, digits, '-', '_'.")
        if self.kind in (DAMAGED, COMPILED, AT_WORK):
            raise StoreError(f"{self.kind!r} is no kind of entry: the store keeps other things there.")

    @property
    def name(self) -> str:
        """Path below the store's root: `<kind>/<recipe>/<key[:2]>/<key>`."""
        return f"{self.kind}/{self.recipe}/{self.key[:2]}/{self.key}"


@dataclass(frozen=True)
class Listed:
    """An entry that is there. `size`: bytes kept, header included. `modified`: seconds since 1970 of its last
    use (folder) or of its writing (S3)."""

    entry: Entry
    size: int
    modified: float


@dataclass(frozen=True)
class Leftover:
    """What is no entry and may go: a damaged entry moved aside, or what a killed writer left behind.

    `upload` names an unfinished multipart upload (S3).
    """

    name: str
    size: int
    modified: float
    upload: str = ""

    @property
    def damaged(self) -> bool:
        """Whether it is an entry that was moved aside."""
        return self.name.startswith(f"{DAMAGED}/")


def entry_of(name: str) -> Entry | None:
    """The entry kept under a path below the store's root; None if none can be."""
    parts = name.split("/")
    if len(parts) != 4 or parts[2] != parts[3][:2]:
        return None
    try:
        return Entry(parts[0], parts[1], parts[3])
    except StoreError:
        return None


def frame(digest: bytes) -> bytes:
    """What is kept in front of an entry's bytes, of which this is the sha256."""
    return _FRAME + digest.hex().encode()


def wrap(data: bytes) -> bytes:
    """An entry as it is kept."""
    return frame(hashlib.sha256(data).digest()) + data


def unwrap(found: bytes) -> bytes | None:
    """The bytes of an entry as it was kept; None if it is damaged."""
    data = found[HEADER_SIZE:]
    return data if found[:HEADER_SIZE] == frame(hashlib.sha256(data).digest()) else None


class Store(Protocol):
    """Results by content. Safe for several processes, threads and users; every method may be repeated.

    All methods raise StoreError if the store cannot be reached, read or written.
    """

    @property
    def local(self) -> Path | None:
        """The store's folder, if it is one on this machine."""

    @property
    def location(self) -> str:
        """What `open_store` was given; no secrets."""

    def get(self, entry: Entry, *, used: bool = True) -> bytes | None:
        """The entry's verified bytes, or None if it is absent or was found damaged (and moved aside).

        `used=False` leaves the entry's last use as it is.
        """

    def put(self, entry: Entry, data: bytes) -> None:
        """Write the entry, over the one that was there."""

    def has(self, entry: Entry) -> bool:
        """Whether the entry is there; cheap, so its bytes are not verified."""

    def remove(self, entry: Entry) -> None:
        """Forget the entry, if it is there."""

    def check(self, entry: Entry) -> bool | None:
        """Whether the entry is whole; None if it is absent. A damaged one is moved aside. No use of it."""

    def keys(self, kind: str, recipe: str) -> set[str]:
        """Keys of all entries of one kind and recipe, by one listing."""

    def listing(self, kind: str | None = None, recipe: str | None = None) -> Iterator[Listed]:
        """All entries, or those of one kind or recipe, in order of their names."""

    def leftovers(self) -> Iterator[Leftover]:
        """Damaged entries that were moved aside, and what killed writers left behind."""

    def discard(self, leftover: Leftover) -> None:
        """Remove a leftover, if it is still there."""
