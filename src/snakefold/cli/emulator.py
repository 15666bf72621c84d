"""`snakefold emulator`: a RunPod service on this machine, for people and for other languages."""

from __future__ import annotations

import argparse
import importlib.util
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snakefold.cli._command import Commands, command
from snakefold.kernel.errors import MissingProgramError, SnakefoldError

if TYPE_CHECKING:
    from snakefold.clusters.emulator import Faults, ProcessWorkers, StubWorkers

INSTALL = "pip install 'snakefold[emulator]'"
#: Smallest values that mean something.
_LEAST = {"workers_max": 0, "workers_min": 0, "idle_timeout": 0, "queue_delay": 0, "start": 0}


def add(commands: Commands) -> None:
    """Add the command."""
    parser = command(
        commands,
        "emulator",
        _emulator,
        summary="emulate RunPod Serverless on this machine, free of charge; Ctrl-C stops it",
        example="snakefold emulator --endpoint fold=stub:30 --speed 60 --faults faults.yaml",
    )
    parser.add_argument("--port", type=int, default=8123, help="port on 127.0.0.1; 0: any free port")
    parser.add_argument(
        "--endpoint",
        action="append",
        metavar="ID=WORKERS",
        help="an endpoint and its workers: stub, stub:SECONDS, or a command that ends in "
        "runpod.serverless.start; give it once per endpoint; if not given, fold=stub",
    )
    parser.add_argument("--workers-max", type=int, default=3, help="maximum workers per endpoint")
    parser.add_argument("--workers-min", type=int, default=0, help="workers per endpoint that are always on")
    parser.add_argument(
        "--idle-timeout", type=float, default=5.0, metavar="SECONDS", help="time before an idle worker stops"
    )
    parser.add_argument(
        "--queue-delay", type=float, default=4.0, metavar="SECONDS", help="waiting time that starts a worker"
    )
    parser.add_argument(
        "--start", type=float, default=1.0, metavar="SECONDS", help="billed start time of a stub worker"
    )
    parser.add_argument("--speed", type=float, default=1.0, help="clock speed, as a multiple of real time")
    parser.add_argument("--faults", type=Path, metavar="FILE", help="script of faults, YAML or JSON")
    parser.add_argument("--list-faults", action="store_true", help="list the faults of a script, and exit")


def _emulator(options: argparse.Namespace) -> int:
    if importlib.util.find_spec("aiohttp") is None:
        raise MissingProgramError(f"The emulator needs the package aiohttp. Install it with: {INSTALL}")
    from snakefold.clusters.emulator import Clock, Emulator
    from snakefold.clusters.emulator.service import serve

    if options.list_faults:
        print(_faults_text())
        return 0
    _check(options)
    faults = _faults(options.faults)
    service = Emulator(_endpoints(options), clock=Clock(options.speed), faults=faults, port=options.port)
    try:
        serve(service)
    except OSError as error:
        if service.root:  # it listened: whatever this is, it is not the port
            raise
        raise SnakefoldError(
            f"--port {options.port}: cannot listen on 127.0.0.1: {error.strerror or error}. "
            "Give another port, or 0 for any free one."
        ) from error
    return 0


def _check(options: argparse.Namespace) -> None:
    if not 0 <= options.port <= 65535:
        raise SnakefoldError(f"--port {options.port}: expected 0 to 65535.")
    if not options.speed > 0:
        raise SnakefoldError(f"--speed {options.speed:g}: expected a number above 0.")
    for name, least in _LEAST.items():
        value = getattr(options, name)
        if not value >= least:
            raise SnakefoldError(f"--{name.replace('_', '-')} {value}: expected at least {least}.")
    if options.workers_min > options.workers_max:
        raise SnakefoldError(
            f"--workers-min {options.workers_min}: expected at most --workers-max ({options.workers_max})."
        )


def _faults(path: Path | None) -> Faults:
    from snakefold.clusters.emulator import Faults, read_faults

    if path is None:
        return Faults()
    try:
        return read_faults(path)
    except OSError as error:
        raise SnakefoldError(f"--faults {path}: {error.strerror or error}.") from error
    except ValueError as error:
        raise SnakefoldError(f"{error}. `snakefold emulator --list-faults` lists what there is.") from error


def _faults_text() -> str:
    from snakefold.clusters.emulator import KINDS

    lines = [f"  {name:15} {text}" for name, text in KINDS.items()]
    head = "A script: {rules: [{what: NAME, call: run, nth: 2}], rates: {NAME: 0.01}, seed: 1}"
    return "\n".join([head, "", "NAME is one of", *lines])


def _endpoints(options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    from snakefold.clusters.emulator import Scaling

    endpoints: dict[str, dict[str, Any]] = {}
    for text in options.endpoint or ["fold=stub"]:
        name, _, workers = text.partition("=")
        if not name or not workers.strip():
            raise SnakefoldError(f"--endpoint {text}: expected ID=WORKERS, as in fold=stub:30.")
        if name in endpoints:
            raise SnakefoldError(f"--endpoint {text}: {name} is given twice. Give every endpoint its own id.")
        scaling = Scaling(
            workers_min=options.workers_min,
            workers_max=options.workers_max,
            idle_timeout=options.idle_timeout,
            queue_delay=options.queue_delay,
            start_seconds=options.start,
        )
        endpoints[name] = {"workers": _workers(text, workers), "scaling": scaling}
    return endpoints


def _workers(option: str, text: str) -> StubWorkers | ProcessWorkers:
    from snakefold.clusters.emulator import ProcessWorkers, StubWorkers

    kind, _, seconds = text.partition(":")
    try:
        if kind == "stub":
            return StubWorkers(seconds=_seconds(seconds or "1"))
        words = shlex.split(text)
    except ValueError as error:
        raise SnakefoldError(f"--endpoint {option}: {error}.") from error
    if words[0] in ("python", "python3"):
        words[0] = sys.executable  # the one that has runpod, whatever PATH finds first
    if shutil.which(words[0]) is None:
        raise SnakefoldError(
            f"--endpoint {option}: {words[0]}: no such program. Give stub, stub:SECONDS, or a command."
        )
    return ProcessWorkers(words)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise ValueError(f"{text}: expected a number of seconds, as in stub:30")
    return seconds
