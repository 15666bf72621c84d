"""The command `snakefold-images`."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from snakefold_images import __version__, weights
from snakefold_images.errors import ImagesError, MessageError


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0: done; 1: some items failed, or the doctor found something; 2: nothing could be done."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.does(options))
    except ImagesError as error:
        print(f"snakefold-images: {error}", file=sys.stderr)
        return 2


def _run(options: argparse.Namespace) -> int:
    from snakefold_images.files import Folders
    from snakefold_images.message import read_message
    from snakefold_images.task import perform_all

    try:
        message = read_message(options.message.read_bytes())
    except OSError as error:
        raise MessageError(f"{options.message}: cannot be read: {error.strerror}") from error
    except MessageError as error:
        raise MessageError(f"{options.message}: {error}") from error
    files = Folders(options.inputs or options.message.parent, options.out)
    with tempfile.TemporaryDirectory(prefix="snakefold-images-") as temporary:
        network = _network(options, Path(temporary))
        if network.weights.rehearsal:
            print(weights.REHEARSAL, file=sys.stderr)
        result = perform_all(message, files, network, _say)
    report = options.report or options.out / f"{options.message.stem}.report.json"
    folder, name = report.absolute().parent, report.name
    Folders(folder, folder).write(name, (json.dumps(result, indent=2) + "\n").encode(), "application/json")
    print(f"{result['successful_items']} of {result['total_items']} images done: {report}")
    return 1 if result["failed_items"] else 0


def _network(options: argparse.Namespace, temporary: Path) -> Any:
    from snakefold_images.segment import Network

    if options.rehearsal:
        from snakefold_images.rehearsal import draw

        return Network(draw(temporary), options.device)
    return Network(weights.find(options.weights or weights.weights_folder()), options.device)


def _say(item: Any) -> None:
    what = item["output_key"] if item["status"] == "done" else f"failed: {item['error']}"
    print(f"{item['idx']}: {what}", flush=True)


def _fetch(options: argparse.Namespace) -> int:
    found = weights.fetch(options.to or weights.weights_folder(), revision=options.revision)
    print(f"{found.version}: {found.folder}")
    return 0


def _draw(options: argparse.Namespace) -> int:
    from snakefold_images.rehearsal import draw

    print(f"{draw(options.folder).folder}: random parameters. {weights.REHEARSAL}")
    return 0


def _doctor(_: argparse.Namespace) -> int:
    from snakefold_images.doctor import doctor

    return 1 if doctor() else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="snakefold-images", description="Images edited by concept.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="do a message; its keys are files")
    run.set_defaults(does=_run)
    run.add_argument("message", type=Path, help="JSON, see README.md")
    run.add_argument(
        "--out", type=Path, required=True, help="folder that output_key and preview_key are below"
    )
    run.add_argument("--inputs", type=Path, help="folder that input_key is below; by default the message's")
    run.add_argument("--report", type=Path, help="default: OUT/NAME_OF_MESSAGE.report.json")
    run.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    which = run.add_mutually_exclusive_group()
    which.add_argument("--weights", type=Path, help=f"folder of the parameters; by default ${weights.FOLDER}")
    which.add_argument(
        "--rehearsal", action="store_true", help="random parameters: the pictures mean nothing"
    )

    about = commands.add_parser("weights", help="the network's parameters").add_subparsers(
        required=True, metavar="COMMAND"
    )
    fetch = about.add_parser("fetch", help=f"download {weights.REPOSITORY}; needs ${weights.TOKEN}")
    fetch.set_defaults(does=_fetch)
    fetch.add_argument("--to", type=Path, help=f"folder; by default ${weights.FOLDER}")
    fetch.add_argument("--revision", default="main", help="branch, tag or commit")
    draw = about.add_parser("draw", help="random parameters, to rehearse with")
    draw.set_defaults(does=_draw)
    draw.add_argument("folder", type=Path)

    commands.add_parser("doctor", help="what is missing on this machine").set_defaults(does=_doctor)
    return parser


if __name__ == "__main__":
    sys.exit(main())
