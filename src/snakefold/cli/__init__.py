"""The command line: `snakefold run` for people, and one command per step for the workflow's rules."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from snakefold import __version__
from snakefold.cli import (
    bill,
    calibrate,
    contracts,
    convert,
    db,
    deploy,
    designs,
    emulator,
    engines,
    errors,
    exports,
    plan,
    profiles,
    publish,
    report,
    reuse,
    run,
    serve,
    simulate,
    status,
    steps,
    store,
    tools,
    weights,
    worker,
)
from snakefold.kernel.errors import SnakefoldError, disk_error
from snakefold.kernel.paths import have_home


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `snakefold`.

    Returns:
        0 if all is well, 1 if targets failed, 2 if a setting, an input or the installation must be put right.
    """
    if arguments is None:
        _read_names_as_utf8()
    options = parse(sys.argv[1:] if arguments is None else arguments)
    signal.signal(signal.SIGTERM, _leave)
    try:
        have_home()
        return int(options.function(options) or 0)
    except SnakefoldError as error:
        print(f"snakefold: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # the reader of a listing has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        # Written bytes that find no room name no file.
        place = Path(error.filename).parent if error.filename else getattr(options, "results", None)
        told = disk_error(error, place or Path.cwd()) or _unusable(error, options)
        if told is None:
            raise
        print(f"snakefold: {told}", file=sys.stderr)
        return told.exit_code
    except KeyboardInterrupt:
        print("snakefold: interrupted. Run the same command to resume.", file=sys.stderr)
        return 130


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Options of a command line; what follows `--` is kept for Snakemake as `passed_on`."""
    words = list(arguments)
    passed_on: list[str] = []
    if "--" in words:
        words, passed_on = words[: words.index("--")], words[words.index("--") + 1 :]
    options = parser().parse_args(words)
    options.passed_on = passed_on
    return options


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(
        prog="snakefold",
        description="Batch protein folding with AlphaFold2 as a Snakemake workflow.",
        epilog="Example: snakefold run proteins.fasta",
    )
    top.add_argument("--version", action="version", version=f"snakefold {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    run.add(commands)
    plan.add(commands)
    bill.add(commands)
    simulate.add(commands)
    calibrate.add(commands)
    weights.add(commands)
    tools.add(commands)
    steps.add(commands)
    designs.add(commands)
    report.add(commands)
    status.add(commands)
    exports.add(commands)
    convert.add(commands)
    errors.add(commands)
    store.add(commands)
    publish.add(commands)
    db.add(commands)
    engines.add(commands)
    reuse.add(commands)
    deploy.add(commands)
    emulator.add(commands)
    serve.add(commands)
    worker.add(commands)
    profiles.add(commands)
    contracts.add(commands)
    return top


def _unusable(error: OSError, options: argparse.Namespace) -> SnakefoldError | None:
    """What to tell of a path of the command line that is a file where a folder is needed, or the reverse.

    None of a path that nobody gave: that is a defect of ours.
    """
    if not isinstance(error, FileExistsError | NotADirectoryError | IsADirectoryError):
        return None
    failed = [Path(os.fsdecode(name)).absolute() for name in (error.filename, error.filename2) if name]
    given = {Path(value).absolute() for value in vars(options).values() if isinstance(value, str | Path)}
    if isinstance(error, IsADirectoryError):
        what = "is a folder, expected a file"
        found = [path for path in failed if path in given and path.is_dir()]
    else:
        what = "is a file, expected a folder"
        leading = {path for each in given for path in (each, *each.parents)}
        tried = [path for each in failed for path in (each, *each.parents)]
        found = [path for path in tried if path in leading and path.exists() and not path.is_dir()]
    return SnakefoldError(f"{found[0]}: {what}. Give another one.") if found else None


def _read_names_as_utf8() -> None:
    """Begin again in UTF-8 where the locale is another: names of files go into files, and come back."""
    if sys.getfilesystemencoding().lower() != "utf-8":
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _leave(signum: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + signum)
