"""One run at a time in a folder of results, whatever the folder it is started in."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from snakefold.kernel.errors import SnakefoldError
from snakefold.plan.contents import OWN

#: Environment variable in which a process that becomes Snakemake hands on its lock: `<descriptor>`.
_HELD = "SNAKEFOLD_LOCK"

#: What is said of a folder whose lock another run holds.
ACTIVE = "another run is active"


def lock_file(results: Path) -> Path:
    """The file that a run of these results holds a kernel lock on."""
    return results / OWN / "run.lock"


def hold_results(results: Path) -> None:
    """Keep other runs out of `results` for as long as this process lives, whatever ends it.

    Snakemake's own lock is a file, which a killed run leaves behind; the kernel's ends with its process. A
    process that this one becomes (`exec`) holds it on; children do not.

    Raises:
        SnakefoldError: another run is active there, or the folder cannot be written.
    """
    path = lock_file(results)
    if _is_inherited(path):
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            raise
        if not os.access(results, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except BlockingIOError as error:
        raise SnakefoldError(
            f"{results}: {ACTIVE} in this folder of results. Wait for it, or set another one (results)."
        ) from error
    except OSError as error:
        raise SnakefoldError(
            f"{results}: the folder of results cannot be written ({error.strerror or error}). Check its "
            "permissions and the file system, or set another one (results)."
        ) from error
    os.truncate(handle, 0)  # the log that an earlier run noted
    os.utime(handle)
    os.set_inheritable(handle, True)
    os.environ[_HELD] = str(handle)


def held_since(results: Path) -> float:
    """Seconds for which the run that is active in `results` holds them; 0 if none does."""
    path = lock_file(results)
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return 0.0
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return max(0.0, time.time() - os.fstat(handle).st_mtime)
    finally:
        os.close(handle)
    return 0.0


def note_log(results: Path, logs: Sequence[str]) -> None:
    """Write down Snakemake's log of the run that holds `results`; others may lie beside it."""
    if logs:
        path = lock_file(results)
        with suppress(OSError):  # a full disk is told of by whoever writes a result
            held = path.stat()
            path.write_text(str(Path(logs[0]).absolute()), encoding="utf-8", errors="surrogateescape")
            os.utime(path, ns=(held.st_atime_ns, held.st_mtime_ns))  # since when


def noted_log(lock: Path) -> Path | None:
    """The log of the run that held a lock last; None if it noted none, as earlier versions did not."""
    try:
        text = lock.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return None
    return Path(text) if text else None


def _is_inherited(path: Path) -> bool:
    """Whether this process was handed the lock of `path` by the one that it was."""
    try:
        held = os.fstat(int(os.environ.get(_HELD, "")))
        return os.path.samestat(held, path.stat())
    except (ValueError, OSError):
        return False
