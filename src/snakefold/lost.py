"""Targets that were lost: what makes the next run plan and compute them again.

A failed target is not tried again by itself: it would fail again, and be paid again. A lost one did nothing
wrong: its entry of the store was damaged, or the process died with it, or its batch never came to an end.
"""

from __future__ import annotations

import csv
from pathlib import Path

from snakefold.errors import Reason
from snakefold.store import write_atomically

#: A line for every lost target. The plan step depends on it.
NOTES = "lost.tsv"


def note_lost(results: Path) -> list[str]:
    """Note the lost targets of a finished run, and remove the archives and tables that say so.

    Returns:
        Their ids.
    """
    with (results / "failures.tsv").open(newline="", encoding="utf-8") as stream:
        failures = csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)
        failed = [row for row in failures if row["state"] == "failed"]
    if not failed:
        return []
    with (results / "plan" / "targets.tsv").open(newline="", encoding="utf-8") as stream:
        batch_of = {row["id"]: row["batch"] for row in csv.DictReader(stream, delimiter="\t")}
    lost = [row for row in failed if row["reason"] == Reason.LOST or not _ended(results, batch_of[row["id"]])]
    if not lost:
        return []
    notes = results / NOTES
    text = notes.read_text(encoding="utf-8") if notes.is_file() else ""
    text += "".join(f"{row['id']}\t{batch_of[row['id']]}\t{row['message']}\n" for row in lost)
    write_atomically(notes, text.encode())
    for batch in {batch_of[row["id"]] for row in lost}:
        (results / "predictions" / f"{batch}.tar.zst").unlink(missing_ok=True)
        (results / "tables" / f"{batch}.parquet").unlink(missing_ok=True)
    return [row["id"] for row in lost]


def _ended(results: Path, batch: str) -> bool:
    """Whether a batch has a table: one without has no result, whatever the reason."""
    return (results / "tables" / f"{batch}.parquet").is_file()
