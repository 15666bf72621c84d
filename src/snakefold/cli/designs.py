"""`snakefold designs`: the designs of a run with their scores; and the steps that make this table."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from snakefold.cli._command import Commands, command
from snakefold.cli._step import noting
from snakefold.kernel.wording import count

#: Columns of the table on a screen; designs.tsv has all.
_SHOWN = (
    *("id", "passes", "sc_rmsd", "sc_rmsd_motif", "sc_tm", "control_tm", "mean_plddt", "iptm", "recovery"),
    *("score", "identity", "nearest", "nearest_identity"),
)


def add(commands: Commands) -> None:
    """Add the commands."""
    designs = command(
        commands,
        "designs",
        _designs,
        summary="list the designs of a run with their scores, as a table or as FASTA",
        example="snakefold designs results --passed --sort sc_rmsd --fasta > passed.fasta",
    )
    designs.add_argument("results", type=Path, help="results folder of a run that designed sequences")
    designs.add_argument("--passed", action="store_true", help="only designs that pass")
    designs.add_argument("--fasta", action="store_true", help="print FASTA, chains separated by ':'")
    designs.add_argument("--backbone", metavar="ID", default=None, help="only designs of this backbone")
    designs.add_argument(
        "--sort",
        metavar="COLUMN",
        default=None,
        help="a column of designs.tsv (docs/results.md); the best, or lowest, comes first, empty cells last",
    )

    sequences = command(
        commands,
        "sequences",
        _sequences,
        summary="write the designs of the first stage as the input of the second (a step of the workflow)",
        example="snakefold sequences results",
    )
    sequences.add_argument("results", type=Path, help="results folder of a run")

    gather = command(
        commands,
        "gather",
        _gather,
        summary="list the designs of the first stage in one file (a step of the workflow)",
        example="snakefold gather results",
    )
    gather.add_argument("results", type=Path, help="results folder of a run")

    compare = command(
        commands,
        "compare",
        noting(_compare),
        summary="compare the structures of a batch with the backbones of their designs",
        example="snakefold compare results/tables/b0001-l0128.parquet --designed "
        "results/designs/designed.parquet --out results/designs/compared/b0001-l0128.parquet",
    )
    compare.add_argument("table", type=Path, help="the batch's table, made by `snakefold collect`")
    _designed(compare)
    compare.add_argument(
        "--control", type=Path, default=None, help="structure with another fold, to compare with as well"
    )
    compare.add_argument("--out", type=Path, required=True, help="Parquet file for the scores")

    nearest = command(
        commands,
        "nearest",
        noting(_nearest),
        summary="find the nearest known sequence of every design (MMseqs2)",
        example="snakefold nearest swissprot.fasta.gz --designed results/designs/designed.parquet "
        "--out nearest.tsv",
    )
    nearest.add_argument("database", type=Path, help="FASTA file, or prefix of an MMseqs2 database")
    _designed(nearest)
    nearest.add_argument("--threads", type=int, default=1, help="threads")
    nearest.add_argument("--memory", type=int, metavar="MB", default=4000, help="memory of the search")
    nearest.add_argument("--out", type=Path, required=True, help="table of the hits")

    judge = command(
        commands,
        "judge",
        _judge,
        summary="write designs.tsv and the designs that pass, from the scores of the batches",
        example="snakefold judge results --config results/config.yaml --compared "
        "results/designs/compared/b0001-l0128.parquet",
    )
    judge.add_argument("results", type=Path, help="results folder of a run")
    judge.add_argument("--config", type=Path, required=True, help="config.yaml of the run")
    judge.add_argument("--compared", type=Path, nargs="*", default=[], help="scores of the batches")


def _designed(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--designed", type=Path, required=True, help="list of all designs, made by `snakefold gather`"
    )


def _log(line: str) -> None:
    print(line, flush=True)


def _designs(options: argparse.Namespace) -> None:
    from snakefold.kernel import tables
    from snakefold.run.designs.columns import DESIGN_COLUMNS
    from snakefold.run.designs.table import fasta, read_table

    rows = read_table(options.results)
    if options.backbone is not None:
        rows = _of_backbone(rows, options.backbone)
    if options.passed:
        rows = [row for row in rows if row["passes"]]
    if options.sort is not None:
        rows = _sorted(rows, options.sort)
    if options.fasta:
        sys.stdout.writelines(fasta(rows))
        return
    # A table with tabs goes into a pipe or a file; on a screen columns are aligned.
    names = list(DESIGN_COLUMNS)
    if not sys.stdout.isatty():
        cells = ([row[name] for name in names] for row in rows)
        sys.stdout.writelines(tables.lines(names, cells, floats=".6g"))
        return
    shown = [
        name
        for name in _SHOWN
        if name in ("id", "passes") or any(row[name] not in (None, "") for row in rows)
    ]
    print("\n".join(_aligned([shown, *([_text(row[name]) for name in shown] for row in rows)])))


def _of_backbone(rows: list[dict[str, Any]], backbone: str) -> list[dict[str, Any]]:
    from snakefold.kernel.errors import SnakefoldError

    found = [row for row in rows if row["backbone"] == backbone]
    if not found:
        known = list(dict.fromkeys(row["backbone"] for row in rows))
        more = f" and {len(known) - 5} more" if len(known) > 5 else ""
        raise SnakefoldError(
            f"--backbone {backbone}: no such backbone. There are {', '.join(known[:5])}{more}."
        )
    return found


def _sorted(rows: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    from snakefold.kernel.errors import SnakefoldError
    from snakefold.run.designs.columns import DESIGN_COLUMNS, HIGHER_IS_BETTER

    if name not in DESIGN_COLUMNS:
        raise SnakefoldError(f"--sort {name}: no such column. There are {', '.join(DESIGN_COLUMNS)}.")
    there = [row for row in rows if row[name] not in (None, "")]
    there.sort(key=lambda row: row[name], reverse=name in HIGHER_IS_BETTER)
    return there + [row for row in rows if row[name] in (None, "")]


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "–" if value in (None, "") else f"{value:.4g}" if isinstance(value, float) else str(value)


def _aligned(rows: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def _sequences(options: argparse.Namespace) -> None:
    from snakefold.run.designs.made import write_sequences

    _log(f"{count(write_sequences(options.results), 'design')}")


def _gather(options: argparse.Namespace) -> None:
    from snakefold.run.designs.listed import write_list

    _log(f"{count(write_list(options.results), 'design')}")


def _compare(options: argparse.Namespace) -> None:
    from snakefold.run.designs.compare import compare_batch

    results = options.table.parent.parent
    compared = compare_batch(
        options.table, options.designed, results, options.out, _log, control=options.control
    )
    _log(f"{options.table.stem}: {count(compared, 'design')} compared")


def _nearest(options: argparse.Namespace) -> None:
    from snakefold.run.designs.novelty import write_nearest

    with tempfile.TemporaryDirectory(prefix="snakefold-nearest-") as work:
        write_nearest(
            options.designed,
            options.database,
            options.out,
            Path(work),
            _log,
            threads=options.threads,
            mem_mb=options.memory,
        )


def _judge(options: argparse.Namespace) -> None:
    from snakefold.config import read_config
    from snakefold.run.designs.table import write_designs

    made, passed = write_designs(options.results, read_config(options.config).design, options.compared)
    _log(f"{count(made, 'design')}, {passed} pass")
