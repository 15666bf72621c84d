"""How far a prediction job is: a small file beside its archive, for the screen and `snakefold status`.

`predictions/.<batch>.tar.zst.progress.json`. The job replaces it every few seconds at most, and removes it at
its end. The file of a job that was killed stays until the batch runs again, or the next run starts.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from snakefold.kernel import stages
from snakefold.kernel.contracts import TargetOutcome
from snakefold.kernel.store.atomic import write_atomically

#: Seconds between two writes: the folder may be on a disk that a cluster shares.
_PAUSE = 2.0
#: Failures that are named; the others are counted.
_MOST_FAILURES = 20
_MOST_CHARACTERS = 300


@dataclass(frozen=True)
class Failure:
    """A target without a structure, and why."""

    id: str
    reason: str = ""
    message: str = ""


@dataclass(frozen=True)
class Progress:
    """A batch at work. Times are seconds since 1970, by the clock of the job's machine.

    Attributes:
        total: targets of the batch.
        done, failed: those that are decided, by earlier processes too.
        computed: those that this process decided.
        target, length: what it works on now; empty before the first and after the last.
        stage: a word of `kernel.stages`.
        started: when the process began; `since`: when the target did; `decided`: when the last one ended.
    """

    total: int
    done: int = 0
    failed: int = 0
    computed: int = 0
    target: str = ""
    length: int = 0
    stage: str = ""
    started: float = 0.0
    since: float = 0.0
    decided: float = 0.0
    failures: tuple[Failure, ...] = field(default_factory=tuple)


class ProgressFile:
    """Writes the progress of one job. A file that cannot be written ends no job."""

    def __init__(self, archive: Path, pause: float = _PAUSE) -> None:
        self._path, self._pause = _path(archive), pause
        self._lock = threading.Lock()
        self._written = float("-inf")
        self._timer: threading.Timer | None = None
        self._now = Progress(0)

    def begin(self, total: int, outcomes: Iterable[TargetOutcome]) -> None:
        """A batch of so many targets; `outcomes`: of those that need no computation."""
        now = time.time()
        self._set(replace(self._now, total=total, started=now, since=now, decided=now, stage=stages.LOADING))
        for outcome in outcomes:
            self._count(outcome, computed=0)

    def target(self, name: str, length: int) -> None:
        """The job begins a target."""
        self._set(replace(self._now, target=name, length=length, stage=stages.PREDICTING, since=time.time()))

    def stage(self, word: str) -> None:
        """What is done with it now."""
        if word != self._now.stage:
            self._set(replace(self._now, stage=word))

    def finish(self, outcome: TargetOutcome) -> None:
        """A target is decided."""
        self._count(outcome, computed=1)

    def _count(self, outcome: TargetOutcome, *, computed: int) -> None:
        now, failed = self._now, outcome.state != "done"
        failures = now.failures
        if failed and len(failures) < _MOST_FAILURES:
            reason = str(outcome.reason or "")
            failures = (*failures, Failure(outcome.id, reason, outcome.message[:_MOST_CHARACTERS]))
        self._set(
            replace(
                now,
                done=now.done + (not failed),
                failed=now.failed + failed,
                computed=now.computed + computed,
                decided=time.time() if computed else now.decided,
                target="",
                length=0,
                failures=failures,
            )
        )

    def remove(self) -> None:
        """The job is over."""
        with self._lock:
            self._now = Progress(0)
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._pause = float("inf")
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)

    def _set(self, progress: Progress) -> None:
        """Write it, now or when the pause is over: the last word is never lost."""
        with self._lock:
            self._now = progress
            wait = self._written + self._pause - time.monotonic()
            if wait <= 0:
                self._write()
            elif self._timer is None and wait < float("inf"):
                self._timer = threading.Timer(wait, self._later)
                self._timer.daemon = True
                self._timer.start()

    def _later(self) -> None:
        with self._lock:
            if self._timer is not None:
                self._timer = None
                self._write()

    def _write(self) -> None:
        self._written = time.monotonic()
        with contextlib.suppress(OSError):
            write_atomically(self._path, json.dumps(asdict(self._now)).encode())


def read_progress(archive: Path) -> Progress | None:
    """How far the job of an archive is; None where nothing says so, as on machines that share no disk."""
    try:
        said = json.loads(_path(archive).read_bytes())
        failures = tuple(Failure(**each) for each in said.pop("failures", ()))
        found = Progress(**said, failures=failures)
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    numbers = (found.total, found.done, found.failed, found.computed, found.length)
    clocks = (found.started, found.since, found.decided)
    if not all(isinstance(each, int) and each >= 0 for each in numbers):
        return None
    return found if all(isinstance(each, int | float) for each in clocks) else None


def forget_progress(results: Path) -> None:
    """Before a run: jobs of a killed one are not at work."""
    for path in (results / "predictions").glob(".*.progress.json"):
        path.unlink(missing_ok=True)


def _path(archive: Path) -> Path:
    return archive.with_name(f".{archive.name}.progress.json")
