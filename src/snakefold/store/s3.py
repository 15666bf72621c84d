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
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import boto3
from boto3.s3.transfer import TransferConfig
from botocore import exceptions
from botocore.config import Config
from botocore.exceptions import ClientError

from snakefold.errors import StoreError
from snakefold.store.entry import DAMAGED, Entry, Leftover, Listed, entry_of, unwrap, wrap
from snakefold.store.location import S3Location
from snakefold.store.s3_errors import explained, is_absent

#: Tries of one request. With botocore's backoff (1, 2, 4, … at most 20 s, times a random number) the last is
#: half a minute after the first: a server may restart in between.
_ATTEMPTS = 8
#: Bytes. Uploads above this are made of parts.
_PART_SIZE = 32 << 20
#: Tries of an upload that the server reported as done and does not have, and of a download that broke off.
_TRANSFERS = 4

_BROKEN_OFF = (exceptions.HTTPClientError, exceptions.ConnectionError, exceptions.IncompleteReadError)

# Creating clients is the one thing in boto3 that threads must not do at once.
_CREATION = threading.Lock()


class S3Store:
    """Objects below a prefix of a bucket."""

    local = None

    def __init__(self, place: S3Location, *, attempts: int = _ATTEMPTS) -> None:
        """Connect, and ask for one name of the prefix.

        Raises:
            StoreError: says what is wrong with keys, bucket, clock or endpoint.
        """
        self.location = str(place)
        self._bucket = place.bucket
        self._prefix = f"{place.prefix}/" if place.prefix else ""
        with self._explained():
            self._s3 = _client(place, attempts)
            self._s3.list_objects_v2(Bucket=self._bucket, Prefix=self._prefix, MaxKeys=1)
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
        for attempt in range(_TRANSFERS):
            _wait(attempt)
            self._upload(entry.name, content)
            # Large uploads have been reported as done and were not there afterwards.
            size = self._size(entry)
            if size == len(content):
                return
        raise StoreError(
            f"{self._where(entry.name)}: {len(content)} bytes were sent {_TRANSFERS} times, and the "
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
        pages = self._s3.get_paginator("list_multipart_uploads").paginate(
            Bucket=self._bucket, Prefix=self._prefix
        )
        with self._explained():
            try:
                uploads = [upload for page in pages for upload in page.get("Uploads", [])]
            except ClientError:
                return  # not every service has this list, nor may all keys see it
        for upload in uploads:
            name = upload["Key"].removeprefix(self._prefix)
            if entry_of(name):
                yield Leftover(name, 0, upload["Initiated"].timestamp(), upload["UploadId"])

    def discard(self, leftover: Leftover) -> None:
        """Remove a leftover, if it is still there."""
        if not leftover.upload:
            self._delete(leftover.name)
            return
        with self._explained(leftover.name):
            try:
                self._s3.abort_multipart_upload(**self._object(leftover.name), UploadId=leftover.upload)
            except ClientError as error:
                if not is_absent(error):
                    raise

    def _objects(self, prefix: str) -> Iterator[tuple[str, int, float]]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._prefix + prefix
        )
        with self._explained(prefix):
            for page in pages:
                for item in page.get("Contents", []):
                    name = item["Key"].removeprefix(self._prefix)
                    yield name, item["Size"], item["LastModified"].timestamp()

    def _read(self, entry: Entry) -> tuple[bytes, str] | None:
        """An object's bytes and ETag."""
        with self._explained(entry.name):
            for attempt in range(1, _TRANSFERS + 1):
                try:
                    found = self._s3.get_object(**self._object(entry.name))
                    return found["Body"].read(), found["ETag"]
                except ClientError as error:
                    if is_absent(error):
                        return None
                    raise
                # botocore repeats requests, but not answers that break off.
                except _BROKEN_OFF:
                    if attempt == _TRANSFERS:
                        raise
                _wait(attempt)
        return None

    def _size(self, entry: Entry) -> int | None:
        with self._explained(entry.name):
            try:
                return int(self._s3.head_object(**self._object(entry.name))["ContentLength"])
            except ClientError as error:
                if is_absent(error):
                    return None
                raise

    def _upload(self, name: str, content: bytes) -> None:
        place = self._object(name)
        with self._explained(name):
            if len(content) <= _PART_SIZE:
                self._s3.put_object(**place, Body=content)
            else:
                self._s3.upload_fileobj(
                    io.BytesIO(content), place["Bucket"], place["Key"], Config=self._transfer
                )

    def _move_aside(self, entry: Entry, content: bytes, etag: str) -> None:
        # Where the keys may only read, or nothing can be deleted, the damaged object stays until it is
        # written anew.
        with suppress(StoreError):
            self._upload(f"{DAMAGED}/{entry.kind}/{entry.recipe}/{entry.key}.{secrets.token_hex(4)}", content)
            with self._explained(entry.name):
                # Another process may have written the entry anew since it was read.
                if self._s3.head_object(**self._object(entry.name))["ETag"] == etag:
                    self._s3.delete_object(**self._object(entry.name))

    def _delete(self, name: str) -> None:
        with self._explained(name):
            self._s3.delete_object(**self._object(name))

    def _object(self, name: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + name}

    def _where(self, name: str = "") -> str:
        return f"s3://{self._bucket}/{self._prefix}{name}"

    def _explained(self, name: str = "") -> Any:
        return explained(self._where(name))


def _client(place: S3Location, attempts: int) -> Any:
    with _CREATION:
        return boto3.session.Session().client(
            "s3",
            endpoint_url=place.endpoint_url,
            region_name=place.region,
            config=Config(
                retries={"mode": "standard", "total_max_attempts": attempts},
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
        time.sleep(random.uniform(0.5, 1) * 2 ** (attempt - 1))  # noqa: S311
