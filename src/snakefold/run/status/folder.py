"""Signs of Snakemake in the folder a run was started in: whether it lives, what it runs, how it ended."""

from __future__ import annotations

import base64
import binascii
import contextlib
import fcntl
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

from snakefold.plan.lock import lock_file

#: A log that grew within this is a sign of life where no process can be seen (another machine or user).
_QUIET_SECONDS = 120.0
_ENDED = ("Complete log", "Nothing to be done")
_FAILED = re.compile(r"^(?:Error in rule |Error in group |RuleException|WorkflowError)", re.MULTILINE)
_RULE = re.compile(r"^Error in rule (\w+)", re.MULTILINE)


@dataclass(frozen=True)
class RunFolder:
    """What Snakemake's own files say.

    Attributes:
        alive: it runs now.
        started: when the last run started, seconds since 1970; None if none has.
        heard: when it last wrote its log.
        ended: the last run came to its end, well or badly; false for one that was killed.
        errors: rules of jobs that failed in the last run, once a failed attempt.
        unfinished: outputs of jobs that are (or, if it is dead, were) running, as absolute paths.
        place: the folder; None where no run was started.
    """

    alive: bool = False
    started: float | None = None
    heard: float | None = None
    ended: bool = False
    errors: tuple[str, ...] = ()
    unfinished: frozenset[Path] = frozenset()
    place: Path | None = None


def read_run_folder(results: Path) -> RunFolder:
    """Look in the folders that hold the results, and in the current one: a run is started in one of them."""
    for folder in dict.fromkeys((*results.resolve().parents, Path.cwd())):
        if (folder / ".snakemake" / "log").is_dir():
            return _read(folder, results)
    return RunFolder()


def _read(folder: Path, results: Path) -> RunFolder:
    logs = sorted((folder / ".snakemake" / "log").glob("*.snakemake.log"))
    if not logs:
        return RunFolder()
    text = logs[-1].read_text(encoding="utf-8", errors="replace")
    ended = any(mark in text for mark in _ENDED)
    heard = logs[-1].stat().st_mtime
    return RunFolder(
        alive=not ended and _is_alive(results, logs[-1], heard),
        started=_started(logs[-1]),
        heard=heard,
        ended=ended,
        errors=tuple(_RULE.findall(text)) or ("snakemake",) * bool(_FAILED.search(text)),
        unfinished=frozenset(_unfinished(folder)),
        place=folder,
    )


def _is_alive(results: Path, log: Path, heard: float) -> bool:
    """Locks of a run and open files end with their process; Snakemake's own locks outlive it."""
    held = _lock_is_held(lock_file(results))
    if held or _is_open(log):
        return True
    return held is None and time.time() - heard < _QUIET_SECONDS


def _is_open(path: Path) -> bool:
    """Whether a process that can be seen here has a file open; false where /proc does not tell."""
    wanted = str(path.resolve())
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):  # it ended meanwhile, or is another user's
            if str(link.readlink()) == wanted:
                return True
    return False


def _lock_is_held(path: Path) -> bool | None:
    """Whether a run holds its lock; None if none ever did here."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def _started(log: Path) -> float | None:
    stamp = log.name.split(".")[0]
    try:
        return time.mktime(time.strptime(stamp, "%Y-%m-%dT%H%M%S"))
    except ValueError:
        return None


def _unfinished(folder: Path) -> list[Path]:
    """Outputs of running jobs: Snakemake notes each in a file that its path in base64 names, in parts."""
    root, found = folder / ".snakemake" / "incomplete", []
    for path in root.rglob("*"):
        if path.is_file():
            name = "".join(part.removeprefix("@") for part in path.relative_to(root).parts)
            try:
                found.append((folder / base64.urlsafe_b64decode(name).decode()).resolve())
            except (binascii.Error, UnicodeDecodeError, OSError):
                continue
    return found
