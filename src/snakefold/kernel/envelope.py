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
#: Signed addresses are passwords: they are never repeated in a message or a log.
Url = Annotated[str, Field(max_length=8192), AfterValidator(_web_address)]
Name = Annotated[str, Field(pattern=r"^[^/\x00-\x1f\x7f]{1,255}$")]


class Part(Model):
    """Bytes that travel: what they are, and where (exactly one of base64, url and path)."""

    model_config = exactly_one("base64", "url", "path")

    size: int = Field(ge=0, description="Bytes.")
    sha256: Key = Field(description="Of the bytes, hexadecimal.")
    base64: str | None = Field(None, description="The bytes themselves, standard alphabet.", repr=False)
    url: Url | None = Field(None, description="Presigned GET, https.", repr=False)
    path: VolumePath | None = Field(None, description="Relative path on the network volume.")

    @model_validator(mode="after")
    def _one_place(self) -> Part:
        if sum(item is not None for item in (self.base64, self.url, self.path)) != 1:
            raise ValueError("expected exactly one of base64, url and path")
        return self


class Sink(Model):
    """Where a result goes (exactly one of inline, url and path)."""

    model_config = exactly_one("inline", "url", "path")

    inline: Literal[True] | None = Field(None, description="In the response, if it is small enough.")
    url: Url | None = Field(None, description="Presigned PUT, https.", repr=False)
    path: VolumePath | None = Field(None, description="Relative path on the network volume.")

    @model_validator(mode="after")
    def _one_place(self) -> Sink:
        if sum(item is not None for item in (self.inline, self.url, self.path)) != 1:
            raise ValueError("expected exactly one of inline, url and path")
        return self


class Result(Model):
    """A result that the response names: its bytes (base64 or text), or, `stored`, where they went.

    A result too large to be inline goes to the network volume (`path`), to the results bucket (`url`, a
    presigned GET) or into the worker's store (`store`), whichever the worker has first.
    """

    size: int = Field(description="Bytes.")
    sha256: str = Field(description="Of the bytes, hexadecimal.")
    base64: str | None = Field(None, description="The bytes, if inline.")
    text: str | None = Field(None, description="The bytes as text, instead of base64.")
    stored: Literal[True] | None = Field(None, description="The bytes are elsewhere: see path, url, store.")
    path: str | None = Field(None, description="Path on the network volume.")
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


class Worker(Model):
    """Who computed."""

    gpu: str = Field("", description="The device that predicted; empty if nothing was predicted.")
    id: str = Field("", description="The worker's id at RunPod.")


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


class EnvelopeResponse(Response):
    """Answer to an envelope."""

    results: dict[str, Result] = Field(description="Results by the names in the request's `results`.")


def digest_of(request: object, files: dict[str, str] | None = None) -> str:
    """Equal work, equal digest: sha256 of canonical JSON of request and (name, sha256) of files."""
    content = {"files": sorted((files or {}).items()), "request": request}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
