"""`snakefold weights`: parameters of engines: fetch, convert and check them, or draw random ones."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from snakefold.cli._command import Commands, command
from snakefold.cli._step import alone
from snakefold.kernel.errors import SnakefoldError

if TYPE_CHECKING:
    from snakefold.engines.spec import Engine, Weights


def add(commands: Commands) -> None:
    """Add the command and its actions."""
    top = commands.add_parser(
        "weights",
        help="fetch, convert or check the parameters of an engine, or draw random ones",
        description="Fetch, convert or check the parameters of an engine, or draw random ones. Help on an "
        "action: snakefold weights fetch --help.",
        epilog="Example: snakefold weights fetch ~/alphafold",
    )
    actions = top.add_subparsers(title="actions", metavar="ACTION", required=True)
    fetch = command(
        actions,
        "fetch",
        _fetch,
        summary="download an engine's parameters. Complete files are not fetched again",
        example="snakefold weights fetch alphafold2 ~/alphafold",
    )
    check = command(
        actions,
        "check",
        _check,
        summary="read an engine's parameters; exit code 1 if no prediction can use them",
        example="snakefold weights check alphafold2 ~/alphafold",
    )
    for each in (fetch, check):
        each.add_argument(
            "engine",
            nargs="?",
            default=None,
            help="an engine, or one of its models; if not given, the engine of the default settings",
        )
        each.add_argument(
            "folder",
            nargs="?",
            type=Path,
            default=None,
            help="folder of parameters; if not given, $SNAKEFOLD_WEIGHTS or your data folder, where "
            "`weights: auto` finds them",
        )
    fetch.add_argument("--mirror", default=None, help="another address of the official files")
    convert = command(
        actions,
        "convert",
        _convert,
        summary="write another program's parameter file in the format of the engine that uses it",
        example="snakefold weights convert finetuning_ptm_2.pt",
    )
    convert.add_argument("file", type=Path, help="file of parameters, as it was published")
    convert.add_argument(
        "--engine", default=None, help="engine that uses it; if not given, the only one that converts files"
    )
    convert.add_argument(
        "--out",
        type=Path,
        default=None,
        metavar="FILE",
        help="file to write; if not given, its place in $SNAKEFOLD_WEIGHTS or your data folder",
    )
    rehearsal = command(
        actions,
        "rehearsal",
        _rehearsal,
        summary="draw random parameters of AlphaFold2. Every structure made with them says REHEARSAL",
        example="snakefold weights rehearsal random --blocks 2",
    )
    rehearsal.add_argument("folder", type=Path, help="folder with params/, which is created")
    rehearsal.add_argument("--blocks", type=int, default=48, help="number of Evoformer blocks")
    rehearsal.add_argument(
        "--models", type=int, nargs="+", default=[1, 2, 3, 4, 5], help="models, of the five"
    )


def _log(line: str) -> None:
    print(line, flush=True)


def _fetch(options: argparse.Namespace) -> None:
    engine, weights, folder = _asked(options)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileNotFoundError, PermissionError) as error:
        raise SnakefoldError(
            f"{folder}: cannot be made a folder of parameters ({error.strerror}). Give another one."
        ) from error
    with alone(folder / engine.name, _log):
        weights.fetch(folder, options.mirror, _log)


def _check(options: argparse.Namespace) -> int:
    _, weights, folder = _asked(options)
    return 0 if weights.check(folder, _log) else 1


def _convert(options: argparse.Namespace) -> None:
    from snakefold import engines
    from snakefold.engines.weights_folder import fetch_folder

    by_name = {name: engines.get(name).weights for name in engines.names()}
    can = {name: weights.convert for name, weights in by_name.items() if weights and weights.convert}
    named = options.engine if options.engine is not None or len(can) != 1 else next(iter(can))
    if named not in can:
        said = "--engine: none is given" if named is None else f"--engine {named}: converts no files"
        raise SnakefoldError(f"{said}. Engines that do: {', '.join(can) or 'none'}.")
    can[named](options.file, fetch_folder(), options.out, _log)


def _rehearsal(options: argparse.Namespace) -> None:
    from snakefold.engines.alphafold2 import weights

    weights.draw_rehearsal(options.folder, models=options.models, blocks=options.blocks, log=print)


def _asked(options: argparse.Namespace) -> tuple[Engine, Weights, Path]:
    """The engine, how its parameters are fetched, and the folder; a single word may be either."""
    from snakefold import engines
    from snakefold.config import load_config
    from snakefold.engines.weights_folder import fetch_folder

    name: str | None = options.engine
    folder: Path | None = options.folder
    if name is not None and name not in engines.names():
        for each in engines.names():
            found = engines.get(each).weights
            if found is not None and name in found.parts:
                return engines.get(each), found.parts[name], folder or fetch_folder()
        if folder is not None or not _is_path(name):
            raise SnakefoldError(
                f"{name}: neither an engine ({', '.join(engines.names())}) nor a folder. A new folder in the "
                f"current one is written as ./{name}."
            )
        folder, name = Path(name), None
    engine = engines.get(load_config({}).engine if name is None else name)
    if engine.weights is None:
        raise SnakefoldError(
            f"engine {engine.name}: has no parameters to fetch: it brings its own, or needs none. Engines "
            f"with parameters: {', '.join(each for each in engines.names() if engines.get(each).weights)}."
        )
    return engine, engine.weights, folder or fetch_folder()


def _is_path(word: str) -> bool:
    """A mistyped name of an engine is no folder: a new folder of the current one is written as ./name."""
    return os.sep in word or word in (".", "..") or Path(word).exists()
