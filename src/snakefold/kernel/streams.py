"""Reading files that may be compressed, to their very end: a file that was cut is told from a whole one."""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from snakefold.kernel.errors import SnakefoldError
from snakefold.kernel.names import shown

BLOCK = 4 << 20
_ZSTD = b"\x28\xb5\x2f\xfd"
_GZIP = b"\x1f\x8b"

#: Called with compressed bytes read so far and in all.
Progress = Callable[[int, int], None]


class DamagedArchiveError(SnakefoldError):
    """What was downloaded cannot be unpacked; the text says what to do."""


@contextmanager
def opened(path: Path, progress: Progress | None = None) -> Iterator[BinaryIO]:
    """The decompressed content of `path`; what it is compressed by is seen from its first bytes."""
    with path.open("rb") as raw:
        start = raw.read(4)
        raw.seek(0)
        source: Any = raw
        if progress:
            source = io.BufferedReader(_Counted(raw, path.stat().st_size, progress), BLOCK)
        if start.startswith(_GZIP):
            with gzip.GzipFile(fileobj=source) as stream:
                yield cast("BinaryIO", stream)
        elif start == _ZSTD:
            yield cast("BinaryIO", io.BufferedReader(_Zstd(source), BLOCK))
        else:
            yield source


class _Counted(io.RawIOBase):
    """A file that says how far it was read."""

    def __init__(self, raw: BinaryIO, size: int, progress: Progress) -> None:
        super().__init__()
        self._raw, self._size, self._progress = raw, size, progress

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = cast("io.BufferedReader", self._raw).readinto(buffer)
        self._progress(self._raw.tell(), self._size)
        return count


class _Zstd(io.RawIOBase):
    """Decompressed zstd frames. zstandard's own reader takes a file cut within a frame for a whole one."""

    def __init__(self, source: BinaryIO) -> None:
        super().__init__()
        self._source = source
        self._frame: Any = None
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            block = self._source.read(1 << 17)
            if not block:
                if not self._frame.eof:
                    raise EOFError("ends within a zstd frame")
                return 0
            self._ready = memoryview(self._decompressed(block))
        count = min(len(buffer), len(self._ready))
        buffer[:count], self._ready = self._ready[:count], self._ready[count:]
        return count

    def _decompressed(self, block: bytes) -> bytes:
        import zstandard

        parts = []
        while block:
            if self._frame is None or self._frame.eof:
                self._frame = zstandard.ZstdDecompressor().decompressobj()
            parts.append(self._frame.decompress(block))
            block = self._frame.unused_data
        return b"".join(parts)


def blocks(stream: BinaryIO) -> Iterator[bytes]:
    """What is left of a stream, piece by piece."""
    while block := stream.read(BLOCK):
        yield block


def blocks_of(path: Path, progress: Progress | None = None) -> Iterator[bytes]:
    """The decompressed content of `path`, piece by piece.

    Raises:
        DamagedArchiveError: it ends early, or is damaged.
    """
    with damage_named(path), opened(path, progress) as stream:
        yield from blocks(stream)


def check(path: Path, progress: Progress | None = None) -> None:
    """Read `path` to its end. MMseqs2 takes a gzip file that was cut for a whole one.

    Raises:
        DamagedArchiveError: it ends early, or is damaged.
    """
    for _ in blocks_of(path, progress):
        pass


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """What libraries raise for damage becomes a DamagedArchiveError that names the file."""
    import zstandard

    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error, tarfile.TarError, zstandard.ZstdError) as error:
        raise DamagedArchiveError(damaged(path, problem(error))) from error


def problem(error: Exception) -> str:
    """What an error of reading means, in words of bounded length."""
    import zstandard

    text = shown(str(error))
    if isinstance(error, EOFError):
        return f"it is empty, or cut short: {text}"
    if isinstance(error, (gzip.BadGzipFile, zlib.error, tarfile.TarError, zstandard.ZstdError)):
        return f"its compressed data are damaged: {text}"
    return text


def damaged(path: Path, problem: str) -> str:
    """The one wording for an archive that cannot be read."""
    return f"{path}: cannot be unpacked ({problem})."
