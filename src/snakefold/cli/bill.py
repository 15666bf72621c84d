"""`snakefold bill`: what a run cost, against its quote."""

from __future__ import annotations

import argparse
from pathlib import Path

from snakefold.cli._command import Commands, command


def add(commands: Commands) -> None:
    """Add the command."""
    parser = command(
        commands,
        "bill",
        _bill,
        summary="write bill.tsv and bill.json of a run: seconds and dollars per batch and target",
        example="snakefold bill results",
    )
    parser.add_argument("results", type=Path, help="results folder of a run")
    parser.add_argument("--json", action="store_true", help="print bill.json")


def _bill(options: argparse.Namespace) -> None:
    from snakefold.clusters.runpod.billing import runpod_figure
    from snakefold.run.bill import bill_text, write_bill

    bill = write_bill(options.results, service=runpod_figure)
    print(bill.model_dump_json(indent=1) if options.json else bill_text(bill))
