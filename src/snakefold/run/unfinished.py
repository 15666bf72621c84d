"""Batches that a run did not finish: why, as far as a scheduler and logs say, and notes for the next plan.

A note takes the plan's mark away, without which it is made anew. Three kinds of targets are noted: the job of
their batch failed for good, so that it has no table (`note_lost`, at a run's end); what was made of the batch
is gone, its archive included, or a failure's cause may be (`mend`, at a run's start).
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from snakefold.kernel.errors import ADVICE, Reason, SnakefoldError
from snakefold.kernel.store import write_atomically
from snakefold.plan.files import Place, read_batch, read_targets
from snakefold.plan.mark import drop_marks
from snakefold.run.attempts import Attempt, last_failure, read
from snakefold.run.failures import read_failures
from snakefold.run.products import archive_of, forget_batch, table_of
from snakefold.run.retries import read_final

#: A line for every target noted: id, batch, why.
NOTES = "lost.tsv"
_STEPS = ("request", "predict", "collect", "restore", "reuse")
_TAIL = 4096
_MOST_CHARACTERS = 1000


@dataclass(frozen=True)
class Unfinished:
    """Why the targets of a batch have no result."""

    message: str = ""
    reason: Reason = Reason.LOST
    advice: str = "Run again."


def why_unfinished(results: Path, batch: str, chunks: Iterable[str] = ()) -> Unfinished:
    """What stopped a batch: the scheduler of its own job, its chunks, or else the last line of its last log.

    Args:
        chunks: the alignments that it waits for.
    """
    request = results / "requests" / batch / "request.json"
    for output in (archive_of(results, batch), table_of(results, batch), request):
        if final := read_final(output):
            return Unfinished(final.message, final.reason, final.advice or ADVICE[final.reason])
    if failure := last_failure(results, "predict", batch):
        return _of_scheduler(results, "predict", batch, failure)
    for chunk in chunks:
        if (results / "msa" / f"{chunk}.json").is_file():
            continue
        if failure := last_failure(results, "msa", chunk):
            return _of_scheduler(results, "msa", chunk, failure)
        if line := last_line(results / "logs" / "msa" / f"{chunk}.log"):
            return Unfinished(f"msa {chunk}: {line}", Reason.MSA_FAILED, ADVICE[Reason.MSA_FAILED])
    logs = [path for step in _STEPS if (path := results / "logs" / step / f"{batch}.log").is_file()]
    if not logs:
        return Unfinished()
    last = max(logs, key=lambda path: path.stat().st_mtime)
    return Unfinished(f"{last.parent.name}: {last_line(last) or 'its log is empty'}")


def note_lost(results: Path) -> list[str]:
    """Note the targets of batches that a run did not finish.

    Returns:
        Their ids.
    """
    if not (results / "failures.tsv").is_file() or not (results / "plan" / "targets.tsv").is_file():
        return []
    failed = [row for row in read_failures(results) if row.state == "failed"]
    if not failed:
        return []
    batch_of = {row.id: row.batch for row in read_targets(results / "plan", Place)}
    # What has a table is decided on at the start of the next run, as all other failures are.
    unfinished = [
        row for row in failed if row.id in batch_of and not table_of(results, batch_of[row.id]).is_file()
    ]
    note_again(results, ((row.id, batch_of[row.id], row.message) for row in unfinished))
    for batch in {batch_of[row.id] for row in unfinished}:
        forget(results, batch)
    return [row.id for row in unfinished]


def forget(results: Path, batch: str) -> None:
    """What was made of a batch, and of the parts it waits for, is made anew by another plan.

    Parts that are done are in the store.
    """
    parts: list[str] = []
    with suppress(OSError, SnakefoldError):  # of an earlier plan, or damaged
        parts = read_batch(results / "plan", batch).part_batches
    for name in (batch, *parts):
        forget_batch(results, name)


def note_again(results: Path, targets: Iterable[tuple[str, str, str]]) -> None:
    """Let the next plan look anew; `targets`: id, batch and why."""
    lines = ["\t".join(" ".join(part.split()) for part in target)[:500] + "\n" for target in targets]
    if not lines:
        return
    notes = results / NOTES
    text = notes.read_text(encoding="utf-8") if notes.is_file() else ""
    write_atomically(notes, (text + "".join(lines)).encode())
    drop_marks(results / "plan")


def last_error(path: Path) -> str:
    """The last error of ours in a log with its further lines; empty if there is none."""
    lines = _tail(path)
    starts = [number for number, line in enumerate(lines) if line.startswith("snakefold: ")]
    return "\n".join(lines[starts[-1] :])[:_TAIL].rstrip() if starts else ""


def last_line(path: Path) -> str:
    """The last error of ours in a log, or else its last line that holds anything; empty if there is none."""
    lines = [line.strip() for line in _tail(path) if line.strip()]
    # An error of ours may have further lines, and others may follow it.
    errors = [line for line in lines if line.startswith("snakefold: ")]
    return (errors or lines or [""])[-1][:_MOST_CHARACTERS]


def _tail(path: Path) -> list[str]:
    """Lines at the end of a log."""
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, path.stat().st_size - _TAIL))
            return stream.read().decode(errors="replace").splitlines()
    except OSError:
        return []


def _of_scheduler(results: Path, rule: str, name: str, failure: Attempt) -> Unfinished:
    earlier = [each.state for each in read(results, rule, name)[:-1] if each.failed and each.state]
    before = f" (earlier tries: {', '.join(earlier)})" if earlier else ""
    if failure.reason is not None:
        text = f"{rule} {name}: {failure.message}{before}"
        return Unfinished(text, failure.reason, failure.advice or ADVICE[failure.reason])
    # The scheduler ended nothing: the program has, and its log says why.
    line = last_line(results / "logs" / rule / f"{name}.log")
    text = f"{rule}: {f'{line} ' if line else 'its log is empty. '}({failure.message.rstrip('.')}){before}"
    return Unfinished(text, Reason.MSA_FAILED if rule == "msa" else Reason.LOST)
