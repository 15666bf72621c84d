"""GPUs of a machine: which there are, and one for each process. A stand-in of nvidia-smi prints a table."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

from snakefold import cli
from snakefold.cli.run import snakemake_command
from snakefold.config import load_config
from snakefold.kernel.devices import devices
from snakefold.plan.cost.gpus import load_classes
from snakefold.plan.quote.timing import worker_limits

FOUR = (
    (0, "GPU-aaaa0000", "NVIDIA RTX A5000", 24564),
    (1, "GPU-aaaa1111", "NVIDIA A100-SXM4-80GB", 81920),
    (2, "GPU-bbbb2222", "NVIDIA RTX A5000", 24564),
    (3, "GPU-bbbb3333", "NVIDIA A100-SXM4-80GB", 81920),
)
HOLDER = """
import json, os, sys, time
from snakefold.kernel.devices import take_device
while not os.path.exists(sys.argv[3]):
    time.sleep(0.01)
device = take_device(lambda line: print(line, file=sys.stderr), wait=sys.argv[1] == "wait")
start = time.monotonic()
assert device is None or os.environ["CUDA_VISIBLE_DEVICES"] == device.uuid
print(json.dumps([device and device.index, start]), flush=True)
time.sleep(float(sys.argv[2]))
print(json.dumps(time.monotonic()), flush=True)
"""


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four GPUs of two kinds; locks in a folder of the test."""
    tool = tmp_path / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    rows = "\n".join(", ".join(map(str, row)) for row in FOUR)
    tool.write_text(f"#!/bin/sh\ncat <<'END'\n{rows}\nEND\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def hold(seconds: float, *, wait: bool = True, once: str = "/") -> subprocess.Popen[str]:
    """A process that holds a GPU so long, as soon as a file is there."""
    words = [sys.executable, "-c", HOLDER, "wait" if wait else "no", str(seconds), once]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_the_largest_come_first() -> None:
    assert [device.index for device in devices()] == [1, 3, 0, 2]
    assert devices()[0].memory_mb == 81920


@pytest.mark.parametrize(
    ("visible", "indices"),
    [("2,1", [1, 2]), ("GPU-aaaa0", [0]), ("GPU-aaaa", []), ("3,7,1", [3]), ("", []), ("-1", [])],
)
def test_only_what_cuda_shows_counts(
    visible: str, indices: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert [device.index for device in devices()] == indices


@pytest.mark.parametrize("script", ["exit 9", "echo 'No devices were found'", "echo '0, GPU-1, A100'"])
def test_a_driver_that_does_not_answer_is_no_gpu(script: str, tmp_path: Path) -> None:
    (tmp_path / "bin" / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
    assert devices() == ()


def test_every_process_has_one_to_itself(tmp_path: Path) -> None:
    """Nine jobs that take a while, on four GPUs: none is used twice at a time, and none stands idle."""
    go = tmp_path / "go"
    jobs = [hold(3.0, once=str(go)) for _ in range(9)]
    time.sleep(2)
    go.touch()
    spans: dict[int, list[tuple[float, float]]] = {}
    for job in jobs:
        first, last = job.communicate(timeout=120)[0].splitlines()
        index, start = json.loads(first)
        spans.setdefault(index, []).append((start, json.loads(last)))
    assert set(spans) == {0, 1, 2, 3}
    for held in map(sorted, spans.values()):
        assert all(end <= start for (_, end), (start, _) in pairwise(held))


def test_who_is_killed_holds_nothing() -> None:
    jobs = [hold(600) for _ in FOUR]
    try:
        held = {job: json.loads(job.stdout.readline())[0] for job in jobs if job.stdout}
        assert set(held.values()) == {0, 1, 2, 3}
        other = hold(0.0, wait=False)
        assert json.loads(other.communicate(timeout=60)[0].splitlines()[0])[0] is None
        waiting = hold(0.0)
        assert waiting.stderr is not None
        assert waiting.stderr.readline() == "other processes hold all 4 GPUs; waiting for one\n"
        killed = jobs[2]
        killed.send_signal(signal.SIGKILL)
        assert json.loads(waiting.communicate(timeout=60)[0].splitlines()[0])[0] == held[killed]
    finally:
        for job in jobs:
            job.kill()
            job.communicate()


@pytest.mark.parametrize("visible", ["1", "GPU-bbbb2222", ""])
def test_who_was_given_one_keeps_it(visible: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    script = "import os; from snakefold.kernel.devices import take_device as t; assert t(print) is None; "
    script += "print(repr(os.environ['CUDA_VISIBLE_DEVICES']))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == f"{visible!r}\n"
    assert not list(tmp_path.glob("snakefold-gpus-*"))


def test_a_run_uses_all_and_the_plan_counts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def resources(*words: str) -> list[str]:
        options = cli.parser().parse_args(["run", *words])
        options.passed_on = []
        line = snakemake_command(options, None)
        return line[line.index("--resources") + 1 :][:2] if "--resources" in line else []

    assert resources() == ["gpu=4", "msa_server=1"]
    assert resources("--profile", "runpod") == []
    classes = load_classes(["local"], None)
    config = load_config({"predict": {"threads": 2}})
    assert worker_limits(config, classes, 64) == {"local": 4}
    assert worker_limits(config, classes, 4) == {"local": 2}
    assert worker_limits(load_config({"gpu": {"workers": 1}}), classes, 64) == {"local": 1}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert resources() == []
    assert worker_limits(config, classes, 64) == {"local": 1}
