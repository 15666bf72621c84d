"""Persistent MMseqs2 databases of a worker: where they are, whether they are whole, and who may write one.

A writer holds the folder `<prefix>.lock`, whose modification time says that it is alive: one that has not
been touched for `STALE` seconds belonged to a worker that died, and is taken over.
"""

from __future__ import annotations

import os
import secrets
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from snakefold.kernel.errors import DatabaseMissingError

PADDED = "_pad"
#: Seconds without a sign of life after which a lock is nobody's, and between two signs.
STALE = 300.0
_BEAT = 20.0
_POLL = 0.5


def beside(prefix: Path, suffix: str) -> Path:
    """A file of a database: its prefix with a suffix."""
    return prefix.with_name(prefix.name + suffix)


def is_ready(prefix: Path) -> bool:
    """Whether the database may be read: `.ready` is there, or `.dbtype` and nobody writes."""
    if beside(prefix, ".ready").is_file():
        return True
    return beside(prefix, ".dbtype").is_file() and not beside(prefix, ".lock").is_dir()


def find(name: str, roots: Sequence[Path]) -> Path:
    """Prefix of the first ready database called `name`.

    Raises:
        DatabaseMissingError: says where it was looked for.
    """
    for root in roots:
        if is_ready(root / name):
            return root / name
    being_written = [str(root) for root in roots if beside(root / name, ".lock").is_dir()]
    if being_written:
        raise DatabaseMissingError(
            f"{name}: is being built in {', '.join(being_written)}. Try again when it is done."
        )
    raise DatabaseMissingError(
        f"{name}: no such MMseqs2 database in {', '.join(map(str, roots))}. Copy it there, or send a request "
        'with `task: "build"`.'
    )


def find_padded(name: str, roots: Sequence[Path]) -> Path:
    """Prefix of the padded copy of a database, which is what GPUs search."""
    if name.endswith(PADDED):
        return find(name, roots)
    try:
        return find(f"{name}{PADDED}", roots)
    except DatabaseMissingError as error:
        raise DatabaseMissingError(
            f"{name}: has no padded copy ({name}{PADDED}), which GPU searches need. Make one: mmseqs "
            f"makepaddedseqdb {name} {name}{PADDED}; or search without use_gpu."
        ) from error


@contextmanager
def writing(prefix: Path, timeout: float) -> Iterator[None]:
    """Be the only writer of a database.

    Raises:
        TimeoutError: another writer was at work all the time.
    """
    lock = beside(prefix, ".lock")
    prefix.parent.mkdir(parents=True, exist_ok=True)
    _take(lock, time.monotonic() + timeout)
    done = threading.Event()
    beat = threading.Thread(target=_beat, args=(lock, done), daemon=True)
    beat.start()
    try:
        yield
    finally:
        done.set()
        beat.join()
        shutil.rmtree(lock, ignore_errors=True)


def _take(lock: Path, deadline: float) -> None:
    while True:
        try:
            lock.mkdir()
        except FileExistsError:
            if _is_stale(lock):
                # Of several that find it stale, one can rename it; the others find it gone.
                aside = beside(lock, f".{secrets.token_hex(4)}")
                with suppress(OSError):
                    lock.rename(aside)
                    shutil.rmtree(aside, ignore_errors=True)
                continue
            if time.monotonic() > deadline:
                raise TimeoutError(f"{lock}: another worker is building this database.") from None
            time.sleep(_POLL)
        else:
            return


def _is_stale(lock: Path) -> bool:
    try:
        # The clock of the file system: those of two machines may differ.
        probe = lock.parent / f".{secrets.token_hex(6)}.clock"
        probe.touch()
        now = probe.stat().st_mtime
        probe.unlink()
        return now - lock.stat().st_mtime > STALE
    except OSError:
        return False


def _beat(lock: Path, done: threading.Event) -> None:
    while not done.wait(_BEAT):
        with suppress(OSError):
            os.utime(lock)
