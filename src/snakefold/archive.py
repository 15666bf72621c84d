"""Tar archives with zstd compression: written deterministically, unpacked without trust."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import zstandard

from snakefold.errors import SnakefoldError

_LEVEL = 6


def pack(files: Mapping[str, bytes], level: int = _LEVEL) -> bytes:
    """Archive `files` (name → content). Equal content gives equal bytes: no times, owners or order."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in sorted(files):
            info = tarfile.TarInfo(_checked(name))
            info.size = len(files[name])
            archive.addfile(info, io.BytesIO(files[name]))
    return zstandard.ZstdCompressor(level=level, write_checksum=True).compress(raw.getvalue())


def unpack(data: bytes, max_bytes: int = 4 << 30) -> dict[str, bytes]:
    """Files of an archive made by `pack`.

    Raises:
        SnakefoldError: the archive is damaged or cut short, holds a link, a device, a sparse file, an
            absolute path, `..` or one name twice, or would unpack to more than `max_bytes`.
    """
    try:
        # Without a size in its header nothing tells a frame cut short from a whole one.
        if not 0 <= zstandard.frame_content_size(data) <= max_bytes:
            raise SnakefoldError(f"The archive does not unpack to {max_bytes} bytes at the most: refused.")
        raw = zstandard.ZstdDecompressor().decompress(data, allow_extra_data=False)
        files: dict[str, bytes] = {}
        with tarfile.open(fileobj=io.BytesIO(raw), mode="r:") as archive:
            for member in archive:
                if member.isdir():
                    continue
                name = _checked(member.name)
                content = archive.extractfile(member) if _is_plain(member) else None
                if content is None or name in files:
                    raise SnakefoldError(f"{name!r} in the archive is no plain file, or is twice: refused.")
                files[name] = content.read()
    # ValueError: what tarfile makes of numbers that are none.
    except (tarfile.TarError, zstandard.ZstdError, EOFError, ValueError) as error:
        raise SnakefoldError(f"The archive is damaged: {error}.") from error
    return files


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
