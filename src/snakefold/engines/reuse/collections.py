"""The files of a collection: which are structures, which are PAE, what they call themselves.

Names are AlphaFold DB's (`AF-P12345-F1-model_v4.cif.gz`, `AF-P12345-F1-predicted_aligned_error_v4.json.gz`)
and snakefold's own (`<id>/ranked_0.cif` with `<id>/pae.npz`); any other PDB or mmCIF file goes by its name.
Members of a tar are listed, never extracted: neither their paths nor links among them mean anything here.
"""

from __future__ import annotations

import gzip
import io
import os
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath
from stat import S_ISREG
from typing import IO

from snakefold.engines.reuse.found import Place, UnusableError
from snakefold.kernel.errors import SnakefoldError
from snakefold.kernel.paths import expanded

INDEX_FASTA = "sequences.fasta"

_STRUCTURE = re.compile(
    r"(?P<name>.+?)(?:-model_v(?P<version>\d{1,6}))?\.(?P<format>cif|mmcif|pdb)(?:\.gz)?", re.IGNORECASE
)
_PAE = re.compile(r"(?P<name>.+)-predicted_aligned_error_v(?P<version>\d{1,6})\.json(?:\.gz)?", re.IGNORECASE)
#: snakefold's and AlphaFold's other files of a target: the same target again, or not a model of it.
_OTHER_MODEL = re.compile(r"(?:ranked_[1-9]\d*|(?:un)?relaxed_.+|superposed)\.(?:cif|pdb)(?:\.gz)?")
#: A whole protein is fragment 1; proteins above 2,700 residues are cut into several that overlap.
_FRAGMENT = re.compile(r"AF-.+-F(?:[2-9]|[1-9]\d+)", re.IGNORECASE)
_COMPRESSED_TAR = (".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".tar.zst")
_LONGEST_LINE = 1 << 20
_LONGEST_SEQUENCE = 100_000


class Kind(StrEnum):
    """What a file is for."""

    STRUCTURE = "structure"
    PAE = "pae"
    FASTA = "fasta"
    TAR = "tar"


@dataclass(frozen=True, slots=True)
class File:
    """A file of a collection.

    A structure and its PAE share `folder`, `name` and `version`.
    """

    kind: Kind
    place: Place
    folder: str
    name: str
    version: int = 0
    is_cif: bool = False


def check(collection: str) -> Path:
    """Resolved path of a collection.

    Raises:
        SnakefoldError: it is neither a folder nor a plain tar.
    """
    path = Path(expanded(collection))
    if path.is_dir():
        return path.resolve()
    if not path.is_file():
        raise SnakefoldError(f"{collection}: no such folder or archive. Check the setting `reuse`.")
    if path.name.lower().endswith(_COMPRESSED_TAR):
        raise SnakefoldError(
            f"{collection}: a compressed tar has no random access. Unpack it, or make a .tar."
        )
    if not path.name.lower().endswith(".tar"):
        raise SnakefoldError(f"{collection}: expected a folder or a .tar of PDB or mmCIF files.")
    return path.resolve()


def walk(collection: Path) -> Iterator[tuple[File, os.stat_result]]:
    """Files of a collection that matter, tars among them, in a fixed order.

    Hidden files and links to folders are passed over.
    """
    if collection.is_file():
        beside = collection.with_suffix(".fasta")
        found = [collection, *([beside] if beside.is_file() else [])]
        yield from _classified(collection.parent, [path.name for path in found], is_tar_beside=True)
        return
    for folder, folders, names in os.walk(collection):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from _classified(Path(folder), sorted(names))


def classify(place: Place, folder: str) -> File | None:
    """What a file or member is by its name; None if it is nothing that can be used."""
    name = place.name
    if name.startswith(".") or _OTHER_MODEL.fullmatch(name):
        return None
    if name in (INDEX_FASTA, f"{INDEX_FASTA}.gz"):
        return File(Kind.FASTA, place, folder, name)
    if name == "pae.npz":
        return File(Kind.PAE, place, folder, "ranked_0")
    if match := _PAE.fullmatch(name):
        return File(Kind.PAE, place, folder, match["name"], int(match["version"]))
    match = _STRUCTURE.fullmatch(name)
    if match is None or _FRAGMENT.fullmatch(match["name"]):
        return None
    is_cif = match["format"].lower() != "pdb"
    return File(Kind.STRUCTURE, place, folder, match["name"], int(match["version"] or 0), is_cif)


def members(tar: Path) -> Iterator[File]:
    """Plain files of a tar that matter.

    Raises:
        UnusableError: the tar is damaged or cut short; what came before has been yielded.
    """
    try:
        with tarfile.open(tar, mode="r:") as archive:
            offset = -1
            while (member := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined]  # tarfile keeps every header it has read, and a proteome has many
                if member.size < 0 or member.offset <= offset:  # it would be read in circles
                    raise UnusableError("it is no whole tar (a header with a negative size)")
                offset = member.offset
                if not member.isreg() or member.issparse() or not member.name.isprintable():
                    continue
                place = Place(file=str(tar), member=member.name, offset=member.offset_data, size=member.size)
                file = classify(place, f"{tar}!{PurePosixPath(member.name).parent}")
                if file is not None:
                    yield file
        if tar.stat().st_size % tarfile.BLOCKSIZE:  # tarfile takes half a header for the end
            raise UnusableError("it is no whole tar (cut short)")
    # ValueError: what tarfile makes of numbers that are none.
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise UnusableError(f"it is no whole tar ({error})") from error


def read_fasta(place: Place) -> Iterator[tuple[str, list[str]]]:
    """Names of structures and their chains (`A:B` separates them), from an index FASTA.

    An id is a file's name, with or without its ending, or AlphaFold DB's `AFDB:AF-P12345-F1`.

    Raises:
        UnusableError: it cannot be read, or holds a line that no sequence fills.
    """
    try:
        with Path(place.file).open("rb") as stream:
            text = io.BufferedReader(_Slice(stream, place.offset, place.size))
            yield from _records(gzip.GzipFile(fileobj=text) if place.name.endswith(".gz") else text)
    except (OSError, EOFError) as error:
        raise UnusableError(f"it cannot be read ({error})") from error


def _records(text: io.BufferedIOBase) -> Iterator[tuple[str, list[str]]]:
    parts: list[str] = []
    name, length = "", 0
    while line := text.readline(_LONGEST_LINE):
        if len(line) == _LONGEST_LINE:
            raise UnusableError(f"a line is longer than {_LONGEST_LINE} characters")
        if line.startswith(b">"):
            if name and 0 < length <= _LONGEST_SEQUENCE:
                yield name, "".join(parts).upper().split(":")
            words = line[1:].decode("utf-8", "replace").split(maxsplit=1)
            name, parts, length = (words[0].removeprefix("AFDB:") if words else ""), [], 0
            if match := _STRUCTURE.fullmatch(name):
                name = match["name"]
        else:
            length += len(line)
            if length <= _LONGEST_SEQUENCE:
                parts.append(line.strip().decode("ascii", "replace"))
    if name and 0 < length <= _LONGEST_SEQUENCE:
        yield name, "".join(parts).upper().split(":")


def _classified(
    folder: Path, names: list[str], *, is_tar_beside: bool = False
) -> Iterator[tuple[File, os.stat_result]]:
    for name in names:
        path = folder / name
        if name.startswith(".") or not name.isprintable():
            continue
        try:
            stat = path.stat()
        except OSError:  # a link to nothing, or a file that went meanwhile
            continue
        if not S_ISREG(stat.st_mode):
            continue
        place = Place(file=str(path), size=stat.st_size)
        if name.lower().endswith(".tar"):
            yield File(Kind.TAR, place, str(folder), name), stat
        elif is_tar_beside:
            yield File(Kind.FASTA, place, str(folder), name), stat
        elif (file := classify(place, str(folder))) is not None:
            yield file, stat


class _Slice(io.RawIOBase):
    """`size` bytes of a file from `offset`, as a stream."""

    def __init__(self, stream: IO[bytes], offset: int, size: int) -> None:
        self._stream, self._left = stream, size
        stream.seek(offset)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        data = self._stream.read(min(len(view), self._left))
        view[: len(data)] = data
        self._left -= len(data)
        return len(data)
