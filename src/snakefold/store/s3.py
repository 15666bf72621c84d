"""A store on S3: one object an entry, under the same names and in the same form as in a folder.

Only what every S3 service has is used: single-object PUT (multipart if large), GET, HEAD, DELETE and
ListObjectsV2. Services exist that refuse batch deletes, presigned addresses or checksums of their own.
"""

from __future__ import annotations

import io
import random
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from typing import Any, TypeVar

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

from snakefold.errors import StoreError
from snakefold.store.entry import DAMAGED, Entry, Leftover, Listed, entry_of, unwrap, wrap
from snakefold.store.location import S3Location
from snakefold.store.s3_errors import explained, is_absent, may_pass

_Answer = TypeVar("_Answer")

#: Tries of one request, half a minute from the first to the last: a server may restart in between. botocore's
#: own tries are within a second.
_TRIES = 8
#: Tries of the first request: a person who mistyped an address need not wait so long.
_FIRST_TRIES = 3
_LONGEST_WAIT = 8.0
#: Tries of an upload that the server reports as done and does not have.
_UPLOADS = 4
#: Bytes. Uploads above this are made of parts.
_PART_SIZE = 32 << 20

# Creating clients is the one thing in boto3 that threads must not do at once.
_CREATION = threading.Lock()


class S3Store:
    """Objects below a prefix of a bucket."""

    local = None

    def __init__(self, place: S3Location, *, tries: int = _TRIES) -> None:
        """Connect, and ask for one name of the prefix.

        Raises:
            StoreError: says what is wrong with keys, bucket, clock or endpoint.
        """
        self.location = str(place)
        self._tries = tries
        self._bucket = place.bucket
        self._prefix = f"{place.prefix}/" if place.prefix else ""
        with explained(self._where()):
            self._s3 = _client(place)
        first = {"Bucket": self._bucket, "Prefix": self._prefix, "MaxKeys": 1}
        self._ask("", lambda: self._s3.list_objects_v2(**first), tries=_FIRST_TRIES)
        self._transfer = TransferConfig(
            multipart_threshold=_PART_SIZE, multipart_chunksize=_PART_SIZE, max_concurrency=4
        )

    def __repr__(self) -> str:
        return f"S3Store({self.location!r})"

    def has(self, entry: Entry) -> bool:
        """Whether the entry is there; cheap, so its bytes are not verified."""
        return self._size(entry) is not None

    def get(self, entry: Entry, *, used: bool = True) -> bytes | None:  # noqa: ARG002
        """The entry's verified bytes, or None if it is absent or was found damaged (and moved aside).

        S3 keeps no last use: `used` changes nothing.
        """
        found = self._read(entry)
        if found is None:
            return None
        data = unwrap(found[0])
        if data is None:
            self._move_aside(entry, *found)
        return data

    def check(self, entry: Entry) -> bool | None:
        """Whether the entry is whole; None if it is absent. A damaged one is moved aside."""
        found = self._read(entry)
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
            _wait(attempt)
            self._upload(entry.name, content)
            # Large uploads have been reported as done and were not there afterwards.
            size = self._size(entry)
            if size == len(content):
                return
        raise StoreError(
            f"{self._where(entry.name)}: {len(content)} bytes were sent {_UPLOADS} times, and the "
            f"server has {'none' if size is None else size}. Check the storage's free space and state."
        )

    def remove(self, entry: Entry) -> None:
        """Forget the entry, if it is there."""
        self._delete(entry.name)

    def keys(self, kind: str, recipe: str) -> set[str]:
        """Keys of all entries of one kind and recipe, by one listing (a request for 1,000 of them)."""
        return {listed.entry.key for listed in self.listing(kind, recipe)}

    def listing(self, kind: str | None = None, recipe: str | None = None) -> Iterator[Listed]:
        """All entries, or those of one kind or recipe, in order of their names."""
        prefix = f"{kind}/{recipe}/" if kind and recipe else f"{kind}/" if kind else ""
        for name, size, modified in self._objects(prefix):
            entry = entry_of(name)
            if entry and kind in (None, entry.kind) and recipe in (None, entry.recipe):
                yield Listed(entry, size, modified)

    def leftovers(self) -> Iterator[Leftover]:
        """Damaged entries that were moved aside, and uploads that killed writers left unfinished."""
        for name, size, modified in self._objects(f"{DAMAGED}/"):
            yield Leftover(name, size, modified)
        # Not every service has this list, nor may all keys see it; its first thousand will do.
        try:
            uploads = self._s3.list_multipart_uploads(Bucket=self._bucket, Prefix=self._prefix)
        except ClientError:
            return
        for upload in uploads.get("Uploads", []):
            name = upload["Key"].removeprefix(self._prefix)
            if entry_of(name):
                yield Leftover(name, 0, upload["Initiated"].timestamp(), upload["UploadId"])

    def discard(self, leftover: Leftover) -> None:
        """Remove a leftover, if it is still there."""
        if not leftover.upload:
            self._delete(leftover.name)
            return
        upload = {**self._object(leftover.name), "UploadId": leftover.upload}
        self._ask(leftover.name, lambda: self._s3.abort_multipart_upload(**upload))

    def _objects(self, prefix: str) -> Iterator[tuple[str, int, float]]:
        wanted = {"Bucket": self._bucket, "Prefix": self._prefix + prefix}
        more = True
        while more:
            page = self._ask(prefix, lambda: self._s3.list_objects_v2(**wanted)) or {}
            for item in page.get("Contents", []):
                yield item["Key"].removeprefix(self._prefix), item["Size"], item["LastModified"].timestamp()
            wanted["ContinuationToken"] = page.get("NextContinuationToken", "")
            more = bool(page.get("IsTruncated") and wanted["ContinuationToken"])

    def _read(self, entry: Entry) -> tuple[bytes, str] | None:
        """An object's bytes and ETag."""

        def read() -> tuple[bytes, str]:
            found = self._s3.get_object(**self._object(entry.name))
            return found["Body"].read(), found["ETag"]

        return self._ask(entry.name, read)

    def _size(self, entry: Entry) -> int | None:
        found = self._ask(entry.name, lambda: self._s3.head_object(**self._object(entry.name)))
        return None if found is None else int(found["ContentLength"])

    def _upload(self, name: str, content: bytes) -> None:
        place = self._object(name)

        def upload() -> None:
            if len(content) <= _PART_SIZE:
                self._s3.put_object(**place, Body=content)
            else:
                stream = io.BytesIO(content)
                self._s3.upload_fileobj(stream, place["Bucket"], place["Key"], Config=self._transfer)

        self._ask(name, upload)

    def _move_aside(self, entry: Entry, content: bytes, etag: str) -> None:
        # Where the keys may only read, or nothing can be deleted, the damaged object stays until it is
        # written anew.
        with suppress(StoreError):
            self._upload(f"{DAMAGED}/{entry.kind}/{entry.recipe}/{entry.key}.{secrets.token_hex(4)}", content)
            # Another process may have written the entry anew since it was read.
            found = self._ask(entry.name, lambda: self._s3.head_object(**self._object(entry.name)))
            if found and found["ETag"] == etag:
                self._delete(entry.name)

    def _delete(self, name: str) -> None:
        self._ask(name, lambda: self._s3.delete_object(**self._object(name)))

    def _ask(self, name: str, work: Callable[[], _Answer], tries: int | None = None) -> _Answer | None:
        """What `work` returns, tried again while what goes wrong may pass; None if the object is absent."""
        left = tries or self._tries
        with explained(self._where(name)):
            for attempt in count(1):
                try:
                    return work()
                except Exception as error:
                    if is_absent(error):
                        return None
                    if attempt >= left or not may_pass(error):
                        raise
                _wait(attempt)
        return None

    def _object(self, name: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + name}

    def _where(self, name: str = "") -> str:
        return f"s3://{self._bucket}/{self._prefix}{name}"


def _client(place: S3Location) -> Any:
    with _CREATION:
        return boto3.session.Session().client(
            "s3",
            endpoint_url=place.endpoint_url,
            region_name=place.region,
            config=Config(
                retries={"mode": "standard", "total_max_attempts": 3},
                connect_timeout=10,
                read_timeout=60,
                max_pool_connections=32,
                # Newer checksums are refused by services that imitate S3; sums of our own are in the entries.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                s3={"addressing_style": place.addressing_style},
                user_agent_extra="snakefold",
            ),
        )


def _wait(attempt: int) -> None:
    if attempt:
        time.sleep(random.uniform(0.5, 1) * min(2.0**attempt, _LONGEST_WAIT))  # noqa: S311
