"""Records of work that was accepted: folders that several processes read and write, and no crash can damage.

A record is made of files that are written once, under their final name and whole:

    record.json     what it is: kind, user, priority, time of submission, facts of its kind
    attempt-1.json  a worker took it: which, and when. The file's time is the worker's pulse
    end.json        how it ended. The first to write it decides: worker, user, or whoever finds it hopeless

So a state is never overwritten. Files appear by `link`, which fails where the name exists, also
on network disks.
"""

from __future__ import annotations

import enum
import json
import os
import re
import secrets
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from snakefold.kernel.errors import SnakefoldError

#: Seconds without a pulse after which a worker on another machine counts as dead, and between two of its own.
LEASE, PULSE = 60.0, 5.0
#: Workers that may die of a record before it counts as the reason.
ATTEMPTS = 3
_ID = re.compile(r"[a-z0-9][a-z0-9-]{7,63}")
_OPEN = ".open"
#: Journal of a folder of records: id, state, user and endpoint of each that ended, a line each time.
ENDED = ".ended"


class State(enum.StrEnum):
    """Where a record stands. The last four are final."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    DONE = "DONE"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    TIMED_OUT = "TIMED_OUT"

    @property
    def final(self) -> bool:
        """Whether nothing will change any more."""
        return self not in (State.QUEUED, State.RUNNING)


@dataclass(frozen=True)
class Record:
    """What the files of a record say.

    Attributes:
        folder: its folder; its name is the id.
        kind: which worker does it (`kinds.KINDS`).
        created, started, ended: seconds since the epoch; None for what has not happened. `started` is that of
            the last attempt.
        attempts: how many workers took it.
        error: why it failed; empty if it did not.
        facts: what its kind keeps of it, from submission.
        ending: what its kind keeps of it, from its end.
    """

    folder: Path
    kind: str
    user: str
    priority: int
    state: State
    created: float
    started: float | None = None
    ended: float | None = None
    attempts: int = 0
    worker: str = ""
    error: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    ending: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """Its name."""
        return self.folder.name


def new_id() -> str:
    """A name that nobody can guess."""
    return secrets.token_hex(16)


def is_id(text: str) -> bool:
    """Whether a text may be the name of a record: no path, no pattern."""
    return _ID.fullmatch(text) is not None


def create(
    root: Path,
    kind: str,
    user: str,
    *,
    name: str = "",
    priority: int = 0,
    facts: Mapping[str, Any] | None = None,
) -> Record:
    """A new record below `root`, in a folder that may exist and have files of it.

    Raises:
        FileExistsError: there is such a record.
    """
    folder = root / (name or new_id())
    folder.mkdir(parents=True, exist_ok=True)
    # First what says that it is open: a record without it would never be found again.
    marks = root / _OPEN
    marks.mkdir(exist_ok=True)
    (marks / folder.name).touch()
    content = {
        "kind": kind,
        "user": user,
        "priority": priority,
        "created": time.time(),
        "facts": dict(facts or {}),
    }
    if not _publish(folder / "record.json", content):
        raise FileExistsError(folder)
    return read(folder)


def read(folder: Path) -> Record:
    """The record of a folder.

    Raises:
        FileNotFoundError: there is none.
    """
    said = _load(folder / "record.json")
    if said is None:
        raise FileNotFoundError(folder)
    end = _load(folder / "end.json")
    attempts = attempts_of(folder)
    attempt = _load(folder / f"attempt-{attempts}.json") if attempts else None
    state = State(end["state"]) if end else State.RUNNING if attempts else State.QUEUED
    return Record(
        folder=folder,
        kind=said["kind"],
        user=said["user"],
        priority=said["priority"],
        state=state,
        created=said["created"],
        started=attempt["started"] if attempt else None,
        ended=end["ended"] if end else None,
        attempts=attempts,
        worker=attempt["worker"] if attempt else "",
        error=end["error"] if end else "",
        facts=said["facts"],
        ending=end["facts"] if end else {},
    )


def find(root: Path, name: str) -> Record | None:
    """The record of a name that a client gave; None for whatever is none."""
    if not is_id(name):
        return None
    try:
        return read(root / name)
    except (FileNotFoundError, NotADirectoryError):
        return None


def attempts_of(folder: Path) -> int:
    """How many workers took the record."""
    number = 0
    while (folder / f"attempt-{number + 1}.json").exists():
        number += 1
    return number


def claim(folder: Path, most: int = ATTEMPTS) -> int | None:
    """Take the record for this process.

    Args:
        most: workers that may die of it.

    Returns:
        The number of the attempt; None if it has ended, another worker that lives has it, or there is none.
    """
    if (folder / "end.json").exists() or not (folder / "record.json").exists():
        return None
    last = attempts_of(folder)
    if last and not is_dead(folder, last):
        return None
    if last >= most:
        end(folder, State.FAILED, error=f"{last} workers died of it. The log of the service says how.")
        return None
    number = last + 1
    content = {
        "worker": worker_name(),
        "machine": _machine(),
        "process": os.getpid(),
        "began": began(os.getpid()),
        "started": time.time(),
    }
    return number if _publish(folder / f"attempt-{number}.json", content) else None


def release(folder: Path, number: int) -> None:
    """Give a record back whose worker is told to stop, so that the attempt does not count against it."""
    with suppress(FileNotFoundError):
        (folder / f"attempt-{number}.json").unlink()


def beat(folder: Path, number: int) -> None:
    """Show that the worker of an attempt lives."""
    with suppress(FileNotFoundError):
        os.utime(folder / f"attempt-{number}.json")


def holds(folder: Path, number: int) -> bool:
    """Whether this process's attempt is the one that counts: no other worker has taken the record since."""
    said = _load(folder / f"attempt-{number}.json")
    mine = said is not None and (said["machine"], said["process"]) == (_machine(), os.getpid())
    return mine and not (folder / f"attempt-{number + 1}.json").exists()


def is_dead(folder: Path, number: int) -> bool:
    """Whether the worker of an attempt is gone."""
    path = folder / f"attempt-{number}.json"
    said = _load(path)
    if said is None:
        return True
    if said["machine"] == _machine():
        return began(said["process"]) != said["began"]
    with suppress(FileNotFoundError):
        return time.time() - path.stat().st_mtime > LEASE
    return True


def end(folder: Path, state: State, *, error: str = "", facts: Mapping[str, Any] | None = None) -> bool:
    """End a record; False, and nothing changes, if it has ended already."""
    content = {"state": state.value, "ended": time.time(), "error": error, "facts": dict(facts or {})}
    first = _publish(folder / "end.json", content)
    if first:
        _close(read(folder))
    return first


def _close(record: Record) -> None:
    """Note in the journal that a record has ended, and then that it is no longer open.

    The journal is for counts: who dies in between is noted by `still_open`, perhaps a second time.
    """
    root = record.folder.parent
    about = (record.id, record.state.value, record.user, str(record.facts.get("endpoint", "")))
    line = "\t".join(word.replace("\t", " ").replace("\n", " ") for word in about)
    with (root / ENDED).open("ab") as stream:
        stream.write(f"{line}\n".encode("utf-8", "replace"))
    with suppress(FileNotFoundError):
        (root / _OPEN / record.id).unlink()


def has_ended(folder: Path) -> bool:
    """Whether its end is decided, by whomever."""
    return (folder / "end.json").exists()


def reopen(folder: Path) -> None:
    """Let a record that failed wait again.

    Its end is undone last: whatever is cut off before leaves it ended, and to be reopened.
    """
    (folder.parent / _OPEN / folder.name).touch()
    for each in range(attempts_of(folder), 0, -1):
        with suppress(FileNotFoundError):
            (folder / f"attempt-{each}.json").replace(folder / f"former-{time.time_ns()}.json")
    with suppress(FileNotFoundError):
        (folder / "end.json").replace(folder / f"former-end-{time.time_ns()}.json")


def still_open(root: Path) -> Iterator[Record]:
    """Records below `root` that have not ended. `opened` does the same for those who look again and again."""
    for name in open_names(root):
        if (record := look(root, name)) is not None:
            yield record


def open_names(root: Path) -> list[str]:
    """Names of what is marked as open below `root`, in their order."""
    try:
        return sorted(each.name for each in (root / _OPEN).iterdir())
    except FileNotFoundError:
        return []


def look(root: Path, name: str) -> Record | None:
    """A record that is marked as open; None, if it is none yet, or has ended: then its mark is removed."""
    try:
        record = read(root / name)
    except FileNotFoundError:  # between the mark and the record
        return None
    if record.state.final:  # ended between its end and its mark
        _close(record)
        return None
    return record


def every(root: Path) -> Iterator[Record]:
    """All records below `root`."""
    try:
        names = [each.name for each in os.scandir(root) if each.is_dir() and is_id(each.name)]
    except FileNotFoundError:
        return
    for name in names:
        with suppress(FileNotFoundError):
            yield read(root / name)


@cache
def worker_name() -> str:
    """What this process calls itself in records and logs."""
    return f"{socket.gethostname()}-{os.getpid()}"


@cache
def _machine() -> str:
    """Where numbers of processes are unique: this start of this machine, and of this container."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{socket.gethostname()} {boot} {os.readlink('/proc/self/ns/pid')}"  # noqa: PTH115


def _publish(path: Path, content: Mapping[str, Any]) -> bool:
    """Write a file whole, unless there is one of that name."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        with temporary.open("x", encoding="utf-8") as stream:
            json.dump(content, stream, ensure_ascii=False)
            stream.flush()
            os.fsync(stream.fileno())
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()
    return True


def _load(path: Path) -> dict[str, Any] | None:
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise SnakefoldError(f"{path}: is damaged ({error}). Move its folder away.") from error
    return content


def began(process: int) -> str:
    """When a process of this machine began, in the kernel's ticks; empty if there is none, or a zombie."""
    try:
        words = (
            Path(f"/proc/{process}/stat")
            .read_text(encoding="utf-8", errors="replace")
            .rpartition(")")[2]
            .split()
        )
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if words[0] == "Z" else words[19]
