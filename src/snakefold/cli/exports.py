"""What a run leaves for other programs and for a paper: methods, citations, the columns of its metrics."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from snakefold.cli._command import Commands, command
from snakefold.kernel.wording import count


def add(commands: Commands) -> None:
    """Add the commands."""
    methods = command(
        commands,
        "methods",
        _methods,
        summary="print the methods paragraph of a run, or its references as BibTeX",
        example="snakefold methods results --bibtex > run.bib",
    )
    methods.add_argument(
        "results", type=Path, nargs="?", default=Path("results"), help="results folder of a run"
    )
    methods.add_argument("--bibtex", action="store_true", help="print the run's references as BibTeX")
    methods.add_argument("--all", action="store_true", help="print all references, not of a run, as Markdown")

    top = commands.add_parser(
        "export",
        help="write results in the formats of other programs",
        description="Write results in the formats of other programs. A format's own help: "
        "snakefold export pae --help.",
        epilog="Example: snakefold export pae results",
    )
    formats = top.add_subparsers(title="formats", metavar="FORMAT", required=True)
    pae = command(
        formats,
        "pae",
        _pae,
        summary="write the PAE of models as AlphaFold DB has it (JSON, whole Å), for ChimeraX and viewers",
        example="snakefold export pae results --target crambin --out pae",
    )
    pae.add_argument("results", type=Path, nargs="?", default=Path("results"), help="results folder of a run")
    pae.add_argument(
        "--out",
        type=Path,
        default=None,
        help="folder for <id>_pae_<n>.json; if not given, pae in the results",
    )
    summary = command(
        formats,
        "summary",
        _summary,
        summary="write the scores of models as AlphaFold 3 and its server do (JSON)",
        example="snakefold export summary results --all-models",
    )
    summary.add_argument(
        "results", type=Path, nargs="?", default=Path("results"), help="results folder of a run"
    )
    summary.add_argument(
        "--out",
        type=Path,
        default=None,
        help="folder for <id>_summary_confidences_<n>.json; if not given, summaries in the results",
    )
    for each in (pae, summary):
        each.add_argument(
            "--target", nargs="+", metavar="ID", default=None, help="of these; if not given, of all"
        )
        each.add_argument("--all-models", action="store_true", help="of every model, not of the best alone")

    command(
        commands,
        "columns",
        _columns,
        summary="print the meaning of the columns of metrics.tsv, metrics.parquet and designs.tsv",
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


def _pae(options: argparse.Namespace) -> None:
    from snakefold.run.exports.pae import write_pae

    out = options.out or options.results / "pae"
    written, without = write_pae(options.results, out, options.target, every=options.all_models)
    print(f"{out}: {count(written, 'file')}" + (f"; no PAE: {', '.join(without)}" if without else ""))


def _summary(options: argparse.Namespace) -> None:
    from snakefold.run.exports.summary import write_summaries

    out = options.out or options.results / "summaries"
    written = write_summaries(options.results, out, options.target, every=options.all_models)
    print(f"{out}: {count(written, 'file')}")


def _columns(_options: argparse.Namespace) -> None:
    from snakefold.run.metrics import columns_table

    print(columns_table(), end="")
