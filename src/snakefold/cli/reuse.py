"""`snakefold reuse`: index a collection of structures ahead of a run, and see what cannot be taken."""

from __future__ import annotations

import argparse
from pathlib import Path

from snakefold.cli._command import Commands, command
from snakefold.kernel.wording import count


def add(commands: Commands) -> None:
    """Add the command."""
    reuse = command(
        commands,
        "reuse",
        _reuse,
        summary="index a collection of structures for the setting `reuse`",
        example="snakefold reuse UP000000625_83333_ECOLI_v4.tar --list",
    )
    reuse.add_argument("collections", nargs="+", metavar="COLLECTION", help="a folder or a .tar")
    reuse.add_argument("--list", action="store_true", help="list every file that cannot be used, and why")
    reuse.add_argument(
        "--cache", type=Path, default=None, help="folder of the indexes; if not given, in your cache folder"
    )


def _reuse(options: argparse.Namespace) -> None:
    from snakefold.engines.reuse.index import open_index

    for collection in options.collections:
        with open_index(collection, _log, options.cache) as index:
            if options.list:
                for place, problem in index.problems():
                    print(f"{place}\t{problem}")
            contents = index.contents()
        print(
            f"{collection}: {count(contents.structures, 'structure')}, {contents.indexed} can be looked up, "
            f"{contents.unusable} cannot be taken"
        )


def _log(line: str) -> None:
    print(line, flush=True)
