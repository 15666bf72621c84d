"""`snakefold convert`: inputs in other programs' formats."""

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
        "convert",
        _convert,
        summary="write inputs as Boltz's YAML, AlphaFold 3's JSON or Chai's FASTA",
        example="snakefold convert complex.yaml complex.json --store results/store",
    )
    parser.add_argument(
        "input", nargs="+", type=Path, help="files or folders, of every kind that a run reads"
    )
    parser.add_argument(
        "out", type=Path, help="file (.yaml, .json, .fasta) for one target, or a folder for one file each"
    )
    parser.add_argument(
        "--to",
        choices=["boltz", "alphafold3", "chai"],
        help="format; if not given, the ending of OUT says it",
    )
    parser.add_argument(
        "--store",
        help="store whose alignments go along; if not given, that of the folder results, if there is one",
    )
    parser.add_argument("--recipe", help="which of the store's searches, where it has several of a sequence")


def _convert(options: argparse.Namespace) -> int:
    from snakefold.kernel.store import open_store
    from snakefold.run.convert import convert, format_of

    form = format_of(options.out, options.to)
    place = options.store or ("results/store" if Path("results/store").is_dir() else None)
    store = None if place is None else open_store(place)
    done = convert(options.input, options.out, form, store=store, recipe=options.recipe)
    for refusal in done.refused:
        print(f"refused: {refusal}", file=sys.stderr)
    for line in done.unsayable:
        print(f"not written: {line}", file=sys.stderr)
    print(f"{count(len(done.written), 'file')} written, {done.aligned} with alignments.")
    return 1 if done.refused or done.unsayable else 0
