"""Files on S3, or on a RunPod network volume through its S3 interface.

boto3 is imported when the first file travels. Keys come from boto3's usual places (S3) or from
RUNPOD_S3_ACCESS_KEY_ID and RUNPOD_S3_SECRET_ACCESS_KEY (volume) and are written nowhere.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .errors import JobError, UnavailableError
from .settings import VOLUME_KEYS, Configuration

_CHUNK = 1 << 20


class MissingError(UnavailableError):
    """No object has this key."""


class Storage:
    """A bucket, or a volume (which knows no presigned URLs). Methods block: call them in threads."""

    def __init__(
        self,
        bucket: str,
        *,
        endpoint_url: str | None = None,
        region: str | None = None,
        keys: tuple[str, str] | None = None,
        volume: bool = False,
    ) -> None:
        self.volume = volume
        self._bucket = bucket
        self._endpoint_url = endpoint_url
        self._region = region
        self._keys = keys
        self._client: Any = None
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}

    def upload(self, path: Path, key: str, size: int) -> None:
        """Have a file under a key that names its content; one that is there already is not sent again.

        Raises:
            UnavailableError: storage fails, or does not have the file afterwards.
        """
        with self._only_one(key):
            if self._size(key) == size:
                return
            self._do("upload_file", str(path), self._bucket, key)
            # Large uploads to volumes have "succeeded" and then not been there.
            if self._size(key) != size:
                raise UnavailableError(f"{key}: not in storage after its upload")

    def download(self, key: str, path: Path, size: int) -> str:
        """Write an object to a file, of `size` bytes at most; returns its sha256.

        Raises:
            JobError: there is no such object, or it is larger. UnavailableError: storage fails. OSError: the
            disk.
        """
        try:
            body = self._do("get_object", Bucket=self._bucket, Key=key)["Body"]
        except MissingError:
            raise JobError(
                f"{key}: the worker says that it stored this result, but it is not there"
            ) from None
        return _write(body.read, key, path, size)

    def url_to_get(self, key: str, seconds: float) -> str:
        return self._presigned("get_object", key, seconds)

    def url_to_put(self, key: str, seconds: float) -> str:
        return self._presigned("put_object", key, seconds)

    def remove(self, key: str, unless: Callable[[], bool] = lambda: False) -> None:
        """Remove an object, `unless` somebody wants it: asked while nobody can find it uploaded already."""
        with self._only_one(key):
            if not unless():
                self._do("delete_object", Bucket=self._bucket, Key=key)

    def _only_one(self, key: str) -> threading.Lock:
        with self._lock:
            return self._locks.setdefault(key, threading.Lock())

    def _presigned(self, operation: str, key: str, seconds: float) -> str:
        # A week is what S3's signatures last at most.
        expires = int(min(seconds, 7 * 86400))
        url = self._do(
            "generate_presigned_url",
            operation,
            Params={"Bucket": self._bucket, "Key": key},
            ExpiresIn=expires,
        )
        return str(url)

    def _size(self, key: str) -> int | None:
        try:
            return int(self._do("head_object", Bucket=self._bucket, Key=key)["ContentLength"])
        except MissingError:
            return None

    def _do(self, operation: str, *args: Any, **kwargs: Any) -> Any:
        from boto3.exceptions import Boto3Error
        from botocore import exceptions

        try:
            return getattr(self._s3(), operation)(*args, **kwargs)
        except exceptions.ClientError as error:
            raise _problem(error.response, self._bucket) from error
        except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError) as error:
            raise JobError("storage: no keys: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY") from error
        except Boto3Error as error:
            inner = error.__context__
            if isinstance(inner, exceptions.ClientError):
                raise _problem(inner.response, self._bucket) from error
            raise UnavailableError(f"storage: {type(error).__name__}") from error
        except exceptions.BotoCoreError as error:
            raise UnavailableError(
                f"storage: {type(error).__name__} at {self._endpoint_url or 'AWS'}"
            ) from error

    def _s3(self) -> Any:
        with self._lock:
            if self._client is None:
                self._client = self._connect()
            return self._client

    def _connect(self) -> Any:
        try:
            import boto3
            from botocore.config import Config
        except ImportError as error:
            raise JobError(
                "files go through storage, which needs boto3: pip install "
                "'snakemake-executor-plugin-runpod[s3]'"
            ) from error
        config = Config(
            retries={"mode": "standard", "total_max_attempts": 3},
            connect_timeout=10,
            read_timeout=60,
            max_pool_connections=16,
            signature_version="s3v4",
            # Volumes and many S3 services know no checksums of the newer kind.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        given = {}
        if self._keys is not None:
            given = {"aws_access_key_id": self._keys[0], "aws_secret_access_key": self._keys[1]}
        session = boto3.session.Session(region_name=self._region, **given)
        return session.client("s3", endpoint_url=self._endpoint_url, config=config)


def download(url: str, path: Path, size: int, timeout: float = 60.0) -> str:
    """Write what a presigned https address gives to a file, of `size` bytes at most; returns its sha256.

    Raises:
        JobError: the address is refused, or gives more. UnavailableError: no answer. OSError: the disk.
    """
    place = urlsplit(url).hostname
    try:
        answer = urllib.request.urlopen(url, timeout=timeout)  # noqa: S310 (https: see who calls)
    except urllib.error.HTTPError as error:
        if error.code < 500 and error.code != 429:
            raise JobError(
                f"{place}: gives the result that the worker put there with HTTP {error.code}"
            ) from None
        raise UnavailableError(f"{place}: HTTP {error.code}") from None
    except (OSError, http.client.HTTPException) as error:
        raise UnavailableError(f"{place}: {type(error).__name__}") from None
    with answer:
        return _write(answer.read, str(place), path, size)


def _write(read: Callable[[int], bytes], name: str, path: Path, size: int) -> str:
    """Write a stream to a file; returns its sha256."""
    sha256, done = hashlib.sha256(), 0
    with path.open("wb") as stream:
        while True:
            try:
                chunk = read(_CHUNK)
            except Exception as error:
                # What goes wrong here is the connection (with errors of urllib3's among it), not the disk.
                raise UnavailableError(f"storage: {type(error).__name__} while reading {name}") from error
            if not chunk:
                return sha256.hexdigest()
            done += len(chunk)
            if done > size:
                raise JobError(f"{name}: larger than the {size} bytes the worker told", "internal")
            sha256.update(chunk)
            stream.write(chunk)


def storages(configuration: Configuration) -> dict[str, Storage]:
    """What is configured: `s3`, `volume`, both or neither."""
    found = {}
    if configuration.bucket:
        found["s3"] = Storage(
            configuration.bucket, endpoint_url=configuration.endpoint_url, region=configuration.region
        )
    if configuration.volume and configuration.datacenter:
        place = configuration.datacenter
        access, secret = (os.environ.get(name, "") for name in VOLUME_KEYS)
        address = configuration.endpoint_url if not configuration.bucket else None
        found["volume"] = Storage(
            configuration.volume,
            endpoint_url=address or f"https://s3api-{place.lower()}.runpod.io/",
            region=place,
            keys=(access, secret),
            volume=True,
        )
    return found


def _problem(response: Any, bucket: str) -> Exception:
    """An error of the storage's by its status; its own text is left out, for it may quote what was signed."""
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    code = str(response.get("Error", {}).get("Code", ""))[:60]
    if status == 404 and code != "NoSuchBucket":
        return MissingError(f"storage: {code}")
    if code == "NoSuchBucket" or status in (400, 401, 403):
        return JobError(
            f"storage: bucket {bucket}: {code or 'refused'} (HTTP {status}). Check the bucket's name, its "
            "endpoint "
            "and region, and that the keys may read and write there."
        )
    return UnavailableError(f"storage: {code or 'error'} (HTTP {status})")
