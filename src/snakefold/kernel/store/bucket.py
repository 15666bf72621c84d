"""Objects below a prefix of a bucket: requests that are tried again, and errors that say what to do.

Only what every S3 service has is used: single-object PUT (multipart if large), GET, HEAD, DELETE and
ListObjectsV2. Services exist that refuse batch deletes, presigned addresses or checksums of their own.
"""

from __future__ import annotations

import hashlib
import io
import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar

import boto3
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore import exceptions
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from snakefold.kernel.errors import StoreError
from snakefold.kernel.store.location import S3Location


class Names(NamedTuple):
    """What settings are called in messages: keys, address of the server, bucket, region, permissions."""

    keys: str = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE and ~/.aws/credentials"
    endpoint: str = "endpoint_url in the location"
    bucket: str = "the location"
    region: str = "Put region=… into the location."
    may: str = "list, read, write and delete on the prefix"


_STORE = Names()

_WRONG_KEYS = "The server does not accept the keys. Correct {keys}."
_EXPIRED = "The session's keys have expired. Get new ones."
_FORBIDDEN = "The keys may not do this. Give them {may}."
_REGION = "The bucket is in another region. {region}"
_BUSY = "The server is overloaded or has an error. Try again later; a run resumes."

_BY_CODE = {
    "NoSuchBucket": "There is no such bucket. Create it, or correct {bucket}.",
    "InvalidBucketName": "There is no such bucket. Correct {bucket}.",
    "InvalidAccessKeyId": _WRONG_KEYS,
    "SignatureDoesNotMatch": _WRONG_KEYS,
    "InvalidToken": _WRONG_KEYS,
    "ExpiredToken": _EXPIRED,
    "ExpiredTokenException": _EXPIRED,
    "AccessDenied": _FORBIDDEN,
    "403": f"{_FORBIDDEN} Or they are wrong: check {{keys}}.",
    "401": _WRONG_KEYS,
    "RequestTimeTooSkewed": "This machine's clock is wrong by more than 15 minutes. Set it (`timedatectl`).",
    "PermanentRedirect": _REGION,
    "AuthorizationHeaderMalformed": _REGION,
    "IllegalLocationConstraintException": _REGION,
    "301": _REGION,
    "InsufficientStorage": "The storage is full. Free some, for example with `snakefold store gc`.",
    "QuotaExceeded": "The storage's quota is used up. Free some, for example with `snakefold store gc`.",
    "SlowDown": _BUSY,
    "ServiceUnavailable": _BUSY,
    "InternalError": _BUSY,
    "500": _BUSY,
    "503": _BUSY,
    "NotImplemented": "The server does not offer this part of S3.",
}

_UNREACHABLE = "The server cannot be reached. Check {endpoint}, the network, and that the server runs."
#: From special to general: the first that fits is said.
_BY_TYPE: list[tuple[type[Exception], str]] = [
    (exceptions.NoCredentialsError, "There are no keys. Set {keys}."),
    (exceptions.PartialCredentialsError, "One of the two keys is missing. Set {keys}."),
    (exceptions.CredentialRetrievalError, "The keys cannot be fetched. Check {keys}."),
    (exceptions.ProfileNotFound, "AWS_PROFILE names a profile that ~/.aws does not have. Correct it."),
    (exceptions.ConfigParseError, "~/.aws/config or ~/.aws/credentials cannot be read. Correct the file."),
    (exceptions.TokenRetrievalError, _EXPIRED),
    (
        exceptions.SSLError,
        "No secure connection. Check https:// and the host in {endpoint}, and certificates.",
    ),
    (exceptions.ConnectTimeoutError, _UNREACHABLE),
    (exceptions.ReadTimeoutError, "The server does not answer in time. Try again later."),
    (exceptions.HTTPClientError, _UNREACHABLE),
    (exceptions.ConnectionError, _UNREACHABLE),
    (exceptions.InvalidRegionError, "The region is none. {region}"),
]


@contextmanager
def explained(where: str, names: Names = _STORE) -> Iterator[None]:
    """Turn what boto3 raises into StoreError; `where` is the bucket, or the object, that is meant."""
    try:
        yield
    except ClientError as error:
        raise StoreError(f"{where}: {_of_answer(error, names)}") from error
    except (BotoCoreError, Boto3Error) as error:
        raise StoreError(f"{where}: {_of_exception(error, names)}") from error


def is_absent(error: Exception) -> bool:
    """Whether the answer says that the object (not the bucket) is not there."""
    return isinstance(error, ClientError) and code_of(error) in (
        "NoSuchKey",
        "404",
        "NotFound",
        "NoSuchUpload",
    )


def may_pass(error: Exception) -> bool:
    """Whether the same request may succeed a little later: the server is away, restarting or too busy."""
    if isinstance(error, ClientError):
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        return status in (429, 500, 502, 503, 504) or code_of(error) in ("SlowDown", "RequestTimeout")
    gone = (exceptions.HTTPClientError, exceptions.ConnectionError, exceptions.IncompleteReadError)
    return isinstance(error, gone) and not isinstance(error, exceptions.SSLError)


def is_missing_feature(error: ClientError) -> bool:
    """Whether the service does not offer what was asked for."""
    return code_of(error) in ("NotImplemented", "MethodNotAllowed", "501", "405")


def code_of(error: ClientError) -> str:
    """The answer's error code; where the server sent none (HEAD), its HTTP status."""
    return str(error.response.get("Error", {}).get("Code", ""))


def _of_answer(error: ClientError, names: Names) -> str:
    code = code_of(error)
    known = _BY_CODE.get(code)
    if known:
        return f"{known.format(**names._asdict())} ({code}, {error.operation_name})"
    message = str(error.response.get("Error", {}).get("Message", ""))
    return f"The server refused {error.operation_name}: {code} {message:.300}"


def _of_exception(error: Exception, names: Names) -> str:
    for kind, text in _BY_TYPE:
        if isinstance(error, kind):
            return f"{text.format(**names._asdict())} ({type(error).__name__})"
    return f"{type(error).__name__}: {error!s:.300}"


_Answer = TypeVar("_Answer")

#: Tries of one request, half a minute from the first to the last: a server may restart in between. botocore's
#: own tries are within a second.
TRIES = 8
#: Tries of the first request: a person who mistyped an address need not wait so long.
_FIRST_TRIES = 3
_LONGEST_WAIT = 8.0
#: Bytes. Uploads above this are made of parts.
PART_SIZE = 32 << 20

# Creating clients is the one thing in boto3 that threads must not do at once.
_CREATION = threading.Lock()


class Object(NamedTuple):
    """An object of a listing: its name below the prefix, bytes, and when it was written (Unix time)."""

    name: str
    size: int
    modified: float


class Bucket:
    """Objects below a prefix of a bucket. For several threads; every method may be repeated.

    All methods raise StoreError if the server cannot be reached or refuses; the text says what to do.
    """

    def __init__(
        self,
        place: S3Location,
        *,
        tries: int = TRIES,
        keys: tuple[str, str] | None = None,
        names: Names = _STORE,
        look: bool = True,
    ) -> None:
        """Connect, and ask for one name of the prefix.

        Args:
            keys: access key and secret key, in place of those that boto3 finds.
            names: what the settings are called in messages.
            look: False asks nothing yet: of keys that may not list.

        Raises:
            StoreError: says what is wrong with keys, bucket, clock or endpoint.
        """
        self.location = str(place)
        self._tries = tries
        self._bucket = place.bucket
        self._prefix = f"{place.prefix}/" if place.prefix else ""
        self._names = names
        with explained(self.where(), names):
            self._s3 = _client(place, keys)
        if look:
            first = {"Bucket": self._bucket, "Prefix": self._prefix, "MaxKeys": 1}
            self._ask("", lambda: self._s3.list_objects_v2(**first), tries=_FIRST_TRIES)
        self._transfer = TransferConfig(
            multipart_threshold=PART_SIZE, multipart_chunksize=PART_SIZE, max_concurrency=4
        )

    def where(self, name: str = "") -> str:
        """How an object, or the prefix, is called in messages."""
        return f"s3://{self._bucket}/{self._prefix}{name}"

    def listing(self, prefix: str = "") -> Iterator[Object]:
        """Objects whose names begin with `prefix`, in the service's order (a request for 1,000 of them)."""
        wanted = {"Bucket": self._bucket, "Prefix": self._prefix + prefix}
        more = True
        while more:
            page = self._ask(prefix, lambda: self._s3.list_objects_v2(**wanted)) or {}
            for item in page.get("Contents", []):
                name = item["Key"].removeprefix(self._prefix)
                yield Object(name, item["Size"], item["LastModified"].timestamp())
            wanted["ContinuationToken"] = page.get("NextContinuationToken", "")
            more = bool(page.get("IsTruncated") and wanted["ContinuationToken"])

    def head(self, name: str) -> dict[str, Any] | None:
        """What the service says of an object (ContentLength, ETag, Metadata); None if it is absent."""
        return self._ask(name, lambda: self._s3.head_object(**self._object(name)))

    def read(self, name: str) -> tuple[bytes, str] | None:
        """An object's bytes and ETag; None if it is absent."""
        found = self.get(name)
        return None if found is None else (found[0], found[1]["ETag"])

    def get(self, name: str, most: int | None = None) -> tuple[bytes, dict[str, Any]] | None:
        """An object's bytes, and what the service says of it; None if it is absent.

        Args:
            most: bytes. Of a larger object none are read, and none are given.
        """

        def read() -> tuple[bytes, dict[str, Any]]:
            found = self._s3.get_object(**self._object(name))
            body = found.pop("Body")
            if most is not None and found["ContentLength"] > most:
                body.close()
                return b"", found
            return body.read(), found

        return self._ask(name, read)

    def presigned(self, name: str, seconds: int) -> str:
        """An address that gives the object for so many seconds, to whoever has it."""
        with explained(self.where(name), self._names):
            place = self._object(name)
            return str(self._s3.generate_presigned_url("get_object", place, ExpiresIn=seconds))

    def download(self, name: str, stream: IO[bytes]) -> bool:
        """Write an object's bytes to the beginning of `stream`, which is empty; False if it is absent."""

        def copy() -> bool:
            found = self._s3.get_object(**self._object(name))
            stream.seek(0)
            stream.truncate()
            shutil.copyfileobj(found["Body"], stream, 1 << 20)
            return True

        return bool(self._ask(name, copy))

    def sha256(self, name: str) -> str | None:
        """Of an object's bytes, read piece by piece; None if it is absent."""

        def read() -> str:
            digest = hashlib.sha256()
            for piece in self._s3.get_object(**self._object(name))["Body"].iter_chunks(1 << 20):
                digest.update(piece)
            return digest.hexdigest()

        return self._ask(name, read)

    def upload(self, name: str, content: bytes | Path, **headers: Any) -> None:
        """Write an object, over the one that was there; a file is read piece by piece.

        Args:
            headers: more arguments of the request, such as ContentType.
        """
        place = self._object(name)

        def upload() -> None:
            if isinstance(content, Path):
                to = (place["Bucket"], place["Key"])
                self._s3.upload_file(str(content), *to, ExtraArgs=headers, Config=self._transfer)
            elif len(content) <= PART_SIZE:
                self._s3.put_object(**place, **headers, Body=content)
            else:
                to = (place["Bucket"], place["Key"])
                self._s3.upload_fileobj(io.BytesIO(content), *to, ExtraArgs=headers, Config=self._transfer)

        self._ask(name, upload)

    def delete(self, name: str) -> None:
        """Remove an object, if it is there."""
        self._ask(name, lambda: self._s3.delete_object(**self._object(name)))

    def unfinished(self) -> list[dict[str, Any]]:
        """Uploads in parts that killed writers left behind: Key (below the prefix), Initiated, UploadId."""
        # Not every service has this list, nor may all keys see it; its first thousand will do.
        try:
            found = self._s3.list_multipart_uploads(Bucket=self._bucket, Prefix=self._prefix)
        except ClientError:
            return []
        return [
            {**upload, "Key": upload["Key"].removeprefix(self._prefix)} for upload in found.get("Uploads", [])
        ]

    def abort(self, name: str, upload: str) -> None:
        """Forget an unfinished upload."""
        self._ask(name, lambda: self._s3.abort_multipart_upload(**self._object(name), UploadId=upload))

    def check_writable(self, name: str) -> None:
        """See that the keys may write: an upload of `name` in parts is begun and given up.

        Nothing is there afterwards, not even for a moment, and nothing needs to be deleted.
        """
        begin = self._s3.create_multipart_upload

        def ask() -> str | None:
            try:
                return str(begin(**self._object(name))["UploadId"])
            except ClientError as error:
                if is_missing_feature(error):
                    return None
                raise

        upload = self._ask(name, ask, tries=_FIRST_TRIES)
        if upload:
            # Who may write and may not give up leaves what nobody sees.
            with suppress(StoreError):
                self.abort(name, upload)

    def _ask(self, name: str, work: Callable[[], _Answer], tries: int | None = None) -> _Answer | None:
        """What `work` returns, tried again while what goes wrong may pass; None if the object is absent."""
        left = tries or self._tries
        with explained(self.where(name), self._names):
            for attempt in count(1):
                try:
                    return work()
                except Exception as error:
                    if is_absent(error):
                        return None
                    if attempt >= left or not may_pass(error):
                        raise
                wait(attempt)
        return None

    def _object(self, name: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + name}


def _client(place: S3Location, keys: tuple[str, str] | None = None) -> Any:
    access, secret = keys or (None, None)
    with _CREATION:
        return boto3.session.Session().client(
            "s3",
            endpoint_url=place.endpoint_url,
            region_name=place.region,
            aws_access_key_id=access,
            aws_secret_access_key=secret,
            config=Config(
                # Of addresses too: some services know no older one.
                signature_version="s3v4",
                retries={"mode": "standard", "total_max_attempts": 3},
                connect_timeout=10,
                read_timeout=60,
                max_pool_connections=32,
                # Newer checksums are refused by services that imitate S3; sums of our own go along.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                s3={"addressing_style": place.addressing_style},
                user_agent_extra="snakefold",
            ),
        )


def wait(attempt: int) -> None:
    """Pause before try `attempt` + 1 of something; none before the first."""
    if attempt:
        time.sleep(random.uniform(0.5, 1) * min(2.0**attempt, _LONGEST_WAIT))  # noqa: S311
