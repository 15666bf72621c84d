"""What a run leaves for other programs and for a paper: methods, citations, the columns of its metrics."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from snakefold.cli._command import Commands, command


def add(commands: Commands) -> None:
    """Add the commands."""
    methods = command(
        commands,
        "methods",
        _methods,
        summary="print a methods paragraph of a run, or its sources as BibTeX",
        example="snakefold methods results --bibtex > run.bib",
    )
    methods.add_argument(
        "results", type=Path, nargs="?", default=Path("results"), help="results folder of a run"
    )
    methods.add_argument("--bibtex", action="store_true", help="the sources of what the run used")
    methods.add_argument("--all", action="store_true", help="all sources, of whatever run, as Markdown")

    command(
        commands,
        "columns",
        _columns,
        summary="print what the columns of metrics.tsv and metrics.parquet mean",
        example="snakefold columns > docs/results.md",
    )


def _methods(options: argparse.Namespace) -> None:
    from snakefold.kernel import citations
    from snakefold.kernel.errors import SnakefoldError
    from snakefold.run import methods

    if options.all:
        print(citations.table(), end="")
        return
    path = options.results / "provenance.json"
    try:
        provenance = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SnakefoldError(f"{path}: cannot be read ({error}). Expected the results of a run.") from error
    print(methods.bibtex(provenance) if options.bibtex else methods.paragraph(provenance))


def _columns(_options: argparse.Namespace) -> None:
    from snakefold.run.metrics import columns_table

    print(columns_table(), end="")
