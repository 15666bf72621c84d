"""Files of the plan, written as they come: a file that stays as it was is not touched.

Then nothing that was made from it looks out of date.
"""

from __future__ import annotations

import csv
import filecmp
import os
import secrets
from collections.abc import Iterable
from dataclasses import fields
from operator import attrgetter
from pathlib import Path
from typing import Any

from snakefold.store import write_atomically


def write_text(path: Path, text: str) -> None:
    """Write a small file."""
    data = text.encode()
    if not (path.is_file() and path.read_bytes() == data):
        write_atomically(path, data)


def write_table(path: Path, kind: type[Any], rows: Iterable[Any]) -> None:
    """Write rows of the dataclass `kind`, one after the other, as a table with tabs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    names = [field.name for field in fields(kind)]
    part = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.part")
    try:
        with part.open("w", encoding="utf-8", newline="") as stream:
            table = csv.writer(stream, delimiter="\t", lineterminator="\n")
            table.writerow(names)
            table.writerows(map(attrgetter(*names), rows))
            stream.flush()
            os.fsync(stream.fileno())
        if not (path.is_file() and filecmp.cmp(part, path, shallow=False)):
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def remove_others(folder: Path, names: set[str]) -> None:
    """Remove what an earlier plan had more of."""
    for path in folder.glob("*.json"):
        if path.name not in names:
            path.unlink()
