"""`snakefold run`: starts Snakemake with the workflow and its screen, and does nothing else."""

from __future__ import annotations

import argparse
import hashlib
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from snakefold.cli._command import Commands, command
from snakefold.cli._settings import add_settings, executor_of, settings_given, settings_of
from snakefold.kernel.errors import SnakefoldError, StoreError
from snakefold.kernel.paths import house
from snakefold.kernel.store import write_atomically


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
    parser.add_argument("--cores", default=None, help="cores to use; if not given, the profile's number")
    parser.add_argument("--dry-run", "-n", action="store_true", help="show the jobs; start none")
    parser.add_argument(
        "--verbose", action="store_true", help="show Snakemake's own output in place of the panel"
    )
    parser.usage = "%(prog)s [OPTIONS] [INPUT ...] [-- OPTIONS OF SNAKEMAKE]"


def snakemake_command(options: argparse.Namespace, configfile: str | None) -> list[str]:
    """The command line that `snakefold run` becomes, with its settings in `configfile` if there are any."""
    workflow = house()
    own = workflow / "profiles" / options.profile
    # A name is that of a profile of ours; ./slurm is a folder, whatever else has that name.
    profile = own if os.sep not in options.profile and own.is_dir() else Path(options.profile)
    shown = not (options.dry_run or options.verbose or _has_option(options.passed_on, "--logger"))
    command_line = [
        sys.executable,
        "-m",
        "snakemake" if options.dry_run else "snakefold.cli._start",
        "--snakefile",
        str(workflow / "workflow" / "Snakefile"),
    ]
    if configfile is not None:
        # What profiles say of settings is in the file; Snakemake would let it win over the command line.
        command_line += ["--configfile", configfile, "--config"]
    if shown:
        command_line += ["--logger", "snakefold"]  # takes several names: an option must follow
    if profile == own and not _has_option(options.passed_on, "--resources"):
        command_line += _gpus_here(profile / "config.yaml", options)  # several, too
    command_line += ["--workflow-profile", str(profile)]
    command_line.append("--nolock")  # `hold_results` does it
    if options.cores:
        command_line += ["--cores", options.cores]
    if options.dry_run:
        command_line.append("--dry-run")
    return command_line + options.passed_on


def _has_option(words: Sequence[str], name: str) -> bool:
    return any(word == name or word.startswith(f"{name}=") for word in words)


def _gpus_here(profile: Path, options: argparse.Namespace) -> list[str]:
    """Options that give a profile, which says that jobs run here on one GPU, those of this machine: all, or
    as many as `gpu.workers` says."""
    from snakefold.kernel.devices import devices

    try:
        resources = yaml.safe_load(profile.read_text(encoding="utf-8")).get("resources")
    except (OSError, yaml.YAMLError, AttributeError):
        return []
    number = len(devices())
    if not isinstance(resources, dict) or resources.get("gpu") != 1 or number < 2:
        return []
    workers = settings_of(options).gpu.workers
    number = min(number, workers if isinstance(workers, int) else (workers or {}).get("local", number))
    return ["--resources", *(f"{name}={value}" for name, value in {**resources, "gpu": number}.items())]


def write_settings(path: Path, values: dict[str, Any]) -> None:
    """Write settings as Snakemake reads them, whatever the locale is: in ASCII."""
    write_atomically(path, yaml.safe_dump(values, sort_keys=False).encode("ascii"))


def _configfile(values: dict[str, Any], results: str, *, dry_run: bool) -> str:
    """A file of these settings that Snakemake and its jobs read, on a cluster as well.

    It is in the current folder, below which Snakemake wants it where jobs share no disk. A dry run leaves no
    file: Snakemake reads one of this process, which it becomes.
    """
    if dry_run:
        handle = os.memfd_create("settings.yaml", 0)  # without MFD_CLOEXEC: it outlives `exec`
        os.write(handle, yaml.safe_dump(values, sort_keys=False).encode("ascii"))
        return f"/proc/self/fd/{handle}"
    # Runs of other results may be started here at the same time.
    name = hashlib.sha256(os.path.realpath(results).encode()).hexdigest()[:12]
    from snakefold.plan.contents import OWN

    path = Path(OWN) / f"settings-{name}.yaml"
    write_settings(path, values)
    return str(path)


def prepare(options: argparse.Namespace) -> list[str]:
    """Check the settings, hold the folder of results, and hand the settings on: all but the start.

    Returns:
        The command line of Snakemake.

    Raises:
        SnakefoldError: a setting or an input is wrong, what a setting names is missing (`check_run`), or
            another run is active in the folder of results.
    """
    taken = [word for word in options.passed_on if word.startswith("--configfile")]
    if taken:
        raise SnakefoldError(
            f"{taken[0]}: give it before the `--`, where it is read with the other settings."
        )
    from snakefold.config import is_demo
    from snakefold.plan.preflight import check_run
    from snakefold.plan.stages import stages_of

    values = settings_given(options)
    config = settings_of(options)
    results = config.results
    for each in stages_of(config).values():
        check_run(each, executor_of(options))
    if not options.dry_run:
        if executor_of(options).name == "slurm":
            from snakefold.clusters.slurm import check_reachable

            check_reachable()
        from snakefold.kernel.store.location import is_s3
        from snakefold.plan.lock import hold_results
        from snakefold.run.retries import check_writable

        hold_results(Path(results))
        check_writable(Path(results))
        if not is_s3(config.store):
            try:
                check_writable(Path(config.store))
            except OSError as error:
                raise StoreError(
                    f"store: {config.store}: cannot be written ({error.strerror}). Set store to a folder."
                ) from error
    if is_demo(config):
        print(
            "The input is the demo set. For your own proteins: snakefold run my.fasta",
            file=sys.stderr,
        )
    configfile = _configfile(values, results, dry_run=options.dry_run) if values else None
    return snakemake_command(options, configfile)


def _run(options: argparse.Namespace) -> int:
    arguments = prepare(options)
    from snakefold.cli._start import RESULTS
    from snakefold.plan.provenance import COMMAND

    os.environ[RESULTS] = str(Path(settings_of(options).results).absolute())
    os.environ[COMMAND] = shlex.join(["snakefold", *sys.argv[1:]])
    # The process becomes Snakemake: signals are its own.
    return os.execv(arguments[0], arguments)
