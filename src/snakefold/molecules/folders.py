"""The files of a folder given as input: those that are read, and why the others are not."""

from __future__ import annotations

import difflib
import gzip
import re
import zlib
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from snakefold.kernel.names import shown
from snakefold.kernel.wording import count

#: Of these a file is read only if it has sequences: settings and results are in the same folders.
DOCUMENTS = (".json", ".yaml", ".yml")
_HAS_SEQUENCES = {
    ".json": re.compile(r'"sequences"\s*:'),
    ".yaml": re.compile(r"^['\"]?sequences['\"]?\s*:", re.MULTILINE),
}
_KEYS = {
    ".json": re.compile(r'"(\w{1,40})"\s*:'),
    ".yaml": re.compile(r"^['\"]?(\w{1,40})['\"]?\s*:", re.MULTILINE),
}
#: Bytes of a file that are looked at: sequences are among the first keys.
_LOOKED_AT = 1 << 16
#: How near a key must be to `sequences` to be taken for a misspelt one.
_NEAR = 0.8
#: Files, and endings of other files, that are named one by one.
_NAMED = 5


@dataclass(frozen=True)
class Sorted:
    """Files that are read, by name; `passed`: which are not, and why, as a sentence (empty: all are read)."""

    files: list[Path]
    passed: str


def suffix_of(path: Path) -> str:
    """The ending that says what a file is, without that of gzip."""
    return Path(path.name.lower().removesuffix(".gz")).suffix


def sorted_out(folder: Path, known: Collection[str]) -> Sorted:
    """The files of a folder, not below it; hidden ones do not count.

    A file whose text cannot be read is among those that are read, so that it is refused by its name.

    Args:
        known: endings of files that are read whatever they have.

    Raises:
        OSError: the folder cannot be read.
    """
    files, unlike, others = [], [], Counter[str]()
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith(".") or not entry.is_file():
            continue
        suffix = suffix_of(entry)
        if suffix in known:
            files.append(entry)
        elif suffix not in DOCUMENTS:
            others[suffix or "no ending"] += 1
        elif (why := _why_not(entry, suffix)) is None:
            files.append(entry)
        else:
            unlike.append(f"{shown(entry.name, 60)} ({why})")
    return Sorted(files, _said(unlike, others))


def _why_not(path: Path, suffix: str) -> str | None:
    """Why a JSON or YAML is not read; None if it is."""
    try:
        text = _beginning(path)
    except (OSError, EOFError, zlib.error):
        return None  # reading it says what is wrong
    kind = ".json" if suffix == ".json" else ".yaml"
    if _HAS_SEQUENCES[kind].search(text):
        return None
    keys = list(dict.fromkeys(_KEYS[kind].findall(text)))
    near = difflib.get_close_matches("sequences", keys, 1, _NEAR)
    return f"has no 'sequences'; is {near[0]!r} meant to be it?" if near else "has no 'sequences'"


def _beginning(path: Path) -> str:
    """The first characters of a file; those of UTF-16 as well, as far as they are ASCII."""
    with path.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        data = (gzip.GzipFile(fileobj=raw) if packed else raw).read(_LOOKED_AT)
    for mark in (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"):
        data = data.removeprefix(mark)
    return data.replace(b"\0", b"").decode("utf-8", "replace").replace("\r", "\n")


def _said(unlike: list[str], others: Counter[str]) -> str:
    parts = unlike[:_NAMED]
    if more := len(unlike) - len(parts):
        parts.append(f"{more} more JSON or YAML files without sequences")
    if others:
        endings = [shown(ending, 20) for ending, _ in others.most_common(_NAMED)]
        more_endings = ", …" if len(others) > _NAMED else ""
        parts.append(f"{count(others.total(), 'file')} of other kinds ({', '.join(endings)}{more_endings})")
    return f"not read: {', '.join(parts)}." if parts else ""
