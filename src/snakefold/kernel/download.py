"""Downloading one large file over HTTP: resumed where it broke off, verified, whole or absent."""

from __future__ import annotations

import base64
import errno
import hashlib
import http.client
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snakefold.kernel.errors import SnakefoldError

_BLOCK = 1 << 20
_ATTEMPTS = 5
#: The disk, the quota or the file system's limit: waiting does not help.
FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

#: Called with bytes so far and bytes in all (None if the server does not say).
Progress = Callable[[int, int | None], None]


class DownloadError(SnakefoldError):
    """A download failed for good; the text names the address and what to do."""


@dataclass(frozen=True)
class Expected:
    """What the caller knows about the file beforehand."""

    bytes: int | None = None
    sha256: str | None = None
    md5: str | None = None


@dataclass
class _Remote:
    """What the server says about the file, and the size `expected` beforehand, which counts for more."""

    expected: int | None = None
    bytes: int | None = None
    md5: str | None = None


def download(
    url: str,
    path: Path,
    expected: Expected | None = None,
    progress: Progress | None = None,
    *,
    log: Callable[[str], object] = lambda _: None,
    timeout: float = 60,
    pause: float = 2.0,
) -> None:
    """Fetch `url` into `path`, which appears only when it is whole and verified.

    What arrived before a break is kept in `<path>.part` and continued by an HTTP Range request, also by a
    later call. A server that cannot continue, or whose file changed, is read from the start.

    Args:
        url: http or https.
        path: where the file goes; nothing is done if it exists.
        expected: size, sha256 and MD5 where known; otherwise the server's Content-Length and MD5
            (x-goog-hash) are checked.
        progress: called after every block.
        log: told of every attempt that fails, and when the next one begins.
        timeout: seconds without a byte.
        pause: seconds before the first new attempt, doubled each time; five attempts without a new byte end
            it.

    Raises:
        DownloadError: the server refuses, stays silent, or sends another file than expected, or the disk is
            full.
    """
    if path.exists():
        return
    if not re.match(r"https?://", url):
        raise DownloadError(f"{url}: expected an address that starts with https:// or http://.")
    expected = expected or Expected()
    part = path.with_name(f"{path.name}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    remote, failures = _Remote(expected.bytes, expected.bytes), 0
    while True:
        before = _size(part)
        try:
            _receive(url, part, remote, progress, timeout)
            break
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and error.errno in FULL_DISK:
                raise DownloadError(
                    f"{part}: no room for more than {_size(part)} bytes ({error.strerror}). Free disk "
                    "space and run the command again."
                ) from error
            if isinstance(error, urllib.error.HTTPError) and error.code in (401, 403, 404, 410):
                raise DownloadError(f"{url}: {error}. Check the address, or name a mirror.") from error
            failures = 0 if _size(part) > before else failures + 1
            if failures >= _ATTEMPTS:
                raise DownloadError(
                    f"{url}: broke off at {_size(part)} bytes ({error}). Run the command again to resume."
                ) from error
            wait = pause * 2**failures
            log(f"{url}: {error}; again in {wait:.0f} s")
            time.sleep(wait)
    _verify(url, part, expected, remote)
    part.replace(path)


def remote_bytes(url: str, timeout: float = 20) -> int | None:
    """Size of the file behind `url` as the server announces it; None if it does not, or cannot be reached."""
    request = urllib.request.Request(  # noqa: S310
        url, method="HEAD", headers={"Accept-Encoding": "identity"}
    )
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:  # noqa: S310
            length = response.headers.get("Content-Length")
            return int(length) if length else None
    except (OSError, ValueError, http.client.HTTPException):
        return None


def lines(url: str, log: Callable[[str], object]) -> Progress:
    """A progress function that logs a line at every twentieth of the file."""
    shown = -1

    def report(received: int, total: int | None) -> None:
        nonlocal shown
        step = received * 20 // total if total else received >> 28
        if step != shown:
            shown = step
            share = f" of {total / 1e9:.2f} GB ({received / total:.0%})" if total else " GB"
            log(f"{url}: {received / 1e9:.2f}{share}")

    return report


def _receive(url: str, part: Path, remote: _Remote, progress: Progress | None, timeout: float) -> None:
    """One request: append to `part` what it lacks. Raises OSError if the connection ends early."""
    tag_path = part.with_name(f"{part.name}.etag")
    offset = _size(part)
    request = urllib.request.Request(url, headers={"Accept-Encoding": "identity"})  # noqa: S310
    if offset and tag_path.exists():
        request.add_header("Range", f"bytes={offset}-")
        request.add_header("If-Range", tag_path.read_text())
    try:
        response = urllib.request.urlopen(request, timeout=timeout)  # noqa: S310
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            # Nothing is left to send, or the file is another one by now: _verify tells.
            return
        raise
    with response:
        offset = _continued_at(response, offset)
        if offset == 0:
            # From the beginning: what was noted may belong to the file that was there before.
            remote.bytes, remote.md5 = remote.expected, None
            tag_path.unlink(missing_ok=True)
        _note(response, offset, remote)
        if tag := _validator(response):
            tag_path.write_text(tag)
        with part.open("r+b" if part.exists() else "wb") as stream:
            stream.truncate(offset)
            stream.seek(offset)
            # read() would wait for a whole block, and lose what it has when the connection breaks.
            while block := response.read1(_BLOCK):
                stream.write(block)
                if progress is not None:
                    progress(stream.tell(), remote.bytes)
            stream.flush()
            os.fsync(stream.fileno())
    if remote.bytes is not None and _size(part) < remote.bytes:
        raise ConnectionError(f"{_size(part)} of {remote.bytes} bytes")


def _validator(response: Any) -> str | None:
    """What If-Range can tell the same file by: a strong ETag, or a date (RFC 9110, 13.1.5)."""
    tag: str | None = response.headers.get("ETag")
    if tag:
        return None if tag.startswith("W/") else tag
    date: str | None = response.headers.get("Last-Modified")
    # A file changed within the second of its date cannot be told from what it was before.
    return date if date and date != response.headers.get("Date") else None


def _continued_at(response: Any, offset: int) -> int:
    """Where the answer starts: at the offset asked for, or at the beginning."""
    if response.status != http.HTTPStatus.PARTIAL_CONTENT:
        return 0
    found = re.match(rf"bytes {offset}-", response.headers.get("Content-Range", ""))
    if not found:
        raise ConnectionError(f"asked for bytes from {offset}, got {response.headers.get('Content-Range')}")
    return offset


def _note(response: Any, offset: int, remote: _Remote) -> None:
    length = response.headers.get("Content-Length")
    if remote.bytes is None and length is not None:
        remote.bytes = offset + int(length)
    for value in response.headers.get_all("x-goog-hash") or []:
        if found := re.search(r"md5=([A-Za-z0-9+/=]+)", value):
            remote.md5 = base64.b64decode(found[1]).hex()


def _verify(url: str, part: Path, expected: Expected, remote: _Remote) -> None:
    problem = ""
    size = _size(part)
    if remote.bytes is not None and size != remote.bytes:
        problem = f"{size} bytes arrived, expected {remote.bytes}"
    elif expected.sha256 is not None and (found := _digest(part, "sha256")) != expected.sha256:
        problem = f"sha256 is {found}, expected {expected.sha256}"
    elif expected.sha256 is None and (md5 := expected.md5 or remote.md5):
        found = _digest(part, "md5")
        said = "expected" if expected.md5 else "the server announced"
        problem = f"MD5 is {found}, {said} {md5}" if found != md5 else ""
    part.with_name(f"{part.name}.etag").unlink(missing_ok=True)
    if problem:
        part.unlink(missing_ok=True)
        raise DownloadError(f"{url}: {problem}. What arrived was removed; try again, or name another mirror.")


def _digest(path: Path, name: str) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.new(name, usedforsecurity=False)).hexdigest()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
