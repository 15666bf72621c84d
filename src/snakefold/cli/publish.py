"""`snakefold publish`: a run's results to a bucket, for others to look at."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from snakefold.cli._command import Commands, command
from snakefold.kernel.wording import count


def add(commands: Commands) -> None:
    """Add the command."""
    parser = command(
        commands,
        "publish",
        _publish,
        summary="send new and changed structures, report and tables of a run to a bucket",
        example="snakefold publish results 's3://lab/results/first?endpoint_url=https://s3.example.org'",
    )
    parser.add_argument("results", type=Path, help="results folder of a run")
    parser.add_argument(
        "location",
        help="s3://bucket/prefix?endpoint_url=…&region=…; use one prefix per run; boto3 finds the keys",
    )
    parser.add_argument(
        "--out", type=Path, default=None, help="list of published files, written when all have arrived"
    )


def _publish(options: argparse.Namespace) -> None:
    from snakefold.kernel.store import write_atomically
    from snakefold.kernel.store.parallel import in_units
    from snakefold.run.publish import open_destination, publish

    bucket = open_destination(options.location)
    done = publish(options.results, bucket, lambda line: print(line, file=sys.stderr, flush=True))
    whole = f"{bucket.location}: {count(done.files, 'file')}, {in_units(done.size)}"
    besides = f"; {done.left_out:,} left out" if done.left_out else ""
    print(f"{whole}; {done.sent:,} sent ({in_units(done.sent_size)}){besides}")
    if options.out:
        write_atomically(options.out, f"{whole}\n".encode())
