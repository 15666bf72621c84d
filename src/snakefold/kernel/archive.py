"""Tar archives with zstd compression: written deterministically, unpacked without trust."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import zstandard

from snakefold.kernel.errors import SnakefoldError

_LEVEL = 6
_BLOCK = 1 << 20
#: Bytes that no archive unpacks to more than.
MOST = 4 << 30
#: Further bounds: of small archives, and times the bytes of the archive itself.
_SMALL, _MOST_TIMES = 64 << 20, 1000


def pack(files: Mapping[str, bytes], level: int = _LEVEL) -> bytes:
    """Archive `files` (name → content). Equal content gives equal bytes: no times, owners or order."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in sorted(files):
            info = tarfile.TarInfo(_checked(name))
            info.size = len(files[name])
            archive.addfile(info, io.BytesIO(files[name]))
    return zstandard.ZstdCompressor(level=level, write_checksum=True).compress(raw.getvalue())


def unpack(data: bytes, max_bytes: int | None = None) -> dict[str, bytes]:
    """Files of an archive made by `pack`. What is not unpacked yet takes no memory.

    Args:
        max_bytes: of all that comes out. None: `most_bytes` of an archive of this size, which alignments and
            structures never come near.

    Raises:
        SnakefoldError: the archive is damaged or cut short, holds a link, a device, a sparse file, an
            absolute path, `..` or one name twice, or would unpack to more than `max_bytes`.
    """
    most = most_bytes(len(data)) if max_bytes is None else max_bytes
    files: dict[str, bytes] = {}
    try:
        # Without a size in its header nothing tells a frame cut short from a whole one.
        size = zstandard.frame_content_size(data)
        if not 0 <= size <= most:
            raise SnakefoldError(
                f"The archive has {len(data)} bytes and does not unpack to {most} bytes at the most: refused."
            )
        source = _Bounded(data, size)
        with tarfile.open(fileobj=source, mode="r|") as archive:
            for member in archive:
                if member.isdir():
                    continue
                name = _checked(member.name)
                content = archive.extractfile(member) if _is_plain(member) else None
                if content is None or name in files:
                    raise SnakefoldError(
                        f"{name[:200]!r} in the archive is no plain file, or is twice: refused."
                    )
                files[name] = content.read()
        source.finish()
    # ValueError: what tarfile makes of numbers that are none.
    except (tarfile.TarError, zstandard.ZstdError, EOFError, ValueError) as error:
        raise SnakefoldError(f"The archive is damaged: {error}.") from error
    return files


def most_bytes(packed: int) -> int:
    """Bytes that an archive of so many may unpack to: what repeats itself is a hundredth, packed."""
    return min(MOST, max(_SMALL, _MOST_TIMES * packed))


class _Bounded(io.RawIOBase):
    """What a zstd frame unpacks to, read as far as it is asked for: exactly `size` bytes."""

    def __init__(self, data: bytes, size: int) -> None:
        # Another frame behind the first is more than it said.
        self._stream = zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True)
        self._left = size

    def read(self, size: int = -1, /) -> bytes:
        block: bytes = self._stream.read(size)
        self._left -= len(block)
        if self._left < 0:
            raise EOFError("it holds more than its header says")
        if size and not block and self._left:
            raise EOFError(f"{self._left} bytes are missing at its end")
        return block

    def finish(self) -> None:
        """Read to the end, where the checksum is."""
        while self.read(_BLOCK):
            pass


def read(path: Path) -> dict[str, bytes]:
    """Files of the archive at `path`.

    Raises:
        SnakefoldError: names the file that is missing or damaged.
    """
    try:
        return unpack(path.read_bytes())
    except OSError as error:
        raise SnakefoldError(f"{path}: cannot be read ({error.strerror}).") from error
    except SnakefoldError as error:
        raise SnakefoldError(f"{path}: {error}") from error


def _is_plain(member: tarfile.TarInfo) -> bool:
    """A sparse file may say that it has terabytes of nothing."""
    return member.isreg() and not member.issparse()


def _checked(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in name:
        raise SnakefoldError(f"{name!r} in the archive points outside of it: refused.")
    return path.as_posix()
