"""What `snakefold db doctor` says of one database or program."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

#: Larger files are read in part: looking at a database takes seconds, whatever its size.
WHOLE_BYTES = 64 << 20
_PART_BYTES = 8 << 20


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        about: the database or program.
        text: what was found; for a fault also what was expected.
        advice: what to do.
        fault: whether it must be put right.
    """

    about: str
    text: str
    advice: str = ""
    fault: bool = False

    def __str__(self) -> str:
        line = f"{'FAULT' if self.fault else 'ok   '} {self.about}: {self.text}"
        return f"{line}\n        {self.advice}" if self.advice else line


def lines_of(path: Path) -> tuple[list[bytes], bool]:
    """Lines of an index, or whole lines of its beginning and end if it is large; and whether that is all."""
    size = path.stat().st_size
    if size <= WHOLE_BYTES:
        return path.read_bytes().splitlines(), True
    with path.open("rb") as stream:
        head = stream.read(_PART_BYTES)
        stream.seek(size - _PART_BYTES)
        tail = stream.read()
    return [*head[: head.rfind(b"\n")].splitlines(), *tail.splitlines()[1:]], False


def ends_with_line_break(path: Path) -> bool:
    """Whether the last byte is a line break: a text file that was cut rarely ends with one."""
    return read_end(path, 1) == b"\n"


def read_end(path: Path, size: int) -> bytes:
    """The last `size` bytes."""
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - size))
        return stream.read(size)


def holes(path: Path, places: int = 64, width: int = 4096) -> Iterator[int]:
    """Offsets, out of `places` looked at, where a file has but zero bytes: set aside, never written."""
    size = path.stat().st_size
    if size < 4 * width:
        return
    with path.open("rb") as stream:
        for number in range(places):
            offset = (size - width) * number // (places - 1)
            stream.seek(offset)
            if not stream.read(width).strip(b"\0"):
                yield offset
