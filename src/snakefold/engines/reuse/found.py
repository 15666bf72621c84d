"""Where a structure is that can be taken, and how its bytes are read: never extracted, never trusted."""

from __future__ import annotations

import zlib
from pathlib import Path, PurePosixPath

from pydantic import Field

from snakefold.kernel.contracts import Key, Model

#: Bytes that one structure or PAE file may unpack to. The largest entry of AlphaFold DB has a tenth of that.
MAX_BYTES = 256 << 20


class UnusableError(Exception):
    """A file of a collection cannot be taken; the text says why, without naming the file."""


class Place(Model):
    """Bytes of a file, or of a member of a tar: `size` bytes from `offset`. `member` is empty for a file."""

    file: str
    member: str = ""
    offset: int = Field(0, ge=0)
    size: int = Field(ge=0)

    @property
    def name(self) -> str:
        """Name of the file or member without its folders."""
        return PurePosixPath(self.member or Path(self.file).name).name

    def __str__(self) -> str:
        return f"{self.file}: {self.member}" if self.member else self.file


class Found(Model):
    """A structure of the user's own for a target.

    Attributes:
        collection: the collection, as configured.
        structure: the structure file; `sha256` is that of its bytes as they lie there (compressed or not).
        pae: its predicted aligned error, if that lies beside it.
        rehearsal: the file says that it was made with random parameters.
    """

    collection: str
    structure: Place
    pae: Place | None = None
    sha256: Key
    rehearsal: bool = False

    @property
    def file(self) -> str:
        """Path of the structure file, or of the tar that holds it."""
        return self.structure.file

    @property
    def member(self) -> str:
        """Name inside the tar; empty for a file."""
        return self.structure.member


def read_place(place: Place) -> bytes:
    """The bytes at `place`.

    Raises:
        UnusableError: the file is gone, cannot be read or has become shorter, or is above `MAX_BYTES`.
    """
    if place.size > MAX_BYTES:
        raise UnusableError(f"it has {place.size} bytes; at most {MAX_BYTES} are read")
    try:
        with Path(place.file).open("rb") as stream:
            stream.seek(place.offset)
            data = stream.read(place.size)
    except OSError as error:
        raise UnusableError(f"it cannot be read ({error.strerror})") from error
    if len(data) < place.size:
        raise UnusableError(f"it is cut short: {len(data)} of {place.size} bytes are there")
    return data


def expand(data: bytes) -> bytes:
    """`data`, gunzipped if it is a gzip file.

    Raises:
        UnusableError: it is damaged, or would unpack to more than `MAX_BYTES`.
    """
    if not data.startswith(b"\x1f\x8b"):
        return data
    parts: list[bytes] = []
    left = MAX_BYTES
    # Gzip files may be joined to one another.
    while data.startswith(b"\x1f\x8b"):
        stream = zlib.decompressobj(wbits=31)
        try:
            part = stream.decompress(data, left + 1)
        except zlib.error as error:
            raise UnusableError(f"it is no whole gzip file ({error})") from error
        left -= len(part)
        if left < 0:
            raise UnusableError(f"it unpacks to more than {MAX_BYTES} bytes")
        if not stream.eof:
            raise UnusableError("it is no whole gzip file (cut short)")
        parts.append(part)
        data = stream.unused_data
    return b"".join(parts)
