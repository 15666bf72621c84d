"""Commands around a run: model parameters, the settings' documentation, and where the workflow lies."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from snakefold.cli._command import Commands, command
from snakefold.kernel.paths import house


def add(commands: Commands) -> None:
    """Add the commands."""
    weights = command(
        commands,
        "weights",
        _weights,
        summary="fetch or check model parameters, or draw random ones",
        example="snakefold weights fetch ~/alphafold",
    )
    weights.add_argument("action", choices=["fetch", "check", "rehearsal"])
    weights.add_argument("folder", type=Path, help="folder with params/; fetch and rehearsal create it")
    weights.add_argument("--mirror", default=None, help="another address of the official tar")
    weights.add_argument("--blocks", type=int, default=48, help="rehearsal: number of Evoformer blocks")
    weights.add_argument(
        "--models", type=int, nargs="+", default=[1, 2, 3, 4, 5], help="rehearsal: models, of the five"
    )

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


def _weights(options: argparse.Namespace) -> int:
    from snakefold.engines.alphafold2 import weights

    if options.action == "fetch":
        weights.fetch(options.folder, mirror=options.mirror, log=lambda line: print(line, flush=True))
        return 0
    if options.action == "rehearsal":
        weights.draw_rehearsal(options.folder, models=options.models, blocks=options.blocks, log=print)
        return 0
    return weights.report_check(options.folder, log=print)


def _path(options: argparse.Namespace) -> None:
    print(house() / _PARTS[options.part])


def _settings(options: argparse.Namespace) -> None:
    from snakefold.plan import settings_docs

    text = {
        "schema": lambda: json.dumps(settings_docs.schema(), indent=2),
        "table": settings_docs.markdown,
    }
    print(text[options.form]())
