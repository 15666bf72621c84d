"""What steps of a run share: one process at a time for an output, and a note where they fail for good."""

from __future__ import annotations

import argparse
import fcntl
import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from snakefold.kernel.errors import DiskError, SnakefoldError, disk_error
from snakefold.run import retries

Step = Callable[[argparse.Namespace], int | None]


def noting(step: Step) -> Step:
    """The step, with a note beside its output (`--out` or `--table`) if it fails for good: `retries`."""

    @functools.wraps(step)
    def perform(options: argparse.Namespace) -> int | None:
        output: Path = options.out if "out" in options else options.table
        retries.forget(output)
        try:
            return step(options)
        except (SnakefoldError, OSError) as error:
            told = _of_disk(error, output)
            if told is None:
                raise
            retries.note_final(output, retries.Final(told.reason, str(told)))
            raise told from error

    return perform


def _of_disk(error: SnakefoldError | OSError, output: Path) -> DiskError | None:
    if isinstance(error, DiskError):
        return error
    if isinstance(error, OSError):
        return disk_error(error, Path(error.filename).parent if error.filename else output.parent)
    cause = error.__cause__
    known = disk_error(cause) if isinstance(cause, OSError) else None
    return DiskError(known.reason, str(error)) if known else None


@contextmanager
def alone(output: Path, log: Callable[[str], None]) -> Iterator[bool]:
    """Work on an output while no other process does; whether one did until now.

    A run that was killed leaves its jobs at work, and the next one starts the same: it waits for them, and
    finds in the store what they finished. A lock of the kernel ends with its process, whatever ends that.
    """
    path = output.absolute().with_name(f".{output.name}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    waited = False
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                log(f"{output}: another process works on it, perhaps of a killed run: waiting.")
                waited = True
                fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError as error:  # not every file system has locks
            log(f"warning: {path.parent} has no locks ({error.strerror}): a second process may work here.")
            break
        except BaseException:
            os.close(handle)
            raise
        if _is_there(path, handle):
            break
        os.close(handle)  # its owner removed the file at the end
    try:
        yield waited
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def _is_there(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False
