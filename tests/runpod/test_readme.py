"""The README's section on RunPod, as its reader goes through it: its own commands, taken out of its text."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

HOUSE = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
#: A set that is folded in a minute, in place of the demo's.
CHEAP = (
    "few.fasta --set 'msa={tool: single_sequence}' --set 'rehearsal={models: [1], num_recycle: 0}' "
    "--set 'relax={models_to_relax: none}'"
)
FASTA = ">one\nMKTAYIAKQRQISFVKSHFSRQ\n>two\nGSHMFVKSHFSRQLEERLGLIE\n>three\nNLYIQWLKDGGPSSGRPPPS\n"


def commands() -> list[str]:
    """Lines of the section's block."""
    section = (HOUSE / "README.md").read_text(encoding="utf-8").partition("\n## On RunPod\n")[2]
    return section.split("```")[1].strip().splitlines()


def changed(command: str, before: str, after: str) -> str:
    """The README's command, with what a test must have otherwise."""
    assert command.count(before) == 1, command
    return command.replace(before, after)


@contextlib.contextmanager
def emulator(command: str, output: Path):
    """The README's first command in its terminal; its port. Ctrl-C ends it, and all that it started."""
    command = changed(command, "make emulator", f"make -o .venv/dev.stamp BIN='{BIN}' emulator")
    command = changed(command, 'ARGUMENTS="', 'ARGUMENTS="--port 0 ')  # 8123 may be somebody else's
    with output.open("w") as stream:
        terminal = subprocess.Popen(
            ["bash", "-c", command],
            cwd=HOUSE,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        end = time.monotonic() + 600
        while not (found := re.search(r"logs in (\S+)", output.read_text())):
            assert terminal.poll() is None, output.read_text()
            assert time.monotonic() < end, output.read_text()
            time.sleep(0.1)
        port = re.search(r"http://127.0.0.1:(\d+)/v2", output.read_text())
        yield int(port[1]), Path(found[1])
        os.killpg(terminal.pid, signal.SIGINT)
        terminal.wait(1800)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(terminal.pid, signal.SIGKILL)
        terminal.wait()


def in_environment(text: str) -> list[int]:
    """Processes with a text in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and text.encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
    return found


@pytest.mark.slow
def test_the_section_on_runpod(tmp_path):
    start, export, run = commands()
    (tmp_path / "few.fasta").write_text(FASTA)
    with emulator(start.partition("#")[0], tmp_path / "terminal") as (port, workers):
        run = changed(run, ".venv/bin/snakefold run", f"'{BIN}/snakefold' run {CHEAP}")
        script = f"{changed(export, ':8123/', f':{port}/')}\n{run}"
        kept = ("PATH", "HOME", "LANG", "VIRTUAL_ENV", "PYTHONPATH")
        done = subprocess.run(
            ["bash", "-e", "-c", script],
            cwd=tmp_path,
            env={name: os.environ[name] for name in kept if name in os.environ},
            capture_output=True,
            text=True,
            timeout=1800,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "done:    3 targets\nfailed:  0 targets\n" in done.stdout + done.stderr
    assert "REHEARSAL" in (tmp_path / "results" / "summary.txt").read_text()
    assert (tmp_path / "results" / "report" / "index.html").is_file()
    said = (tmp_path / "terminal").read_text()
    jobs, billed = map(int, re.search(r"fold: (\d+) jobs, (\d+) s billed", said).groups())
    assert jobs == len(list((tmp_path / "results" / "predictions").glob("*.tar.zst")))
    assert billed > 0
    assert in_environment(str(workers)) == []
