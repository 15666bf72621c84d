"""What is taken: files under safe names, pasted text, settings. From here on a set will be quoted."""

from __future__ import annotations

import csv
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from fastapi import HTTPException

from snakefold.kernel.errors import ConfigError
from snakefold.kernel.names import safe_id, shown
from snakefold.molecules import backbone_inputs
from snakefold.molecules.own_msa import alignment_files
from snakefold.molecules.samplesheet import sheet_files
from snakefold.service.desk import Desk
from snakefold.service.sets import folder as sets
from snakefold.service.sets import offered
from snakefold.service.sets.folder import INPUT, Set
from snakefold.service.users import User

#: Files of a set, and characters of its title.
MOST_FILES, LONGEST_NAME = 1000, 200
_ENDING = re.compile(r"\.[A-Za-z0-9]{1,8}(?:\.gz)?$")
_BLOCK = 1 << 20


@dataclass
class Sent:
    """What a client sent, before anything of it was looked at.

    Attributes:
        files: names as given, and what is in them.
        text: pasted content; empty for none.
    """

    files: list[tuple[str, BinaryIO]] = field(default_factory=list)
    text: str = ""
    name: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    accept: bool = False
    budget: float | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


def submit(desk: Desk, user: User, sent: Sent) -> Set:
    """Take a set: from here on it is quoted, whatever dies.

    Raises:
        HTTPException: 400, nothing is in it, or a setting is none; 429, the user has too much waiting.
    """
    if not sent.files and not sent.text.strip():
        raise HTTPException(400, "Send files or text: FASTA, a sample sheet, A3M, YAML or JSON.")
    if len(sent.files) > MOST_FILES:
        raise HTTPException(400, f"These are {len(sent.files)} files; a set has at most {MOST_FILES}.")
    if sent.accept and sent.budget is None:
        raise HTTPException(400, "accept needs a budget in dollars.")
    try:
        offered.check(sent.settings)
    except ConfigError as error:
        raise HTTPException(400, str(error)) from error
    place = desk.settings.folder / sets.SETS / sets.new_id()
    try:
        notes = _keep(place / INPUT, sent)
        each = Set(
            folder=place,
            user=user.user,
            name=shown(sent.name.strip(), LONGEST_NAME),
            created=time.time(),
            inputs=tuple(_inputs(place)),
            settings=sent.settings,
            accept=sent.accept,
            budget=sent.budget,
            priority=user.priority,
            quota=user.quota.model_dump(),
            notes=tuple(notes),
            tags=sent.tags,
        )
        sets.write(each, desk.settings)
        desk.submit("quote", user, files={}, name=each.id)
    except Exception:
        shutil.rmtree(place, ignore_errors=True)
        raise
    return each


def _keep(folder: Path, sent: Sent) -> list[str]:
    """Write what was sent; what was renamed."""
    folder.mkdir(parents=True)
    taken: set[str] = set()
    notes = []
    for number, (given, source) in enumerate(sent.files, 1):
        name = _free(safe_name(given, f"file-{number}"), taken)
        if name != given:
            notes.append(f"{shown(given, 60)!r} is called {name} here.")
        with (folder / name).open("xb") as target:
            shutil.copyfileobj(source, target, _BLOCK)
    if sent.text.strip():
        name = _free(f"{safe_id(sent.name, 'pasted')[:60]}{ending_of(sent.text)}", taken)
        (folder / name).write_text(sent.text, encoding="utf-8", errors="surrogatepass")
    return notes


def safe_name(given: str, otherwise: str) -> str:
    """A plain file name with the ending that says what the file is; folders are left out."""
    base = re.split(r"[/\\]", given)[-1]
    found = _ENDING.search(base)
    ending = found.group() if found else ""
    return safe_id(base[: len(base) - len(ending)], otherwise)[:80] + ending


def _free(name: str, taken: set[str]) -> str:
    """The name, with a number before its ending if there is such a file; it is taken from then on."""
    found = _ENDING.search(name)
    ending = found.group() if found else ""
    stem, number, free = name[: len(name) - len(ending)], 1, name
    while free.lower() in taken:
        number += 1
        free = f"{stem}-{number}{ending}"
    taken.add(free.lower())
    return free


def ending_of(text: str) -> str:
    """The ending that a pasted text would have as a file; readers find out all else by themselves."""
    first = next((line.strip() for line in text.splitlines() if line.strip()), "")
    if first.startswith(">"):
        return ".fasta"
    if first.startswith(("{", "[")):
        return ".json"
    if first.startswith(("version:", "sequences:", "%YAML", "---")):
        return ".yaml"
    for delimiter, ending in ((",", ".csv"), ("\t", ".tsv"), (";", ".csv")):
        if delimiter in first:
            columns = {cell.strip().lower() for cell in next(csv.reader([first], delimiter=delimiter), [])}
            if columns & {"sequence", "fasta", "backbone"}:
                return ending
    return ".txt"


def _inputs(place: Path) -> Iterator[str]:
    """Files that have targets: those that no other names as its own."""
    files = sorted((place / INPUT).iterdir())
    named = {path.name for file in files for path in _named_by(file) if _beside(path, file)}
    left = [file for file in files if file.name not in named] or files
    yield from (f"{INPUT}/{file.name}" for file in left)


def _beside(path: Path, file: Path) -> bool:
    try:
        return path.resolve().parent == file.parent.resolve()
    except (OSError, ValueError, RuntimeError):
        return False


def _named_by(file: Path) -> Iterable[Path]:
    yield from sheet_files(file)
    yield from backbone_inputs.named_files(file)
    yield from alignment_files(file)
