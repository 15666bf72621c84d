"""One query at a time: jobs, and runs, that ask the same server wait for each other."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from platformdirs import user_cache_path

from snakefold.msa.bundle import Log
from snakefold.msa.server.client import Client, open_client
from snakefold.msa.server.settings import ServerSettings


def lock_file(settings: ServerSettings) -> Path:
    """The file that a process holds a kernel lock on while it asks a server.

    It is in the user's cache folder, which machines of a cluster share as far as they share the home folder.
    """
    name = hashlib.sha256(settings.host.encode()).hexdigest()[:12]
    return user_cache_path("snakefold") / f"msa-server-{name}.lock"


@contextmanager
def one_stream(settings: ServerSettings, log: Log) -> Iterator[Client]:
    """A client of the server that no other process of this user asks meanwhile.

    ColabFold's server wants to be asked serially, from one address. The kernel's lock ends with the process
    that holds it, whatever ends that.
    """
    path = lock_file(settings)
    handle = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log(f"{settings.url}: another process asks it: waiting, for it is asked one query at a time.")
            fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError as error:  # no home folder, or a file system without locks
        log(f"warning: {path} cannot be locked ({error.strerror}): another process may ask the server too.")
    try:
        with open_client(settings, log) as client:
            yield client
    finally:
        if handle is not None:
            os.close(handle)
