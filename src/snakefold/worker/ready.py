"""What a worker needs of its folders, looked at before the first job: later, one has been paid for."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

from snakefold.kernel.errors import SnakefoldError, StoreError
from snakefold.kernel.paths import compiled_programs
from snakefold.kernel.store import Entry, Store, open_store
from snakefold.worker.settings import Settings

#: A batch's inputs and results, and the programs compiled for it.
_LEAST_FREE = 500_000_000
_PROBE = b"snakefold: can be written\n"


class NotReadyError(SnakefoldError):
    """The worker cannot do any job; the text is one line for each thing that is wrong."""

    exit_code = 1


def check_ready(settings: Settings) -> None:
    """Look whether the volume, the store and the caches can be written, and what is read can be read.

    What is not there at all is no fault: an MMseqs2 endpoint has no parameters, and a job that needs what is
    missing is refused with its own reason.

    Raises:
        NotReadyError: says who the worker is, what it cannot do where, and what to do.
    """
    problems = list(_problems(settings))
    if problems:
        raise NotReadyError(f"this worker ({_name(os.geteuid())}) takes no job. " + " ".join(problems))


def _problems(settings: Settings) -> Iterator[str]:
    folders: dict[Path, str] = {Path(tempfile.gettempdir()): "TMPDIR"}
    if settings.volume is not None:
        folders[settings.volume] = "RUNPOD_VOLUME_PATH"
    try:
        store = open_store(settings.store)
        if store.local is not None:
            folders[store.local] = "SNAKEFOLD_STORE"
        else:
            _write_entry(store)
        folders[compiled_programs(store)] = "XDG_CACHE_HOME" if store.local is None else "SNAKEFOLD_STORE"
    except StoreError as error:
        yield f"SNAKEFOLD_STORE: {error}"
    # RuntimeError: a user without an entry in passwd and without HOME has no cache folder.
    except RuntimeError as error:
        yield f"cache: {error} Set HOME or XDG_CACHE_HOME."
    for folder, variable in folders.items():
        if problem := _cannot_write(folder):
            yield f"{folder} ({variable}) {problem}"
    read = {settings.weights: "SNAKEFOLD_WEIGHTS", settings.db_root: "SNAKEFOLD_DB_ROOT"}
    for place, variable in read.items():
        if place is not None and (unread := _cannot_read(place)):
            yield f"{unread} ({variable}) cannot be read{whose(unread)}: chmod -R a+rX {place}."


def _write_entry(store: Store) -> None:
    entry = Entry("check", "worker", uuid.uuid4().hex)
    store.put(entry, _PROBE)
    store.remove(entry)


def _cannot_write(folder: Path) -> str:
    """Why a folder that is made if need be cannot be written; empty if it can."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # A trial, for a network's file system may refuse what the mode allows.
        with tempfile.TemporaryFile(dir=folder) as stream:
            stream.write(_PROBE)
            stream.flush()
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return (
            f"cannot be written ({error.strerror}){whose(folder)}: chown -R {os.geteuid()} it from a "
            "machine that mounts it, or name another folder."
        )
    if free < _LEAST_FREE:
        return f"has {free / 1e6:.0f} MB free, and {_LEAST_FREE / 1e6:.0f} MB are needed: free disk space."
    return ""


def _cannot_read(folder: Path) -> Path | None:
    """The first thing in a folder of weights or databases that is there and cannot be read."""
    try:
        places = [folder, *folder.glob("*"), *folder.glob("params/*")] if folder.is_dir() else []
        unread = [each for each in places if not _may_read(each)]
    except OSError:
        return folder
    return unread[0] if unread else None


def _may_read(place: Path) -> bool:
    return os.access(place, os.R_OK | os.X_OK if place.is_dir() else os.R_OK)


def whose(place: Path) -> str:
    """Whose it is, or the nearest folder above it that can be seen, as the end of a sentence."""
    for path in (place, *place.parents):
        try:
            found = path.stat()
        except OSError:
            continue
        where = "" if path == place else f"{path}: "
        return f"; {where}{_name(found.st_uid)}, {stat.filemode(found.st_mode)}"
    return ""


def _name(user: int) -> str:
    try:
        return f"user {user}, {pwd.getpwuid(user).pw_name}"
    except KeyError:
        return f"user {user}"
