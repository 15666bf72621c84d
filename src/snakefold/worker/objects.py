"""Objects of a bucket by their keys: read and written with the worker's own S3 keys, as its operator allows.

A job names bucket and key and has no S3 keys. So the operator lists what jobs may read and write, and nothing
else is allowed: `inputs/` in STORAGE_BUCKET, `s3://other/inputs/` in another bucket. `{user_id}` and
`{job_id}` in such a prefix stand for what a job says of itself, so that `inputs/{user_id}/` keeps a job of
one user from the objects of another. A job that says nothing of the kind gets nothing of such a prefix.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from snakefold.kernel.envelope import BucketName, ObjectKey
from snakefold.kernel.errors import SnakefoldError, StoreError
from snakefold.kernel.media import content_type
from snakefold.worker.endpoints.checked import InvalidInput

if TYPE_CHECKING:
    from snakefold.kernel.store.bucket import Bucket

READ, WRITE = "STORAGE_READ_PREFIXES", "STORAGE_WRITE_PREFIXES"
#: What a job may say of itself.
_SCOPE = ("user_id", "job_id")
_PLACE = re.compile(r"\{([^{}]*)\}")
#: Bytes of an object, unless STORAGE_MAX_BYTES says otherwise.
LARGEST = 4 << 30
#: Tries of a request: seconds, not minutes, for a job is paid while it waits.
_TRIES = 3
#: Uploads of what the server reports as written and does not have.
_UPLOADS = 3
#: Metadata: digest of the bytes, and of the request that they answer.
_SHA256, _REQUEST = "sha256", "request"


@dataclass(frozen=True)
class Prefix:
    """What jobs may read or write: keys below `parts` in a bucket; all of them, if there are none."""

    bucket: str
    parts: tuple[str, ...]

    def covers(self, bucket: str, key: str, scope: Mapping[str, str]) -> bool:
        """Whether a key is below it, for a job that says this of itself.

        Parts between slashes are compared whole: what a job says cannot lead to another folder.
        """
        if bucket != self.bucket:
            return False
        try:
            expected = [_PLACE.sub(lambda found: scope[found[1]], part) for part in self.parts]
        except KeyError:
            return False
        parts = key.split("/")
        return len(parts) > len(expected) and parts[: len(expected)] == expected


@dataclass(frozen=True)
class ObjectSettings:
    """The storage that keys are of; `read` and `write` are what jobs may, and empty: nothing."""

    endpoint: str | None = None
    region: str | None = None
    bucket: str | None = None
    keys: tuple[str, str] | None = field(default=None, repr=False)
    read: tuple[Prefix, ...] = ()
    write: tuple[Prefix, ...] = ()
    most: int = LARGEST


def read_object_settings(given: Mapping[str, str]) -> ObjectSettings:
    """Settings of the environment; S3 keys that it does not name are looked for where boto3 looks.

    Raises:
        SnakefoldError: a variable is wrong; no value of a secret one is in the text.
    """
    endpoint = given.get("STORAGE_S3_ENDPOINT") or None
    if endpoint is not None:
        from snakefold.kernel.store.location import check_endpoint

        check_endpoint(endpoint, "STORAGE_S3_ENDPOINT")
    access, secret = given.get("STORAGE_ACCESS_KEY"), given.get("STORAGE_SECRET_KEY")
    if bool(access) != bool(secret):
        lacks = "STORAGE_SECRET_KEY" if access else "STORAGE_ACCESS_KEY"
        raise SnakefoldError(f"{lacks} is not set, and the other of the two keys is. Set both, or none.")
    bucket = given.get("STORAGE_BUCKET") or None
    if bucket is not None and not _is(_BUCKET, bucket):
        raise SnakefoldError(f"STORAGE_BUCKET: {bucket!r:.80} is no name of a bucket.")
    # Cloudflare R2 has no other; services of one region take any.
    region = given.get("STORAGE_REGION") or given.get("AWS_DEFAULT_REGION") or ("auto" if endpoint else None)
    return ObjectSettings(
        endpoint=endpoint,
        region=region,
        bucket=bucket,
        keys=(access, secret) if access and secret else None,
        read=_prefixes(READ, given, bucket),
        write=_prefixes(WRITE, given, bucket),
        most=_bytes("STORAGE_MAX_BYTES", given, LARGEST),
    )


def _bytes(name: str, given: Mapping[str, str], default: int) -> int:
    text = given.get(name) or str(default)
    if not text.isascii() or not text.isdecimal() or int(text) < 1:
        raise SnakefoldError(f"{name}: expected a whole number of bytes.")
    return int(text)


def _prefixes(name: str, given: Mapping[str, str], own: str | None) -> tuple[Prefix, ...]:
    return tuple(
        _prefix(name, each, own) for item in given.get(name, "").split(",") if (each := item.strip())
    )


def _prefix(name: str, text: str, own: str | None) -> Prefix:
    bucket, path = own, text
    if text.startswith("s3://"):
        bucket, _, path = text.removeprefix("s3://").partition("/")
    if not bucket or not _is(_BUCKET, bucket):
        raise SnakefoldError(
            f"{name}: {text!r:.80} names no bucket. Set STORAGE_BUCKET, or write s3://bucket/prefix/."
        )
    path = path.removesuffix("/")
    whole = text == f"s3://{bucket}/"
    if not whole and not _is(_KEY, path):
        raise SnakefoldError(
            f"{name}: {text!r:.80} is no prefix. Expected one such as inputs/ or inputs/{{user_id}}/, and "
            "s3://bucket/ for a whole bucket."
        )
    unknown = [found for found in _PLACE.findall(path) if found not in _SCOPE]
    if unknown or _PLACE.sub("", path).count("{") or _PLACE.sub("", path).count("}"):
        raise SnakefoldError(f"{name}: {text!r:.80}: expected {{user_id}} or {{job_id}} in braces.")
    return Prefix(bucket, tuple(path.split("/")) if path else ())


_KEY: TypeAdapter[str] = TypeAdapter(ObjectKey)
_BUCKET: TypeAdapter[str] = TypeAdapter(BucketName)


def _is(kind: TypeAdapter[str], text: str) -> bool:
    try:
        kind.validate_python(text)
    except ValidationError:
        return False
    return True


@dataclass(frozen=True)
class Found:
    """What is known of an object without its bytes; digests are empty if whoever wrote it did not say."""

    size: int
    sha256: str
    request: str


class _Hidden:
    """The S3 keys may not see what lies there."""


class Objects:
    """The objects that one job may read and write. For several threads.

    All methods that name a key raise InvalidInput if the job may not, and StoreError if the storage cannot be
    reached or refuses; the texts name bucket and key.
    """

    def __init__(self, settings: ObjectSettings, scope: Mapping[str, str] | None = None) -> None:
        self.settings = settings
        self._scope = dict(scope or {})
        self._buckets: dict[str, Bucket] = {}
        self._lock = threading.Lock()

    def of(self, *, user_id: str | None = None, job_id: str | None = None) -> Objects:
        """The same for a job that says whose it is."""
        said = {"user_id": user_id, "job_id": job_id}
        made = Objects(self.settings, {name: value for name, value in said.items() if value})
        made._buckets, made._lock = self._buckets, self._lock
        return made

    def check(self, *, read: Sequence[str] = (), write: Sequence[str] = ()) -> None:
        """See, before anything is computed, that keys in the worker's bucket may be read and written.

        Raises:
            InvalidInput: the first that may not.
        """
        for key in read:
            self._place(key, None, READ)
        for key in write:
            self._place(key, None, WRITE)

    def read(self, key: str, bucket: str | None = None, *, most: int | None = None, what: str = "") -> bytes:
        """The bytes of an object, checked against the digest that it was written with, if it has one.

        Args:
            most: bytes that it may have, if fewer than STORAGE_MAX_BYTES.
            what: the part of the request that names it, for messages.

        Raises:
            InvalidInput: also if it is not there, too large or damaged.
        """
        there, where = self._place(key, bucket, READ, what)
        limit = self.settings.most if most is None else min(most, self.settings.most)
        found = there.get(key, limit)
        if found is None:
            raise InvalidInput(f"{where}: there is no such object. Upload it before the job is sent.")
        data, facts = found
        size = int(facts["ContentLength"])
        if size > limit:
            raise InvalidInput(f"{where}: has {size} bytes, and {limit} are allowed.")
        said = _metadata(facts).get(_SHA256, "")
        if len(data) != size or (said and hashlib.sha256(data).hexdigest() != said):
            raise InvalidInput(
                f"{where}: is damaged: its bytes are not those of the sha256 in its metadata. Upload it "
                "again."
            )
        return data

    def written(self, key: str, bucket: str | None = None) -> Found | None:
        """What lies under the key of an output; None if nothing does."""
        there, _ = self._place(key, bucket, WRITE)
        facts = there.head(key)
        if facts is None:
            return None
        said = _metadata(facts)
        return Found(int(facts["ContentLength"]), said.get(_SHA256, ""), said.get(_REQUEST, ""))

    def answered(self, request: str, keys: Sequence[str], bucket: str | None = None) -> bool:
        """Whether all these outputs are there, written for the request of this digest."""
        return bool(keys) and all(
            isinstance(found, Found) and found.request == request
            for found in (self._seen(key, bucket) for key in keys)
        )

    def write(
        self,
        key: str,
        data: bytes,
        bucket: str | None = None,
        *,
        media: str | None = None,
        request: str = "",
        what: str = "",
    ) -> bool:
        """Write an object, which is whole or not there; whether it was not there already.

        What lies under the key with the same bytes, for the same request, stays.

        Args:
            media: its media type; by the name, if not given.
            request: digest of the request that it answers, kept in its metadata.
        """
        there, where = self._place(key, bucket, WRITE, what)
        if len(data) > self.settings.most:
            raise InvalidInput(
                f"{where}: {len(data)} bytes are more than this worker writes (STORAGE_MAX_BYTES: "
                f"{self.settings.most})."
            )
        metadata = {_SHA256: hashlib.sha256(data).hexdigest(), **({_REQUEST: request} if request else {})}
        kind = media or content_type(key)
        wanted = Found(len(data), metadata[_SHA256], request)
        if self._seen(key, bucket) == wanted:
            return False
        size = "none"
        for _ in range(_UPLOADS):
            there.upload(key, data, ContentType=kind, Metadata=metadata)
            # Large uploads have been reported as done and were not there afterwards.
            found = self._seen(key, bucket)
            if isinstance(found, _Hidden) or (found is not None and found.size == len(data)):
                return True
            size = "none" if found is None else str(found.size)
        raise StoreError(
            f"{where}: {len(data)} bytes were sent {_UPLOADS} times, and the storage has {size}. Check its "
            "free space and state."
        )

    def _seen(self, key: str, bucket: str | None) -> Found | _Hidden | None:
        """As `written`, for keys that may write and not read. Why not, the answer to an upload says."""
        from botocore.exceptions import ClientError

        from snakefold.kernel.store.bucket import code_of

        try:
            return self.written(key, bucket)
        except StoreError as error:
            if isinstance(error.__cause__, ClientError) and code_of(error.__cause__) in (
                "403",
                "AccessDenied",
            ):
                return _Hidden()
            raise

    def bucket_of(self, bucket: str | None) -> str:
        """The bucket that is meant.

        Raises:
            InvalidInput: none is named, neither by the job nor by the worker.
        """
        name = bucket or self.settings.bucket
        if name is None:
            raise InvalidInput(
                "key: names no bucket, and this worker has none of its own. Name one, or set STORAGE_BUCKET."
            )
        return name

    def _place(self, key: str, bucket: str | None, variable: str, what: str = "") -> tuple[Bucket, str]:
        """The bucket, and how the object is called in messages."""
        name = self.bucket_of(bucket)
        where = f"{what}: " * bool(what) + f"s3://{name}/{key if key.isprintable() else '…'}"
        if not _is(_KEY, key) or not _is(_BUCKET, name):
            raise InvalidInput(
                f"{where}: is no key. Expected one such as inputs/u_abc/job_123/0.jpg, without .."
            )
        allowed = self.settings.read if variable == READ else self.settings.write
        if not any(prefix.covers(name, key, self._scope) for prefix in allowed):
            verb = "read" if variable == READ else "written"
            why = "the key is below no prefix of" if allowed else "this worker has no"
            raise InvalidInput(
                f"{where}: may not be {verb} by this job: {why} {variable}. Correct the key, or ask the "
                "worker's operator for the prefix."
            )
        with self._lock:
            if name not in self._buckets:
                self._buckets[name] = self._open(name)
            return self._buckets[name], where

    def _open(self, name: str) -> Bucket:
        # boto3 is imported for jobs that name keys only.
        from snakefold.kernel.store.bucket import Bucket, Names
        from snakefold.kernel.store.location import S3Location

        names = Names(
            keys="STORAGE_ACCESS_KEY and STORAGE_SECRET_KEY (or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY)",
            endpoint="STORAGE_S3_ENDPOINT",
            bucket="the request's bucket, or STORAGE_BUCKET",
            region="Set STORAGE_REGION.",
            may=f"read on the prefixes of {READ}, read and write on those of {WRITE}",
        )
        place = S3Location(name, "", self.settings.endpoint, self.settings.region)
        return Bucket(place, tries=_TRIES, keys=self.settings.keys, names=names, look=False)


def _metadata(facts: Mapping[str, object]) -> dict[str, str]:
    found = facts.get("Metadata")
    # Some services write the names in capitals.
    return {str(name).lower(): str(value) for name, value in found.items()} if isinstance(found, dict) else {}
