"""Entries of pdb70: the hits of a ticket (`pdb70.m8`), and an archive of their alignments and structures.

An entry is what the database calls it, `<PDB id>_<chain>`. Its alignment is copied from the database, its
structure from the folder of mmCIF files; clients align their sequence to both themselves.
"""

from __future__ import annotations

import gzip
import io
import mmap
import re
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from snakefold.msa.databases import presets as databases
from snakefold.msa.databases.presets import Database
from snakefold.msa.settings import MsaSettings
from snakefold.msa.template_files import Templates

_NAME = re.compile(r"([0-9A-Za-z]{4,12})_[0-9A-Za-z]{1,8}")
#: Columns of a hit, as `mmseqs convertalis` writes them. hhsearch's report has the first two; a number that
#: nobody computed is none.
_UNKNOWN = ("nan",) * 10


@dataclass(frozen=True)
class Structures:
    """Where entries of pdb70 are read from: the prefix of the database, and the folder of mmCIF files."""

    prefix: Path
    folder: Path

    def entry(self, name: str) -> bytes | None:
        """The alignment (A3M) of an entry, as the database calls it; None if there is none."""
        index = self.prefix.with_name(f"{self.prefix.name}_a3m.ffindex")
        with index.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as view:
            place = next((found for key in _keys(name) if (found := _place(view, key))), None)
        if place is None:
            return None
        offset, size = place
        with self.prefix.with_name(f"{self.prefix.name}_a3m.ffdata").open("rb") as stream:
            stream.seek(offset)
            # The last byte of an entry is NUL.
            return stream.read(size - 1)

    def known(self, name: str) -> str | None:
        """What the database calls a template, which AlphaFold calls `<pdb id in small letters>_<chain>`."""
        found = _NAME.fullmatch(name)
        if found is None or not self.structure(name).is_file():
            return None
        entry, _, chain = name.partition("_")
        for each in (f"{entry.upper()}_{chain}", f"{entry.lower()}_{chain}"):
            if self.entry(each) is not None:
                return each
        return None

    def structure(self, name: str) -> Path:
        """The mmCIF file of an entry, whose name matches."""
        return self.folder / f"{name.partition('_')[0].lower()}.cif"


def _keys(name: str) -> tuple[bytes, ...]:
    """How an index may name an entry: databases that were built from files have the files' names."""
    return name.encode(), f"{name}.a3m".encode()


def _place(index: mmap.mmap, key: bytes) -> tuple[int, int] | None:
    """Offset and size of an entry. An index has a line for each: key, offset, size."""
    start = key + b"\t"
    at = 0 if index[: len(start)] == start else index.find(b"\n" + start) + 1
    if at == 0 and index[: len(start)] != start:
        return None
    end = index.find(b"\n", at)
    _, offset, size = index[at : end if end >= 0 else len(index)].split(b"\t")
    return int(offset), int(size)


def structures(settings: MsaSettings) -> Structures | None:
    """Where this server's templates are; None if it searches none."""
    if settings.templates != "hhsearch":
        return None
    preset = databases.load_preset(settings.db_preset, settings.db_root)

    def one(kind: str) -> Database:
        return next(each for each in preset.select("hhsearch") if each.format == kind)

    return Structures(one("hhsuite").path.resolve(), one("mmcif").path)


def hits(found: Mapping[str, Templates | None], where: Structures | None) -> bytes:
    """`pdb70.m8` of a ticket: a line for each template, best first, by the names of the queries."""
    lines = []
    for query, templates in found.items():
        for name in templates.names if templates is not None else ():
            known = where.known(name) if where is not None else None
            if known is not None:
                lines.append("\t".join((query, known, *_UNKNOWN)) + "\n")
    return "".join(lines).encode()


def read_names(text: str, most: int) -> list[str]:
    """Entries of a comma-separated list, each once; empty if one is no name, or there are too many."""
    names = list(dict.fromkeys(text.split(",")))
    return names if len(names) <= most and all(_NAME.fullmatch(name) for name in names) else []


def archive(names: Sequence[str], where: Structures) -> Iterator[bytes]:
    """A tar.gz of a small pdb70 of these entries, and their structures, in pieces as they are read.

    Entries that the database does not have are left out.
    """
    found = {name: text for name in sorted(names) if (text := where.entry(name)) is not None}
    data, index = bytearray(), ""
    for name, text in found.items():
        index += f"{name}\t{len(data)}\t{len(text) + 1}\n"
        data += text + b"\0"
    files = dict.fromkeys(where.structure(name) for name in found)
    pieces = _Pieces()
    # Structures are text, and the client waits: the fastest compression.
    with (
        gzip.GzipFile(fileobj=pieces, mode="wb", compresslevel=1, mtime=0, filename="") as zipped,
        tarfile.open(fileobj=zipped, mode="w|") as packed,
    ):
        for name, content in (("pdb70_a3m.ffdata", bytes(data)), ("pdb70_a3m.ffindex", index.encode())):
            _add(packed, name, len(content), io.BytesIO(content))
            yield pieces.take()
        for path in files:
            if path.is_file():
                with path.open("rb") as stream:
                    _add(packed, path.name, path.stat().st_size, stream)
                yield pieces.take()
    yield pieces.take()


def _add(packed: tarfile.TarFile, name: str, size: int, content: io.BufferedIOBase) -> None:
    info = tarfile.TarInfo(name)
    info.size = size
    packed.addfile(info, content)


class _Pieces(io.RawIOBase):
    """What was written since the last look."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        part = bytes(data)  # type: ignore[call-overload]
        self._parts.append(part)
        return len(part)

    def take(self) -> bytes:
        """Everything, once."""
        found = b"".join(self._parts)
        self._parts.clear()
        return found
