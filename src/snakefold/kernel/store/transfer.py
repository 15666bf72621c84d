"""A store, or part of one, as one tar file, and back.

Members are entries under their own names and as they are kept, so that plain `tar` unpacks a store. The last
member, `manifest.tsv`, lists them all: name, bytes, sha256 of what the entry holds. Entries are compressed,
the tar is not.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from snakefold import __version__
from snakefold.kernel.errors import StoreError
from snakefold.kernel.store.atomic import replacing
from snakefold.kernel.store.entry import (
    ATTEMPT,
    HEADER_SIZE,
    Entry,
    Listed,
    Store,
    entry_of,
    frame,
    unwrap,
    wrap,
)
from snakefold.kernel.store.parallel import Log, Progress, on_each

_MANIFEST = "manifest.tsv"
_FIRST_LINE = "# snakefold store 1"
_BLOCK = 1 << 20
#: Bytes that a manifest stays in memory with.
_SPOOLED = 16 << 20


@dataclass
class Exported:
    """What was written. `missing`: entries that were listed and could not be read, being damaged or gone."""

    entries: int = 0
    size: int = 0
    missing: list[Entry] = field(default_factory=list)


@dataclass
class Imported:
    """What was taken, and what the store had already."""

    taken: int = 0
    size: int = 0
    present: int = 0


def export_store(
    store: Store, file: Path, log: Log, *, kind: str | None = None, recipe: str | None = None
) -> Exported:
    """Write all entries, or those of one kind or recipe, into `file`, which is whole or not there.

    Counters of attempts are the state of running work and stay behind.

    Raises:
        StoreError: the store cannot be read, or the file not be written.
    """
    done = Exported()
    progress = Progress("export", log)

    def read(listed: Listed) -> tuple[Listed, bytes | None]:
        return listed, store.get(listed.entry, used=False)

    wanted = (listed for listed in store.listing(kind, recipe) if listed.entry.kind != ATTEMPT)
    try:
        with replacing(file) as stream, tempfile.SpooledTemporaryFile(_SPOOLED) as manifest:
            manifest.write(f"{_FIRST_LINE}, written by snakefold {__version__}\n".encode())
            with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
                for listed, data in on_each(store, read, wanted):
                    if data is None:
                        done.missing.append(listed.entry)
                        continue
                    content = wrap(data)
                    _add(archive, listed.entry.name, len(content), io.BytesIO(content), listed.modified)
                    manifest.write(_line(listed.entry.name, len(content), content[:HEADER_SIZE]))
                    progress.add(len(content))
                size = manifest.tell()
                manifest.seek(0)
                _add(archive, _MANIFEST, size, manifest, 0)
    except OSError as error:
        raise StoreError(f"{file}: cannot be written ({error}). Check free space and permissions.") from error
    done.entries, done.size = progress.entries, progress.size
    return done


def import_store(store: Store, file: Path, log: Log) -> Imported:
    """Take what the store does not have from a file made by `export_store`.

    The whole file is checked before anything is taken: every member's place, kind and sha256, and that none
    is missing or added.

    Raises:
        StoreError: names the member that is damaged, or has no business there; nothing was taken.
    """
    try:
        with file.open("rb") as stream:
            _check(file, stream, log)
            stream.seek(0)
            return _take(store, file, stream, log)
    except OSError as error:
        raise StoreError(f"{file}: cannot be read ({error}).") from error
    # ValueError: what tarfile makes of numbers that are none; RecursionError: of headers without end.
    except (tarfile.TarError, ValueError, EOFError, RecursionError) as error:
        raise StoreError(f"{file}: the archive is damaged ({error}). Export it again.") from error


def _check(file: Path, stream: IO[bytes], log: Log) -> None:
    progress = Progress("check", log)
    expected = hashlib.sha256()
    for member, content in _members(file, stream):
        if member.name == _MANIFEST:
            first = content.readline(200)
            if not first.startswith(f"{_FIRST_LINE},".encode()):
                raise StoreError(f"{file}: was not made by `snakefold store export`, or by a newer version.")
            if _digest(content) != expected.digest():
                raise StoreError(f"{file}: does not hold what its manifest lists: refused. Export it again.")
            return
        header = content.read(HEADER_SIZE)
        if header != frame(_digest(content)):
            raise StoreError(f"{file}: {member.name} is damaged. Nothing was taken; export it again.")
        expected.update(_line(member.name, member.size, header))
        progress.add(member.size)
    raise StoreError(f"{file}: was cut short, or not made by `snakefold store export`: it has no manifest.")


def _take(store: Store, file: Path, stream: IO[bytes], log: Log) -> Imported:
    done = Imported()
    progress = Progress("import", log)

    def missing() -> Iterator[tuple[Entry, bytes]]:
        # Members are in order: one listing of the store for each kind and recipe, one of them in memory.
        current: tuple[str, str] | None = None
        present: set[str] = set()
        for member, content in _members(file, stream):
            entry = entry_of(member.name)
            if entry is None:
                return
            if current != (entry.kind, entry.recipe):
                current = (entry.kind, entry.recipe)
                present = store.keys(*current)
            if entry.key in present:
                done.present += 1
                continue
            data = unwrap(content.read())
            if data is None:
                raise StoreError(f"{file}: {member.name} has changed since it was checked.")
            yield entry, data

    def put(item: tuple[Entry, bytes]) -> int:
        store.put(*item)
        return len(item[1]) + HEADER_SIZE

    for size in on_each(store, put, missing(), writes=True):
        progress.add(size)
    done.taken, done.size = progress.entries, progress.size
    return done


def _members(file: Path, stream: IO[bytes]) -> Iterator[tuple[tarfile.TarInfo, IO[bytes]]]:
    with tarfile.open(fileobj=stream, mode="r:") as archive:
        while (member := archive.next()) is not None:
            _forget(archive)
            entry = entry_of(member.name)
            known = member.name == _MANIFEST or (entry is not None and entry.kind != ATTEMPT)
            content = archive.extractfile(member) if member.isreg() and not member.issparse() else None
            if not known or content is None:
                raise StoreError(f"{file}: {member.name!r:.200} is no entry of a store: the file is refused.")
            yield member, content


def _add(archive: tarfile.TarFile, name: str, size: int, content: IO[bytes], modified: float) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mtime = size, int(modified)
    archive.addfile(info, content)
    _forget(archive)


def _forget(archive: tarfile.TarFile) -> None:
    # tarfile remembers every member, a kilobyte each, to look names up, which nobody does here.
    archive.members.clear()  # type: ignore[attr-defined]


def _line(name: str, size: int, header: bytes) -> bytes:
    return f"{name}\t{size}\t{header[-64:].decode()}\n".encode()


def _digest(content: IO[bytes]) -> bytes:
    digest = hashlib.sha256()
    while block := content.read(_BLOCK):
        digest.update(block)
    return digest.digest()
