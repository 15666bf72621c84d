"""What an MSA server sends, read with care: archives of files, files of alignments.

An archive is never unpacked to its own names: only regular files that were asked for are read, and no more
bytes than they may have.
"""

from __future__ import annotations

import gzip
import io
import re
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import IO

from snakefold.kernel.names import shown
from snakefold.msa import a3m
from snakefold.msa.names import text_of
from snakefold.msa.server.client import FIRST

#: Bytes that an archive may have unpacked, and up to which it is kept in memory.
_MOST, _IN_MEMORY, _BLOCK = 4 << 30, 1 << 28, 1 << 20
_NUMBER = re.compile(rb">(\d{1,6})[ \t\r]*(?:\n|$)")
_ROW = re.compile("[A-Za-z-]+")
#: An entry of pdb70, as its hits name it; it becomes a part of an address and of a file's name.
_ENTRY = re.compile(r"[0-9A-Za-z]{4,12}_[0-9A-Za-z]{1,8}")


class BrokenAnswerError(ValueError):
    """What the server sent is not what it should be; the text says where."""


def read_archive(data: bytes, wanted: Callable[[str], bool], most: int = _MOST) -> dict[str, bytes]:
    """Files of a tar.gz whose names are `wanted`, by name.

    Args:
        most: bytes that the archive may have, unpacked.

    Raises:
        BrokenAnswerError: it is no archive, is cut off, is too large when unpacked, or has a file twice.
    """
    try:
        with tempfile.SpooledTemporaryFile(_IN_MEMORY) as plain:
            _unpack(data, plain, most)
            return _read_members(plain, wanted)
    except BrokenAnswerError:
        raise
    # ValueError: numbers of a header that are none.
    except (tarfile.TarError, EOFError, OSError, zlib.error, ValueError) as error:
        raise BrokenAnswerError(
            f"the archive cannot be read ({type(error).__name__}: {shown(str(error), 100)})"
        ) from error


def _unpack(data: bytes, plain: IO[bytes], most: int) -> None:
    """Read gzip to its end and its checksum: tarfile alone would take what was cut off for the end."""
    size = 0
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as packed:
        while block := packed.read(_BLOCK):
            size += len(block)
            if size > most:
                raise BrokenAnswerError(f"the archive has more than {most / 1e6:,.0f} MB unpacked")
            plain.write(block)
    plain.seek(0)


def _read_members(plain: IO[bytes], wanted: Callable[[str], bool]) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    with tarfile.open(fileobj=plain, mode="r:") as archive:
        for member in archive:
            name = member.name.removeprefix("./")
            if not member.isreg() or not wanted(name):
                continue
            if name in files:
                raise BrokenAnswerError(f"the archive has {name} twice")
            stream = archive.extractfile(member)
            content = stream.read() if stream else b""
            if len(content) != member.size:
                raise BrokenAnswerError(f"the archive ends within {name}")
            files[name] = content
    return files


def alignments(data: bytes, file: str, sequences: Sequence[str]) -> list[a3m.Msa]:
    """Of each sequence of a query, the alignments that a file has of it, one after the other.

    The file has an alignment of each sequence, headed by its number and closed by a NUL byte, as mmseqs
    writes them; several of one sequence (databases searched for pairing) are joined. Rows stay as they are:
    nothing is dropped, the query is the first row of each alignment.

    Raises:
        BrokenAnswerError: one is missing, of another sequence, or not in A3M format.
    """
    found: dict[int, list[a3m.Msa]] = {number: [] for number in range(len(sequences))}
    for block in data.split(b"\0"):
        text = block.lstrip(b"\r\n")
        if not text.strip():
            continue
        head = _NUMBER.match(text)
        number = int(head[1]) - FIRST if head else -1
        if number not in found:
            start = shown(text[:40].decode("utf-8", "replace"))
            raise BrokenAnswerError(f"{file}: expected an alignment of a query, found {start!r}")
        found[number].append(_alignment(text, file, sequences[number]))
    for number, msas in found.items():
        if not msas:
            raise BrokenAnswerError(f"{file}: no alignment of query {number + FIRST}")
    return [a3m.joined(msas) for msas in found.values()]


def template_hits(data: bytes, sequences: int, most: int) -> list[list[str]]:
    """Of each sequence of a query, entries of pdb70 (`1abc_A`), best first, from pdb70.m8.

    Columns are parted by blanks: the query's number and the entry come first. What is no name of an entry is
    left out.
    """
    found: list[list[str]] = [[] for _ in range(sequences)]
    for line in data.decode("utf-8", "replace").split("\n"):
        cells = line.split()
        if len(cells) < 2 or not cells[0].isdecimal() or not _ENTRY.fullmatch(cells[1]):
            continue
        number = int(cells[0]) - FIRST if len(cells[0]) < 9 else -1
        if 0 <= number < sequences and len(found[number]) < most:
            found[number].append(cells[1])
    return found


def require(files: Mapping[str, bytes], names: Sequence[str]) -> None:
    """Raises BrokenAnswerError if an archive lacks a file."""
    missing = [name for name in names if name not in files]
    if missing:
        raise BrokenAnswerError(f"the archive has no {missing[0]}")


def _alignment(text: bytes, file: str, sequence: str) -> a3m.Msa:
    try:
        msa = a3m.parse_a3m(text_of(text))
    except ValueError as error:
        raise BrokenAnswerError(f"{file}: {error}") from error
    if msa.query != sequence:
        raise BrokenAnswerError(
            f"{file}: an alignment of {shown(msa.query, 30)!r}, expected one of {sequence[:30]!r}"
        )
    for name, row in zip(msa.names, msa.rows, strict=True):
        if not _ROW.fullmatch(row):
            raise BrokenAnswerError(f"{file}: row {shown(name, 40)!r} has letters that no A3M has")
    return msa
