"""What a run made of each batch, so that the next one sees what was deleted or damaged meanwhile.

`collect` and `report` write down size and time of what they made (`<results>/.snakefold/products/`); at the
start of a run these are compared, without reading a structure (tables are read: Snakemake sets their times).
What does not match is made again from the batch's archive, which is compared byte by byte: a file of which
nothing but the time has changed stays.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from snakefold.kernel.store.atomic import write_atomically

#: Of a file: bytes and nanoseconds.
Status = tuple[int, int]

_FOLDER = Path(".snakefold", "products")
_REPORT = "report.json"
#: Made with the report, in the results folder.
_TABLES = ("metrics.tsv", "metrics.parquet", "failures.tsv", "designs.tsv", "designs/passed.fasta")
_FIGURES, _PAGES = "figures", "report"
#: docs/design.md has the list, "Files of one target".
_OURS = re.compile(
    r"(ranked|unrelaxed)_\d+\.(pdb|cif)|(confidence|ranking_debug|timings|scores|msa)\.json|pae\.npz|pae_\d+\.json|msa\.a3m"
    r"|(single|pair)_repr_[\w.-]+\.npy|(representations|recycles|interfaces)\.json|recycle_[\w.-]+_r\d+\.(pdb|cif)"
    r"|(hits|templates|contacts)\.tsv|tokens\.json|superposed\.\w+|designs\.(fa|json)|backbone\.(pdb|cif)"
)


@dataclass(frozen=True)
class Made:
    """What was made of a batch.

    Attributes:
        table: sha256 of the batch's table.
        archive: Status of the batch's archive.
        targets: Fingerprint of every structure's folder, by id.
        failed: Reason by id of the targets that failed.
        unstored: Ids of results that the store did not take.
    """

    table: str
    archive: Status | None
    targets: Mapping[str, str]
    failed: Mapping[str, str] = field(default_factory=dict)
    unstored: tuple[str, ...] = ()


def status(path: Path) -> Status | None:
    """Bytes and time of a file; None if it is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def digest(path: Path) -> str:
    """sha256 of a file; an empty text if it cannot be read."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return ""


def fingerprint(folder: Path) -> str:
    """Of the names, sizes and times of what is ours in a folder; an empty text if it is not there."""
    try:
        with os.scandir(folder) as entries:
            found = sorted((entry.name, entry.stat()) for entry in entries if is_ours(entry.name))
    except OSError:
        return ""
    text = "\0".join(f"{name}/{its.st_size}/{its.st_mtime_ns}" for name, its in found)
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:20]


def is_ours(name: str) -> bool:
    """Whether a file of a structure's folder is one that a run makes: others are its user's, and stay."""
    return _OURS.fullmatch(name) is not None


def batches(results: Path) -> list[str]:
    """Batches of which it is written down what was made."""
    return sorted(path.stem for path in (results / _FOLDER).glob("*.json") if path.name != _REPORT)


def note_batch(results: Path, batch: str, rows: Iterable[Mapping[str, Any]], unstored: Iterable[str]) -> Made:
    """Write down what was made of a batch; `rows` are those of its table."""
    structures = results / "structures"
    done = [row["id"] for row in rows if row["state"] == "done"]
    made = Made(
        table=digest(table_of(results, batch)),
        archive=status(archive_of(results, batch)),
        targets={name: fingerprint(structures / name) for name in done},
        failed={row["id"]: str(row["reason"]) for row in rows if row["state"] == "failed"},
        unstored=tuple(unstored),
    )
    write_atomically(_path(results, batch), json.dumps(asdict(made)).encode())
    return made


def read_batch(results: Path, batch: str) -> Made | None:
    """What was made of a batch; None if nothing says so (an older snakefold made it), or it is damaged."""
    try:
        found = json.loads(_path(results, batch).read_bytes())
        return Made(
            table=str(found["table"]),
            archive=None if found["archive"] is None else _status(found["archive"]),
            targets=dict(found["targets"]),
            failed=dict(found["failed"]),
            unstored=tuple(found["unstored"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def forget_batch(results: Path, batch: str) -> None:
    """What was made of a batch is made anew by another plan: archive and table go, and what is noted."""
    for path in (archive_of(results, batch), table_of(results, batch), _path(results, batch)):
        path.unlink(missing_ok=True)


def note_report(results: Path) -> None:
    """Write down what was made with the report."""
    write_atomically(_path(results, "report"), json.dumps(_report_files(results)).encode())


def report_is_whole(results: Path) -> bool:
    """Whether tables, figures and pages are as they were made, as far as that was written down."""
    try:
        noted = json.loads(_path(results, "report").read_bytes())
    except (OSError, ValueError):
        return True
    now = _report_files(results)
    return isinstance(noted, dict) and all(now.get(name) == its for name, its in noted.items())


def table_of(results: Path, batch: str) -> Path:
    """A batch's rows."""
    return results / "tables" / f"{batch}.parquet"


def archive_of(results: Path, batch: str) -> Path:
    """A batch's archive."""
    return results / "predictions" / f"{batch}.tar.zst"


def _path(results: Path, batch: str) -> Path:
    return results / _FOLDER / f"{batch}.json"


def _status(found: Any) -> Status:
    size, changed = found
    return int(size), int(changed)


def _report_files(results: Path) -> dict[str, int | str]:
    """Sizes of the report's files, and sums of the tables."""
    files: dict[str, int | str] = {name: digest(results / name) for name in _TABLES}
    for top in (_FIGURES, _PAGES):
        for folder, _, names in os.walk(results / top):
            place = Path(folder).relative_to(results).as_posix()
            with os.scandir(folder) as entries:
                files |= {
                    f"{place}/{entry.name}": entry.stat().st_size
                    for entry in entries
                    if entry.name in set(names) and entry.name[0] != "."
                }
    return files
