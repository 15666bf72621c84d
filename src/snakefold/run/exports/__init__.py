"""What a run leaves for other programs: a methods text, a MultiQC file and RO-Crate metadata."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from snakefold.kernel.errors import SnakefoldError
from snakefold.kernel.store import write_atomically
from snakefold.run import methods
from snakefold.run.bill.bill import THIS
from snakefold.run.bill.lines import read_lines
from snakefold.run.exports.crate import write_crate
from snakefold.run.exports.multiqc import write_multiqc

__all__ = ["target_dollars", "write_crate", "write_exports", "write_methods", "write_multiqc"]


def write_exports(results: Path, log: Callable[[str], None]) -> None:
    """Write methods.md, citations.bib, multiqc/ and the crate; what cannot be written is logged.

    A run has its report and its tables whatever becomes of these.
    """
    writers: tuple[Callable[[Path], object], ...] = (write_methods, write_multiqc, write_crate)
    for write in writers:
        try:
            write(results)
        except (SnakefoldError, OSError, ValueError) as error:
            log(f"{write.__name__.removeprefix('write_')}: {error}")


def target_dollars(results: Path, log: Callable[[str], None]) -> dict[str, float]:
    """Dollars of every target in the bill since the last plan; none, and a line, if it cannot be read."""
    dollars: dict[str, float] = {}
    try:
        for line in read_lines(results / "bill.tsv"):
            if line.level == "target" and line.run == THIS:
                dollars[line.id] = dollars.get(line.id, 0.0) + line.dollars
    except SnakefoldError as error:
        log(f"bill.tsv: {error}")
        return {}
    return dollars


def write_methods(results: Path) -> None:
    """Write methods.md and citations.bib of a run; nothing if it recorded no provenance."""
    path = results / "provenance.json"
    if not path.is_file():
        return
    provenance: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    write_atomically(results / "methods.md", f"{methods.paragraph(provenance)}\n".encode())
    write_atomically(results / "citations.bib", methods.bibtex(provenance).encode())
