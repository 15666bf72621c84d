"""One way to add a command, so that every one has a help text with an example."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

Commands = Any  # argparse names the type of add_subparsers() only privately


def command(
    commands: Commands,
    name: str,
    function: Callable[[argparse.Namespace], int | None],
    *,
    summary: str,
    example: str,
) -> argparse.ArgumentParser:
    """Add command `name`, which calls `function` with the parsed options."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=f"Example: {example}",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.set_defaults(function=function)
    return parser
