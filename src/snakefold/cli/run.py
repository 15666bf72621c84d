"""`snakefold run`: starts Snakemake with the workflow, and does nothing else."""

from __future__ import annotations

import argparse
import fcntl
import os
import shlex
import sys
from pathlib import Path

from snakefold.cli._command import Commands, command
from snakefold.cli._settings import add_settings, configfiles, settings_arguments
from snakefold.errors import SnakefoldError
from snakefold.paths import house
from snakefold.provenance import COMMAND


def add(commands: Commands) -> None:
    """Add the command."""
    parser = command(
        commands,
        "run",
        _run,
        summary="fold a set of proteins",
        example="snakefold run proteins.fasta --set msa.tool=mmseqs --set results=out -- --cores 8",
    )
    add_settings(parser)
    parser.add_argument("--cores", default=None, help="cores to use; the profile's number if not given")
    parser.add_argument("--dry-run", "-n", action="store_true", help="show what would be done")
    parser.usage = "%(prog)s [OPTIONS] [INPUT ...] [-- OPTIONS OF SNAKEMAKE]"


def snakemake_command(options: argparse.Namespace) -> list[str]:
    """The command line that `snakefold run` becomes."""
    workflow = house()
    own = workflow / "profiles" / options.profile
    # A name is that of a profile of ours; ./slurm is a folder, whatever else has that name.
    profile = own if os.sep not in options.profile and own.is_dir() else Path(options.profile)
    command_line = [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        str(workflow / "workflow" / "Snakefile"),
    ]
    command_line += ["--workflow-profile", str(profile)]
    command_line.append("--nolock")  # `hold_folder` does it
    if files := configfiles(options):
        command_line += ["--configfile", *map(str, files)]
    if settings := settings_arguments(options):
        command_line += ["--config", *settings]
    if options.cores:
        command_line += ["--cores", options.cores]
    if options.dry_run:
        command_line.append("--dry-run")
    return command_line + options.passed_on


def hold_folder(folder: Path) -> None:
    """Keep other runs out of `folder` for as long as this process lives, whatever ends it.

    Snakemake's own lock is a file, which a killed run leaves behind; the kernel's ends with its process.
    """
    path = folder / ".snakefold" / "run.lock"
    path.parent.mkdir(exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise SnakefoldError(
            f"{folder}: another run is active here. Wait for it, or start in another folder."
        ) from error
    os.set_inheritable(handle, True)  # Snakemake holds it from now on


def _run(options: argparse.Namespace) -> int:
    arguments = snakemake_command(options)
    if not options.dry_run:
        hold_folder(Path.cwd())
    os.environ[COMMAND] = shlex.join(["snakefold", *sys.argv[1:]])
    # The process becomes Snakemake: signals and the exit code are its own.
    os.execv(arguments[0], arguments)
