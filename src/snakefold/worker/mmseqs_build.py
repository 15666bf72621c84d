"""Building a persistent MMseqs2 database."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from snakefold.kernel.envelope import digest_of
from snakefold.kernel.errors import DatabaseMissingError
from snakefold.kernel.store import write_atomically
from snakefold.msa import programs
from snakefold.worker.endpoints.checked import InvalidInput
from snakefold.worker.endpoints.mmseqs2 import BuildRequest, BuildResponse
from snakefold.worker.mmseqs import Mmseqs, read_sequences, write_fasta
from snakefold.worker.tasks import Context

PADDED = "_pad"
#: Seconds without a sign of life after which a lock is nobody's, and between two signs.
STALE = 300.0
_BEAT = 20.0
_POLL = 0.5


def beside(prefix: Path, suffix: str) -> Path:
    """A file of a database: its prefix with a suffix."""
    return prefix.with_name(prefix.name + suffix)


def is_ready(prefix: Path) -> bool:
    """Whether the database may be read: `.ready` is there, or `.dbtype` and nobody writes."""
    if beside(prefix, ".ready").is_file():
        return True
    return beside(prefix, ".dbtype").is_file() and not beside(prefix, ".lock").is_dir()


def find(name: str, roots: Sequence[Path]) -> Path:
    """Prefix of the first ready database called `name`.

    Raises:
        DatabaseMissingError: says where it was looked for.
    """
    for root in roots:
        if is_ready(root / name):
            return root / name
    being_written = [str(root) for root in roots if beside(root / name, ".lock").is_dir()]
    if being_written:
        raise DatabaseMissingError(
            f"{name}: is being built in {', '.join(being_written)}. Try again when it is done."
        )
    raise DatabaseMissingError(
        f"{name}: no such MMseqs2 database in {', '.join(map(str, roots))}. Copy it there, or send a request "
        'with `task: "build"`.'
    )


def find_padded(name: str, roots: Sequence[Path]) -> Path:
    """Prefix of the padded copy of a database, which is what GPUs search."""
    if name.endswith(PADDED):
        return find(name, roots)
    try:
        return find(f"{name}{PADDED}", roots)
    except DatabaseMissingError as error:
        raise DatabaseMissingError(
            f"{name}: has no padded copy ({name}{PADDED}), which GPU searches need. Make one: mmseqs "
            f"makepaddedseqdb {name} {name}{PADDED}; or search without use_gpu."
        ) from error


@contextmanager
def writing(prefix: Path, timeout: float) -> Iterator[None]:
    """Be the only writer of a database.

    Raises:
        TimeoutError: another writer was at work all the time.
    """
    lock = beside(prefix, ".lock")
    prefix.parent.mkdir(parents=True, exist_ok=True)
    _take(lock, time.monotonic() + timeout)
    done = threading.Event()
    beat = threading.Thread(target=_beat, args=(lock, done), daemon=True)
    beat.start()
    try:
        yield
    finally:
        done.set()
        beat.join()
        shutil.rmtree(lock, ignore_errors=True)


def _take(lock: Path, deadline: float) -> None:
    while True:
        try:
            lock.mkdir()
        except FileExistsError:
            if _is_stale(lock):
                # Of several that find it stale, one can rename it; the others find it gone.
                aside = beside(lock, f".{secrets.token_hex(4)}")
                with suppress(OSError):
                    lock.rename(aside)
                    shutil.rmtree(aside, ignore_errors=True)
                continue
            if time.monotonic() > deadline:
                raise TimeoutError(f"{lock}: another worker is building this database.") from None
            time.sleep(_POLL)
        else:
            return


def _is_stale(lock: Path) -> bool:
    try:
        # The clock of the file system: those of two machines may differ.
        probe = lock.parent / f".{secrets.token_hex(6)}.clock"
        probe.touch()
        now = probe.stat().st_mtime
        probe.unlink()
        return now - lock.stat().st_mtime > STALE
    except OSError:
        return False


def _beat(lock: Path, done: threading.Event) -> None:
    while not done.wait(_BEAT):
        with suppress(OSError):
            os.utime(lock)


_LONGEST_WAIT = 6 * 3600.0


def build(request: BuildRequest, context: Context) -> BuildResponse:
    """Build a database, unless it is there with the same content.

    It is made in `<name>.building` and then renamed, `.dbtype` after the rest and `.ready` last, so that at
    no time a reader sees half of it.

    Raises:
        InputError: a sequence is refused. InvalidInput: another database has the name.
        DatabaseMissingError: the worker has no folder for databases. TimeoutError: see `writing`.
    """
    started = time.monotonic()
    sequences = read_sequences(request.target_fasta, "target_fasta")
    sha256 = hashlib.sha256(request.target_fasta.encode()).hexdigest()
    # The last of the roots belongs to the image.
    root = next(iter(context.settings.mmseqs_roots[:-1]), None)
    if root is None:
        raise DatabaseMissingError(
            "This worker has no folder for databases: mount a network volume, or set MMSEQS_DB_ROOT."
        )
    prefix = root / request.target_db
    padded = beside(prefix, PADDED)
    threads = request.threads or context.settings.threads
    facts = {"sha256": sha256, "sequences": len(sequences), "mmseqs": programs.version("mmseqs")}

    def create(mmseqs: Mmseqs, made: Path) -> None:
        fasta = mmseqs.folder / "target.fasta"
        write_fasta(fasta, ((each.header or each.id, each.chains[0]) for each in sequences))
        mmseqs("createdb", fasta, made, "--dbtype", "1", threads=False)

    def pad(mmseqs: Mmseqs, made: Path) -> None:
        mmseqs("makepaddedseqdb", prefix, made)

    wanted = [(prefix, create), *([(padded, pad)] if request.use_gpu else [])]
    commands: list[str] = []
    with writing(prefix, context.settings.job_timeout or _LONGEST_WAIT):
        for place, make in wanted:
            if not _is_there(place, sha256):
                commands += _make(place, make, Mmseqs(beside(place, ".building"), context, threads))
                write_atomically(beside(place, ".ready"), (json.dumps(facts) + "\n").encode())
    return BuildResponse(
        digest=digest_of(request.model_dump(mode="json", exclude={"threads"})),
        database=str(prefix),
        built=bool(commands),
        sequences=len(sequences),
        padded=request.use_gpu,
        sha256=sha256,
        commands=commands,
        seconds={"total": round(time.monotonic() - started, 3)},
    )


def _is_there(prefix: Path, sha256: str) -> bool:
    """Whether the database is there with this content.

    Raises:
        InvalidInput: it is there with another.
    """
    ready = beside(prefix, ".ready")
    # What a writer that died left behind has its folder still; a copied database has no `.ready`.
    if not ready.is_file() and (
        beside(prefix, ".building").is_dir() or not beside(prefix, ".dbtype").is_file()
    ):
        return False
    try:
        if json.loads(ready.read_text())["sha256"] == sha256:
            return True
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise InvalidInput(f"target_db: another database has the name {prefix.name!r}. Choose another name.")


def _make(prefix: Path, make: Callable[[Mmseqs, Path], None], mmseqs: Mmseqs) -> list[str]:
    shutil.rmtree(mmseqs.folder, ignore_errors=True)
    made = mmseqs.folder / "made" / prefix.name
    made.parent.mkdir(parents=True)
    make(mmseqs, made)
    last = beside(made, ".dbtype")
    for file in [*(each for each in sorted(made.parent.iterdir()) if each != last), last]:
        file.replace(prefix.with_name(file.name))
    shutil.rmtree(mmseqs.folder)
    return mmseqs.commands
