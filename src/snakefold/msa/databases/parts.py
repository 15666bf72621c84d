"""The beginning of a database as a small database of the same kind, and one of its records to look for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from snakefold.kernel import streams
from snakefold.kernel.errors import SnakefoldError
from snakefold.msa import programs
from snakefold.msa.databases import check_hhsuite
from snakefold.msa.databases.presets import Database

#: Bytes of a FASTA database, records of an indexed one.
BYTES = 8 << 20
RECORDS = 200
_HEADERS = 200_000
_SHORTEST, _LONGEST = 60, 400
_RESIDUES = re.compile(r"[ACDEFGHIKLMNPQRSTVWY]+")

Log = Callable[[str], None]


class NoSequenceError(SnakefoldError):
    """The beginning of a database has no sequence to look for."""


@dataclass(frozen=True)
class Part:
    """A small database, and the name and residues of one of its records."""

    database: Database
    name: str
    sequence: str


def take(database: Database, work: Path, log: Log) -> Part:
    """The beginning of `database` (fasta, mmseqs or hhsuite), written to `work`.

    Raises:
        NoSequenceError: nothing there can be looked for.
    """
    makers = {"mmseqs": _mmseqs, "hhsuite": _hhsuite, "fasta": _fasta}
    return makers[database.format](database, work, log)


def _fasta(database: Database, work: Path, _log: Log) -> Part:
    path = work / f"{database.name}.fasta"
    with streams.opened(database.path) as stream:
        text = stream.read(BYTES)
        more = stream.read(1)
    # The last record is not whole unless the file ends here.
    path.write_bytes(text[: text.rfind(b"\n>") + 1] if more else text)
    part = replace(database, path=path, files=(path,), limit=None, pairing=False)
    return Part(part, *_choose(path, database))


def _mmseqs(database: Database, work: Path, log: Log) -> Part:
    """A shorter index to the same data."""
    whole, prefix = database.path.resolve(), work / database.name
    records = _by_key(_first_lines(whole.with_name(f"{whole.name}.index"), RECORDS))
    # Representatives share the headers of their clusters' members, of which there are more.
    headers = _by_key(_first_lines(whole.with_name(f"{whole.name}_h.index"), _HEADERS))
    both = [key for key in records if key in headers]
    for suffix, lines in (("", records), ("_h", headers)):
        source, part = (path.with_name(f"{path.name}{suffix}") for path in (whole, prefix))
        for data in (source, *source.parent.glob(f"{source.name}.[0-9]*")):
            if data.is_file():
                part.with_name(part.name + data.name.removeprefix(source.name)).symlink_to(data)
        part.with_name(f"{part.name}.dbtype").symlink_to(source.with_name(f"{source.name}.dbtype"))
        part.with_name(f"{part.name}.index").write_bytes(b"".join(lines[key] for key in both))
    fasta = work / f"{database.name}.part.fasta"
    programs.run([programs.find("mmseqs"), "convert2fasta", prefix, fasta], work, log)
    part_database = replace(database, path=prefix, files=(), limit=None, pairing=False)
    return Part(part_database, *_choose(fasta, database))


def _hhsuite(database: Database, work: Path, _log: Log) -> Part:
    """The first records of the prefilter (cs219) and what belongs to them."""
    prefix = work / database.name
    filtered = {}
    for line in _first_lines(check_hhsuite.pair(database.path, "cs219")[1]):
        name, offset, length = line.split(b"\t")
        filtered[name] = (int(offset), int(length))
    for part in check_hhsuite.PARTS:
        data, index = check_hhsuite.pair(database.path, part)
        part_data, part_index = check_hhsuite.pair(prefix, part)
        end = 0
        with data.open("rb") as source, part_data.open("wb") as out, part_index.open("wb") as lines:
            for name in sorted(filtered):
                place = filtered[name] if part == "cs219" else check_hhsuite.find(index, name)
                if place is None:  # small clusters have no hhm: it is made of the a3m
                    continue
                source.seek(place[0])
                out.write(source.read(place[1]))
                lines.write(b"%s\t%d\t%d\n" % (name, end, place[1]))
                end += place[1]
    sequences = work / f"{database.name}.part.fasta"
    sequences.write_bytes(b"".join(_own_rows(check_hhsuite.pair(prefix, "a3m")[0].read_bytes())))
    part_database = replace(database, path=prefix, files=(), limit=None, pairing=False)
    return Part(part_database, *_choose(sequences, database))


def _own_rows(alignments: bytes) -> Iterator[bytes]:
    """First sequence of every alignment; rows before it may hold secondary structure."""
    for alignment in alignments.split(b"\0"):
        for row in alignment.split(b">")[1:]:
            head, _, residues = row.partition(b"\n")
            if not head.startswith((b"ss_", b"sa_")):
                yield b">%s\n%s\n" % (head, residues.replace(b"-", b""))
                break


def _first_lines(path: Path, count: int = RECORDS) -> list[bytes]:
    with path.open("rb") as stream:
        return [line for _, line in zip(range(count), stream, strict=False)]


def _by_key(lines: list[bytes]) -> dict[bytes, bytes]:
    return {line.partition(b"\t")[0]: line for line in lines}


def _choose(path: Path, database: Database) -> tuple[str, str]:
    """Name and residues of a record of ordinary length, from the middle."""
    found = [
        (name, sequence)
        for name, sequence in _records(path)
        if _SHORTEST <= len(sequence) <= _LONGEST and _RESIDUES.fullmatch(sequence)
    ]
    if not found:
        raise NoSequenceError(
            f"{database.path}: its beginning has no sequence of {_SHORTEST} to {_LONGEST} residues."
        )
    return found[len(found) // 2]


def _records(path: Path) -> Iterator[tuple[str, str]]:
    for record in path.read_text(errors="replace").replace("\0", "").split(">")[1:]:
        head, _, rows = record.partition("\n")
        yield (head.split() or [""])[0], "".join(rows.split()).upper()
