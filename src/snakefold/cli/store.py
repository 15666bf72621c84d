"""`snakefold store`: look at a store, check it, clean it up, move it."""

from __future__ import annotations

import argparse
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from snakefold.cli._command import Commands, command
from snakefold.kernel.wording import count

if TYPE_CHECKING:
    from snakefold.kernel.store import Store

_RUN = Path("results/config.yaml")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def add(commands: Commands) -> None:
    """Add the command and its actions."""
    top = commands.add_parser(
        "store",
        help="count, check, clean up or move stored results",
        description="Count, check, clean up or move stored results. Help on an action: snakefold store gc "
        "--help.",
        epilog="Example: snakefold store stats --store results/store",
    )
    actions = top.add_subparsers(title="actions", metavar="ACTION", required=True)
    _location(
        command(
            actions,
            "stats",
            _stats,
            summary="count entries and bytes by kind and recipe",
            example="snakefold store stats --store results/store",
        )
    )
    _location(
        command(
            actions,
            "verify",
            _verify,
            summary="read every entry and check its sha256; the exit code is 1 if one is damaged. Damaged "
            "entries are moved to damaged/ and computed again when needed",
            example="snakefold store verify --store s3://bucket/prefix",
        )
    )
    gc = command(
        actions,
        "gc",
        _gc,
        summary="remove old entries (in a folder, by last use; on S3, by last write), damaged entries, and "
        "files that killed writers left",
        example="snakefold store gc --keep 30d --dry-run",
    )
    _location(gc)
    gc.add_argument(
        "--keep", type=_seconds, required=True, help="keep entries used within this time: 30d, 12h, 6w"
    )
    gc.add_argument("--dry-run", "-n", action="store_true", help="only show what would be removed")
    export = command(
        actions,
        "export",
        _export,
        summary="write entries into one tar file",
        example="snakefold store export msas.tar --kind msa",
    )
    _location(export)
    export.add_argument("file", type=Path, help="file to write")
    export.add_argument("--kind", default=None, help="only this kind: msa, templates or fold")
    export.add_argument("--recipe", default=None, help="only this recipe")
    take = command(
        actions,
        "import",
        _import,
        summary="check a file made by export, then import the entries that the store lacks",
        example="snakefold store import msas.tar --store results/store",
    )
    _location(take)
    take.add_argument("file", type=Path, help="file made by `snakefold store export`")


def _location(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--store",
        metavar="LOCATION",
        default=None,
        help=f"folder, or s3://bucket/prefix?endpoint_url=…; if not given, from {_RUN}, or results/store",
    )


def _seconds(text: str) -> float:
    match = re.fullmatch(r"(\d{1,6})([smhdw])", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: expected a number and s, m, h, d or w (30d)")
    return float(match[1]) * _UNITS[match[2]]


def _open(options: argparse.Namespace, *, to_read: bool = True) -> Store:
    from snakefold.config import Config, read_config
    from snakefold.kernel.errors import StoreError
    from snakefold.kernel.store import open_store

    location = options.store
    if location is None:
        location = (read_config(_RUN) if _RUN.is_file() else Config()).store
    store = open_store(location)
    # A folder comes into being when something is put there; to look at, it must be one already.
    if to_read and store.local is not None and not store.local.is_dir():
        raise StoreError(f"{location}: no such folder. Name the store with --store.")
    return store


def _log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _stats(options: argparse.Namespace) -> None:
    from snakefold.kernel.store.maintenance import stats
    from snakefold.kernel.store.parallel import in_units

    store = _open(options)
    found = stats(store, _log)
    dated = "used" if store.local is not None else "written"
    rows: list[tuple[str, ...]] = [("kind", "recipe", "entries", "size", f"first {dated}", f"last {dated}")]
    extra = [share for share in (found.damaged, found.unfinished) if share.entries]
    for share in [*found.shares, *extra]:
        dates = (time.strftime("%Y-%m-%d", time.localtime(when)) for when in (share.oldest, share.newest))
        rows.append((share.kind, share.recipe, f"{share.entries:,}", in_units(share.size), *dates))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    entries, size = (sum(getattr(share, name) for share in found.shares) for name in ("entries", "size"))
    print(f"{store.location}: {count(entries, 'entry', 'entries')}, {in_units(size)} ({size} bytes)")


def _verify(options: argparse.Namespace) -> int:
    from snakefold.kernel.store.maintenance import verify
    from snakefold.kernel.store.parallel import in_units

    store = _open(options)
    found = verify(store, _log)
    for entry in found.damaged:
        print(f"damaged: {entry.name}")
    print(
        f"{store.location}: {count(found.entries, 'entry', 'entries')}, {in_units(found.size)} read, "
        f"{len(found.damaged):,} damaged"
    )
    return 1 if found.damaged else 0


def _gc(options: argparse.Namespace) -> None:
    from snakefold.kernel.store.maintenance import collect_garbage
    from snakefold.kernel.store.parallel import in_units

    store = _open(options)
    done = collect_garbage(store, options.keep, _log, dry_run=options.dry_run)
    removed, freed = ("would remove", "to free") if options.dry_run else ("removed", "freed")
    print(
        f"{store.location}: {removed} {count(done.entries, 'entry', 'entries')} and "
        f"{count(done.leftovers, 'leftover')}: {done.size} bytes {freed} ({in_units(done.size)}); "
        f"{count(done.kept, 'entry', 'entries')} kept"
    )
    if store.local is None:
        print("Age counts from when an entry was written: S3 keeps no last use.")


def _export(options: argparse.Namespace) -> int:
    from snakefold.kernel.store.parallel import in_units
    from snakefold.kernel.store.transfer import export_store

    store = _open(options)
    done = export_store(store, options.file, _log, kind=options.kind, recipe=options.recipe)
    for entry in done.missing:
        print(f"not exported, damaged or removed meanwhile: {entry.name}")
    print(f"{options.file}: {count(done.entries, 'entry', 'entries')}, {in_units(done.size)}")
    return 1 if done.missing else 0


def _import(options: argparse.Namespace) -> None:
    from snakefold.kernel.store.parallel import in_units
    from snakefold.kernel.store.transfer import import_store

    store = _open(options, to_read=False)
    done = import_store(store, options.file, _log)
    print(
        f"{store.location}: {count(done.taken, 'entry', 'entries')} taken ({in_units(done.size)}), "
        f"{done.present:,} were there already"
    )
