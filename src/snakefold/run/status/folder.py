"""Signs of Snakemake in the folder a run was started in: whether it lives, what it runs, how it ended."""

from __future__ import annotations

import base64
import binascii
import contextlib
import fcntl
import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from snakefold.plan.lock import lock_file, noted_log

#: Where Snakemake keeps its logs, below the folder that it works in.
_LOGS = Path(".snakemake", "log")

#: A log that grew within this is a sign of life where no process can be seen (another machine or user).
_QUIET_SECONDS = 120.0
#: What Snakemake says after Ctrl-C, and after SIGTERM. Jobs that end from then on have not failed.
INTERRUPTED = "Terminating processes on user request"
TERMINATED = "Will exit after finishing currently running jobs (scheduler)"
_ENDED = ("Complete log", "Nothing to be done")
_FAILED = re.compile(r"^(?:Error in rule |Error in group |RuleException|WorkflowError)", re.MULTILINE)
_RULE = re.compile(r"^Error in rule (\w+)", re.MULTILINE)
_RETRY = re.compile(r"^Trying to restart job \d+", re.MULTILINE)
_WRITES = re.compile(r"^    (?:output|log): (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class RunFolder:
    """What Snakemake's own files say.

    Attributes:
        alive: it runs now.
        started: when the last run started, seconds since 1970; None if none has.
        heard: when it last wrote its log.
        ended: the last run came to its end, well or badly; false for one that was killed.
        errors: rules of jobs that failed in the last run, once a failed attempt.
        retries: jobs that were started again in the last run.
        unfinished: outputs of jobs that are (or, if it is dead, were) running, as absolute paths, with the
            time when the job was started or submitted.
        place: the folder; None where no run was started.
    """

    alive: bool = False
    started: float | None = None
    heard: float | None = None
    ended: bool = False
    errors: tuple[str, ...] = ()
    retries: int = 0
    unfinished: Mapping[Path, float] = field(default_factory=dict)
    place: Path | None = None


def read_run_folder(results: Path) -> RunFolder:
    """What the last run of these results left, and not another's that was started in the same folder."""
    held = lock_is_held(lock_file(results))
    noted = noted_log(lock_file(results))
    # A run is started in a folder that holds the results, or in the current one.
    folders = [path / _LOGS for path in dict.fromkeys((*results.resolve().parents, Path.cwd()))]
    if noted is not None:
        # Results may have been moved since, with the folder that the run was started in.
        for log in (noted, *(folder / noted.name for folder in folders)):
            if log.is_file():
                return _read(log, held=held, whose=True)
        return RunFolder(alive=bool(held))
    for folder in folders:
        found = _search(folder, results, held)
        if found is not None:
            # A run that holds the results has not ended: it has named none of them yet.
            return _begun(results) if held and found.ended else found
    return _begun(results) if held else RunFolder()


def _search(folder: Path, results: Path, held: bool | None) -> RunFolder | None:
    """The newest log that names these results, or one that names none if no run held them yet."""
    for log in sorted(folder.glob("*.snakemake.log"), reverse=True):
        whose = _whose(log, results)
        if whose is None and held is None and not _is_anothers(log):
            return _read(log, held=held, whose=False)
        if whose:
            return _read(log, held=held, whose=True)
    return None


def _begun(results: Path) -> RunFolder:
    """A run of which no more is known than that it holds the results."""
    with contextlib.suppress(OSError):
        return RunFolder(alive=True, started=lock_file(results).stat().st_mtime)
    return RunFolder(alive=True)


def _read(log: Path, *, held: bool | None, whose: bool) -> RunFolder:
    """What a log says; of one that is not known to be of these results, not how it ended."""
    text = log.read_text(encoding="utf-8", errors="replace")
    ended = any(mark in text for mark in _ENDED)
    heard = log.stat().st_mtime
    place = log.parents[2]
    quiet = time.time() - heard >= _QUIET_SECONDS
    before = text.partition(INTERRUPTED)[0].partition(TERMINATED)[0]
    return RunFolder(
        # Locks of a run and open files end with their process; Snakemake's own locks outlive it.
        alive=not ended and (bool(held) or _is_open(log) or (held is None and not quiet)),
        started=_started(log),
        heard=heard,
        ended=ended and whose,
        errors=(tuple(_RULE.findall(before)) or ("snakemake",) * bool(_FAILED.search(before)))
        if whose
        else (),
        retries=len(_RETRY.findall(text)) if whose else 0,
        unfinished=_unfinished(place),
        place=place,
    )


def _whose(log: Path, results: Path) -> bool | None:
    """Whether jobs of a log write below `results`; None if it names no file that a job writes."""
    top, place = results.resolve(), log.parents[2]
    named = _WRITES.findall(log.read_text(encoding="utf-8", errors="replace"))
    if not named:
        return None
    paths = {
        path.removesuffix(" (check log file(s) for error details)")
        for line in named
        for path in line.split(", ")
    }
    return any((place / path).resolve().is_relative_to(top) for path in paths)


def _is_anothers(log: Path) -> bool:
    """Whether a run of other results wrote a log: it is noted there, or its process holds them."""
    beside = log.parents[2].glob(str(lock_file(Path("*"))))
    if any(noted_log(lock) == log.resolve() for lock in beside):
        return True
    name = str(lock_file(Path("/")))
    return any(path.endswith(name) for process in _open_by(log) for path in _opened(process))


def _is_open(path: Path) -> bool:
    """Whether a process that can be seen here has a file open; false where /proc does not tell."""
    return any(True for _ in _open_by(path))


def _open_by(path: Path) -> Iterator[Path]:
    """Processes that have a file open, of those that can be seen here."""
    wanted = str(path.resolve())
    for process in Path("/proc").glob("[0-9]*"):
        if wanted in _opened(process):
            yield process


def _opened(process: Path) -> list[str]:
    """Files that a process has open."""
    found = []
    with contextlib.suppress(OSError):  # it ended meanwhile, or is another user's
        for link in (process / "fd").iterdir():
            with contextlib.suppress(OSError):
                found.append(str(link.readlink()))
    return found


def lock_is_held(path: Path) -> bool | None:
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


def _unfinished(folder: Path) -> dict[Path, float]:
    """Outputs of running jobs: Snakemake notes each in a file that its path in base64 names, in parts."""
    root, found = folder / ".snakemake" / "incomplete", {}
    for path in root.rglob("*"):
        if path.is_file():
            name = "".join(part.removeprefix("@") for part in path.relative_to(root).parts)
            try:
                output = (folder / base64.urlsafe_b64decode(name).decode()).resolve()
                found[output] = path.stat().st_mtime
            except (binascii.Error, UnicodeDecodeError, OSError):
                continue
    return found
