"""Commands around a run: the settings' documentation, and where the workflow lies."""

from __future__ import annotations

import argparse
import json

from snakefold.cli._command import Commands, command
from snakefold.kernel.paths import house


def add(commands: Commands) -> None:
    """Add the commands."""
    settings = command(
        commands,
        "config",
        _settings,
        summary="print the settings' schema (JSON Schema) or table (Markdown)",
        example="snakefold config table > config/README.md",
    )
    settings.add_argument("form", choices=["schema", "table"])

    places = command(
        commands,
        "path",
        _path,
        summary="print the path of the workflow (for snakemake --snakefile) or of another part",
        example="snakefold path workflow",
    )
    places.add_argument("part", choices=sorted(_PARTS))


#: Parts of an installation that another program is pointed at.
_PARTS = {
    "workflow": "workflow/Snakefile",
    "config": "config",
    "profiles": "profiles",
    "resources": "resources",
    "containers": "containers",
    "envs": "envs",
}


def _path(options: argparse.Namespace) -> None:
    print(house() / _PARTS[options.part])


def _settings(options: argparse.Namespace) -> None:
    from snakefold.plan import settings_docs

    text = {
        "schema": lambda: json.dumps(settings_docs.schema(), indent=2),
        "table": settings_docs.markdown,
    }
    print(text[options.form]())
