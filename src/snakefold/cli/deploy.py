"""`snakefold deploy`: endpoints on RunPod as profiles/runpod/endpoints.yaml describes them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from snakefold.cli._command import Commands, command
from snakefold.kernel.errors import SnakefoldError
from snakefold.kernel.paths import house

if TYPE_CHECKING:
    from snakefold.clusters.runpod import Session
    from snakefold.clusters.runpod.deploy.checks import Note
    from snakefold.clusters.runpod.deploy.desired import Deployment, Wanted
    from snakefold.clusters.runpod.deploy.diff import Change
    from snakefold.clusters.runpod.deploy.lock import Lock
    from snakefold.plan.executors import Executor

_LOCK = "endpoints.lock.yaml"


def add(commands: Commands) -> None:
    """Add the command and its actions."""
    top = commands.add_parser(
        "deploy",
        help="create, change, inspect or delete endpoints on RunPod",
        description="Create, change, inspect or delete endpoints on RunPod. The API key is "
        "$RUNPOD_API_KEY. Help on an action: snakefold deploy apply --help.",
        epilog="Example: snakefold deploy plan --image docker.io/me/snakefold:1",
    )
    actions = top.add_subparsers(title="actions", metavar="ACTION", required=True)
    plan = command(
        actions,
        "plan",
        _plan,
        summary="show what apply would change, and what prevents it; nothing is changed",
        example="snakefold deploy plan --check && echo nothing to do",
    )
    plan.add_argument("--check", action="store_true", help="exit with 1 if anything would be changed")
    apply = command(
        actions,
        "apply",
        _apply,
        summary="create and change endpoints as the file says; safe to repeat",
        example="snakefold deploy apply --image docker.io/me/snakefold:1 --yes",
    )
    status = command(
        actions,
        "status",
        _status,
        summary="show workers and jobs of the deployed endpoints",
        example="snakefold deploy status",
    )
    destroy = command(
        actions,
        "destroy",
        _destroy,
        summary="delete endpoints and templates; the network volume only on request",
        example="snakefold deploy destroy",
    )
    destroy.add_argument(
        "--with-volume", action="store_true", help="delete the network volume too, with everything on it"
    )
    for action in (plan, apply, status, destroy):
        action.add_argument(
            "--file",
            "--endpoints",
            type=Path,
            default=None,
            help="description of the endpoints (profiles/runpod/endpoints.yaml); ids are written beside it",
        )
    for action in (plan, apply):
        action.add_argument(
            "--image",
            action="append",
            default=[],
            metavar="[ENDPOINT=]IMAGE",
            help="image of the workers, instead of the file's; ENDPOINT=IMAGE is for that endpoint alone",
        )
    for action in (plan, apply, destroy):
        action.add_argument(
            "endpoints",
            nargs="*",
            metavar="ENDPOINT",
            help="entry of the file; others stay as they are. If not given, all that have an image",
        )
    for action in (apply, destroy):
        action.add_argument("--yes", action="store_true", help="do not ask")
        action.add_argument("--force", action="store_true", help="also delete endpoints that have jobs")


def _plan(options: argparse.Namespace) -> int:
    _, changes, notes, _ = _compared(options)
    _show(changes, notes)
    if any(note.level == "error" for note in notes):
        return 2
    return int(options.check and any(change.action != "keep" for change in changes))


def _apply(options: argparse.Namespace) -> int:
    from snakefold.clusters.runpod.deploy import apply

    session, changes, notes, lock = _compared(options)
    _show(changes, notes)
    if any(note.level == "error" for note in notes):
        raise SnakefoldError("nothing was changed: correct what is marked `error` first.")
    if any(change.action != "keep" for change in changes):
        _agree(options, "Do this?")
    # Also where nothing differs: ids that were found by name are noted.
    apply.apply(session, changes, lock, print, force=options.force)
    print(f"ids are in {lock.path}")
    return 0


def _status(options: argparse.Namespace) -> int:
    from snakefold.clusters.runpod.deploy import status

    session, wanted, lock, _ = _opened(options, images=False)
    rows = status.rows(session, wanted.resources, lock)
    if len(rows) == 1:
        print("nothing is deployed (snakefold deploy apply)")
        return 0
    print(status.status_text(rows))
    return 0


def _destroy(options: argparse.Namespace) -> int:
    from snakefold.clusters.runpod.deploy import api, apply

    session, wanted, lock, deployment = _opened(options, images=False)
    if options.with_volume and wanted.only:
        raise SnakefoldError("--with-volume: all endpoints share the network volume. Name no endpoints.")
    account = api.read_account(session)
    concerns = partial(wanted.concerns, endpoints=deployment.endpoints)
    changes = apply.removals(wanted.resources, account, lock, concerns, with_volume=options.with_volume)
    if not changes:
        print("nothing to delete")
        return 0
    _show(changes, [])
    _agree(options, "Delete these?")
    apply.destroy(session, changes, lock, print, force=options.force)
    if not options.with_volume and not wanted.only and lock.id_of("volume", "volume"):
        print("The network volume is kept, and paid for by the month (--with-volume deletes it).")
    return 0


def _opened(options: argparse.Namespace, *, images: bool = True) -> tuple[Session, Wanted, Lock, Deployment]:
    from snakefold.clusters.runpod import open_session
    from snakefold.clusters.runpod.deploy.desired import read_deployment, resources
    from snakefold.clusters.runpod.deploy.lock import read_lock

    path = options.file or house() / "profiles" / "runpod" / "endpoints.yaml"
    deployment = read_deployment(path, options.image if images else ())
    wanted = resources(deployment, getattr(options, "endpoints", ()), images=images)
    return open_session(told=_say), wanted, read_lock(path.with_name(_LOCK)), deployment


def _compared(options: argparse.Namespace) -> tuple[Session, list[Change], list[Note], Lock]:
    from snakefold.clusters.runpod.deploy import api
    from snakefold.clusters.runpod.deploy.checks import check, check_engines, check_transfer
    from snakefold.clusters.runpod.deploy.diff import compare

    session, asked, lock, deployment = _opened(options)
    wanted = asked.resources
    account = api.read_account(session)
    changes = compare(wanted, account, lock, partial(asked.concerns, endpoints=deployment.endpoints))
    volume = next((change.id for change in changes if change.kind == "volume" and change.id), None)
    notes = check(wanted, account, changes) + check_transfer(_executor(lock.path.parent), wanted, volume)
    notes += check_engines(deployment, asked, _endpoints(lock.path.parent))
    return session, changes, notes, lock


def _endpoints(profile: Path) -> dict[str, str]:
    """Which endpoints the settings beside the file send the jobs of engines to."""
    from snakefold.config import load_config, read_settings

    path = profile / "settings.yaml"
    settings = {"runpod": read_settings(path).get("runpod", {})} if path.is_file() else {}
    return load_config(settings, str(path)).runpod.endpoints


def _executor(profile: Path) -> Executor:
    """What the profile that the file belongs to says; nothing where it belongs to none."""
    from snakefold.config import read_settings
    from snakefold.plan.executors import Executor, of_profile

    path = profile / "config.v9+.yaml"
    return of_profile(read_settings(path), profile) if path.is_file() else Executor()


def _show(changes: Sequence[Change], notes: Sequence[Note]) -> None:
    from snakefold.clusters.runpod.deploy.status import plan_text

    print(plan_text(changes, notes))


def _agree(options: argparse.Namespace, question: str) -> None:
    if options.yes:
        return
    if not sys.stdin.isatty():
        raise SnakefoldError("nobody to ask: give --yes.")
    if input(f"{question} Type yes: ").strip() != "yes":
        raise SnakefoldError("nothing was changed.")


def _say(line: str) -> None:
    print(f"snakefold: {line}", file=sys.stderr)
