"""Make an engine's environment from its lock, under another name until it is complete and has been tried."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from snakefold import __version__
from snakefold.engines import interpreters
from snakefold.engines.environments import (
    MARKER,
    Seen,
    inspect,
    interpreter,
    links,
    lock_for,
    marker,
    prefix_of,
)
from snakefold.engines.spec import Engine, Environment
from snakefold.kernel.errors import SnakefoldError
from snakefold.kernel.machine import has_gpu
from snakefold.kernel.wording import count

if TYPE_CHECKING:
    from collections.abc import Iterator

Log = Callable[[str], None]


def install(
    engine: Engine,
    environment: Environment,
    log: Log,
    *,
    python: str | None = None,
    pip: bool = False,
    gpu: bool | None = None,
    index: str = "",
) -> Path:
    """Make the environment of an engine, unless it is there and sound. One process at a time.

    uv makes it if it runs, else venv and pip; their own configuration says where packages come from.

    Args:
        python: the interpreter to use; None: one that is found.
        pip: use pip, whether there is uv or not.
        gpu: for machines with a GPU, or without; None: as this one is. It says nothing of an engine with one
            lock.
        index: address of an index of packages, asked besides the configured ones.

    Returns:
        Its folder.

    Raises:
        SnakefoldError: there is no interpreter of its version, the packages cannot be installed, or they do
            not import.
    """
    lock = lock_for(environment, gpu=has_gpu() if gpu is None else gpu)
    prefix = prefix_of(engine, environment, lock)
    there = marker(prefix) is not None
    if there:
        seen = inspect(engine, prefix)
        if not seen.wrong:
            log(f"{engine.name}: nothing to do: Python {seen.python} and its packages are in {prefix}")
            return prefix
        log(f"{engine.name}: {prefix}: {_told(seen)}: made again")
    uv = None if pip else interpreters.find_uv()
    found = interpreters.find(environment.python, given=python, uv=uv, log=log)
    log(f"{engine.name}: Python {found.version} ({found.path}), {'uv' if uv else 'pip'}")
    if environment.cpu_lock is not None:
        log(f"{engine.name}: {_built(environment, lock)}")
    with beside(prefix) as new:
        source = environment.cpu_source if lock == environment.cpu_lock else ""
        try:
            try:
                _fill(new, found.path, lock, uv, index)
            except SnakefoldError:
                if not uv or not source:
                    raise
                log(f"{engine.name}: uv does not read pip's configuration, which may name an index: with pip")
                _fill(new, found.path, lock, None, index)
        except SnakefoldError as error:
            if not source or index:
                raise
            raise SnakefoldError(
                f"{error} If a build is missing: it is in {source}. Give its address: snakefold engines "
                f"install {engine.name} --index ADDRESS"
            ) from error
        _name_as(new, prefix)
        seen = inspect(engine, new)
        if seen.wrong:
            raise SnakefoldError(
                f"engine {engine.name}: with all that {lock} names, something is wrong: "
                f"{_told(seen)}. A lock has the engine's packages and those of envs/base.in: lock again."
            )
        noted = {"snakefold": __version__, "lock": str(lock), "python": seen.python}
        text = json.dumps({**noted, "packages": seen.packages}, indent=1)
        (new / MARKER).write_text(f"{text}\n", encoding="utf-8")
        if prefix.exists():
            prefix.rename(new.with_name(f"{new.name}-before"))
        new.rename(prefix)
    links(engine, prefix)
    log(f"{engine.name}: {count(len(seen.packages or ()), 'package')} in {prefix}")
    others = [each.name for each in sorted(prefix.parent.glob("[0-9]*")) if each != prefix]
    if others:
        log(f"{engine.name}: of other locks, to be removed once no run uses them: {', '.join(others)}")
    return prefix


def _told(seen: Seen) -> str:
    return "; ".join(f"{what}: {why}" for what, why in seen.wrong)


@contextmanager
def beside(prefix: Path) -> Iterator[Path]:
    """An empty folder beside it, which is gone afterwards, as are those of processes that were killed."""
    mark = f".new-{prefix.name}-"
    prefix.parent.mkdir(parents=True, exist_ok=True)
    for left in prefix.parent.glob(f"{mark}*"):
        shutil.rmtree(left, ignore_errors=True)
    new = Path(tempfile.mkdtemp(prefix=mark, dir=prefix.parent))
    try:
        new.chmod(0o755)  # others may use it
        yield new
    finally:
        for left in prefix.parent.glob(f"{mark}*"):
            shutil.rmtree(left, ignore_errors=True)


def _built(environment: Environment, lock: Path) -> str:
    """Which of two locks it is, and how to get the other."""
    if lock == environment.cpu_lock:
        return "builds for CPUs; for machines with an NVIDIA GPU, which this one may send jobs to: --gpu"
    return "builds for NVIDIA GPUs; for machines without one: --cpu"


def _fill(new: Path, python: str, lock: Path, uv: str | None, index: str) -> None:
    """Install what a lock names. It is whole: nothing is resolved, and what it leaves out is meant."""
    own = str(interpreter(new))
    if uv:
        _run([uv, "venv", "--quiet", "--no-project", "--allow-existing", "--python", python, str(new)])
        # Compiled once, as pip does: whoever may not write there would compile it at every start.
        command = [uv, "pip", "install", "--python", own, "--compile-bytecode", "--no-deps"]
        command += ["--require-hashes", "--requirements"]
    else:
        _run([python, "-I", "-m", "venv", "--clear", str(new)])
        command = [own, "-m", "pip", "install", "--no-deps", "--require-hashes", "--requirement"]
    command.append(str(lock))
    if index:
        command += ["--extra-index-url", index]
        # Of two indexes, uv looks into the first that has a package at all: hashes say which file is right.
        command += ["--index-strategy", "unsafe-best-match"] if uv else []
    _run(command)


def _run(command: list[str]) -> None:
    """Run an installer; it tells of its progress itself."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    kept.pop("VIRTUAL_ENV", None)
    done = subprocess.run(command, env=kept, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        hint = (
            " uv does not read pip's configuration; --pip uses pip." if Path(command[0]).name == "uv" else ""
        )
        raise SnakefoldError(
            f"{' '.join(command)}: failed with exit code {done.returncode}; it says why above. Nothing was "
            f"installed.{hint}"
        )


def _name_as(new: Path, prefix: Path) -> None:
    """Scripts name the folder that they were made in: let them name the one that they will be in."""
    for script in (new / "bin").iterdir():
        if script.is_symlink() or not script.is_file():
            continue
        data = script.read_bytes()
        named = data.replace(os.fsencode(new), os.fsencode(prefix))
        if named != data:
            script.write_bytes(named)
