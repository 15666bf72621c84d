"""Texts for users, without paths of the service's machine. Its log keeps them.

A folder that settings name becomes its own name, and what is below it stays: /srv/alphafold/mgnify is
alphafold/mgnify. Of any other path the last name is left. Addresses are no paths.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from snakefold.config import read_settings as read_yaml
from snakefold.kernel.errors import SnakefoldError
from snakefold.service.settings import ServiceSettings

#: Settings of the service's configfile that name files of this machine.
PATHS = (("weights",), ("calibration",), ("container",), ("gpu", "table"), ("msa", "db_root"))
#: Variables of workers that do.
_VARIABLES = ("SNAKEFOLD_DB_ROOT", "SNAKEFOLD_WEIGHTS", "MMSEQS_DB_ROOT")
#: Folders that paths begin with, on other machines that share the service's folder as well.
_TOPS = {
    "bin", "data", "databases", "dev", "etc", "export", "home", "lib", "lustre", "media", "mnt", "nfs", "opt",
    "proc", "root", "run", "runpod-volume", "scratch", "service", "shared", "srv", "storage", "sys", "tmp",
    "usr", "var", "work", "workspace",
}  # fmt: skip
#: A path is no part of an address or of a relative path; a line break of JSON may stand before it.
_BEGIN = r"/(?:(?<=\\[nrt]/)|(?<![\w/.~%+)\]}*\-]/))"
_PART = r"[^\s/\"'`<>|:;,()\[\]{}*?\\&$#]"
#: Texts of an answer that say how work went. All else is what was computed, or what the user sent.
_SAID = frozenset(
    {"error", "message", "details", "detail", "log", "warnings", "advice", "notes", "reason", "stages"}
)


class Plain:
    """Takes paths out of texts.

    Args:
        known: folders and files by what is written in their place.
        sets: folders of sets: what is below the folder of one stands alone.
    """

    def __init__(self, known: Mapping[str, str], sets: Iterable[str] = ()) -> None:
        self._known = {path.strip("/"): name for path, name in known.items() if path.strip("/")}
        own = _any(each.strip("/") for each in sets)
        # The slash comes first: it is what is looked for.
        self._paths = re.compile(
            rf"{_BEGIN}(?:(?P<own>(?:{own})/[a-z0-9-]+/(?:input/)?(?={_PART}))"
            rf"|(?P<known>{_any(self._known)})(?=/|(?!{_PART}))"
            rf"|(?P<other>(?:{_any(_tops())})(?:/{_PART}+)+/?))"
        )

    def __call__(self, text: str) -> str:
        """The text without paths."""
        return self._paths.sub(self._name, text.replace("file:///", "/"))

    def of(self, value: Any, key: str = "") -> Any:
        """An answer whose texts of errors, logs and warnings are without paths."""
        if isinstance(value, Mapping):
            return {name: self.of(inner, str(name)) for name, inner in value.items()}
        if isinstance(value, list):
            return [self.of(inner, key) for inner in value]
        return self(value) if isinstance(value, str) and key in _SAID else value

    def _name(self, match: re.Match[str]) -> str:
        if match["own"] is not None:
            return ""
        if match["known"] is not None:
            return self._known[match["known"]]
        path = match["other"].rstrip("/.")
        return path.rpartition("/")[2] + match["other"][len(path) :]


def _any(words: Iterable[str]) -> str:
    """Pattern of any of these words, the longest first; of nothing, if there are none."""
    return "|".join(map(re.escape, sorted(words, key=len, reverse=True))) or r"(?!)"


@cache
def _tops() -> set[str]:
    found: set[str] = set()
    with suppress(OSError):
        found = {each.name for each in Path("/").iterdir() if each.is_dir()}
    return _TOPS | found


def plain_of(settings: ServiceSettings) -> Plain:
    """What takes the paths of a service's machine out of texts."""
    return _plain(settings.model_dump_json())


@cache
def _plain(text: str) -> Plain:
    settings = ServiceSettings.model_validate_json(text)
    given: list[Any] = [settings.folder, settings.openfold.output_dir_base, settings.openfold.alignment_dir]
    given += [settings.shared_store, *(os.environ.get(name) for name in _VARIABLES)]
    if settings.configfile is not None:
        given.append(settings.configfile)
        with suppress(SnakefoldError, OSError):
            values = read_yaml(settings.configfile)
            given += [_at(values, path) for path in PATHS]
    paths = [Path(each) for each in given if each and os.sep in str(each) and "://" not in str(each)]
    # As they are written, and where links lead to: programs name either.
    known = {str(way): path.name for path in paths for way in (path.absolute(), path.resolve())}
    folders = (settings.folder.absolute(), settings.folder.resolve())
    return Plain(known, [str(folder / "sets") for folder in folders])


def _at(values: Any, path: Iterable[str]) -> str | None:
    for name in path:
        values = values.get(name) if isinstance(values, Mapping) else None
    return values if isinstance(values, str) else None
