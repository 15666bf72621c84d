"""Whether files in FASTA, lists and folders of mmCIF files are whole, by looking at a few places of each."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from pathlib import Path

from snakefold.kernel import streams
from snakefold.msa.databases.finding import WHOLE_BYTES, ends_with_line_break, holes, read_end

_TAIL = 1 << 20
_CIF_SAMPLES = 50


def fasta(path: Path, *, verified: bool) -> Iterator[str]:
    """Faults of a FASTA file, plain or compressed.

    Args:
        verified: the file is as it was fetched, so that its end is not guessed at.
    """
    if path.suffix in (".gz", ".zst"):
        yield from _compressed(path)
        return
    with path.open("rb") as stream:
        start = stream.read(4096).lstrip()
    if not start:
        yield "is empty"
        return
    if not start.startswith(b">"):
        yield f"begins with {start[:20]!r}, expected '>': no FASTA"
        return
    if offset := next(holes(path), None):
        yield f"holds zero bytes at {offset:,}: half-written, disk space was set aside but never filled"
        return
    last = read_end(path, _TAIL).rstrip(b"\r\n").rpartition(b"\n")[2]
    if last.startswith(b">"):
        yield f"ends with a header and no sequence ({last[:60].decode(errors='replace')}): truncated"
    elif not verified and not ends_with_line_break(path):
        yield f"ends within a line ({last[-30:].decode(errors='replace')}): truncated"


def _compressed(path: Path) -> Iterator[str]:
    left = WHOLE_BYTES
    try:
        with streams.damage_named(path), streams.opened(path) as stream:
            block = stream.read(1 << 20)
            if not block.lstrip().startswith(b">"):
                yield f"begins with {block[:20]!r} once decompressed, expected '>': no FASTA"
            while block and left > 0:
                left -= len(block)
                block = stream.read(1 << 20)
    except (streams.DamagedArchiveError, OSError, zlib.error) as error:
        yield f"truncated or damaged: {error}"


def text(path: Path) -> Iterator[str]:
    """Faults of a list of lines."""
    if path.stat().st_size == 0:
        yield "is empty"
    elif not ends_with_line_break(path):
        yield "ends within a line: truncated"


def mmcif(folder: Path) -> Iterator[str]:
    """Faults of a folder of mmCIF files: empty ones, and, in a sample, those without beginning or end."""
    names, empty = [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(".cif"):
                names.append(entry.name)
                if entry.stat().st_size == 0:
                    empty.append(entry.name)
    if not names:
        yield "has no *.cif file"
    if empty:
        yield f"{len(empty)} of {len(names)} files are empty, first {min(empty)}"
    names.sort()
    for name in names[:: max(1, len(names) // _CIF_SAMPLES)]:
        path = folder / name
        if path.stat().st_size == 0:
            continue
        with path.open("rb") as stream:
            start = stream.read(5)
        if start != b"data_":
            yield f"{name} begins with {start!r}, expected data_: no mmCIF"
        elif not read_end(path, 64).rstrip().endswith(b"#"):
            yield f"{name} does not end with #: truncated"
