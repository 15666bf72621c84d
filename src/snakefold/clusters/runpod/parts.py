"""Files that a job's output names: where they are, and that they are what it says."""

from __future__ import annotations

import base64
import binascii
import hashlib
import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from snakefold.clusters.runpod.session import ResultError, Session, UnavailableError, persist

_PLACES = ("base64", "text", "url", "path", "store")
#: Keys under which workers send a bare text in place of a described part: base64, or an address.
_BARE = ("archive", "archives", "archive_base64", "archive_url", "tar_gz", "tar_gz_base64", "presigned_url")
#: Keys of whole files as a bare text: how it is to be read, and the file's name.
_TEXTS = {
    "tsv": ("text", "tsv"),
    "cluster_tsv": ("text", "clusters.tsv"),
    "representatives_fasta": ("text", "representatives.fasta"),
    "a3m_gz_b64": ("base64", "alignments.a3m.gz"),
}
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Part:
    """One file of an output. `place` says how to read `value`; size and sha256 are None where not said."""

    name: str
    place: str
    value: str = field(repr=False)
    size: int | None = None
    sha256: str | None = None


def parts_of(output: Any) -> list[Part]:
    """Every file that `output` describes, each under a name of its own that is safe as a file's.

    A part is an object with `base64`, `text`, `url`, `path` or `store` and a size, a sha256 or a name; or, as
    other workers send it, a bare text (base64 or an https address) called archive, archives, …. A file that
    is there twice, under an old key and a new one, counts once.
    """
    parts: dict[str, Part] = {}
    met: set[tuple[str, str]] = set()
    for name, part in _walk(output, "result"):
        sha256 = part[3] if len(part) > 3 else None
        if sha256 is not None:
            if (name, sha256) in met:
                continue
            met.add((name, sha256))
        unique, number = name, 2
        while unique in parts:
            unique, number = f"{number}-{name}", number + 1
        parts[unique] = Part(unique, *part)
    return list(parts.values())


def fetch(session: Session, part: Part, path: Path, *, most_bytes: int) -> None:
    """Write the bytes of `part` to `path`.

    Raises:
        ResultError: they are not there, are more than `most_bytes`, or not what size and sha256 say.
    """
    if part.place in ("path", "store"):
        where = "on the endpoint's network volume" if part.place == "path" else "in the worker's store"
        raise ResultError(
            f"{part.name}: lies {where} ({part.value}); it was too large to be sent. Get it there, or give "
            "the worker SNAKEFOLD_RESULTS=s3://… to be sent addresses."
        )
    if part.size is not None and part.size > most_bytes:
        raise ResultError(f"{part.name}: {part.size} bytes are more than {most_bytes} (--max-gb).")
    if part.place == "url":
        persist(session, lambda: _download(session, part, path, most_bytes))
    else:
        path.write_bytes(_inline(part, most_bytes))
    _verify(part, path)


def safe_name(text: str) -> str:
    """`text` as the name of one file: no folders, no hidden files, nothing that a shell or terminal reads."""
    name = re.sub(r"[^A-Za-z0-9._+-]+", "_", text).lstrip("._-")[:150]
    return name or "result"


def _walk(value: Any, name: str) -> Iterator[tuple[str, tuple[Any, ...]]]:
    if isinstance(value, Mapping):
        if part := described(value):
            yield safe_name(str(value.get("name") or value.get("filename") or name)), part
            return
        for key, inner in value.items():
            if key in _TEXTS and isinstance(inner, Mapping) and (part := described(inner)):
                yield _TEXTS[key][1], part
            elif key in _TEXTS and isinstance(inner, str):
                if inner and not _there_as_parts(key, value):
                    place, file = _TEXTS[key]
                    yield file, (place, inner)
            elif key in _BARE and (texts := _texts(inner)):
                for text in texts:
                    place = "url" if text.startswith(("https://", "http://")) else "base64"
                    yield f"{'archive' if key in _BARE[:2] else safe_name(key)}.tar.gz", (place, text)
            else:
                yield from _walk(inner, str(key))
    elif isinstance(value, list):
        for inner in value:
            yield from _walk(inner, name)


def _there_as_parts(key: str, output: Mapping[str, Any]) -> bool:
    files = output.get("files")
    return bool(output.get("a3m")) if key == "a3m_gz_b64" else isinstance(files, Mapping) and key in files


def _texts(value: Any) -> list[str]:
    items = value if isinstance(value, list) else [value]
    return items if items and all(isinstance(item, str) and item for item in items) else []


def described(value: Mapping[str, Any]) -> tuple[str, str, int | None, str | None] | None:
    """Place, value, size and sha256 of a described part; None of anything else."""
    places = [place for place in _PLACES if isinstance(value.get(place), str)]
    if not places or not any(key in value for key in ("size", "sha256", "name", "filename")):
        return None
    size, sha256 = value.get("size"), value.get("sha256")
    return (
        places[0],
        value[places[0]],
        size if isinstance(size, int) else None,
        sha256.lower() if isinstance(sha256, str) else None,
    )


def _inline(part: Part, most_bytes: int) -> bytes:
    if len(part.value) > most_bytes * 4 // 3 + 4:
        raise ResultError(f"{part.name}: more than {most_bytes} bytes (--max-gb).")
    if part.place == "text":
        return part.value.encode("utf-8", "surrogatepass")
    try:
        return base64.b64decode(part.value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ResultError(f"{part.name}: is no base64; the output is damaged or cut short.") from error


def _download(session: Session, part: Part, path: Path, most_bytes: int) -> None:
    """The API key is not sent: a presigned address carries its own permission, and may be anybody's."""
    what = f"{part.name} from {urlsplit(part.value).hostname}"
    _check_address(part.value, what)
    try:
        with _OPENER.open(part.value, timeout=session.timeout) as response, path.open("wb") as stream:
            _copy(response, stream, most_bytes, what)
            expected = response.headers.get("Content-Length")
            if expected is not None and stream.tell() != int(expected):
                raise UnavailableError(f"{what}: the download was cut short.")
    except urllib.error.HTTPError as error:
        with error:
            if error.code in (408, 425, 429) or error.code >= 500:
                raise UnavailableError(f"{what}: HTTP {error.code}.") from None
            raise ResultError(
                f"{what}: HTTP {error.code}. Presigned addresses end after a while; fetch the job's output "
                "again for a new one, or submit it again."
            ) from None
    except http.client.HTTPException as error:
        raise UnavailableError(f"{what}: the connection was lost ({type(error).__name__}).") from error
    except OSError as error:
        if isinstance(error, urllib.error.URLError | ConnectionError | TimeoutError):
            raise UnavailableError(f"{what}: no connection, or it was lost.") from error
        raise ResultError(f"{path}: cannot be written: {error.strerror}.") from error


def _copy(source: Any, stream: BinaryIO, most_bytes: int, what: str) -> None:
    while block := source.read(_BLOCK):
        if stream.tell() + len(block) > most_bytes:
            raise ResultError(f"{what}: more than {most_bytes} bytes (--max-gb).")
        stream.write(block)


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(  # noqa: PLR0917 (urllib's signature)
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        _check_address(newurl, "a redirection")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


_OPENER = urllib.request.build_opener(_SafeRedirects)


def _check_address(url: str, what: str) -> None:
    parts = urlsplit(url)
    local = parts.hostname in ("127.0.0.1", "localhost", "::1")
    if parts.scheme != "https" and not (parts.scheme == "http" and local):
        raise ResultError(f"{what}: only https addresses are fetched.")


def _verify(part: Part, path: Path) -> None:
    size = path.stat().st_size
    if part.size is not None and size != part.size:
        raise ResultError(f"{part.name}: {size} bytes in place of {part.size}: damaged or cut short.")
    if part.sha256 is not None:
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        if found != part.sha256:
            raise ResultError(f"{part.name}: its sha256 is {found}, not {part.sha256}: damaged on the way.")
