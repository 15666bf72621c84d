"""Whether an HH-suite database is whole: three pairs of `.ffdata` (records, each closed by a zero byte) and
`.ffindex` (name, offset, length)."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

from snakefold.msa.databases.finding import ends_with_line_break, lines_of

PARTS = ("a3m", "hhm", "cs219")
_SAMPLES = 50


def faults(prefix: Path) -> Iterator[str]:
    """Faults of the database `prefix`."""
    found = False
    for part in PARTS:
        for fault in _pair(*pair(prefix, part), ordered=part != "cs219"):
            found = True
            yield fault
    if not found:
        yield from _belong_together(prefix)


def pair(prefix: Path, part: str) -> tuple[Path, Path]:
    """Data and index of one part."""
    data, index = (prefix.with_name(f"{prefix.name}_{part}.ff{kind}") for kind in ("data", "index"))
    return data, index


def _pair(data: Path, index: Path, *, ordered: bool) -> Iterator[str]:
    missing = [path.name for path in (data, index) if not path.is_file()]
    if missing:
        yield f"{', '.join(missing)} missing"
        return
    if index.stat().st_size == 0 or data.stat().st_size == 0:
        yield f"{(index if index.stat().st_size == 0 else data).name} is empty"
        return
    if not ends_with_line_break(index):
        yield f"{index.name} ends within a line: truncated"
        return
    lines, complete = lines_of(index)
    end, last = 0, b""
    unordered = None
    for line in lines:
        fields = line.split(b"\t")
        if len(fields) != 3 or not (fields[1].isdigit() and fields[2].isdigit()):
            yield f"{index.name} has the line {line[:40]!r}, expected name, offset and length"
            return
        end = max(end, int(fields[1]) + int(fields[2]))
        if fields[0] < last:
            unordered = fields[0]
        last = fields[0]
    size = data.stat().st_size
    if end > size:
        yield f"{index.name} names bytes up to {end:,}, {data.name} has {size:,}: truncated"
    elif complete and end < size:
        yield f"{index.name} names bytes up to {end:,}, {data.name} has {size:,}: index of other data"
    if ordered and unordered is not None:
        at = unordered.decode(errors="replace")
        yield f"{index.name} is not sorted by name (at {at}): HH-suite would not find records"


def _belong_together(prefix: Path) -> Iterator[str]:
    """Every record that the prefilter (cs219) finds must have an alignment (a3m)."""
    lines, _ = lines_of(pair(prefix, "cs219")[1])
    names = [line.split(b"\t")[0] for line in lines[:: max(1, len(lines) // _SAMPLES)]]
    a3m = pair(prefix, "a3m")[1]
    if lost := [name for name in names if find(a3m, name) is None]:
        yield (
            f"{len(lost)} of {len(names)} records of cs219 have no alignment in {a3m.name}, first "
            f"{lost[0].decode(errors='replace')}: not of one database"
        )


def find(index: Path, name: bytes) -> tuple[int, int] | None:
    """Offset and length of record `name` in an index sorted by name, by bisection."""
    with index.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as lines:
        low, high = 0, len(lines)
        while low < high:
            start = lines.rfind(b"\n", 0, (low + high) // 2) + 1
            end = lines.find(b"\n", start)
            end = len(lines) if end < 0 else end
            found, offset, length = lines[start:end].split(b"\t")
            if found == name:
                return int(offset), int(length)
            if found < name:
                low = end + 1
            else:
                high = start
    return None
