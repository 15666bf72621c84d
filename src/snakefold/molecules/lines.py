"""Lines of a text file that nobody has looked at yet: bounded in every direction, none lost in silence."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

#: Longest line, characters: thirty times the longest known protein.
MAX_LINE = 1 << 20
#: A gzip file may unpack to this many bytes, or to `MAX_RATIO` times its size if that is more. Sequences
#: shrink three- to tenfold; an archive made to fill a disk shrinks a thousandfold.
MAX_UNPACKED = 1 << 26
MAX_RATIO = 100


class BadFile(Exception):
    """A file cannot be relied on as a whole. `line` is 1-based, 0 for the whole file."""

    def __init__(self, code: str, message: str, advice: str, line: int = 0) -> None:
        self.code = code
        self.message = message
        self.advice = advice
        self.line = line
        super().__init__(f"{message} {advice}")


def read_lines(path: Path, *, nul: bool = False) -> Iterator[str]:
    """Lines of a plain or gzip-compressed text file, without their ends (LF, CRLF or CR).

    UTF-8 is expected; bytes that are not come as lone surrogates (`undecodable` finds them), so that one bad
    header does not spoil its neighbours.

    Args:
        nul: lines with NUL bytes are given as they are, and not refused.

    Raises:
        BadFile: not readable, binary, UTF-16, a damaged or oversized gzip file, an endless line.
    """
    try:
        with path.open("rb") as raw:
            for number, line in enumerate(_lines_of(raw, path.stat().st_size), 1):
                if "\0" in line and not nul:
                    raise binary(number)
                yield line
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _damaged(error) from error
    except OSError as error:
        raise _unreadable(error) from error


def read_text(path: Path, limit: int) -> str:
    """A whole plain or gzip-compressed text file of at most `limit` bytes, in UTF-8, without its mark.

    Raises:
        BadFile: not readable, too large, binary, not UTF-8, or a damaged gzip file.
    """
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            stream = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if packed else raw
            data = stream.read(limit + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _damaged(error) from error
    except OSError as error:
        raise _unreadable(error) from error
    if len(data) > limit:
        raise BadFile(
            "too_large",
            f"The file has more than {limit >> 20} MB.",
            "Split it, or take out what it need not have.",
        )
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _utf16()
    if (place := data.find(b"\0")) >= 0:
        raise binary(data.count(b"\n", 0, place) + 1)
    text = data.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    check_text(text)
    return text


def check_text(text: str) -> None:
    """Raises BadFile if a text from here was not UTF-8."""
    if (offset := undecodable(text)) is not None:
        line = text.encode("utf-8", "surrogateescape").count(b"\n", 0, offset) + 1
        raise BadFile(
            "encoding",
            f"Byte {offset} of the text is not UTF-8.",
            "Save the file as UTF-8, for example with `iconv -f latin1 -t utf-8`.",
            line,
        )


def _damaged(error: Exception) -> BadFile:
    return BadFile(
        "damaged_gzip", f"The gzip file is damaged or cut short ({error}).", "Copy or download it again."
    )


def _unreadable(error: OSError) -> BadFile:
    return BadFile(
        "unreadable",
        f"The file cannot be read ({error.strerror or error}).",
        "Check its permissions.",
    )


def _utf16() -> BadFile:
    return BadFile("encoding", "The file is UTF-16 (bytes FF FE at the start).", "Save it as UTF-8 text.", 1)


def binary(line: int) -> BadFile:
    """What is said of a file with NUL bytes."""
    return BadFile(
        "binary",
        "The file holds NUL bytes: it is binary or UTF-16, not plain text.",
        "Unpack it, or save it as plain text in UTF-8.",
        line,
    )


def undecodable(text: str) -> int | None:
    """Offset of the first byte (1-based, in UTF-8) that is not UTF-8 in a text from `read_lines`, or None."""
    if text.isascii():
        return None
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return len(text[: error.start].encode("utf-8", "surrogateescape")) + 1
    return None


def _lines_of(raw: BinaryIO, size: int) -> Iterator[str]:
    packed = raw.read(2) == b"\x1f\x8b"
    raw.seek(0)
    limit = max(MAX_UNPACKED, MAX_RATIO * size)
    stream = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if packed else raw
    text = io.TextIOWrapper(stream, encoding="utf-8", errors="surrogateescape", newline=None)
    total = number = 0
    while line := text.readline(MAX_LINE + 1):
        number += 1
        if number == 1:
            line = _without_mark(line)
        if len(line) > MAX_LINE:
            raise BadFile(
                "long_line", f"A line has more than {MAX_LINE} characters.", "Check the line ends.", number
            )
        total += len(line)
        if packed and total > limit:
            raise BadFile(
                "gzip_bomb",
                f"The gzip file unpacks to more than {limit >> 20} MB, {MAX_RATIO} times its size: refused.",
                "If it is genuine, unpack it first.",
            )
        yield line.removesuffix("\n")


def _without_mark(line: str) -> str:
    if line.startswith(("\udcff\udcfe", "\udcfe\udcff")):
        raise _utf16()
    return line.removeprefix("\ufeff")
