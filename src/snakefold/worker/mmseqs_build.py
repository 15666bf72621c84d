"""Building a persistent MMseqs2 database."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from snakefold.kernel.envelope import digest_of
from snakefold.kernel.errors import DatabaseMissingError
from snakefold.kernel.store import write_atomically
from snakefold.msa import programs
from snakefold.worker.endpoints.checked import InvalidInput
from snakefold.worker.endpoints.mmseqs2 import BuildRequest, BuildResponse
from snakefold.worker.mmseqs import PADDED, Mmseqs, beside, read_sequences, write_fasta
from snakefold.worker.mmseqs_lock import writing
from snakefold.worker.tasks import Context

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
