"""The envelope that carries a rule's request, its other inputs and where its outputs go; no folding in it."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from snakefold.kernel.contracts import Key, Model

#: Bytes of a response's body that are inline at the most; above it results go elsewhere.
INLINE_LIMIT = 4 << 20
#: Of it, for everything in a response that is no result.
RESERVED = 64 << 10
#: Bytes of an answer that RunPod takes: 10 MB, less what its SDK puts around it.
LARGEST_ANSWER = 10_000_000 - 10_000
#: Bytes that are inline for programs that read nothing else.
TEXT_LIMIT = LARGEST_ANSWER - 4 * RESERVED
#: Bytes of a request as the executor sends it without storage, and of them for what is not its files.
REQUEST_LIMIT, _REQUEST_JSON = 8_000_000, 200_000
#: Bytes of files that fit in, as base64: inputs of a request, results of a response.
INLINE_INPUTS = (REQUEST_LIMIT - _REQUEST_JSON) * 3 // 4
INLINE_RESULTS = (INLINE_LIMIT - RESERVED) * 3 // 4
_LONGEST_PATH = 1024


def _safe_path(path: str) -> str:
    """A path below the volume's mount and nowhere else."""
    parts = path.split("/")
    if path.startswith("/") or "\\" in path or not path.isprintable() or not all(parts):
        raise ValueError("expected a relative path on the network volume, such as runs/1/inputs.tar.zst")
    if any(part in (".", "..") for part in parts):
        raise ValueError("a path on the network volume may not have . or .. in it")
    return path


def _safe_key(key: str) -> str:
    """A key of an object, spelt in one way only, so that a prefix says what it covers."""
    if len(key.encode("utf-8", "surrogatepass")) > _LONGEST_PATH:
        raise ValueError(f"a key has {_LONGEST_PATH} bytes at the most")
    if "\\" in key or not key.isprintable() or not all(key.split("/")):
        raise ValueError("expected a key such as inputs/u_abc/job_123/0.jpg, without control characters")
    if any(part in (".", "..") for part in key.split("/")):
        raise ValueError("a key may not have . or .. in it")
    return key


def _web_address(url: str) -> str:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("https", "http") and bool(parts.hostname) and url.isprintable()
        _ = parts.port
    except ValueError:
        usable = False
    if not usable or " " in url:
        raise ValueError("expected an https address")
    if parts.username is not None or parts.password is not None:
        raise ValueError("an address may not have a user or a password in it")
    return url


def exactly_one(*keys: str) -> ConfigDict:
    """For the JSON Schema, what a validator checks: one of these keys is there."""
    return ConfigDict(json_schema_extra={"oneOf": [{"required": [key]} for key in keys]})


VolumePath = Annotated[str, Field(min_length=1, max_length=_LONGEST_PATH), AfterValidator(_safe_path)]
#: The key of an object in a bucket, and the bucket's name.
ObjectKey = Annotated[str, Field(min_length=1, max_length=_LONGEST_PATH), AfterValidator(_safe_key)]
BucketName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]$")]
#: Signed addresses are passwords: they are never repeated in a message or a log.
Url = Annotated[str, Field(max_length=8192), AfterValidator(_web_address)]
Name = Annotated[str, Field(pattern=r"^[^/\x00-\x1f\x7f]{1,255}$")]

_BUCKET = "Bucket of `key`. Empty: the worker's own (STORAGE_BUCKET)."

#: Where the end of every target, and of the job, is told (docs/jobs-by-key.md).
CallbackUrl = Annotated[
    Url | None,
    Field(description="https address that is told of every target, once its results are there.", repr=False),
]
JobCallbackUrl = Annotated[
    Url | None, Field(description="https address that is told of the end of the job.", repr=False)
]
IdempotencyPrefix = Annotated[
    Annotated[str, Field(pattern=r"^[!-~]{1,200}$")] | None,
    Field(description="Callbacks have the key `<prefix>:<idx>`. Empty: the digest of the request."),
]
#: Keys of a request that say who is told of it, and not what is computed.
TELLING = frozenset({"callback_url", "job_callback_url", "idempotency_prefix"})


def _in_one_place(part: Part | Sink, names: tuple[str, ...]) -> None:
    if sum(getattr(part, name) is not None for name in names) != 1:
        raise ValueError(f"expected exactly one of {', '.join(names[:-1])} and {names[-1]}")
    if part.bucket is not None and part.key is None:
        raise ValueError("bucket: expected beside key")


_SOURCES, _SINKS = ("base64", "url", "path", "key"), ("inline", "url", "path", "key")


class Part(Model):
    """Bytes that travel: what they are, and where (exactly one of base64, url, path and key)."""

    model_config = exactly_one(*_SOURCES)

    size: int = Field(ge=0, description="Bytes.")
    sha256: Key = Field(description="Of the bytes, hexadecimal.")
    base64: str | None = Field(None, description="The bytes themselves, standard alphabet.", repr=False)
    url: Url | None = Field(None, description="Presigned GET, https.", repr=False)
    path: VolumePath | None = Field(None, description="Relative path on the network volume.")
    key: ObjectKey | None = Field(None, description="Key of an object, read with the worker's own S3 keys.")
    bucket: BucketName | None = Field(None, description=_BUCKET)

    @model_validator(mode="after")
    def _one_place(self) -> Part:
        _in_one_place(self, _SOURCES)
        return self


class Sink(Model):
    """Where a result goes (exactly one of inline, url, path and key)."""

    model_config = exactly_one(*_SINKS)

    inline: Literal[True] | None = Field(None, description="In the response, if it is small enough.")
    url: Url | None = Field(None, description="Presigned PUT, https.", repr=False)
    path: VolumePath | None = Field(None, description="Relative path on the network volume.")
    key: ObjectKey | None = Field(
        None, description="Key of an object, written with the worker's own S3 keys."
    )
    bucket: BucketName | None = Field(None, description=_BUCKET)

    @model_validator(mode="after")
    def _one_place(self) -> Sink:
        _in_one_place(self, _SINKS)
        return self


class Result(Model):
    """A result that the response names: its bytes (base64 or text), or, `stored`, where they went.

    What a sink with a `key` got is the object that `bucket` and `key` name. A result too large to be inline
    goes to the network volume (`path`), to the results bucket (`url`, a presigned GET) or into the worker's
    store (`store`), whichever the worker has first.
    """

    size: int = Field(description="Bytes.")
    sha256: str = Field(description="Of the bytes, hexadecimal.")
    base64: str | None = Field(None, description="The bytes, if inline.")
    text: str | None = Field(None, description="The bytes as text, instead of base64.")
    stored: Literal[True] | None = Field(
        None, description="The bytes are elsewhere: see path, key, url, store."
    )
    path: str | None = Field(None, description="Path on the network volume.")
    bucket: str | None = Field(None, description="Bucket of the object.")
    key: str | None = Field(None, description="Key of the object.")
    url: str | None = Field(None, description="Presigned GET in the results bucket, for a day.")
    store: str | None = Field(None, description="Entry of the worker's store.")


class Envelope(Model):
    """A request with its files."""

    version: Literal[1] = Field(description="Version of the envelope.")
    digest: Key = Field(description="sha256 of canonical JSON of the request and its files; returned as is.")
    request: dict[str, Any] = Field(description="A FoldRequest (request.json of a batch).")
    files: dict[Name, Part] = Field({}, description="Other inputs: `inputs`, the archive of the MSAs.")
    results: dict[Name, Sink] = Field(
        min_length=1, max_length=1, description="Output for the batch's archive, under any name."
    )
    callback_url: CallbackUrl = None
    job_callback_url: JobCallbackUrl = None
    idempotency_prefix: IdempotencyPrefix = None


class Worker(Model):
    """Who computed."""

    gpu: str = Field("", description="The device that predicted; empty if nothing was predicted.")
    id: str = Field("", description="The worker's id at RunPod.")


class FailedCallback(Model):
    """A callback that did not arrive."""

    idempotency_key: str = Field(description="Its key.")
    problem: str = Field(description="Why, without the address.")
    status: int = Field(0, description="Status of the last answer; 0: there was none.")
    tries: int = Field(0, description="How often it was sent; 0: not at all, as those before it failed.")


class Response(Model):
    """What every endpoint answers, besides what its own contract adds.

    Attributes:
        always: keys that are there as null where there is no value, because programs read them.
    """

    always: ClassVar[tuple[str, ...]] = ()

    version: Literal[1] = Field(1, description="Version of the answer.")
    digest: str = Field("", description="Digest of the request; made by the worker if it has none.")
    seconds: dict[str, float] = Field({}, description="Seconds by part, and in `total`.")
    log: str = Field("", description="Last lines, without secrets.")
    worker: Worker = Field(Worker(), description="The worker that computed.")


class ToldResponse(Response):
    """What requests are answered that may have a `callback_url`."""

    callback_failures: list[FailedCallback] | None = Field(
        None,
        description="Callbacks that did not arrive, if any were asked for. They fail nothing.",
    )


class EnvelopeResponse(ToldResponse):
    """Answer to an envelope."""

    results: dict[str, Result] = Field(description="Results by the names in the request's `results`.")


def digest_of(request: object, files: dict[str, str] | None = None) -> str:
    """Equal work, equal digest: sha256 of canonical JSON of request and (name, sha256) of files."""
    content = {"files": sorted((files or {}).items()), "request": request}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
