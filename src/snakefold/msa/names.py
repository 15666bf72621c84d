"""Names that databases have: any bytes, until they become rows that other programs read as text."""

from __future__ import annotations

import io
import re
from typing import Any, BinaryIO

_BLOCK = 1 << 20
_BLANK = re.compile(r"[ \t\r\v\f]")
_LINE_ENDS = re.compile("[\v\f\x1c-\x1e\x85\u2028\u2029]")
_HEADER = re.compile(rb"^>[^\n]*", re.MULTILINE)


def text_of(data: bytes) -> str:
    """What a program wrote as UTF-8.

    `?` stands for every byte that is not, and for characters at which Python ends a line and the program did
    not.
    """
    return _LINE_ENDS.sub("?", _decoded(data))


def first_word(header: str) -> str:
    """The name in a header: as HMMER takes it, up to a blank, and on one line for whoever reads it later."""
    return one_word(_BLANK.split(header.lstrip(" \t"), maxsplit=1)[0])


def one_word(name: str) -> str:
    """A name without characters that end a name or a line for those who read rows; `?` stands for them."""
    if name.isprintable() and " " not in name:
        return name
    return "".join(letter if letter.isprintable() and letter != " " else "?" for letter in name)


def _decoded(data: bytes) -> str:
    if data.isascii():
        return data.decode("ascii")
    return data.decode("utf-8", "surrogateescape").encode("utf-8", "replace").decode()


class ReadableNames(io.RawIOBase):
    """A FASTA stream in whose headers `?` stands for every byte that is not UTF-8.

    Sequences stay as they are. Whole lines are taken at a time, so that a header is never cut; nearly all are
    ASCII and pass untouched.

    Attributes:
        error: what the source raised. A reader in C may tell something else, or nothing.
    """

    def __init__(self, source: BinaryIO) -> None:
        super().__init__()
        self.error: Exception | None = None
        self._source = source
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._ready:
            try:
                self._ready = memoryview(self._lines())
            except Exception as error:
                self.error = error
                raise
        count = min(len(buffer), len(self._ready))
        buffer[:count], self._ready = self._ready[:count], self._ready[count:]
        return count

    def _lines(self) -> bytes:
        block = self._source.read(_BLOCK)
        block += self._source.readline(_BLOCK)
        if block.isascii():
            return block
        return _HEADER.sub(lambda header: _decoded(header.group()).encode(), block)
