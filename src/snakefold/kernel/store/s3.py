"""A store on S3: one object an entry, under the same names and in the same form as in a folder."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import suppress

from snakefold.kernel.errors import StoreError
from snakefold.kernel.store.bucket import TRIES, Bucket, wait
from snakefold.kernel.store.entry import DAMAGED, Entry, Leftover, Listed, entry_of, unwrap, wrap
from snakefold.kernel.store.location import S3Location

#: Tries of an upload that the server reports as done and does not have.
_UPLOADS = 4


class S3Store:
    """Objects below a prefix of a bucket."""

    local = None

    def __init__(self, place: S3Location, *, tries: int = TRIES) -> None:
        """Connect, and ask for one name of the prefix.

        Raises:
            StoreError: says what is wrong with keys, bucket, clock or endpoint.
        """
        self._bucket = Bucket(place, tries=tries)
        self.location = self._bucket.location

    def __repr__(self) -> str:
        return f"S3Store({self.location!r})"

    def has(self, entry: Entry) -> bool:
        """Whether the entry is there; cheap, so its bytes are not verified."""
        return self._size(entry) is not None

    def get(self, entry: Entry, *, used: bool = True) -> bytes | None:  # noqa: ARG002
        """The entry's verified bytes, or None if it is absent or was found damaged (and moved aside).

        S3 keeps no last use: `used` changes nothing.
        """
        found = self._bucket.read(entry.name)
        if found is None:
            return None
        data = unwrap(found[0])
        if data is None:
            self._move_aside(entry, *found)
        return data

    def check(self, entry: Entry) -> bool | None:
        """Whether the entry is whole; None if it is absent. A damaged one is moved aside."""
        found = self._bucket.read(entry.name)
        if found is None:
            return None
        if unwrap(found[0]) is not None:
            return True
        self._move_aside(entry, *found)
        return False

    def put(self, entry: Entry, data: bytes) -> None:
        """Write the entry, over the one that was there."""
        content = wrap(data)
        for attempt in range(_UPLOADS):
            wait(attempt)
            self._bucket.upload(entry.name, content)
            # Large uploads have been reported as done and were not there afterwards.
            size = self._size(entry)
            if size == len(content):
                return
        raise StoreError(
            f"{self._bucket.where(entry.name)}: {len(content)} bytes were sent {_UPLOADS} times, and the "
            f"server has {'none' if size is None else size}. Check the storage's free space and state."
        )

    def remove(self, entry: Entry) -> None:
        """Forget the entry, if it is there."""
        self._bucket.delete(entry.name)

    def keys(self, kind: str, recipe: str) -> set[str]:
        """Keys of all entries of one kind and recipe, by one listing (a request for 1,000 of them)."""
        return {listed.entry.key for listed in self.listing(kind, recipe)}

    def listing(self, kind: str | None = None, recipe: str | None = None) -> Iterator[Listed]:
        """All entries, or those of one kind or recipe, in order of their names."""
        prefix = f"{kind}/{recipe}/" if kind and recipe else f"{kind}/" if kind else ""
        for name, size, modified in self._bucket.listing(prefix):
            entry = entry_of(name)
            if entry and kind in (None, entry.kind) and recipe in (None, entry.recipe):
                yield Listed(entry, size, modified)

    def leftovers(self) -> Iterator[Leftover]:
        """Damaged entries that were moved aside, and uploads that killed writers left unfinished."""
        for name, size, modified in self._bucket.listing(f"{DAMAGED}/"):
            yield Leftover(name, size, modified)
        for upload in self._bucket.unfinished():
            if entry_of(upload["Key"]):
                yield Leftover(upload["Key"], 0, upload["Initiated"].timestamp(), upload["UploadId"])

    def discard(self, leftover: Leftover) -> None:
        """Remove a leftover, if it is still there."""
        if leftover.upload:
            self._bucket.abort(leftover.name, leftover.upload)
        else:
            self._bucket.delete(leftover.name)

    def _size(self, entry: Entry) -> int | None:
        found = self._bucket.head(entry.name)
        return None if found is None else int(found["ContentLength"])

    def _move_aside(self, entry: Entry, content: bytes, etag: str) -> None:
        # Where the keys may only read, or nothing can be deleted, the damaged object stays until it is
        # written anew.
        aside = f"{DAMAGED}/{entry.kind}/{entry.recipe}/{entry.key}.{secrets.token_hex(4)}"
        with suppress(StoreError):
            self._bucket.upload(aside, content)
            # Another process may have written the entry anew since it was read.
            found = self._bucket.head(entry.name)
            if found and found["ETag"] == etag:
                self._bucket.delete(entry.name)
