"""From downloaded files to the files of a database: decompressed, joined, out of their archives.

Everything streams: memory is a few MiB. What is written appears under its own name when it is whole.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import tarfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO, cast

from snakefold.data.checksums import parse_md5sums
from snakefold.errors import SnakefoldError

_BLOCK = 4 << 20
_ZSTD = b"\x28\xb5\x2f\xfd"
_GZIP = b"\x1f\x8b"
_LARGEST_LIST = 1 << 20

#: Called with compressed bytes read so far and in all.
Progress = Callable[[int, int], None]


class DamagedArchiveError(SnakefoldError):
    """What was downloaded cannot be unpacked; the text says what to do."""


def join(
    sources: Sequence[Path], target: Path, keep: str | None = None, progress: Progress | None = None
) -> None:
    """Write the content of `sources` (plain, gzip or zstd), one after the other, into `target`.

    Args:
        keep: of FASTA, only records with this text in their header.

    Raises:
        DamagedArchiveError: a source ends early, or is damaged.
    """
    if target.is_file():
        return
    part = target.with_name(f"{target.name}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    with part.open("wb") as out:
        for source in sources:
            with damage_named(source), opened(source, progress) as stream:
                for block in _records(stream, keep.encode()) if keep else _blocks(stream):
                    out.write(block)
        out.flush()
        os.fsync(out.fileno())
    part.replace(target)


def unpack(archive: Path, folder: Path, progress: Progress | None = None) -> list[Path]:
    """Write the files of a tar archive (plain, gzip or zstd) into `folder`, without their own folders.

    Files already there are left as they are: a second call goes on where the first was stopped. A list of
    MD5s in the archive (`*md5sum*`) is held against the files.

    Returns:
        Every file of the archive.

    Raises:
        DamagedArchiveError: the archive ends early or is damaged, or a file does not match its MD5.
    """
    folder.mkdir(parents=True, exist_ok=True)
    md5s: dict[str, str] = {}
    expected: dict[str, str] = {}
    written: list[Path] = []
    with damage_named(archive), opened(archive, progress) as stream:
        with tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r|") as members:
            for member in members:
                path = folder / PurePosixPath(member.name).name
                if member.issym():
                    _link(path, member.linkname)
                    written.append(path)
                elif member.isfile():
                    content = cast("IO[bytes]", members.extractfile(member))
                    md5s[path.name] = _place(content, path, member.size)
                    written.append(path)
                    if "md5sum" in path.name and member.size <= _LARGEST_LIST:
                        expected |= parse_md5sums(path.read_text(errors="replace"))
        # tar ends before the compressed stream does, whose checksum is at its end.
        for _ in _blocks(stream):
            pass
    wrong = [name for name, md5 in md5s.items() if name in expected and expected[name] != md5]
    if wrong:
        for name in wrong:
            (folder / name).unlink(missing_ok=True)
        raise DamagedArchiveError(
            _damaged(archive, f"{', '.join(wrong)}: not the MD5 in the archive's own list")
        )
    return written


@contextmanager
def opened(path: Path, progress: Progress | None = None) -> Iterator[BinaryIO]:
    """The decompressed content of `path`; what it is compressed by is seen from its first bytes."""
    with path.open("rb") as raw:
        start = raw.read(4)
        raw.seek(0)
        source: Any = raw
        if progress:
            source = io.BufferedReader(_Counted(raw, path.stat().st_size, progress), _BLOCK)
        if start.startswith(_GZIP):
            with gzip.GzipFile(fileobj=source) as stream:
                yield cast("BinaryIO", stream)
        elif start == _ZSTD:
            yield cast("BinaryIO", io.BufferedReader(_Zstd(source), _BLOCK))
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


def _place(content: IO[bytes], path: Path, size: int) -> str:
    """Write one file unless it is there; MD5 of the archive's content."""
    digest = hashlib.md5(usedforsecurity=False)
    part = path.with_name(f"{path.name}.part")
    there = path.is_file() and path.stat().st_size == size
    with part.open("wb") if not there else open(os.devnull, "wb") as out:  # noqa: PTH123
        while block := content.read(_BLOCK):
            digest.update(block)
            out.write(block)
        if not there:
            out.flush()
            os.fsync(out.fileno())
    if not there:
        part.replace(path)
    return digest.hexdigest()


def _link(path: Path, target: str) -> None:
    """MMseqs2's databases link files beside each other; links elsewhere are not for us to follow."""
    if PurePosixPath(target).name != target or target in ("", ".", ".."):
        raise tarfile.TarError(f"{path.name} is a link to {target!r}; expected a link to a file beside it")
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def _blocks(stream: BinaryIO) -> Iterator[bytes]:
    while block := stream.read(_BLOCK):
        yield block


def _records(stream: BinaryIO, keep: bytes) -> Iterator[bytes]:
    kept = False
    for line in stream:
        if line.startswith(b">"):
            kept = keep in line
        if kept:
            yield line


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    import zstandard

    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error, tarfile.TarError, zstandard.ZstdError) as error:
        raise DamagedArchiveError(_damaged(path, str(error))) from error


def _damaged(path: Path, problem: str) -> str:
    return f"{path}: cannot be unpacked ({problem})."


def move(folder: Path, target: Path, last: Sequence[str]) -> list[Path]:
    """Move what lies in `folder` into `target`, at last the files in `last`: they say that all is there."""
    target.mkdir(parents=True, exist_ok=True)
    names = sorted(path.name for path in folder.iterdir())
    moved = []
    for name in [*(name for name in names if name not in last), *(name for name in last if name in names)]:
        destination = target / name
        if destination.is_dir() and not destination.is_symlink():
            shutil.rmtree(destination)
        (folder / name).replace(destination)
        moved.append(destination)
    return moved
