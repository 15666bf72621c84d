"""Builds `results/report/`: a page, its assets, and one data file a target that the page loads on demand."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any

import jinja2

from snakefold.kernel.notes import MEANINGS
from snakefold.report import designs
from snakefold.report.comparison import Others, read_others
from snakefold.report.index import index_columns, own_columns, pages
from snakefold.report.libraries import Library, copy_libraries, script_call
from snakefold.report.origin import read_origin
from snakefold.report.pages import Maker, write_pages
from snakefold.report.run import Run, read_run

#: Scripts of the page's head; the others need only these to be loaded before them.
_FIRST = ("core.js", "colours.js")
#: What the page of designs takes of them, besides its own.
_OF_DESIGNS = ("figure.js", "molecule.js", "residues.js", "structure.js")
#: Files of a run that the page links to.
_BESIDE = (
    *("metrics.tsv", "metrics.parquet", "failures.tsv", "bill.tsv", "designs.tsv", "methods.md"),
    *("citations.bib", "ro-crate-metadata.json"),
)
#: Failures listed with all that is known of them; the table has every one.
_MAX_LISTED = 100


def build(results: Path, compare: Sequence[str] = ()) -> Path:
    """Make the report of the run in `results` and return its page, `results/report/index.html`.

    The page opens from a disk, without a server or a network. It is built beside its place and then moved
    there whole; building again gives the same page, and reads only targets that changed. A second build of
    the same folder waits for the first.

    Args:
        results: The run's folder.
        compare: Other results to show beside these, as `comparison.read_others` takes them.

    Raises:
        SnakefoldError: a file of the run is missing or damaged; the text names it.
    """
    return place_page(results, read_run(results), "report", read_others(compare))


def place_page(results: Path, run: Run, name: str, others: Sequence[Others] = (), *, stamp: str = "") -> Path:
    """Make the page of a run in the folder `name` of its results; returns its index.html.

    Args:
        stamp: tells this page from others of a run that is going on (`provisional`); empty for its report.
    """
    with _alone(results):
        for left in results.glob(".report.*"):  # of a build that was killed
            shutil.rmtree(left, ignore_errors=True)
        token = secrets.token_hex(4)
        part, old = (results / f".report.{token}.{kind}" for kind in ("part", "old"))
        place = results / name
        try:
            _write(part, results, run, others, stamp)
            if place.exists():
                place.rename(old)
            part.rename(place)
        finally:
            for folder in (part, old):
                shutil.rmtree(folder, ignore_errors=True)
    return place / "index.html"


@contextmanager
def _alone(results: Path) -> Iterator[None]:
    """Hold the folder; whatever ends the process ends that too."""
    handle = os.open(results, os.O_RDONLY)
    try:
        # A file system may have no locks: there two builds at a time are the user's to avoid.
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _write(folder: Path, results: Path, run: Run, others: Sequence[Others], stamp: str) -> None:
    assets, data = folder / "assets", folder / "data"
    assets.mkdir(parents=True)
    data.mkdir()
    libraries = copy_libraries(assets)
    own = files("snakefold.report") / "static"
    for path in own.iterdir():
        (assets / path.name).write_bytes(path.read_bytes())
    maker = Maker(results, data, others)
    ids = pages(results, run)
    profiles = write_pages(maker, ids, results / "report" / "data")
    # Designs are compared when all of them are there.
    found = None if stamp else designs.read_designs(results)
    if found is not None:
        designs.write_data(folder, found, ids)
        page = _render(designs.PAGE, designs=found, links=designs.links(results), scripts=_design_scripts())
        (folder / designs.PAGE).write_text(page, encoding="utf-8")
    meanings = {code: asdict(meaning) for code, meaning in MEANINGS.items()}
    content = {"columns": index_columns(run, profiles), "own": own_columns(run), "meanings": meanings}
    (assets / "run.js").write_bytes(script_call("snakefold.start", content))
    # Tables of an earlier run may lie beside the page of one that is going on.
    beside = [name for name in _BESIDE if not stamp and (results / name).is_file()]
    (folder / "index.html").write_text(_page(run, libraries, beside, stamp, found), encoding="utf-8")


def _render(template: str, **content: Any) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("snakefold.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**content)


def _page(
    run: Run, libraries: list[Library], beside: Sequence[str], stamp: str, found: designs.Designs | None
) -> str:
    duplicates = {name: item.duplicate_of for name, item in run.planned.items() if item.duplicate_of}
    return _render(
        "index.html",
        run=run,
        designs=found,
        summary=run.summary(),
        costs=run.costs,
        failures=[_failures("Failed", "failed", run.failed), _failures("Refused", "refused", run.refused)],
        duplicates=list(islice(duplicates.items(), _MAX_LISTED)),
        duplicate_count=len(duplicates),
        origin=read_origin(run.provenance),
        libraries=libraries,
        beside=beside,
        scripts=_scripts(),
        stamp=stamp,
    )


def _failures(title: str, name: str, rows: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """Failures with how often each reason came up; the first of them in full."""
    reasons: dict[str, int] = {}
    for row in rows:
        reasons[row["reason"]] = reasons.get(row["reason"], 0) + 1
    counted = sorted(reasons.items(), key=lambda item: -item[1])
    return {"title": title, "name": name, "reasons": counted, "rows": rows[:_MAX_LISTED], "count": len(rows)}


def _scripts() -> list[str]:
    return [name for name in _all_scripts() if not name.startswith("designs") and name not in _FIRST]


def _design_scripts() -> list[str]:
    return [name for name in _all_scripts() if name.startswith("designs") or name in _OF_DESIGNS]


def _all_scripts() -> list[str]:
    names = sorted(path.name for path in (files("snakefold.report") / "static").iterdir())
    return [name for name in names if name.endswith(".js")]
