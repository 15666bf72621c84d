"""`snakefold db`: which databases there are, fetching them, and whether they are sound."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from snakefold.cli._command import Commands, command
from snakefold.kernel.wording import count

if TYPE_CHECKING:
    from snakefold.msa.databases.known import Entry


def add(commands: Commands) -> None:
    """Add the command and its actions."""
    top = commands.add_parser(
        "db",
        help="list, fetch or check sequence and structure databases",
        description="List, fetch or check sequence and structure databases. Help on an action: "
        "snakefold db fetch --help.",
        epilog="Example: snakefold db list reduced_dbs --root /data/alphafold",
    )
    actions = top.add_subparsers(title="actions", metavar="ACTION", required=True)
    listing = command(
        actions,
        "list",
        _list,
        summary="show presets and their databases: size, present or not, licence, publisher's address",
        example="snakefold db list reduced_dbs --root /data/alphafold",
    )
    listing.add_argument("preset", nargs="?", default=None, help="one preset; if not given, all")
    fetch = command(
        actions,
        "fetch",
        _fetch,
        summary="download, verify and unpack the databases of a preset. Complete files are not fetched "
        "again; an interrupted fetch resumes",
        example="snakefold db fetch reduced_dbs --root /data/alphafold --only uniref90 small_bfd",
    )
    fetch.add_argument("preset", help="entry of resources/databases.yaml")
    fetch.add_argument(
        "--mirror", metavar="PREFIX", default=None, help="fetch PREFIX/host/path instead of https://host/path"
    )
    fetch.add_argument(
        "--index", action="store_true", help="build an index of MMseqs2 databases (hours, much memory)"
    )
    fetch.add_argument("--threads", type=int, default=4, help="threads for building the index")
    fetch.add_argument("--no-checksums", action="store_true", help="do not fetch the publishers' MD5 lists")
    fetch.add_argument("--force", action="store_true", help="start even if the disk has too little space")
    fetch.add_argument(
        "--dry-run", "-n", action="store_true", help="only show what would be fetched, with sizes"
    )
    pad = command(
        actions,
        "pad",
        _pad,
        summary="make padded copies of MMseqs2 databases, which searches on a GPU need (msa.mmseqs.gpu)",
        example="snakefold db pad colabfold --root /data/alphafold --only uniprot",
    )
    pad.add_argument("preset", help="entry of resources/databases.yaml")
    pad.add_argument("--threads", type=int, default=4, help="threads of mmseqs")
    doctor = command(
        actions,
        "doctor",
        _doctor,
        summary="find missing, truncated, half-written and wrongly indexed databases, and run one search "
        "with a known answer per tool; the exit code is 1 if there is a fault",
        example="snakefold db doctor reduced_dbs --root /data/alphafold",
    )
    doctor.add_argument("preset", nargs="?", default="demo", help="entry of resources/databases.yaml")
    doctor.add_argument("--no-search", action="store_true", help="check files only")
    doctor.add_argument(
        "--gpu",
        action="store_true",
        help="also check what MMseqs2 needs to search on this machine's GPUs: program, padded copies, memory",
    )
    for each in (listing, fetch, pad, doctor):
        each.add_argument(
            "--root",
            type=Path,
            default=None,
            help="folder of the databases; if not given, the preset's folder",
        )
    for each in (fetch, pad, doctor):
        each.add_argument(
            "--only", nargs="+", metavar="NAME", default=[], help="only these databases of the preset"
        )


def _list(options: argparse.Namespace) -> None:
    from snakefold.msa.databases import known

    rows: list[tuple[str, ...]]
    names = [options.preset] if options.preset else list(known.presets())
    for name in names:
        preset, entries = known.entries(name, options.root)
        print(f"{name}: {known.presets().get(name, '')}\n  in {preset.root}")
        rows = [("database", "read by", "download", "on disk", "state", "licence", "from")]
        rows += [_row(entry) for entry in entries]
        for row in rows:
            widths = (max(len(each[column]) for each in rows) for column in range(len(row)))
            print(
                "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            )
        fetched = [entry for entry in entries if entry.source]
        download = sum(entry.source.download for entry in fetched if entry.source)
        disk = sum(entry.database.gigabytes for entry in entries)
        print(f"  together: {download:,.1f} GB to download, {disk:,.1f} GB on disk\n")
    print("Sizes are rounded and grow with releases; `snakefold db fetch PRESET --dry-run` asks the servers.")


def _row(entry: Entry) -> tuple[str, ...]:
    database, source = entry.database, entry.source
    state = entry.state + (" (optional)" if database.optional and entry.state == "missing" else "")
    size = f"{database.gigabytes:,g} GB"
    tools = ", ".join(sorted(database.tools))
    if source is None:
        return (database.name, tools, "-", size, state, "-", "comes with snakefold")
    return (database.name, tools, f"{source.download:,g} GB", size, state, source.licence, source.urls[0])


def _fetch(options: argparse.Namespace) -> None:
    from snakefold.msa.databases import known, space
    from snakefold.msa.databases.fetch import Options, choose, fetch, to_do
    from snakefold.msa.databases.progress import Reporter

    preset, entries = known.entries(options.preset, options.root)
    wanted = choose(entries, options.only)
    how = Options(
        mirror=options.mirror,
        index=options.index,
        checksums=not options.no_checksums,
        force=options.force,
        threads=options.threads,
    )
    missing = to_do(wanted, how)
    for entry in wanted:
        if entry not in missing:
            print(f"{entry.database.name}: there already ({entry.database.path})")
    if not options.dry_run:
        fetch(preset.root, wanted, how, Reporter())
        what = "these are" if options.only else "complete"
        use = f"--set msa.db_preset={options.preset} msa.db_root={preset.root}"
        print(f"{options.preset}: {what} in {preset.root}. For a run: {use}")
        return
    needs = space.needs([each for each in missing if each.state != "there"], how.mirror, index=how.index)
    for need in needs:
        print(need)
    free, peak = space.free_bytes(preset.root), space.peak(needs)
    print(f"{preset.root}: {peak / 1e9:,.1f} GB needed at the fullest moment, {free / 1e9:,.1f} GB free")


def _pad(options: argparse.Namespace) -> None:
    from snakefold.kernel.errors import ConfigError
    from snakefold.msa.databases import gpu, known
    from snakefold.msa.databases.fetch import alone, choose

    preset, entries = known.entries(options.preset, options.root)
    wanted = [each for each in choose(entries, options.only) if "mmseqs" in each.database.tools]
    if not wanted:
        raise ConfigError(f"{options.preset}: MMseqs2 searches none of these databases, so none is padded.")
    with alone(preset.root):
        for entry in wanted:
            print(gpu.pad(entry, options.threads, print), flush=True)


def _doctor(options: argparse.Namespace) -> int:
    from itertools import chain

    from snakefold.msa.databases import doctor, gpu, known
    from snakefold.msa.databases.fetch import choose

    _, entries = known.entries(options.preset, options.root)
    chosen = choose(entries, options.only)
    faults = 0
    on_gpu = gpu.examine(chosen) if options.gpu else ()
    for finding in chain(doctor.examine(chosen, search=not options.no_search), on_gpu):
        print(finding, flush=True)
        faults += finding.fault
    print(f"{options.preset}: {count(faults, 'fault')}" if faults else f"{options.preset}: sound")
    return 1 if faults else 0
