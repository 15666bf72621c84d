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
    return zstandard.ZstdCompressor(level=level).compress(raw.getvalue())


def pack_folder(folder: Path, level: int = _LEVEL) -> bytes:
    """Archive every regular file below `folder`, named relative to it."""
    found = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return pack({path.relative_to(folder).as_posix(): path.read_bytes() for path in found}, level)


def unpack(data: bytes, max_bytes: int = 4 << 30) -> dict[str, bytes]:
    """Files of an archive made by `pack`.

    Raises:
        SnakefoldError: the archive is damaged, holds a link or device, an absolute path or `..`, or would
            unpack to more than `max_bytes`.
    """
    try:
        with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)) as stream:
            raw = stream.read(max_bytes + 1)
        if len(raw) > max_bytes:
            raise SnakefoldError(f"The archive unpacks to more than {max_bytes} bytes: refused.")
        files: dict[str, bytes] = {}
        with tarfile.open(fileobj=io.BytesIO(raw), mode="r:") as archive:
            for member in archive:
                if member.isdir():
                    continue
                content = archive.extractfile(member) if member.isreg() else None
                if content is None:
                    raise SnakefoldError(f"{member.name!r} in the archive is no regular file: refused.")
                files[_checked(member.name)] = content.read()
    except (tarfile.TarError, zstandard.ZstdError, EOFError) as error:
        raise SnakefoldError(f"The archive is damaged: {error}.") from error
    return files


def unpack_to(data: bytes, folder: Path, max_bytes: int = 4 << 30) -> None:
    """Write the files of an archive below `folder`."""
    for name, content in unpack(data, max_bytes).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _checked(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in name:
        raise SnakefoldError(f"{name!r} in the archive points outside of it: refused.")
    return path.as_posix()
