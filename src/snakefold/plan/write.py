"""Files of the plan, written as they come: a file that stays as it was is not touched.

Then nothing that was made from it looks out of date.
"""

from __future__ import annotations

import filecmp
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from snakefold.kernel import tables


def write_text(path: Path, text: str) -> None:
    """Write a small file. It is on the disk for good only after `flush`: there may be many of them."""
    data = text.encode()
    if path.is_file() and path.read_bytes() == data:
        return
    with _part_of(path) as part:
        part.write_bytes(data)
        part.replace(path)


def flush() -> None:
    """Wait until what was written is on the disk: once for thousands of files, which costs less than each."""
    os.sync()


def write_table(path: Path, kind: type[Any], rows: Iterable[Any]) -> None:
    """Write rows of the dataclass `kind`, one after the other, as a table with tabs."""
    with _part_of(path) as part:
        with part.open("w", encoding="utf-8", newline="") as stream:
            stream.writelines(tables.row_lines(kind, rows))
            stream.flush()
            os.fsync(stream.fileno())
        if not (path.is_file() and filecmp.cmp(part, path, shallow=False)):
            part.replace(path)


def remove_others(folder: Path, names: set[str]) -> None:
    """Remove what an earlier plan had more of."""
    for path in folder.glob("*.json"):
        if path.name not in names:
            path.unlink()


@contextmanager
def _part_of(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to first, so that a reader sees the old file or the whole new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.part")
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)
