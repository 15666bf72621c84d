"""What was fetched into a folder of databases: `databases.json` there.

The identity of every file is the one that recipes compute (`recipes.file_fingerprint`), so the record tells
whether a database still is what results were computed with.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from snakefold.kernel.contracts import Model
from snakefold.kernel.errors import SnakefoldError
from snakefold.kernel.recipes import file_fingerprint
from snakefold.kernel.store.atomic import write_atomically

NAME = "databases.json"


class Fetched(Model):
    """One file as it was downloaded."""

    url: str
    bytes: int
    md5: str | None = None


class Recorded(Model):
    """One database as it was when its fetch ended.

    `files` has an identity for every file placed, by path below the root.
    """

    name: str
    release: str | None
    fetched_at: str
    sources: list[Fetched]
    files: dict[str, dict[str, Any]]


def identity(path: Path) -> dict[str, Any]:
    """Identity of a file or folder as in the fingerprint of a recipe (`msa.databases.fingerprint`)."""
    if path.is_dir():
        return {"name": path.name, "entries": sum(1 for _ in path.iterdir())}
    return file_fingerprint(path)


def identities(root: Path, paths: Iterable[Path]) -> dict[str, dict[str, Any]]:
    """Identity of every path, by its name below `root`."""
    return {path.relative_to(root).as_posix(): identity(path) for path in sorted(paths)}


def read(root: Path) -> dict[str, Recorded]:
    """What is recorded in `root`, by `Entry.key`; nothing if there is no record.

    Raises:
        SnakefoldError: the record is damaged.
    """
    path = root / NAME
    if not path.is_file():
        return {}
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))
        return {key: Recorded.model_validate(value) for key, value in listed.items()}
    except (OSError, ValueError, AttributeError, ValidationError) as error:
        raise SnakefoldError(
            f"{path}: not a record of fetched databases ({error}). Remove it: nothing is fetched again, only "
            "the sizes at the time of fetching are no longer known."
        ) from error


def write(root: Path, key: str, recorded: Recorded) -> None:
    """Add one database to the record in `root`, or replace it."""
    known = {**read(root), key: recorded}
    text = json.dumps({name: known[name].model_dump() for name in sorted(known)}, indent=1)
    write_atomically(root / NAME, f"{text}\n".encode())
