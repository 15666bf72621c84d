"""One writer of a database at a time, on one machine or several that share a volume."""

from __future__ import annotations

import os
import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from snakefold.worker.mmseqs import beside

#: Seconds without a sign of life after which a lock is nobody's, and between two signs.
STALE = 300.0
_BEAT = 20.0
_POLL = 0.5


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
