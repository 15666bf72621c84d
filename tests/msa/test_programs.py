"""Finding and running programs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from snakefold.kernel.errors import MissingProgramError
from snakefold.msa import programs


def silent(line: str) -> None:
    """A log nobody reads."""


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def is_running(process: int) -> bool:
    """Zombies (whose parent has not looked yet) do not run."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for_text(path: Path) -> str:
    wait_until(lambda: path.exists() and path.read_text().endswith("\n"))
    return path.read_text().strip()


def wait_until(true: Callable[[], bool]) -> None:
    """However busy the machine is: also a process that was killed ends when its turn comes."""
    deadline = time.monotonic() + 600
    while not true():
        assert time.monotonic() < deadline, "nothing came of it"
        time.sleep(0.01)


@pytest.mark.parametrize("name", ["jackhmmer", "hmmsearch", "hmmbuild", "mmseqs", "hhsearch", "kalign"])
def test_wheels_carry_the_programs(name: str) -> None:
    assert "site-packages" in str(programs.find(name))
    assert programs.version(name)[0].isalnum()
    assert "\n" not in programs.version(name)


def test_versions_are_the_programs_own() -> None:
    assert programs.version("jackhmmer").startswith("3.")
    assert programs.version("kalign").startswith("2.")


def test_path_is_searched_when_no_wheel_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = script(tmp_path / "hhblits", "exit 0")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert programs.find("hhblits") == expected


def test_a_missing_program_names_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        MissingProgramError, match=r"hhblits: not found.*apt-get install hhsuite.*conda install"
    ):
        programs.find("hhblits")


def test_arguments_reach_the_program_as_they_are(tmp_path: Path) -> None:
    lines: list[str] = []
    odd = ["$(touch made)", "a b", "'", '"', "; touch made", "*", "\n"]
    program = script(tmp_path / "show it", "printf '%s\\0' \"$@\"")
    ran = programs.run([program, *odd], tmp_path, lines.append)
    assert ran.stdout.split("\0")[:-1] == odd
    assert not (tmp_path / "made").exists()
    assert lines == [f"$ {ran.command}"]
    repeated = subprocess.run(["/bin/sh", "-c", ran.command], capture_output=True, text=True, check=True)
    assert repeated.stdout == ran.stdout


def test_environment_is_added_to_the_current_one(tmp_path: Path) -> None:
    program = script(tmp_path / "show", 'echo "$EXTRA $HOME"')
    ran = programs.run([program], tmp_path, silent, environment={"EXTRA": "more"})
    assert ran.stdout.strip() == f"more {os.environ.get('HOME', '')}".strip()


def test_a_failure_shows_command_status_and_last_lines(tmp_path: Path) -> None:
    program = script(tmp_path / "fail", "seq 1 50 >&2; echo 'disk is full' >&2; exit 7")
    with pytest.raises(programs.ProgramError) as caught:
        programs.run([program, "input file"], tmp_path, silent)
    text = str(caught.value)
    assert "fail 'input file'" in text
    assert "left with status 7" in text
    assert text.endswith("disk is full")
    assert "\n  10\n" not in text


def test_bytes_that_are_no_text_do_no_harm(tmp_path: Path) -> None:
    program = script(tmp_path / "binary", "printf '\\377\\376ok'")
    assert programs.run([program], tmp_path, silent).stdout.endswith("ok")


def test_running_out_of_time_ends_the_children_too(tmp_path: Path) -> None:
    program = script(tmp_path / "slow", "sleep 6000 & echo $! > child; wait")
    for seconds in (1, 10, 100):  # until the program had time to start its child
        with pytest.raises(programs.ProgramError, match=f"did not finish within {seconds} s"):
            programs.run([program], tmp_path, silent, timeout=seconds)
        if (tmp_path / "child").exists() and (tmp_path / "child").read_text():
            break
    child = int(wait_for_text(tmp_path / "child"))
    wait_until(lambda: not is_running(child))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_leaves_nothing_running(tmp_path: Path, number: signal.Signals) -> None:
    program = script(tmp_path / "slow", "sleep 6000 & echo $! > child; wait")
    # A shell starts background jobs with SIGINT ignored, and children inherit that.
    code = (
        "import signal, sys; from pathlib import Path; from snakefold.msa import programs; "
        "signal.signal(signal.SIGINT, signal.default_int_handler); "
        "programs.run([sys.argv[1]], Path(sys.argv[2]), print)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(program), str(tmp_path)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    child = int(wait_for_text(tmp_path / "child"))
    assert is_running(child)
    process.send_signal(number)
    assert process.wait(timeout=600) != 0
    wait_until(lambda: not is_running(child))
