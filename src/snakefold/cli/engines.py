"""`snakefold engines`: which engines there are, their own environments, and whether they work."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from snakefold.cli._command import Commands, command
from snakefold.cli._step import alone
from snakefold.kernel.errors import SnakefoldError
from snakefold.kernel.wording import count

if TYPE_CHECKING:
    from snakefold.engines.environments import Place
    from snakefold.engines.spec import Engine


def add(commands: Commands) -> None:
    """Add the command and its actions."""
    top = commands.add_parser(
        "engines",
        help="list engines, install the environments of their own, or check them",
        description="List engines, install the environments of their own, or check them. An action's own "
        "help: snakefold engines install --help.",
        epilog="Example: snakefold engines list",
    )
    actions = top.add_subparsers(title="actions", metavar="ACTION", required=True)
    known = command(
        actions,
        "list",
        _list,
        summary="show engines: what they take, and whether and where they are installed",
        example="snakefold engines list",
    )
    known.add_argument("--json", action="store_true", help="print a list of objects")
    install = command(
        actions,
        "install",
        _install,
        summary="make the environment of an engine that has one of its own. What is there is not made again",
        example="snakefold engines install NAME --python /usr/bin/python3.11",
    )
    install.add_argument("name", help="a name of `snakefold engines list`")
    install.add_argument(
        "--python", default=None, help="interpreter to use; one of the wanted version is found if not given"
    )
    install.add_argument(
        "--index",
        default="",
        metavar="ADDRESS",
        help="an index of packages that is asked besides the configured ones, as for builds for CPUs",
    )
    install.add_argument("--pip", action="store_true", help="use pip where there is uv, too")
    built = install.add_mutually_exclusive_group()
    built.add_argument(
        "--gpu",
        action="store_true",
        default=None,
        help="builds for NVIDIA GPUs, where the engine has two; if not given, as this machine is",
    )
    built.add_argument(
        "--cpu", dest="gpu", action="store_false", help="builds for CPUs, where the engine has two"
    )
    doctor = command(
        actions,
        "doctor",
        _doctor,
        summary="run engines' interpreters and import what they need; exit code 1 if something is wrong",
        example="snakefold engines doctor",
    )
    doctor.add_argument(
        "names", nargs="*", help="engines that must work; if not given, all that are installed"
    )


def _log(line: str) -> None:
    print(line, flush=True)


def _place(engine: Engine) -> Place:
    """Where an engine runs; what is wrong with its lock is missing too."""
    from snakefold.engines.environments import Place, place_of

    try:
        return place_of(engine)
    except SnakefoldError as error:
        return Place(missing=str(error))


def _list(options: argparse.Namespace) -> None:
    from snakefold import engines

    rows: list[tuple[str, ...]] = [("engine", "version", "takes", "groups", "installed")]
    for name in engines.names():
        engine = engines.get(name)
        takes, groups = engine.accepts.names, ", ".join(engine.groups)
        rows.append((name, str(engine.version), takes, groups, _where(_place(engine))))
    rows += [(name, "", "", "", f"broken: {wrong}") for name, wrong in sorted(engines.broken().items())]
    if options.json:
        print(json.dumps([dict(zip(rows[0], row, strict=True)) for row in rows[1:]], indent=1))
        return
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _where(place: Place) -> str:
    if place.missing:
        return f"missing: {place.missing}"
    return f"own environment: {place.prefix}" if place.prefix else "here"


def _install(options: argparse.Namespace) -> None:
    from snakefold import engines
    from snakefold.engines.environments import lock_for, prefix_of
    from snakefold.engines.install import install
    from snakefold.kernel.machine import has_gpu

    engine = engines.get(options.name)
    environment = engine.environment
    if environment is None:
        place = _place(engine)
        if place.missing:
            raise SnakefoldError(f"engine {engine.name}: has no environment of its own. Here {place.missing}")
        _log(f"{engine.name}: nothing to do: it runs in snakefold's own environment")
        return
    lock = lock_for(environment, gpu=has_gpu() if options.gpu is None else options.gpu)
    with alone(prefix_of(engine, environment, lock), _log):
        install(
            engine,
            environment,
            _log,
            python=options.python,
            pip=options.pip,
            gpu=options.gpu,
            index=options.index,
        )


def _doctor(options: argparse.Namespace) -> int:
    from snakefold import engines

    faults = 0
    for wrong in engines.broken().values():
        if not options.names:
            faults += 1
            _log(wrong)
    for name in options.names or engines.names():
        engine = engines.get(name)
        found = _faults(engine, asked=bool(options.names))
        faults += len(found)
        for line in found:
            _log(f"{name}: {line}")
    _log(count(faults, "fault") if faults else "sound")
    return 1 if faults else 0


def _faults(engine: Engine, *, asked: bool) -> list[str]:
    """What is wrong; an engine that nobody asked for may be missing."""
    from snakefold.engines.environments import inspect

    place = _place(engine)
    if place.missing:
        if asked:
            return [place.missing]
        _log(f"{engine.name}: not used: {place.missing}")
        return []
    seen = inspect(engine, place.prefix)
    again = (
        f"snakefold engines install {engine.name}"
        if place.prefix
        else "install snakefold and the engine again"
    )
    if seen.wrong:
        return [f"{what}: {why}: {again}" for what, why in seen.wrong]
    found = list(engine.doctor(lambda line: _log(f"{engine.name}: {line}")))
    if not found:
        _log(f"{engine.name}: sound: Python {seen.python}, {place.prefix or 'here'}")
    return found
