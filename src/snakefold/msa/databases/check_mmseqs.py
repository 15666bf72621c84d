"""Whether an MMseqs2 database and its index fit together.

A database `db` is `db` (or `db.0`, `db.1` …: records, each closed by a zero byte), `db.index` (key, offset,
length), `db.dbtype` (four bytes) and `db_h`, its headers. An index `db.idx` is a database itself: record 6 is
a copy of `db`'s records and record 19 one of `db_h`'s (PrefilteringIndexReader of MMseqs2).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from snakefold.msa.databases.finding import ends_with_line_break, lines_of

_COMPRESSED = 1 << 31
_EXTENDED = 0x7FFF0000
_COPIES = {6: "", 19: "_h"}
#: Databases padded for GPUs count bytes that their last record does not have.
_SLACK = 8


def faults(prefix: Path) -> Iterator[str]:
    """Faults of the database `prefix`, and of those beside it that belong to it."""
    yield from _database(prefix, headers=True)
    for suffix in ("_seq", "_aln"):
        beside = prefix.with_name(f"{prefix.name}{suffix}")
        if any(_suffixed(beside, end).exists() for end in (".dbtype", ".index")):
            yield from _database(beside, headers=suffix == "_seq")
    yield from _index(prefix)


def data_bytes(prefix: Path) -> int | None:
    """Size of a database's records, in one file or several; None if there is none."""
    if prefix.is_file():
        return prefix.stat().st_size
    total, number = 0, 0
    while (part := _suffixed(prefix, f".{number}")).is_file():
        total += part.stat().st_size
        number += 1
    return total if number else None


def _database(prefix: Path, *, headers: bool) -> Iterator[str]:
    name = prefix.name
    parts = [_suffixed(prefix, end) for end in (".dbtype", ".index")]
    lacking = [part.name for part in parts if not part.is_file()]
    size = data_bytes(prefix)
    if size is None:
        lacking.append(name)
    if headers and not _suffixed(prefix, "_h.index").exists():
        lacking.append(f"{name}_h.index")
    if lacking or size is None:
        yield f"{', '.join(lacking)} missing"
        return
    kind = parts[0].read_bytes()
    if len(kind) != 4:
        yield f"{parts[0].name} has {len(kind)} bytes, expected 4"
        return
    yield from _records(parts[1], size, int.from_bytes(kind, "little"))
    if headers:
        beside = _suffixed(prefix, "_h")
        yield from _database(beside, headers=False)
        yield from _headed(parts[1], _suffixed(beside, ".index"))


def _records(index: Path, size: int, kind: int) -> Iterator[str]:
    if index.stat().st_size == 0:
        yield f"{index.name} is empty"
        return
    if not ends_with_line_break(index):
        yield f"{index.name} ends within a line: truncated"
        return
    lines, complete = lines_of(index)
    end = 0
    for line in lines:
        fields = line.split(b"\t")
        if len(fields) != 3 or not all(field.isdigit() for field in fields):
            yield f"{index.name} has the line {line[:40]!r}, expected key, offset and length"
            return
        end = max(end, int(fields[1]) + (0 if kind & _COMPRESSED else int(fields[2])))
    slack = _SLACK if kind & _EXTENDED else 0
    if end > size + slack:
        yield f"{index.name} names bytes up to {end:,}, its data have {size:,}: truncated"
    elif complete and not kind & _COMPRESSED and end + slack < size:
        yield f"{index.name} names bytes up to {end:,}, its data have {size:,}: index of another database"


def _headed(index: Path, headers: Path) -> Iterator[str]:
    """Every record has a header. Headers may be more: representatives share those of all members."""
    if not headers.is_file():
        return
    (records, whole), (headed, all_headers) = lines_of(index), lines_of(headers)
    if not (whole and all_headers):
        return
    lost = {line.split(b"\t")[0] for line in records} - {line.split(b"\t")[0] for line in headed}
    if lost:
        key = min(lost, key=int).decode()
        lacking = f"{len(lost):,} records without one in {headers.name}, first {key}"
        yield f"{index.name} has {lacking}: not of one database"


def _index(prefix: Path) -> Iterator[str]:
    index = _suffixed(prefix, ".idx")
    there = [end for end in ("", ".index", ".dbtype") if _suffixed(index, end).exists()]
    if not there and data_bytes(index) is None:
        return
    size = data_bytes(index)
    if ".index" not in there or ".dbtype" not in there or size is None:
        yield f"{index.name} is not whole: half-written. Searches would use it"
        return
    problems = list(_records(_suffixed(index, ".index"), size, 0))
    # An index aligns its records to pages: what lies between is no fault.
    if found := [problem for problem in problems if "index of another" not in problem]:
        yield from found
        return
    lengths = {
        int(key): int(length) for key, _, length in map(bytes.split, lines_of(_suffixed(index, ".index"))[0])
    }
    for key, suffix in _COPIES.items():
        records = data_bytes(_suffixed(prefix, suffix))
        # One byte more than the records themselves.
        if (
            key in lengths
            and records is not None
            and lengths[key] != records + 1
            and not _compressed(prefix, suffix)
        ):
            made_of = f"{lengths[key] - 1:,} bytes of {prefix.name}{suffix}"
            yield f"{index.name} was made of {made_of}, which has {records:,}"


def _compressed(prefix: Path, suffix: str) -> bool:
    kind = _suffixed(prefix, f"{suffix}.dbtype")
    return (
        bool(int.from_bytes(kind.read_bytes(), "little") & (_COMPRESSED | _EXTENDED))
        if kind.is_file()
        else True
    )


def _suffixed(prefix: Path, suffix: str) -> Path:
    return prefix.with_name(prefix.name + suffix)
