"""Archives from elsewhere are unpacked without trust."""

from __future__ import annotations

import gzip
import io
import tarfile
import tempfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from snakefold.clusters.runpod.session import ResultError

MOST_BYTES, MOST_FILES = 8 << 30, 100_000
#: An archive of so many bytes unpacks to so many times as many at the most; small ones to this in any case.
_MOST_TIMES, _SMALL = 1000, 64 << 20

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_TAR_MAGIC, _TAR_MAGIC_AT = b"ustar", 257
_LONGEST_HEADER = 1 << 20
_BLOCK = 1 << 20


def is_archive(path: Path) -> bool:
    """Whether a file is a tar archive, plain or compressed with gzip or zstd, going by its content."""
    with path.open("rb") as stream:
        start = stream.read(_TAR_MAGIC_AT + len(_TAR_MAGIC))
    return start.startswith((_GZIP, _ZSTD)) or start[_TAR_MAGIC_AT:] == _TAR_MAGIC


def unpack(
    path: Path, folder: Path, *, most_bytes: int = MOST_BYTES, most_files: int = MOST_FILES
) -> list[Path]:
    """Unpack `path` into `folder`, wholly or not at all; the files, sorted.

    Raises:
        ResultError: the archive is damaged or cut short, holds a link, a device, a sparse file, an absolute
            path, `..` or one name twice, or would unpack to more than `most_bytes`, a thousand times its own
            size, or `most_files`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=folder) as scratch:
        try:
            with path.open("rb") as raw:
                most = min(most_bytes, max(_SMALL, _MOST_TIMES * path.stat().st_size))
                names = _extract(_Counted(_decompressed(raw), most), Path(scratch), most_files)
        # ValueError: what tarfile makes of numbers that are none.
        except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, ValueError, _zstd_error()) as error:
            raise ResultError(f"{path.name}: the archive is damaged or cut short ({error}).") from error
        except OSError as error:
            raise ResultError(f"{path.name}: cannot be unpacked: {error}.") from error
        for name in names:
            place = folder / name
            try:
                place.parent.mkdir(parents=True, exist_ok=True)
                (Path(scratch) / name).replace(place)
            except OSError as error:
                raise ResultError(f"{place}: cannot be written: {error.strerror}.") from error
    return sorted(folder / name for name in names)


def _extract(source: _Counted, folder: Path, most_files: int) -> list[str]:
    names: list[str] = []
    seen: set[str] = set()
    with tarfile.open(fileobj=source, mode="r|", tarinfo=_ShortHeaders) as archive:
        for member in archive:
            name = _checked(member.name)
            if member.isdir():
                continue
            # A sparse file may say that it has terabytes of nothing.
            content = archive.extractfile(member) if member.isreg() and not member.issparse() else None
            if content is None:
                raise ResultError(f"{name!r} in the archive is no plain file: refused.")
            if name.lower() in seen:
                raise ResultError(f"{name!r} is in the archive twice: refused.")
            if len(names) >= most_files:
                raise ResultError(f"The archive holds more than {most_files} files: refused.")
            seen.add(name.lower())
            names.append(name)
            place = folder / name
            place.parent.mkdir(parents=True, exist_ok=True)
            with place.open("xb") as stream:
                while block := content.read(_BLOCK):
                    stream.write(block)
    # The checksum stands at the end, behind what tarfile reads.
    while source.read(_BLOCK):
        pass
    return names


def _decompressed(raw: BinaryIO) -> Any:
    start = raw.read(4)
    raw.seek(0)
    if start.startswith(_GZIP):
        return gzip.GzipFile(fileobj=raw)
    if start == _ZSTD:
        return _whole_frame(raw)
    return raw


def _whole_frame(raw: BinaryIO) -> Any:
    try:
        import zstandard
    except ImportError as error:
        raise ResultError("A .tar.zst needs the package zstandard: pip install zstandard") from error
    size = zstandard.frame_content_size(raw.read(18))
    raw.seek(0)
    reader = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=False)
    return reader if size < 0 else _Exactly(reader, size)


class _Exactly(io.RawIOBase):
    """A stream that must have so many bytes: a zstd frame that is cut short ends without a word."""

    def __init__(self, source: Any, size: int) -> None:
        self._source, self._left = source, size

    def read(self, size: int = -1, /) -> bytes:
        block: bytes = self._source.read(size)
        self._left -= len(block)
        if size and not block and self._left:
            raise EOFError(f"{self._left} bytes are missing at its end")
        return block


class _Counted(io.RawIOBase):
    """A stream that refuses to give more than so many bytes."""

    def __init__(self, source: Any, most: int) -> None:
        self._source, self._most, self._given = source, most, 0

    def read(self, size: int = -1, /) -> bytes:
        block: bytes = self._source.read(size)
        self._given += len(block)
        if self._given > self._most:
            raise ResultError(f"The archive unpacks to more than {self._most} bytes: refused.")
        return block


class _ShortHeaders(tarfile.TarInfo):
    """tarfile reads extended headers into memory as long as they say they are."""

    def _proc_member(self, archive: tarfile.TarFile) -> Any:
        plain = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
        if self.type not in plain and self.size > _LONGEST_HEADER:
            raise ResultError("The archive has a header of more than a megabyte: refused.")
        return super()._proc_member(archive)  # type: ignore[misc]


def _checked(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or not name.isprintable():
        raise ResultError(f"{name[:100]!r} in the archive points outside of it: refused.")
    return path.as_posix()


def _zstd_error() -> type[Exception]:
    try:
        import zstandard
    except ImportError:
        return EOFError
    return zstandard.ZstdError
