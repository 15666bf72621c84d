"""Structures of targets that have none in this run: of an earlier sequence, id or setting. They are moved aside."""

from __future__ import annotations

import csv
import filecmp
import json
import os
import re
import shutil
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

#: Beside `structures/`: where such folders go, and the table of them.
FOLDER, TABLE = "superseded", "superseded.tsv"
_COLUMNS = ("id", "folder", "why", "when")
_PART = re.compile(r"\..+\.[0-9a-f]{8}\.part")


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
    _note(structures.parent / TABLE, (name, f"{FOLDER}/{target.name}", why))
    return target


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
    for name in sorted(os.listdir(structures)) if structures.is_dir() else ():
        folder = structures / name
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
    """Number of folders that were moved aside and are still there."""
    try:
        with (results / TABLE).open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))
    except OSError:
        return 0
    return sum((results / row["folder"]).is_dir() for row in rows if row.get("folder"))


def _key(folder: Path) -> str:
    try:
        return str(json.loads((folder / "confidence.json").read_bytes())["key"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _is_same(folder: Path, other: Path) -> bool:
    names = sorted(os.listdir(folder))
    return (
        names == sorted(os.listdir(other))
        and filecmp.cmpfiles(folder, other, names, shallow=False)[0] == names
    )


def _note(table: Path, row: Iterable[str]) -> None:
    if not table.exists():
        _append(table, "\t".join(_COLUMNS))
    _append(table, "\t".join([*row, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())]))


def _append(table: Path, line: str) -> None:
    with table.open("a", encoding="utf-8") as stream:
        stream.write(f"{line}\n")
