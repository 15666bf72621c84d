"""What is stored is named by what was read: are the files still those that the plan was made with?

One mechanism for databases, parameters and other large files. Before the work, the recipe that the plan
named is compared with one of the files that are there (`differences`). After the work, a look at the files
tells whether somebody replaced or changed one of them meanwhile (`Watch`). A recipe knows a file by its size
and both ends; the look sees what the recipe cannot: a change in the middle.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from snakefold.kernel.errors import SnakefoldError

#: What no job of Snakemake's is made from, and may hold very many files; `design`: results of another stage.
_PASSED_OVER = {"store", "structures", "logs", "benchmarks", "report", "workflow", ".snakefold", "design"}


def bring_to_now(results: Path) -> int:
    """Give files of the steps that are from the future the present time; says how many.

    Snakemake fails a job whose output is older than an input, every time, until the clock has caught up.
    """
    now, changed = time.time(), 0
    for folder, folders, names in os.walk(results):
        folders[:] = [name for name in folders if Path(folder) != results or name not in _PASSED_OVER]
        for name in names:
            path = Path(folder, name)
            with suppress(OSError):
                if path.stat().st_mtime > now:
                    os.utime(path, (now, now))
                    changed += 1
    return changed


#: Differences that a message lists.
SHOWN = 3
_MOST = 200
ADVICE = "Run again: a new plan is made."


class ChangedError(SnakefoldError):
    """Something that a result is named by is not what it was when the run was planned."""


def changed(
    texts: Sequence[str], *, since: str = "since the run was planned", advice: str = ADVICE
) -> ChangedError:
    """The one wording; `texts` say what changed, a file each."""
    return ChangedError(f"Changed {since}: {listed(texts)}. Nothing was stored under the old name. {advice}")


class Watch:
    """Files and folders at one moment; `check` says which of them changed since.

    Size, time of the content and time of the entry are compared, to the nanosecond. A file that was written
    in place, or replaced by a rename, differs in one of them. Numbers of files (inodes) are not compared:
    file systems in user space, which serve buckets, do not keep them. Of a folder the times alone are known:
    a file in it that is written in place does not show.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        self._states = {path: _state(path) for path in paths}

    def check(self) -> None:
        """Raises ChangedError that names the files that are not what they were."""
        now = {path: _state(path) for path in self._states}
        texts = [
            f"{path} {'is gone' if now[path] is None else 'was replaced or written to'}"
            for path, before in self._states.items()
            if now[path] != before
        ]
        if texts:
            raise changed(texts, since="while it was read")


def differences(
    planned: object, own: object, paths: Mapping[str, Path] | None = None, name: str = ""
) -> list[str]:
    """What differs between two recipes, a short text each: `<what> is <own>, not <planned>`.

    Args:
        paths: files by the names that fingerprints have.
    """
    return list(_differences(planned, own, paths or {}, name))


def listed(texts: Sequence[str]) -> str:
    """The first few texts, and how many more there are."""
    more = f" (and {len(texts) - SHOWN} more)" if len(texts) > SHOWN else ""
    return "; ".join(texts[:SHOWN]) + more


def told(value: object) -> str:
    """A value of a recipe, in a few words."""
    if value is None:
        return "missing"
    if isinstance(value, Mapping) and "ends_sha256" in value:
        return f"{value.get('size')} bytes ({str(value['ends_sha256'])[:8]})"
    if isinstance(value, Mapping) and set(value) == {"name", "entries"}:
        return f"a folder of {value['entries']} entries"
    return str(value)[:_MOST]


def _state(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _differences(planned: object, own: object, paths: Mapping[str, Path], name: str) -> Iterator[str]:
    if planned == own:
        return
    planned, own = _by_name(planned), _by_name(own)
    if not isinstance(planned, Mapping) or not isinstance(own, Mapping) or _is_file(planned) or _is_file(own):
        yield f"{name or _called(own) or _called(planned)} is {told(own)}, not {told(planned)}"
        return
    for key in sorted({*planned, *own}):
        here = str(paths.get(key) or (f"{name}.{key}" if name else key))
        yield from _differences(planned.get(key), own.get(key), paths, here)


def _by_name(value: object) -> object:
    """A list of named things as a mapping by their names."""
    if isinstance(value, list) and value and all(_called(each) for each in value):
        return {_called(each): each for each in value}
    return value


def _called(value: object) -> str:
    return str(value.get("name", "")) if isinstance(value, Mapping) else ""


def _is_file(value: Mapping[str, Any]) -> bool:
    return "ends_sha256" in value or set(value) == {"name", "entries"}
