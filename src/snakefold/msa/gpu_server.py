"""MMseqs2's GPU server: keeps a padded database in GPU memory for all steps of a search.

Without it every step of a profile search loads the database again. Server and search meet in a file of shared
memory that MMseqs2 names after the database's path and CUDA_VISIBLE_DEVICES (GPUSharedMemory of MMseqs2 18):
a machine can have one server of a database.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

from snakefold.msa import programs
from snakefold.msa.bundle import Log
from snakefold.msa.programs import Background

_SHARED = Path("/dev/shm")  # noqa: S108 (where shm_open puts its files)
#: CUDA has files of its own there.
_OWN = re.compile(rf" {_SHARED}/(?!cuda)")
_LOOK_SECONDS = 0.05


@contextlib.contextmanager
def gpu_server(database: Path, limit: int, scratch: Path, log: Log) -> Iterator[Background | None]:
    """Serve a padded database; the server ends with the block, also if that fails.

    Args:
        limit: `--max-seqs` of the searches that use it.

    Yields:
        The server, which searches can use with `--gpu-server 1`; None if another job on this machine serves
        the database: two servers would answer each other's searches.

    Raises:
        MissingProgramError: no MMseqs2 with CUDA.
        ProgramError: the server did not start.
    """
    with _alone(database) as alone:
        if not alone:
            log(f"{database}: another job on this machine serves it to its GPU: searched without a server")
            yield None
            return
        program = programs.find("mmseqs", gpu=True)
        options = ("--max-seqs", str(limit), "--db-load-mode", "0", "--prefilter-mode", "1")
        quiet = {"MMSEQS_CALL_DEPTH": "1"}
        command: tuple[str | Path, ...] = (program, "gpuserver", database, *options)
        with programs.background(command, scratch, log, environment=quiet) as server:
            # A search that comes before the server could meet what an earlier one left behind.
            while not _has_shared_memory(server.process.pid):
                server.check()
                time.sleep(_LOOK_SECONDS)
            yield server


@contextlib.contextmanager
def _alone(database: Path) -> Iterator[bool]:
    """Whether no other process on this machine serves the database."""
    name = hashlib.sha256(str(database.resolve()).encode()).hexdigest()[:16]
    path = _SHARED / f"snakefold-gpuserver-{name}"
    try:
        with contextlib.suppress(PermissionError):
            path.touch(0o644)
        file = os.open(path, os.O_RDONLY)
    except OSError:  # no shared memory that could be met in
        yield False
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        yield False
    else:
        yield True
    finally:
        os.close(file)


def _has_shared_memory(process: int) -> bool:
    try:
        maps = Path(f"/proc/{process}/maps").read_text(errors="replace")
    except OSError:
        return False
    return _OWN.search(maps) is not None
