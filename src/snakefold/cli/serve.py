"""`snakefold serve` and `snakefold tokens`: the service, and who may use it."""

from __future__ import annotations

import argparse
import datetime
import importlib.util
from pathlib import Path
from typing import Any

from snakefold.cli._command import Commands, command
from snakefold.kernel.errors import MissingProgramError, SnakefoldError

INSTALL = "pip install 'snakefold[service]'"
_NEEDED = ("fastapi", "uvicorn", "huey", "sse_starlette", "multipart")


def add(commands: Commands) -> None:
    """Add the commands."""
    parser = command(
        commands,
        "serve",
        _serve,
        summary="serve jobs, sets, alignments and a page over HTTP; Ctrl-C stops it",
        example="snakefold serve --config service.yaml --port 8000",
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML file of settings (docs/service.md)")
    parser.add_argument("--folder", type=Path, help="folder of records, inputs and results")
    parser.add_argument("--host", help="address to listen on; others than loopback need tokens")
    parser.add_argument("--port", type=int, help="port to listen on; 0: any free one")
    parser.add_argument("--tokens", type=Path, metavar="FILE", help="file of tokens (snakefold tokens add)")
    parser.add_argument(
        "--only-workers",
        action="store_true",
        help="answer no requests: work for a service on another machine, with the same folder and queue",
    )
    tokens = command(
        commands,
        "tokens",
        _tokens,
        summary="say who may use the service: add a user's token, remove them, list users",
        example="snakefold tokens add --file tokens.yaml --user ada --residues-per-day 100000",
    )
    tokens.add_argument("what", choices=("add", "remove", "list"), help="what to do")
    tokens.add_argument("--file", type=Path, required=True, help="YAML file; it keeps digests of tokens only")
    tokens.add_argument("--user", help="name of the user")
    tokens.add_argument(
        "--token", default="", metavar="BEGINNING", help="of `remove`: only those that `list` shows so"
    )
    tokens.add_argument("--priority", type=int, help="of two that wait, the higher goes first")
    tokens.add_argument("--residues-per-day", type=int, metavar="N", help="quota of a day (UTC)")
    tokens.add_argument(
        "--dollars-per-day", type=float, metavar="N", help="quota of a day (UTC), by the quotes"
    )
    tokens.add_argument(
        "--admin",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="the user runs the service: may read /metrics",
    )
    tokens.add_argument("--expires", type=datetime.date.fromisoformat, metavar="YYYY-MM-DD", help="last day")


def _serve(options: argparse.Namespace) -> int:
    for package in _NEEDED:
        if importlib.util.find_spec(package) is None:
            raise MissingProgramError(f"The service needs the package {package}. Install it with: {INSTALL}")
    from snakefold.service.server import serve
    from snakefold.service.settings import read_settings

    given = {name: getattr(options, name) for name in ("folder", "host", "port", "tokens")}
    over: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    serve(read_settings(options.config, over), routes=not options.only_workers)
    return 0


def _tokens(options: argparse.Namespace) -> int:
    from snakefold.service.settings import checked
    from snakefold.service.users import User, add_token, read_tokens, remove_tokens

    if options.what == "list":
        for token in read_tokens(options.file):
            print(_line(token))
        return 0
    if not options.user:
        raise SnakefoldError(f"snakefold tokens {options.what}: give --user NAME.")
    if options.what == "remove":
        number = remove_tokens(options.file, options.user, options.token)
        print(f"{options.user}: {number} removed")
        return 0 if number else 1
    quota = {"residues_per_day": options.residues_per_day, "dollars_per_day": options.dollars_per_day}
    given = {
        "user": options.user,
        "priority": options.priority,
        "admin": options.admin,
        "quota": {name: value for name, value in quota.items() if value is not None},
    }
    given = {name: value for name, value in given.items() if value is not None}
    print(add_token(options.file, checked(User, given, "snakefold tokens add"), options.expires))
    return 0


def _line(token: Any) -> str:
    """A token for people: the beginning of its digest, whose it is, and what that user may do."""
    words = [f"priority {token.priority}"]
    if token.quota.residues_per_day is not None:
        words.append(f"{token.quota.residues_per_day:,} residues a day")
    if token.quota.dollars_per_day is not None:
        words.append(f"${token.quota.dollars_per_day:g} a day")
    if token.admin:
        words.append("admin")
    if token.expires:
        expired = token.expires < datetime.datetime.now(datetime.UTC).date()
        words.append(f"expired on {token.expires}" if expired else f"until {token.expires}")
    return f"{token.sha256[:8]}  {token.user}: {', '.join(words)}"
