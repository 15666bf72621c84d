"""Who is at work on an entry of a store's folder: one process at a time, as far as kernel locks reach.

The lock ends with its process. Where there are none (a bucket, a folder that may only be read, a file system
without locks), everybody works, and whoever writes an entry last has written it.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from snakefold.kernel.store.entry import AT_WORK, Entry, Store

_POLL = 0.2


@contextmanager
def at_work(store: Store, entry: Entry, patience: float = 0.0) -> Iterator[bool]:
    """Whether this process may work on an entry; false, if another still is after `patience` seconds."""
    path = None if store.local is None else store.local / AT_WORK / f"{entry.recipe}-{entry.key}"
    handle: int | None = None
    free = True
    if path is not None:
        with suppress(OSError):
            handle = _taken(path, patience)
            free = handle is not None
    try:
        yield free
    finally:
        if path is not None and handle is not None:
            with suppress(OSError):
                path.unlink()
            os.close(handle)


def _taken(path: Path, patience: float) -> int | None:
    """A descriptor that holds the lock of a file; None, if another process holds it for all this time."""
    until = time.monotonic() + patience
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever had it removes the file: then the next one is of another.
            if os.path.samestat(os.fstat(handle), path.stat()):
                return handle
        except FileNotFoundError:
            pass
        except BlockingIOError:
            if time.monotonic() >= until:
                os.close(handle)
                return None
            time.sleep(_POLL)
        except OSError:
            os.close(handle)
            raise
        os.close(handle)
