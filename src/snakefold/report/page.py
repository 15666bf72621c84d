"""Builds `results/report/`: a page, its assets, and one data file a target that the page loads on demand."""

from __future__ import annotations

import re
import secrets
import shutil
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import yaml

from snakefold import __version__
from snakefold.report.embed import script_call
from snakefold.report.libraries import Library, copy_libraries
from snakefold.report.run import Run, description, read_run, shortened
from snakefold.report.target import target_data

#: Scripts of the page's head; the others need only these to be loaded before them.
_FIRST = ("core.js", "colours.js")
_TARGET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def build(results: Path) -> Path:
    """Make the report of the run in `results` and return its page, `results/report/index.html`.

    The page opens from a disk, without a server or a network. It is built beside its place and then moved
    there whole; building again gives the same page.

    Raises:
        SnakefoldError: a file of the run is missing or damaged; the text names it.
    """
    run = read_run(results)
    token = secrets.token_hex(4)
    part, old = (results / f".report.{token}.{kind}" for kind in ("part", "old"))
    try:
        _write(part, results, run)
        place = results / "report"
        if place.exists():
            place.rename(old)
        part.rename(place)
    finally:
        for folder in (part, old):
            shutil.rmtree(folder, ignore_errors=True)
    return place / "index.html"


def _write(folder: Path, results: Path, run: Run) -> None:
    assets, data = folder / "assets", folder / "data"
    assets.mkdir(parents=True)
    data.mkdir()
    libraries = copy_libraries(assets)
    own = files("snakefold.report") / "static"
    for path in own.iterdir():
        (assets / path.name).write_bytes(path.read_bytes())
    rows = [_row(row, results, run) for row in run.metrics]
    for row in rows:
        if row["open"]:
            details = target_data(results / "structures" / row["id"], f"../structures/{row['id']}")
            (data / f"{row['id']}.js").write_bytes(script_call("snakefold.receive", row["id"], details))
    (assets / "run.js").write_bytes(
        script_call("snakefold.start", {"rows": rows, "rehearsal": run.rehearsal})
    )
    (folder / "index.html").write_text(_page(run, libraries), encoding="utf-8")


def _row(row: dict[str, Any], results: Path, run: Run) -> dict[str, Any]:
    name = row["id"]
    # The id becomes a path here and an address on the page, and metrics.tsv may have been edited by hand.
    is_open = bool(_TARGET.fullmatch(name)) and (results / "structures" / name / "confidence.json").is_file()
    planned = run.planned.get(name, {})
    return {
        **row,
        "warnings": shortened(row["warnings"]),
        "open": is_open,
        "header": description(planned),
        "note": shortened(planned.get("note", "")),
        "duplicate_of": run.duplicate_of(name),
    }


def _page(run: Run, libraries: list[Library]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("snakefold.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    provenance = dict(run.provenance)
    return environment.get_template("index.html").render(
        run=run,
        summary=run.summary(),
        duplicates=[
            (name, item["duplicate_of"]) for name, item in run.planned.items() if item["duplicate_of"]
        ],
        packages={"snakefold": provenance.get("snakefold", __version__), **provenance.get("packages", {})},
        python=provenance.get("python"),
        settings=_yaml(provenance.get("settings")),
        recipe=_yaml(provenance.get("recipe")),
        libraries=libraries,
        scripts=_scripts(),
    )


def _scripts() -> list[str]:
    names = sorted(path.name for path in (files("snakefold.report") / "static").iterdir())
    return [name for name in names if name.endswith(".js") and name not in _FIRST]


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True) if value else ""
