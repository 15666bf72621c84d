"""Paths that settings name: which are taken, what becomes of them, where results are stored by default."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from snakefold.kernel.errors import SnakefoldError
from snakefold.kernel.paths import expanded

#: How a shell or YAML says that nothing is given; a folder of that name is ./null.
NULLS = ("", "null", "Null", "NULL", "None")
#: Of a file or folder, bytes.
_LONGEST_NAME = 255
#: Where results were stored before the store followed `results`.
_FORMER_STORE = "results/store"


def plain_path(value: str) -> str:
    """A path that every step, and what they are written down in, can hold; `~` is replaced."""
    if value in NULLS:
        raise ValueError("a path is expected; leave the setting out to have its default")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            "the path is not UTF-8: rename the file, or set a UTF-8 locale (LC_ALL=C.UTF-8)"
        ) from error
    if any(len(part.encode()) > _LONGEST_NAME for part in value.split("/")):
        raise ValueError(f"a name in the path is longer than {_LONGEST_NAME} bytes: no file system has such")
    if not value.isprintable():
        raise ValueError("the path has characters that cannot be shown: rename the file or folder")
    try:
        return expanded(value)
    except SnakefoldError as error:
        raise ValueError(str(error)) from error


def no_option(value: str) -> str:
    """A path that no command takes for one of its options."""
    return str(Path.cwd() / value) if value.startswith("-") else value


#: A path of a file or folder that is named by a setting.
SettingPath = Annotated[str, AfterValidator(plain_path)]
ArgumentPath = Annotated[SettingPath, AfterValidator(no_option)]


def default_store(results: str) -> str:
    """The folder `store` in the results; the former default, if results were stored there and none are here.

    Before the store followed `results`, it was results/store in the current folder: what is in it was
    computed, and perhaps paid.
    """
    own = f"{results.rstrip('/')}/store"
    former = Path(_FORMER_STORE)
    return _FORMER_STORE if _holds_entries(former) and not _holds_entries(Path(own)) else own


def _holds_entries(store: Path) -> bool:
    try:
        store = Path(expanded(str(store)))
        return any(any((store / kind).glob("*/*")) for kind in ("fold", "msa", "templates"))
    except (SnakefoldError, OSError, ValueError):  # the name is refused later on
        return False
