"""Which files of a results folder are published: what the report shows, and what it was made from."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from snakefold.kernel.errors import SnakefoldError
from snakefold.run.metrics import read_structures
from snakefold.run.summary import summarise

#: Below the results folder; a folder ends with a slash. Not here: what the store has (msa/, requests/,
#: predictions/), steps between (tables/), and what is of use here alone (logs/, plan/weights.json).
PRODUCTS = (
    *("bill.json", "bill.tsv", "citations.bib", "config.yaml", "designs.tsv", "designs/passed.fasta"),
    *("failures.tsv", "figures/", "methods.md"),
    *("metrics.parquet", "metrics.tsv", "multiqc/"),
    *("plan/batches.tsv", "plan/chains.tsv", "plan/quote.json", "plan/refusals.json", "plan/targets.tsv"),
    *("provenance.json", "report/", "ro-crate-metadata.json", "structures/", "workflow/"),
)
#: Made when it is published: the run's own (if nothing failed) is written later, and names a place here.
SUMMARY = "summary.txt"
#: Without these there is nothing to publish.
NEEDED = ("failures.tsv", "metrics.tsv", "report/index.html")

#: Bytes of a name. S3 takes 1,024, prefix included.
_LONGEST = 900
_LINK = "a link"

#: Called with the name of what is left out, and why.
LeftOut = Callable[[str, str], None]


class File(NamedTuple):
    """A file to publish: its name there, where it is, and its bytes and time (ns) before it was read."""

    name: str
    path: Path
    size: int
    modified: int


def published_files(results: Path, left_out: LeftOut) -> Iterator[File]:
    """Files of a finished run. Nothing is followed out of the folder: links and what is no file are left out.

    Folders of structures that metrics.tsv does not list are those of earlier runs, and not of this one.

    Raises:
        SnakefoldError: a folder cannot be read, or it is no finished run's; the text names what is missing.
    """
    if missing := [name for name in NEEDED if _is_link(results, name) or not file_at(name, results / name)]:
        raise SnakefoldError(
            f"{results}: {', '.join(missing)} not found (links do not count). Expected the results of a "
            f"finished run; `snakefold report {results}` makes them from what there is."
        )
    targets = {row.id for row in read_structures(results)}
    for product in PRODUCTS:
        if _is_link(results, product):
            left_out(product, _LINK)
        elif product.endswith("/"):
            only = targets if product == "structures/" else None
            yield from _below(results, product.rstrip("/"), left_out, only)
        else:
            yield from _file(product, results / product, left_out)


def write_summary(results: Path, path: Path) -> None:
    """What a run says at its end, without places of this machine."""
    path.write_text(f"{summarise(results, Path())[0]}\n", encoding="utf-8")


def file_at(name: str, path: Path) -> File | None:
    """The file to publish as `name`; None if nothing is there, or no file."""
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return File(name, path, found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else None


def _is_link(results: Path, product: str) -> bool:
    return (results / product.partition("/")[0]).is_symlink()


def _file(name: str, path: Path, left_out: LeftOut) -> Iterator[File]:
    if found := file_at(name, path):
        yield found
    elif os.path.lexists(path):
        left_out(name, _LINK if path.is_symlink() else "no plain file")


def _below(
    results: Path, name: str, left_out: LeftOut, only: Collection[str] | None = None
) -> Iterator[File]:
    try:
        with os.scandir(results / name) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise SnakefoldError(
            f"{results / name}: cannot be read ({error}). Correct its permissions."
        ) from error
    for entry in entries:
        # A name with a dot is of a file that is being written, or of a program that looked at the folder.
        if entry.name.startswith(".") or (only is not None and entry.name not in only):
            continue
        below = f"{name}/{entry.name}"
        if not below.isprintable() or len(below.encode()) > _LONGEST:
            left_out(repr(below), "its name")
        elif entry.is_dir(follow_symlinks=False):
            yield from _below(results, below, left_out)
        else:
            yield from _file(below, Path(entry.path), left_out)
