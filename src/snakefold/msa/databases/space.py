"""Whether the disk has room for what is to be fetched, asked before the first byte."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from snakefold.kernel.download import remote_bytes
from snakefold.kernel.errors import SnakefoldError
from snakefold.msa.databases.known import Entry, mirrored

_GB = 1e9


class NoRoomError(SnakefoldError):
    """The disk has less room than the databases will take."""


@dataclass(frozen=True)
class Need:
    """Bytes that one database takes.

    `download` travel, `archive` of them lie on the disk until they are unpacked, `there` lie on it already.
    """

    entry: Entry
    download: int
    archive: int
    unpacked: int
    index: int
    there: int

    def __str__(self) -> str:
        index = f", index {self.index / _GB:,.1f} GB" if self.index else ""
        licence = self.entry.source.licence if self.entry.source else "-"
        return (
            f"{self.entry.database.name}: {self.download / _GB:,.1f} GB to download, "
            f"{self.unpacked / _GB:,.1f} GB on disk{index} ({licence})"
        )

    @property
    def kept(self) -> int:
        """Bytes on the disk in the end."""
        return self.unpacked + self.index


def needs(
    wanted: Sequence[Entry], mirror: str | None = None, *, index: bool = False, ask: bool = True
) -> list[Need]:
    """Sizes of every database. Servers are asked (`ask`): releases grow, and unpacked sizes with them."""
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda entry: _need(entry, mirror, index, ask), wanted))


def peak(listed: Sequence[Need]) -> int:
    """Most bytes that are on the disk at one time: an archive is removed once it is unpacked."""
    kept, most = 0, 0
    for need in listed:
        # While it is made, an index lies beside temporary files of about half its size.
        during = max(need.archive + need.unpacked, need.kept + need.index // 2) - need.there
        most = max(most, kept + during)
        kept += need.kept - need.there
    return max(most, kept)


def check(root: Path, listed: Sequence[Need]) -> None:
    """See that `root`'s disk has room.

    Raises:
        NoRoomError: it has not; the text says how much is missing.
    """
    needed, free = peak(listed), free_bytes(root)
    if needed > free:
        lines = "".join(f"\n  {need}" for need in listed)
        raise NoRoomError(
            f"{root}: {free / _GB:,.1f} GB are free, {needed / _GB:,.1f} GB are needed at the fullest moment:"
            f"{lines}\nFree disk space, choose another --root, or fetch fewer databases with --only. --force "
            "starts all the same."
        )


def free_bytes(root: Path) -> int:
    """Free bytes of the disk that `root` is on, or will be on."""
    folder = root.absolute()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _need(entry: Entry, mirror: str | None, index: bool, ask: bool) -> Need:
    source = entry.source
    assert source is not None, entry.key  # noqa: S101 - callers leave out what comes with snakefold
    listed, unpacked = int(source.download * _GB), int(entry.database.gigabytes * _GB)
    download = listed
    # The PDB's entries are unpacked as they arrive, and the list of them says nothing of their size.
    entries = source.prepare == "entries"
    if ask and not entries:
        sizes = [remote_bytes(mirrored(url, mirror)) for url in source.urls]
        known = [size for size in sizes if size is not None]
        if len(known) == len(sizes):
            download = sum(known)
            unpacked = int(unpacked * download / listed) if listed else download
    there = sum(path.stat().st_size for path in entry.staging.rglob("*") if path.is_file())
    wanted = source.index if index and entry.database.format == "mmseqs" else 0
    archive = 0 if entries else download
    return Need(entry, download, archive, unpacked, int(wanted * _GB), min(there, archive + unpacked))
