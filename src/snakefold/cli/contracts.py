"""The contracts of the endpoints, for programs and for people."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from snakefold.cli._command import Commands, command
from snakefold.kernel.errors import SnakefoldError


def add(commands: Commands) -> None:
    """Add the command."""
    parser = command(
        commands,
        "contracts",
        _contracts,
        summary="print the JSON Schema of the endpoints' requests, or update their documentation",
        example="snakefold contracts schema > endpoints.schema.json",
    )
    parser.add_argument("form", choices=["schema", "docs"])
    parser.add_argument(
        "file",
        nargs="?",
        type=Path,
        help="docs: Markdown file whose tables are updated (docs/endpoints.md)",
    )


def _contracts(options: argparse.Namespace) -> None:
    from snakefold.kernel.store import write_atomically
    from snakefold.worker.endpoints import docs

    if options.form == "schema":
        print(json.dumps(docs.schema(), indent=2))
        return
    if options.file is None:
        raise SnakefoldError("contracts docs: name the Markdown file, for example docs/endpoints.md.")
    try:
        text = options.file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SnakefoldError(f"{options.file}: cannot be read ({error}).") from error
    write_atomically(options.file, docs.filled(text).encode())
