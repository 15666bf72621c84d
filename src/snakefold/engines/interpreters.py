"""Python interpreters of a wanted version: found by running them, for a shim on PATH may start nothing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from snakefold.kernel.errors import SnakefoldError

#: Seconds in which a program says its version, however slow its disk is.
_PATIENCE = 60
_ASK = (
    "import importlib.util, sys; "
    "pip = importlib.util.find_spec('ensurepip') is not None; "
    "print('%d.%d.%d' % sys.version_info[:3], pip, sys.executable)"
)


class Unfit(Exception):
    """A candidate is not what is wanted; the text says why, without its path."""


@dataclass(frozen=True)
class Interpreter:
    """One that has run: its own path, not that of a shim."""

    path: str
    version: str


def find(wanted: str, *, given: str | None, uv: str | None, log: Callable[[str], None]) -> Interpreter:
    """An interpreter of version `wanted` (3.11, or 3.11.7), which has run.

    Args:
        given: path or name of the only one to try.
        uv: the program, which knows of more; None: there is none, so that the interpreter must bring pip.
        log: is told what was passed over although its name promised the version.

    Raises:
        SnakefoldError: none runs here; all that were tried are named.
    """
    tried: dict[str, str] = {}
    for path in [given] if given else _candidates(wanted, uv, tried):
        if path in tried:
            continue
        try:
            found = check(path, wanted, pip=uv is None)
        except Unfit as why:
            tried[path] = str(why)
            continue
        for shim in (each for each in tried if Path(each).name == f"python{wanted}"):
            log(f"passed over: {shim}: {tried[shim]}")
        return found
    listed = "\n".join(f"  {path}: {why}" for path, why in tried.items())
    raise SnakefoldError(
        f"no interpreter of Python {wanted} runs here. Tried:\n{listed}\nInstall one (uv python install "
        f"{wanted}, or the system's package), or name one with --python PATH."
    )


def check(path: str, wanted: str, *, pip: bool) -> Interpreter:
    """Run a candidate.

    Args:
        pip: it must be able to make an environment that has pip.

    Raises:
        Unfit: it does not run, or is another version.
    """
    answer = re.fullmatch(r"(\d+\.\d+\.\d+) (True|False) (/.+)", said := _said([path, "-I", "-c", _ASK]))
    if answer is None:
        raise Unfit(f"answers {said[:80]!r}, as no Python does")
    version, brings_pip, executable = answer.groups()
    if not f"{version}.".startswith(f"{wanted}."):
        raise Unfit(f"is Python {version}")
    if pip and brings_pip == "False":
        raise Unfit("has no ensurepip (on Debian: the package python3-venv), and there is no uv")
    return Interpreter(executable, version)


def find_uv() -> str | None:
    """The first uv on PATH that runs."""
    for path in _on_path("uv"):
        try:
            _said([path, "--version"])
        except Unfit:
            continue
        return path
    return None


def _candidates(wanted: str, uv: str | None, tried: dict[str, str]) -> Iterator[str]:
    """This interpreter, all on PATH, for behind a shim that fails may be one that runs; pyenv's; uv's."""
    yield sys.executable
    for name in (f"python{wanted}", "python3", "python"):
        yield from _on_path(name)
    # Its shims start the versions that are selected; the others are there all the same.
    versions = Path(os.environ.get("PYENV_ROOT") or "~/.pyenv").expanduser() / "versions"
    named = (wanted, *(f"{wanted}{mark}*" for mark in (".", "-")))
    yield from sorted(str(path) for name in named for path in versions.glob(f"{name}/bin/python"))
    if uv:
        # Of its own only: it looks along PATH too, and gives up at the first shim that fails.
        words = ["python", "find", "--managed-python", "--no-project", "--no-python-downloads", wanted]
        try:
            yield _said([uv, *words])
        except Unfit as why:
            tried[f"{uv} python find --managed-python {wanted}"] = str(why)


def _on_path(name: str) -> list[str]:
    return [found for folder in os.get_exec_path() if (found := shutil.which(name, path=folder))]


def _said(command: list[str]) -> str:
    """What a short program prints.

    Raises:
        Unfit: it fails.
    """
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Unfit(f"gives no answer in {_PATIENCE} seconds") from error
    except OSError as error:
        raise Unfit(f"does not start ({error.strerror or error})") from error
    if done.returncode:
        told = next((line.strip() for line in done.stderr.splitlines() if line.strip()), "no text")
        raise Unfit(f"fails with exit code {done.returncode} ({told[:200]})")
    return done.stdout.strip()
