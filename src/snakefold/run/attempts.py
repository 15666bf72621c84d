"""What became of every job that a scheduler was given: written as it happens, read for failures and the bill.

A file a job, `executions/attempts/<rule>/<batch or chunk>.json`. A job that is sent again has one entry more.
They are of one plan: the next one gives their names to other batches (`forget`).
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from snakefold.kernel.errors import Reason
from snakefold.kernel.store import write_atomically

_FOLDER = Path("executions", "attempts")
#: The rule whose jobs are in the bill.
_BILLED = "predict"
COMPLETED = "COMPLETED"
#: The run that sent the job was stopped, and the job with it: no failure of the job.
INTERRUPTED = "INTERRUPTED"


@dataclass(frozen=True)
class Ended:
    """A scheduler's account of a job that is over.

    Attributes:
        state: its word for the end, `COMPLETED` if all is well.
        reason: why a target has no structure; None if the scheduler ended nothing: the job has, by itself.
        message, advice: for people; empty if all is well.
        seconds: for which the job had its node; None: unknown.
        queued: seconds it waited before; None: unknown.
        started: of the last of its runs, seconds since 1970.
        whole: `seconds` hold all runs of a job that went back into the queue.
    """

    state: str
    reason: Reason | None = None
    message: str = ""
    advice: str = ""
    seconds: float | None = None
    queued: float | None = None
    started: float | None = None
    whole: bool = True


@dataclass(frozen=True)
class Attempt:
    """One submission. `state` is empty until its end is known, `id` if it was refused."""

    executor: str
    id: str
    submitted: float
    state: str = ""
    reason: Reason | None = None
    message: str = ""
    advice: str = ""
    seconds: float | None = None
    queued: float | None = None
    gpu: str = ""
    dollars_per_second: float = 0.0

    @property
    def failed(self) -> bool:
        """Whether it is over, and not well."""
        return self.state not in {"", COMPLETED, INTERRUPTED}

    def with_end(self, end: Ended) -> Attempt:
        """The same submission, over."""
        return replace(
            self,
            state=end.state,
            reason=end.reason,
            message=end.message,
            advice=end.advice,
            seconds=end.seconds,
            queued=end.queued,
        )


def note(results: Path, rule: str, name: str, attempt: Attempt) -> None:
    """Add a submission, or put it in the place of what was known of it."""
    before = read(results, rule, name)
    if attempt.id and any(each.id == attempt.id for each in before):
        attempts = [attempt if each.id == attempt.id else each for each in before]
    else:
        attempts = [*before, attempt]
    text = json.dumps([asdict(each) for each in attempts], indent=1) + "\n"
    write_atomically(_path(results, rule, name), text.encode())
    if rule == _BILLED and (record := _record(attempts)):
        path = results / "executions" / f"{name}.json"
        write_atomically(path, (json.dumps(record, indent=1) + "\n").encode())


def read(results: Path, rule: str, name: str) -> list[Attempt]:
    """Submissions of a job, the first first; none if nothing is known (the file is damaged, or an earlier
    version ran)."""
    try:
        entries = json.loads(_path(results, rule, name).read_text(encoding="utf-8"))
        return [
            Attempt(**{**each, "reason": Reason(each["reason"]) if each["reason"] else None})
            for each in entries
        ]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def last_failure(results: Path, rule: str, name: str) -> Attempt | None:
    """How the last submission of a job failed, those that ended with their run aside; None if it did not."""
    ended = [each for each in read(results, rule, name) if each.state != INTERRUPTED]
    return ended[-1] if ended and ended[-1].failed else None


def unsettled(results: Path) -> Iterator[tuple[str, str, Attempt]]:
    """Rule, name and submission of jobs whose end nobody saw: the run that sent them was stopped."""
    for path in sorted((results / _FOLDER).glob("*/*.json")):
        rule, name = path.parent.name, path.stem
        for attempt in read(results, rule, name):
            if not attempt.state:
                yield rule, name, attempt


def forget(results: Path) -> None:
    """Before a new plan."""
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(results / _FOLDER)


def _path(results: Path, rule: str, name: str) -> Path:
    return results / _FOLDER / rule / f"{name}.json"


def _record(attempts: Sequence[Attempt]) -> dict[str, Any] | None:
    """What the bill reads (`quote.execution.ExecutionRecord`); None while nobody knows any seconds."""
    known = [each.seconds for each in attempts if each.seconds is not None]
    if not known:
        return None
    last = attempts[-1]
    return {
        "executor": last.executor,
        "gpu": last.gpu,
        "dollars_per_second": last.dollars_per_second,
        "queued_seconds": round(sum(each.queued or 0.0 for each in attempts), 3),
        "billed_seconds": round(sum(known), 3),
        "attempts": sum(bool(each.id) for each in attempts) or 1,
    }
