"""The mark of a plan: its name says what the plan was made for, and its content which files the plan has.

So a plan that somebody has cut, edited or deleted in part is not taken for the whole of it.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from snakefold.kernel.store import write_atomically

#: In the folder of the plan: the mark, and no other.
FOLDER = "contents"
#: Read as a whole by every step; of the many small files the sizes count.
_TABLES = ("targets.tsv", "chains.tsv", "batches.tsv", "refusals.json", "weights.json")
_FOLDERS = ("batches", "chunks")


def write_mark(mark: Path, plan: Path) -> None:
    """Write the mark of a plan that is finished, and remove those of earlier ones."""
    text = json.dumps(_files(plan), indent=0)
    for other in mark.parent.glob("*"):
        other.unlink()
    write_atomically(mark, text.encode())


def drop_marks(plan: Path) -> None:
    """Let the next run plan anew: without its mark, a plan is not there."""
    for mark in (plan / FOLDER).glob("*"):
        mark.unlink(missing_ok=True)


def is_marked(plan: Path) -> bool:
    """Whether there is a plan that a run goes on with, if what the run depends on is what it was."""
    return any((plan / FOLDER).glob("*"))


def changed_files(plan: Path) -> list[str]:
    """Files of a plan that are not as they were made; empty, too, where no mark says so."""
    marks = list((plan / FOLDER).glob("*"))
    if not marks:
        return []
    try:
        noted = json.loads(marks[0].read_bytes())
        now = _files(plan)
        return sorted(name for name in {*noted, *now} if noted.get(name) != now.get(name))
    except (OSError, ValueError, AttributeError):
        return [f"{FOLDER}/{marks[0].name}"]


def _files(plan: Path) -> dict[str, int | str]:
    """sha256 of the tables, sizes of the other files, by name."""
    files: dict[str, int | str] = {}
    for name in _TABLES:
        if (plan / name).is_file():
            with (plan / name).open("rb") as stream:
                files[name] = hashlib.file_digest(stream, "sha256").hexdigest()
    for folder in _FOLDERS:
        if (plan / folder).is_dir():
            with os.scandir(plan / folder) as entries:
                files |= {f"{folder}/{entry.name}": entry.stat().st_size for entry in entries}
    return files
