"""`snakefold status`: how a run stands, while Snakemake runs elsewhere or after it has ended."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from snakefold.cli._command import Commands, command


def add(commands: Commands) -> None:
    """Add the command."""
    status = command(
        commands,
        "status",
        _status,
        summary="show the progress of a run; the exit code is 1 if targets failed or the run broke off",
        example="snakefold status results --once",
    )
    status.add_argument(
        "results", type=Path, nargs="?", default=Path("results"), help="results folder of a run"
    )
    status.add_argument(
        "--once", action="store_true", help="print one line and exit; the default without a terminal"
    )
    status.add_argument("--json", action="store_true", help="print everything as one JSON object and exit")
    status.add_argument("--interval", type=float, default=2.0, metavar="SECONDS", help="time between updates")


def _status(options: argparse.Namespace) -> int:
    from snakefold.run.status import Reader, line, screen

    reader = Reader(options.results)
    found = reader.read()
    if options.json:
        print(json.dumps(found.as_json(), indent=1))
        return found.exit_code
    if options.once or not sys.stdout.isatty():
        print(line(found))
        return found.exit_code
    from rich.live import Live

    try:
        with Live(screen(found), auto_refresh=False) as live:
            while found.state in {"planning", "running"}:
                time.sleep(max(0.1, options.interval))
                found = reader.read()
                live.update(screen(found), refresh=True)
    except KeyboardInterrupt:  # it was only being looked at
        pass
    return found.exit_code
