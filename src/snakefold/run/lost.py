"""Notes on targets that the next run plans again, and the plan's mark, without which it is made anew.

Three kinds: the job of a batch failed for good, so that it has no table (`note_lost`, at a run's end); what
was made of a batch is gone, its archive included, or a failure's cause may be (`mend`, at a run's start).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from snakefold.kernel.store import write_atomically
from snakefold.plan.files import Place, read_targets
from snakefold.plan.mark import drop_marks
from snakefold.run.failures import read_failures
from snakefold.run.products import forget_batch, table_of

#: A line for every such target: id, batch, why.
NOTES = "lost.tsv"


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
        forget_batch(results, batch)
    return [row.id for row in unfinished]


def note_again(results: Path, targets: Iterable[tuple[str, str, str]]) -> None:
    """Let the next plan look anew; `targets`: id, batch and why."""
    lines = ["\t".join(" ".join(part.split()) for part in target)[:500] + "\n" for target in targets]
    if not lines:
        return
    notes = results / NOTES
    text = notes.read_text(encoding="utf-8") if notes.is_file() else ""
    write_atomically(notes, (text + "".join(lines)).encode())
    drop_marks(results / "plan")
