"""Structures of targets that have none in this run, of an earlier sequence or id: they are moved aside."""

from __future__ import annotations

import filecmp
import json
import re
import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from snakefold.kernel import tables
from snakefold.kernel.errors import SnakefoldError
from snakefold.plan.files import Place, read_targets
from snakefold.run.failures import read_failures
from snakefold.run.metrics import read_structures
from snakefold.run.products import table_of

#: Beside `structures/`: where such folders go, and the table of them.
FOLDER, TABLE = "superseded", "superseded.tsv"
_PART = re.compile(r"\..+\.[0-9a-f]{8}\.part")


@dataclass(frozen=True, slots=True)
class _Aside:
    id: str
    folder: str
    why: str = ""
    when: str = ""


def set_aside(structures: Path, name: str, why: str) -> Path | None:
    """Move the folder of a target that has no structure now; None if it has no folder.

    Returns:
        Where it went. Nothing is overwritten; one that is there already, the same, is not kept twice.
    """
    folder = structures / name
    if not folder.is_dir():
        return None
    place = structures.parent / FOLDER
    place.mkdir(exist_ok=True)
    number = 1
    while (target := place / (name if number == 1 else f"{name}.{number}")).exists():
        if _is_same(folder, target):
            shutil.rmtree(folder)
            return target
        number += 1
    folder.replace(target)
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    _note(structures.parent / TABLE, _Aside(name, f"{FOLDER}/{target.name}", why, when))
    return target


def set_aside_after(results: Path) -> list[str]:
    """Move the folders of all targets that have no structure once the tables of a run are made; their ids."""
    planned = list(read_targets(results / "plan", Place))
    batch_of = {row.id: row.batch for row in planned}
    failed = [row.id for row in read_failures(results)]
    return set_others_aside(
        results,
        {row.id: row.key for row in planned if row.key},
        done=(row.id for row in read_structures(results)),
        failed=(name for name in failed if table_of(results, batch_of.get(name, "")).is_file()),
    )


def set_others_aside(
    results: Path, planned: Mapping[str, str], done: Iterable[str], failed: Iterable[str]
) -> list[str]:
    """Move the folders of all targets that have no structure now; returns their ids.

    One whose batch is not finished keeps its folder, if that is of the same sequence.

    Args:
        planned: key by id of every target of the plan.
        done, failed: ids of finished batches.
    """
    structures = results / "structures"
    finished, gone = set(done), set(failed)
    moved = []
    for folder in sorted(structures.iterdir()) if structures.is_dir() else ():
        name = folder.name
        if _PART.fullmatch(name) and folder.is_dir():  # a killed process left it
            shutil.rmtree(folder, ignore_errors=True)
            continue
        if name in finished or name[0] == "." or not (folder / "confidence.json").is_file():
            continue
        if name not in planned:
            why = "no target of this run has the id"
        elif name in gone:
            why = "the target failed"
        elif _key(folder) == planned[name]:
            continue
        else:
            why = "of another sequence; the target is not finished"
        if set_aside(structures, name, why):
            moved.append(name)
    return moved


def count_aside(results: Path) -> int:
    """Number of folders that were moved aside, are still there, and have no structure in their place."""
    try:
        rows = tables.read(results / TABLE, _Aside)
    except (FileNotFoundError, SnakefoldError):  # lines are appended: a full disk may have cut one short
        return 0
    return sum(
        (results / row.folder).is_dir() and not (results / "structures" / row.id).is_dir() for row in rows
    )


def _key(folder: Path) -> str:
    try:
        return str(json.loads((folder / "confidence.json").read_bytes())["key"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _is_same(folder: Path, other: Path) -> bool:
    names, others = ({path.name for path in place.iterdir()} for place in (folder, other))
    if names != others:
        return False
    _, different, unread = filecmp.cmpfiles(folder, other, names, shallow=False)
    return not different and not unread


def _note(table: Path, row: _Aside) -> None:
    head, line = tables.row_lines(_Aside, [row])
    with table.open("a", encoding="utf-8") as stream:
        stream.write(line if stream.tell() else head + line)
