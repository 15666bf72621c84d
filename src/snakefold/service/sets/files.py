"""Files of a run: which there are, where one is, and all of them as a zip that is made while it is sent.

Texts are sent without paths of this machine: settings, provenance, logs and the report name some.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

from fastapi import HTTPException
from pydantic import BaseModel

from snakefold.service.plain import Plain

#: Folders of results that have what others have unpacked, in the form in which jobs exchange it.
_PACKED = {"predictions", "requests"}
_BLOCK = 1 << 20
#: Texts that programs wrote about the run. Structures, alignments and what the report shows of them
#: (.js) are what was computed.
_TEXTS = {".csv", ".html", ".json", ".log", ".md", ".tsv", ".txt", ".yaml", ".yml"}
_CRATE = "ro-crate-metadata.json"
#: Files that are packed already, as far as endings say.
_SMALL = {".gz", ".zst", ".npz", ".zip", ".png", ".parquet", ".bcif"}


class FileView(BaseModel):
    """A file, by its path in the results; bytes."""

    path: str
    size: int


def listed(results: Path) -> Iterator[FileView]:
    """All files of the results, by path. What is hidden, packed twice or a link is left out."""
    if not results.is_dir():
        return
    for folder, folders, names in os.walk(results):
        here = Path(folder)
        top = here == results
        folders[:] = sorted(
            each
            for each in folders
            if not each.startswith(".") and not (top and each in _PACKED) and not (here / each).is_symlink()
        )
        for name in sorted(names):
            path = here / name
            if name.startswith(".") or path.is_symlink():
                continue
            try:
                size = path.stat().st_size
            except OSError:  # it is gone again
                continue
            yield FileView(path=path.relative_to(results).as_posix(), size=size)


def found(results: Path, path: str) -> Path:
    """The file of a path that a client gave.

    Raises:
        HTTPException: 404, there is none below the results, or none that is shown.
    """
    missing = HTTPException(404, "There is no such file.")
    parts = path.split("/")
    hidden = parts[0] in _PACKED or any(not part or part.startswith(".") for part in parts)
    if hidden or not path.isprintable():
        raise missing
    file = results.joinpath(*parts)
    try:
        inside = file.resolve(strict=True).is_relative_to(results.resolve(strict=True))
        if not inside or not file.is_file():
            raise missing
    except (OSError, RuntimeError, ValueError) as error:
        raise missing from error
    return file


class _Pipe:
    """What a zip is written into: it gives its bytes away, and cannot go back."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """Nothing is open."""

    def tell(self) -> int:
        """Zipfile asks, and takes the answer for a stream that cannot go back."""
        raise io.UnsupportedOperation("tell")

    def seek(self, _offset: int, _whence: int = 0) -> int:
        """As `tell`."""
        raise io.UnsupportedOperation("seek")

    def take(self) -> bytes:
        data = b"".join(self._parts)
        self._parts.clear()
        return data


def is_text(file: Path) -> bool:
    """Whether a file of the results may name paths of this machine."""
    return file.suffix in _TEXTS


def sent(results: Path, file: Path, plain: Plain) -> Iterator[bytes]:
    """What is sent of a file of the results."""
    if file == results / _CRATE:
        yield _crate(results, file, plain)
    elif is_text(file):
        yield from without_paths(file, plain)
    else:
        with file.open("rb") as stream:
            while block := stream.read(_BLOCK):
                yield block


def without_paths(file: Path, plain: Plain) -> Iterator[bytes]:
    """A text without paths of this machine, some lines at a time."""
    with file.open(encoding="utf-8", errors="surrogateescape", newline="") as stream:
        while lines := stream.readlines(_BLOCK):
            yield plain("".join(lines)).encode("utf-8", "surrogateescape")


def _crate(results: Path, file: Path, plain: Plain) -> bytes:
    """The RO-Crate's metadata, with size and digest of what is sent of each file."""
    content = b"".join(without_paths(file, plain))
    try:
        crate = json.loads(content)
        for each in crate["@graph"]:
            path = results / each["@id"]
            if "sha256" in each and is_text(path) and path.is_file():
                data = b"".join(without_paths(path, plain))
                each["contentSize"], each["sha256"] = str(len(data)), hashlib.sha256(data).hexdigest()
    except (OSError, ValueError, TypeError, KeyError):  # it is being written
        return content
    return json.dumps(crate, indent=1, ensure_ascii=False).encode("utf-8", "surrogateescape")


def zipped(results: Path, name: str, plain: Plain) -> Iterator[bytes]:
    """A zip of the files of the results in a folder of that name, piece by piece.

    A file that grows meanwhile is in it as it was read.
    """
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for file in listed(results):
            path = results / file.path
            try:
                entry = zipfile.ZipInfo.from_file(path, f"{name}/{file.path}", strict_timestamps=False)
                entry.compress_type = zipfile.ZIP_STORED if path.suffix in _SMALL else zipfile.ZIP_DEFLATED
                with archive.open(entry, "w", force_zip64=file.size >= 1 << 31) as target:
                    for block in sent(results, path, plain):
                        target.write(block)
                        if data := pipe.take():
                            yield data
            except FileNotFoundError:  # it is gone again
                continue
    yield pipe.take()
