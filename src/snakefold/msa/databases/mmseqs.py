"""Making and indexing MMseqs2 databases, as ColabFold's set-up does."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from snakefold.msa import programs
from snakefold.msa.bundle import Log

#: One data file a database, whatever the number of threads.
_ENVIRONMENT = {"MMSEQS_FORCE_MERGE": "1", "MMSEQS_CALL_DEPTH": "1"}
_INDEX = (".idx", ".idx.index", ".idx.dbtype")


def create(sources: Sequence[Path], prefix: Path, log: Log) -> None:
    """`mmseqs createdb`: a database of the FASTA files (plain or gzip)."""
    prefix.parent.mkdir(parents=True, exist_ok=True)
    call(prefix.parent, log, "createdb", *sources, prefix, "--dbtype", "1", "--shuffle", "0")


def is_indexed(prefix: Path) -> bool:
    """Whether an index lies beside the database."""
    return prefix.with_name(f"{prefix.name}.idx.dbtype").is_file()


def create_index(prefix: Path, scratch: Path, threads: int, log: Log) -> list[Path]:
    """`mmseqs createindex`, with the memory that the machine has.

    The index is made in `scratch` (on the same disk) and moved beside the database when it is whole, since
    searches use an index as soon as they see one.

    Returns:
        The files of the index.
    """
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    for path in prefix.parent.glob(f"{prefix.name}*"):
        if not path.name.startswith(f"{prefix.name}.idx"):
            (scratch / path.name).symlink_to(path.resolve())
    linked = scratch / prefix.name
    call(
        scratch,
        log,
        "createindex",
        linked,
        scratch / "tmp",
        "--threads",
        str(threads),
        "--remove-tmp-files",
        "1",
    )
    placed = []
    for suffix in _INDEX:
        made, target = (path.with_name(f"{path.name}{suffix}") for path in (linked, prefix))
        made.replace(target)
        placed.append(target)
    shutil.rmtree(scratch)
    return placed


def call(folder: Path, log: Log, module: str, *arguments: str | Path) -> None:
    """Run one module, which makes part of a database, in `folder`."""
    programs.run([programs.find("mmseqs"), module, *arguments], folder, log, environment=_ENVIRONMENT)
