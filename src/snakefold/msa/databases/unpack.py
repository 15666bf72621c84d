"""From downloaded files to the files of a database: decompressed, joined, out of their archives.

Everything streams: memory is a few MiB. What is written appears under its own name when it is whole.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tarfile
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, cast
from xml.etree import ElementTree as ET

from snakefold.kernel.errors import SnakefoldError
from snakefold.kernel.streams import (
    BLOCK,
    DamagedArchiveError,
    Progress,
    blocks,
    damage_named,
    damaged,
    opened,
)

_LINE = re.compile(r"([0-9a-fA-F]{32})\s+\*?(?:.*/)?([^/\s]+)\s*$")
_LARGEST = 16 << 20


class ChecksumError(SnakefoldError):
    """A publisher's list of checksums cannot be had, or lacks the file."""


@dataclass(frozen=True)
class Published:
    """What a publisher says of one file; None where nothing is said."""

    bytes: int | None = None
    md5: str | None = None


def parse_metalink(text: str) -> tuple[str | None, dict[str, Published]]:
    """Release and files of a Metalink 3.0 document, as UniProt publishes them (RELEASE.metalink).

    Raises:
        ValueError: not a metalink.
    """
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ValueError("a document with entities of its own is no metalink")
    try:
        root = ET.fromstring(text)  # noqa: S314 - entities were refused above
    except ET.ParseError as error:
        raise ValueError(str(error)) from error
    if root.tag.rpartition("}")[2] != "metalink":
        raise ValueError(f"expected <metalink>, found <{root.tag}>")
    files = {}
    for each in root.iterfind(".//{*}file"):
        size = (each.findtext("{*}size") or "").strip()
        sums = (hash_ for hash_ in each.iterfind(".//{*}hash") if hash_.get("type", "").lower() == "md5")
        md5 = next(((hash_.text or "").strip().lower() for hash_ in sums), "")
        known = re.fullmatch(r"[0-9a-f]{32}", md5)
        files[each.get("name", "")] = Published(
            int(size) if size.isdecimal() else None, md5 if known else None
        )
    return (root.findtext("{*}version") or "").strip() or None, files


def parse_md5sums(text: str) -> dict[str, str]:
    """MD5 by file name of `md5sum`'s output; other lines are passed over."""
    return {match[2]: match[1].lower() for line in text.splitlines() if (match := _LINE.match(line))}


def read_metalink(url: str, timeout: float = 60) -> tuple[str | None, dict[str, Published]]:
    """Fetch and parse a metalink.

    Raises:
        ChecksumError: it cannot be fetched, or is none.
    """
    advice = "Try again later, or leave checksums out with --no-checksums."
    try:
        with urllib.request.urlopen(url, timeout=timeout) as response:  # noqa: S310 - from downloads.yaml
            text = response.read(_LARGEST).decode("utf-8", errors="replace")
        return parse_metalink(text)
    except (OSError, ValueError) as error:
        raise ChecksumError(f"{url}: no list of checksums ({error}). {advice}") from error


_LARGEST_LIST = 1 << 20


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
                for block in _records(stream, keep.encode()) if keep else blocks(stream):
                    out.write(block)
        out.flush()
        os.fsync(out.fileno())
    part.replace(target)


def unpack(
    archive: Path, folder: Path, progress: Progress | None = None, *, checksums: bool = True
) -> list[Path]:
    """Write the files of a tar archive (plain, gzip or zstd) into `folder`, without their own folders.

    Files already there are left as they are: a second call goes on where the first was stopped. A list of
    MD5s in the archive (`*md5sum*`) is held against the files, unless `checksums` is false.

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
        for _ in blocks(stream):
            pass
    wrong = [name for name, md5 in md5s.items() if name in expected and expected[name] != md5]
    if wrong and checksums:
        for name in wrong:
            (folder / name).unlink(missing_ok=True)
        raise DamagedArchiveError(
            damaged(
                archive, f"{', '.join(wrong)}: not the MD5 in its own list; --no-checksums does without it"
            )
        )
    return written


def _place(content: IO[bytes], path: Path, size: int) -> str:
    """Write one file unless it is there; MD5 of the archive's content."""
    digest = hashlib.md5(usedforsecurity=False)
    part = path.with_name(f"{path.name}.part")
    there = path.is_file() and path.stat().st_size == size
    with part.open("wb") if not there else open(os.devnull, "wb") as out:  # noqa: PTH123
        while block := content.read(BLOCK):
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


def _records(stream: BinaryIO, keep: bytes) -> Iterator[bytes]:
    kept = False
    for line in stream:
        if line.startswith(b">"):
            kept = keep in line
        if kept:
            yield line


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
