"""The mark of a plan: its name says what the plan was made for, and its content which files the plan has.

So a plan that somebody has cut, edited or deleted in part is not taken for the whole of it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

from snakefold.kernel.store import write_atomically

#: In the folder of the plan: the mark, and no other.
FOLDER = "contents"
#: There, the tables once more, and what they were planned for.
_KEPT, _PLANNED_FOR = "kept", "planned_for"
#: Read as a whole by every step; of the many small files the sizes count.
_TABLES = ("targets.tsv", "chains.tsv", "batches.tsv", "refusals.json", "weights.json")
_QUOTE = "quote.json"
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
    shutil.rmtree(plan / _KEPT, ignore_errors=True)


def is_refused(results: Path) -> bool:
    """Whether the last plan of these results was refused: it leaves no tables."""
    return (results / "logs" / "plan.log").is_file() and not (results / "plan" / "batches.tsv").exists()


def forget_refusal(results: Path) -> None:
    """Before a run: what an earlier one refused, this one may not come to."""
    if is_refused(results):
        (results / "logs" / "plan.log").unlink(missing_ok=True)


def keep(mark: Path, plan: Path, planned_for: str) -> None:
    """Keep a plan that was made for an input which a step of the run makes (`bring_back`).

    Snakemake removes outputs before it starts the job that makes them: links stay.
    """
    kept = plan / _KEPT
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir()
    for path in (*(plan / name for name in (*_TABLES, _QUOTE)), mark):
        if path.is_file():
            _link(path, kept / path.name)
    write_atomically(kept / _PLANNED_FOR, planned_for.encode())


def bring_back(mark: Path, plan: Path, planned_for: str) -> bool:
    """Whether the plan that was kept is one for this input; then it is there again, as it was.

    The input is made again where its time may have changed, and mostly is what it was. Results that are there
    would be planned as stored ones, and be collected and compared once more.
    """
    kept = plan / _KEPT
    try:
        if (kept / _PLANNED_FOR).read_text(encoding="utf-8") != planned_for:
            return False
        for name in (*_TABLES, _QUOTE):
            if (kept / name).is_file():
                _link(kept / name, plan / name)
        if json.loads((kept / mark.name).read_bytes()) != _files(plan):
            return False
        mark.parent.mkdir(parents=True, exist_ok=True)
        for other in mark.parent.glob("*"):
            other.unlink()
        _link(kept / mark.name, mark)
    except (OSError, ValueError):
        return False
    return True


def _link(path: Path, place: Path) -> None:
    """The same file at another place, or a copy where there are no links."""
    place.unlink(missing_ok=True)
    try:
        os.link(path, place)
    except OSError:
        shutil.copyfile(path, place)


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
