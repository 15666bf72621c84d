"""Examining databases: their files, and a search with a known answer for every tool that reads them.

Looks at a bounded part of every file: a minute for terabytes. A file that `snakefold db fetch` fetched is
compared with the record of it; of others, size and ends tell whether they are whole.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

from snakefold.kernel.errors import SnakefoldError
from snakefold.msa.databases import inside, known, record
from snakefold.msa.databases.finding import Finding
from snakefold.msa.databases.known import Entry
from snakefold.msa.databases.presets import Tool

#: A file this much smaller than its release is a part of it. Small ones are rounded too much to tell.
_TOO_SMALL = 0.5
_WORTH_COMPARING = 1.0

Log = Callable[[str], None]


def examine(
    entries: Sequence[Entry], *, search: bool = True, log: Log | None = None, demo: bool = True
) -> Iterator[Finding]:
    """Findings on every database, and, with `search`, on every tool that reads one of them.

    Args:
        log: called with the command lines of searches.
        demo: also search the demo's database, which tells a broken program from a broken database.
    """
    sound = []
    for entry in entries:
        found = list(files(entry))
        yield from found
        if not any(finding.fault for finding in found) and not entry.database.missing:
            sound.append(entry)
    if search:
        yield from _searches(entries, sound, log or (lambda _: None), demo=demo)


def files(entry: Entry) -> Iterator[Finding]:
    """What the files of one database look like."""
    database, name = entry.database, entry.database.name
    again = _again(entry)
    if entry.staging.is_dir():
        yield Finding(
            name,
            f"its fetch was not finished ({entry.staging})",
            f"It goes on where it was. {again}",
            fault=not database.optional or not database.missing,
        )
    if database.missing:
        if not entry.staging.is_dir():
            lacking = ", ".join(str(path) for path in database.missing[:3])
            text = f"missing: {lacking}{' …' if len(database.missing) > 3 else ''}"
            optional = database.optional and len(database.missing) == len(database.files)
            yield Finding(name, f"{text}{' (optional)' if optional else ''}", again, fault=not optional)
        return
    faults = [*_left_behind(entry), *_against_record(entry)]
    verified = not faults and _recorded(entry)
    faults += inside.faults(entry.database, verified=verified)
    if not faults and not verified:
        faults += _against_listing(entry)
    for fault in faults:
        yield Finding(name, fault, f"Remove {_removed(entry)}. {again}", fault=True)
    if not faults:
        how = (
            "as it was fetched"
            if verified
            else "looks whole (not fetched by snakefold: sizes were not compared)"
        )
        yield Finding(name, f"{database.path}: {how}")


def _again(entry: Entry) -> str:
    if entry.source is None:
        return f"{entry.database.get[:1].upper()}{entry.database.get[1:]}."
    return f"Run: snakefold db fetch {entry.preset} --root {entry.root} --only {entry.database.name}"


def _removed(entry: Entry) -> str:
    database = entry.database
    return f"{database.path}*" if database.format in ("mmseqs", "hhsuite") else str(database.path)


def _left_behind(entry: Entry) -> Iterator[str]:
    """aria2, which AlphaFold's scripts use, keeps such a file beside a download that is not whole."""
    for path in (*entry.database.files, entry.database.path):
        beside = path.with_name(f"{path.name}.aria2")
        if beside.exists():
            yield f"{beside} says that the download was not finished"
            return


def _recorded(entry: Entry) -> bool:
    return entry.key in record.read(entry.root)


def _against_record(entry: Entry) -> Iterator[str]:
    known_files = record.read(entry.root).get(entry.key)
    for name, was in known_files.files.items() if known_files else ():
        path = entry.root / name
        if not path.exists():
            yield f"{path} is missing, it was there when fetched"
        elif (now := record.identity(path)) != was and not _grew(now, was):
            sizes = [f"{each.get('size', each.get('entries')):,}" for each in (now, was)]
            unit = "files" if path.is_dir() else "bytes"
            other = f"{sizes[0]} {unit}, {sizes[1]} when fetched"
            yield f"{path}: {'other content than when fetched' if sizes[0] == sizes[1] else other}"


def _grew(now: dict[str, Any], was: dict[str, Any]) -> bool:
    """A folder to which entries were added since is as sound as before, though recipes tell the two apart."""
    return bool(now.get("entries", 0) > was.get("entries", 0) > 0)


def _against_listing(entry: Entry) -> Iterator[str]:
    database = entry.database
    if database.gigabytes < _WORTH_COMPARING or database.format == "mmcif":
        return
    if database.format == "fasta" and database.path.suffix in (".gz", ".zst"):
        return
    folder, name = database.path.parent, database.path.name
    beside = folder.glob(f"{name}*") if database.format in ("mmseqs", "hhsuite") else [database.path]
    size = sum(path.stat().st_size for path in beside if path.is_file()) / 1e9
    if size < _TOO_SMALL * database.gigabytes:
        yield (
            f"{database.path} has {size:,.3f} GB, its release {database.gigabytes:,g} GB: a part of it (a "
            "smaller database of your own belongs in a preset of your own)"
        )


def _searches(entries: Sequence[Entry], sound: Sequence[Entry], log: Log, *, demo: bool) -> Iterator[Finding]:
    for tool in get_args(Tool):
        if not any(tool in entry.database.tools for entry in entries):
            continue
        broken = False
        if demo and any(tool in entry.database.tools and not entry.database.missing for entry in entries):
            finding = _answer(tool, lambda work, tool=tool: known.run_demo(tool, work, log))  # type: ignore[misc]
            if finding is not None:
                broken = finding.fault
                yield finding
        for entry in sound:
            database = entry.database
            if broken or tool not in database.tools or database.format in ("mmcif", "text"):
                continue
            found = _answer(
                f"{database.name} by {tool}",
                lambda work, tool=tool, database=database: known.run(tool, database, work, log),  # type: ignore[misc]
            )
            if found is not None:
                yield found


def _answer(about: str, search: Callable[[Path], str | None]) -> Finding | None:
    with tempfile.TemporaryDirectory(prefix="snakefold-doctor.") as folder:
        try:
            text = search(Path(folder))
        except SnakefoldError as error:
            advice = (
                "If other databases are well searched, fetch this one again; else install the program again."
            )
            return Finding(about, str(error), advice, fault=True)
    return Finding(about, text) if text is not None else None
