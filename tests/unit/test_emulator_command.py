"""`snakefold emulator`: what it refuses, and a service that is started, used and ended."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from snakefold.cli import main
from snakefold.clusters.emulator import API_KEY, KINDS

SNAKEFOLD = Path(sys.executable).with_name("snakefold")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--endpoint", "fold"], "--endpoint fold: expected ID=WORKERS"),
        (["--endpoint", "fold= "], "--endpoint fold= : expected ID=WORKERS"),
        (["--endpoint", "a=stub:x"], "--endpoint a=stub:x: x: expected a number of seconds"),
        (["--endpoint", "a=stub:-1"], "--endpoint a=stub:-1: -1: expected a number of seconds"),
        (["--endpoint", "a=python 'x"], "--endpoint a=python 'x: No closing quotation"),
        (["--endpoint", "a=no-such-program"], "no-such-program: no such program"),
        (["--endpoint", "a=stub", "--endpoint", "a=stub:2"], "a is given twice"),
        (["--port", "70000"], "--port 70000: expected 0 to 65535"),
        (["--speed", "0"], "--speed 0: expected a number above 0"),
        (["--idle-timeout", "-1"], "--idle-timeout -1.0: expected at least 0"),
        (["--workers-min", "4"], "--workers-min 4: expected at most --workers-max (3)"),
        (["--faults", "nowhere.yaml"], "--faults nowhere.yaml: No such file"),
    ],
)
def test_what_it_cannot_do_is_said(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["emulator", "--port", "0", *arguments]) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("rules: [", "while parsing a flow node"),
        ("- failed", "expected a mapping with any of: rules, rates, seed"),
        ("rule: []", "rule: Extra inputs are not permitted"),
        ("rules: [{what: failed, seconds: soon}]", "rules.0.seconds: Input should be a valid number"),
        ("rules: [{what: nothing}]", "no fault named 'nothing'"),
        ("rates: {failed: often}", "rates.failed: Input should be a valid number"),
        ("rates: {no_capacity: 0.1}", "no rate can be given for 'no_capacity'"),
    ],
)
def test_a_script_of_faults_that_is_wrong_is_said(
    script: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "faults.yaml"
    path.write_text(script)
    assert main(["emulator", "--port", "0", "--faults", str(path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"snakefold: {path}: ")
    assert told in said
    assert "snakefold emulator --list-faults" in said


def test_the_extra_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    assert main(["emulator"]) == 2
    assert "pip install 'snakefold[emulator]'" in capsys.readouterr().err


def test_a_port_that_is_taken_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["emulator", "--port", str(port)]) == 2
    assert f"--port {port}: cannot listen on 127.0.0.1" in capsys.readouterr().err


def test_every_fault_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["emulator", "--list-faults"]) == 0
    listed = capsys.readouterr().out
    assert [name for name in KINDS if f"  {name} " not in listed] == []


@contextlib.contextmanager
def started(folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command, from a folder that is not the repository's, and the address of its jobs API."""
    command = [SNAKEFOLD, "emulator", "--port", "0", *arguments]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            head = ""
            while not (found := re.search(r"jobs API +(\S+)", head)):
                line = process.stdout.readline()
                assert line, head
                head += line
            yield process, found[1]
        finally:
            process.kill()


def ask(address: str, data: bytes | None = None) -> dict[str, object]:
    request = urllib.request.Request(address, data, {"Authorization": f"Bearer {API_KEY}"})  # noqa: S310
    with urllib.request.urlopen(request) as response:  # noqa: S310
        return dict(json.load(response))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_told_to_end(number: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "faults.yaml").write_text("rules: [{what: failed, nth: 2, error: as written}]\n")
    arguments = ("--endpoint", "mine=stub:0", "--speed", "100", "--faults", "faults.yaml")
    with started(tmp_path, *arguments) as (process, url):
        jobs = [ask(f"{url}/mine/run", b'{"input": {"n": 1}}')["id"] for _ in range(2)]
        ends = []
        for job in jobs:
            while (seen := ask(f"{url}/mine/status/{job}"))["status"] in ("IN_QUEUE", "IN_PROGRESS"):
                time.sleep(0.02)
            ends.append((seen["status"], seen.get("error")))
        assert ends == [("COMPLETED", None), ("FAILED", "as written")]
        process.send_signal(number)
        assert process.stdout is not None
        said = process.stdout.read()
        assert process.wait() == 0
    assert re.search(r"^mine: 2 jobs, [1-9]\d* s billed$", said, re.MULTILINE)
