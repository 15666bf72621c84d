"""Databases for searches on a GPU: making padded copies, and whether this machine can search them."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from snakefold.kernel.devices import visible
from snakefold.kernel.errors import DatabaseMissingError, MissingProgramError, SnakefoldError
from snakefold.kernel.wording import count
from snakefold.msa import programs
from snakefold.msa.databases import check_mmseqs, known, padded
from snakefold.msa.databases.finding import Finding
from snakefold.msa.databases.known import Entry
from snakefold.msa.databases.space import NoRoomError, free_bytes

Log = Callable[[str], None]

#: GPU memory, GB of 10^9 bytes, that is not the database's: CUDA's own, profiles, results. An estimate.
_BESIDE = 1.0


def pad(entry: Entry, threads: int, log: Log) -> str:
    """Make the padded copy of a database, unless it needs none; says what was done.

    Raises:
        DatabaseMissingError: there is nothing to pad.
        NoRoomError: before anything is written.
        ProgramError: mmseqs failed; a copy that was there is still there.
    """
    name, path = entry.database.name, entry.database.path
    copy = padded.copy_of(path)
    if padded.is_padded(path):
        return f"{name}: {path} is padded itself, nothing to do"
    if padded.is_padded(copy) and not padded.is_stale(path):
        return f"{name}: there already ({copy})"
    if entry.database.missing:
        if entry.database.optional:
            return f"{name}: not in {entry.root}, and optional"
        raise DatabaseMissingError(
            f"{name}: {entry.database.missing[0]} is missing. Get it first: {entry.database.get}"
        )
    needed, free = _bytes_to_write(path), free_bytes(path.parent)
    if needed > free:
        raise NoRoomError(
            f"{path.parent}: {free / 1e9:,.1f} GB are free, a padded copy of {name} takes "
            f"{needed / 1e9:,.1f} GB. Free disk space."
        )
    padded.make(path, entry.root / ".snakefold" / f"pad.{name}", threads, log)
    return f"{name}: {copy}, {padded.gpu_bytes(copy) / 1e9:,.1f} GB of GPU memory"


def _bytes_to_write(path: Path) -> int:
    if not padded.beside(path, ".dbtype").is_file():
        return 2 * path.stat().st_size  # a plain database in between
    parts = ("", "_h", "_aln")
    return sum(check_mmseqs.data_bytes(padded.beside(path, part)) or 0 for part in parts)


def examine(entries: Sequence[Entry], log: Log | None = None) -> Iterator[Finding]:
    """Findings on searching these databases with MMseqs2 on this machine's GPUs."""
    program = _program()
    yield program
    memory = gpu_memory()
    for entry in entries:
        if "mmseqs" in entry.database.tools and not entry.database.missing:
            yield from _database(entry, memory)
    if memory and not program.fault:
        with tempfile.TemporaryDirectory(prefix="snakefold-doctor.") as folder:
            try:
                text = known.run_demo_on_gpu(Path(folder), log or (lambda _: None))
                yield Finding("mmseqs on a GPU", text)
            except SnakefoldError as error:
                advice = "Compare the driver with what this build of MMseqs2 needs (nvidia-smi shows it)."
                yield Finding("mmseqs on a GPU", str(error), advice, fault=True)


def _program() -> Finding:
    try:
        path = programs.find("mmseqs", gpu=True)
    except MissingProgramError as error:
        said, _, advice = str(error).partition(". ")
        return Finding("mmseqs on a GPU", said, advice, fault=True)
    return Finding("mmseqs on a GPU", f"{path}: a build with CUDA")


def _database(entry: Entry, memory: Sequence[float]) -> Iterator[Finding]:
    name, path = entry.database.name, entry.database.path
    again = f"Run: snakefold db pad {entry.preset} --root {shlex.quote(str(entry.root))} --only {name}"
    prefix = path if padded.is_padded(path) else padded.copy_of(path)
    if not padded.is_padded(prefix):
        yield Finding(name, f"{path} has no padded copy, which a GPU search needs", again, fault=True)
        return
    if padded.is_stale(path):
        yield Finding(name, f"{prefix} was made of other files than {path} has now", again, fault=True)
    found = list(check_mmseqs.faults(prefix))
    for fault in found:
        advice = again if prefix != path else f"Get it again: {entry.database.get}"
        yield Finding(name, f"{prefix.parent}: {fault}", f"Remove {prefix}*. {advice}", fault=True)
    if not found:
        yield _memory(name, padded.gpu_bytes(prefix) / 1e9, memory)


def _memory(name: str, needed: float, memory: Sequence[float]) -> Finding:
    takes = f"takes {needed:,.1f} GB of GPU memory"
    if not memory:
        advice = f"Choose a GPU class with more than {needed + _BESIDE:,.0f} GB (msa.mmseqs.gpu_class)."
        return Finding(name, f"{takes}; this machine has no GPU to compare with", advice)
    have = f"{count(len(memory), 'GPU')} with {sum(memory):,.1f} GB"
    if needed + _BESIDE * len(memory) <= sum(memory):
        return Finding(name, f"{takes}; there is room on {have}")
    return Finding(
        name,
        f"{takes}, too much for {have}: every search reads it from main memory again, which is slower",
        "Use a GPU with more memory, or several: MMseqs2 divides a database among all that it sees. Main "
        f"memory should hold it, too: msa.mem_mb of {1000 * (needed + 4):,.0f} or more.",
    )


def gpu_memory() -> list[float]:
    """Memory of every GPU that programs here may use, GB of 10^9 bytes; none where nvidia-smi has none."""
    return [device.memory_mb * 2**20 / 1e9 for device in visible()]
