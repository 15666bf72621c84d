"""The store: results by content, `(kind, recipe, key)` → bytes, in a folder or on S3, shared by many runs.

An entry is either whole or absent, and its sha256 is verified whenever it is read; a damaged one is moved
aside and reported as absent, so that it is computed again.
"""

from __future__ import annotations

from pathlib import Path

from snakefold.kernel.errors import StoreError
from snakefold.kernel.store.at_work import at_work
from snakefold.kernel.store.atomic import write_atomically
from snakefold.kernel.store.entry import Entry, Leftover, Listed, Store
from snakefold.kernel.store.folder import FolderStore
from snakefold.kernel.store.kept import KeptStore
from snakefold.kernel.store.location import parse_location

__all__ = [
    "Entry",
    "KeptStore",
    "Leftover",
    "Listed",
    "Store",
    "at_work",
    "open_shared_store",
    "open_store",
    "write_atomically",
]


def open_store(location: str | Path) -> Store:
    """The store at a location: a folder, or `s3://bucket/prefix?endpoint_url=…&region=…`.

    Raises:
        StoreError: the location is no such text, or the bucket cannot be reached or read with the keys that
            boto3 finds; the text says which and what to do.
    """
    place = parse_location(str(location))
    if isinstance(place, Path):
        return FolderStore(place)
    from snakefold.kernel.store.s3 import S3Store

    return S3Store(place)


def open_shared_store(location: str) -> Store:
    """The store at a location that machines without a folder in common reach.

    Raises:
        StoreError: it is a folder, so that what other machines put into theirs would be lost; or as
            `open_store`.
    """
    store = open_store(location)
    if store.local is not None:
        raise StoreError(
            f"store: {location}: is a folder, and jobs run where this one is not: what they compute would be "
            "lost. Set store: s3://bucket/prefix?endpoint_url=…&region=… (docs/s3.md)."
        )
    return store
