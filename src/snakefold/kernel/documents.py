"""JSON documents that this package writes, read again: what is wrong with a damaged one fits on one line."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from snakefold.kernel.errors import SnakefoldError
from snakefold.kernel.names import shown

Document = TypeVar("Document", bound=BaseModel)


def read_document(
    kind: type[Document],
    path: Path,
    *,
    what: str,
    advice: str,
    error: type[SnakefoldError] = SnakefoldError,
) -> Document:
    """Read a JSON file.

    Args:
        what: the file should be, as in `a quote`.
        advice: what to do about a file that is missing or damaged, as sentences.
        error: raised.

    Raises:
        SnakefoldError: names the file, the first thing that is wrong with it, and what to do.
    """
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as problem:
        raise error(
            f"{path}: cannot be read as {what} ({problem.strerror or problem}). {advice}"
        ) from problem
    except ValidationError as problem:
        raise error(f"{path}: cannot be read as {what} ({first_fault(problem)}). {advice}") from problem


def first_fault(error: ValidationError) -> str:
    """The first thing that is wrong, on one line; without what was found, which may be long or secret."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"]))
    return shown(f"{where}: {first['msg']}" if where else first["msg"])
