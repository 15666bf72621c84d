"""GPUs of a machine: which there are, and one for each process. A stand-in of nvidia-smi prints a table."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from snakefold import cli
from snakefold.cli.run import snakemake_command
from snakefold.config import load_config
from snakefold.kernel.devices import Device, devices, take_device, visible
from snakefold.plan.cost.gpus import load_classes
from snakefold.plan.quote.timing import worker_limits

#: Locks are named after them, and no other test of the machine may have these.
RUN = uuid.uuid4().hex[:8]
FOUR = (
    (0, f"GPU-{RUN}-aa00", "NVIDIA RTX A5000", 24564, 8.6),
    (1, f"GPU-{RUN}-aa11", "NVIDIA A100-SXM4-80GB", 81920, 8.0),
    (2, f"GPU-{RUN}-bb22", "NVIDIA RTX A5000", 24564, 8.6),
    (3, f"GPU-{RUN}-bb33", "NVIDIA A100-SXM4-80GB", 81920, 8.0),
    (4, f"GPU-{RUN}-cc44", "NVIDIA T400", 2048, 7.5),
)
LOCKS = Path(f"/dev/shm/snakefold-gpus-{os.getuid()}")  # noqa: S108
HOLDER = """
import json, os, sys, time
from snakefold.kernel.devices import take_device
while not os.path.exists(sys.argv[3]):
    time.sleep(0.01)
device = take_device(lambda line: print(line, file=sys.stderr), shared=sys.argv[1] == "shared")
start = time.monotonic()
assert device is None or os.environ["CUDA_VISIBLE_DEVICES"] == device.uuid
print(json.dumps([device and device.index, start]), flush=True)
time.sleep(float(sys.argv[2]))
print(json.dumps(time.monotonic()), flush=True)
"""


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Four GPUs of two kinds, and a card for the screen."""
    tool = tmp_path / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    rows = "\n".join(", ".join(map(str, row)) for row in FOUR)
    tool.write_text(f"#!/bin/sh\ncat <<'END'\n{rows}\nEND\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    yield
    for lock in LOCKS.glob(f"GPU-{RUN}-*"):
        lock.unlink()


def hold(seconds: float, *, shared: bool = False, once: str = "/") -> subprocess.Popen[str]:
    """A process that holds a GPU so long, as soon as a file is there."""
    words = [sys.executable, "-c", HOLDER, "shared" if shared else "alone", str(seconds), once]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_the_largest_come_first() -> None:
    assert [device.index for device in devices()] == [1, 3, 0, 2]
    assert (devices()[0].memory_mb, devices()[0].capability) == (81920, 80)
    assert [device.index for device in visible()] == [1, 3, 0, 2, 4]


@pytest.mark.parametrize(
    ("visible", "indices"),
    [
        *(("2,1", [1, 2]), ("GPU-RUN-aa0", [0]), ("GPU-RUN-aa", []), ("3,7,1", [3]), ("0, 0", [0])),
        *(("", []), ("-1", []), ("\N{SUPERSCRIPT TWO}", []), ("4", [4])),
    ],
)
def test_only_what_cuda_shows_counts(
    visible: str, indices: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible.replace("RUN", RUN))
    assert [device.index for device in devices()] == indices


def test_what_nvidia_smi_does_not_know_is_not_known(tmp_path: Path) -> None:
    rows = "0, GPU-1, GB10, [N/A], [N/A]\\nGPU is lost\\n1, GPU-2, GB10, [N/A], 12.1"
    (tmp_path / "bin" / "nvidia-smi").write_text(f"#!/bin/sh\nprintf '{rows}\\n'\n")
    assert devices() == (Device(0, "GPU-1", "GB10"), Device(1, "GPU-2", "GB10", 0, 121))


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
    jobs = [hold(600) for _ in range(4)]
    try:
        held = {job: json.loads(job.stdout.readline())[0] for job in jobs if job.stdout}
        assert set(held.values()) == {0, 1, 2, 3}
        # Workers that stay take one beside them, each another.
        idle = [hold(600, shared=True) for _ in range(2)]
        jobs += idle
        beside = {json.loads(job.stdout.readline())[0] for job in idle if job.stdout}
        assert beside == {1, 3}
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


@pytest.mark.parametrize("given", ["1", "GPU-RUN-bb22", ""])
def test_who_was_given_one_keeps_it(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = given.replace("RUN", RUN)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    script = "import os; from snakefold.kernel.devices import take_device as t; assert t(print) is None; "
    script += "print(repr(os.environ['CUDA_VISIBLE_DEVICES']))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == f"{given!r}\n"
    assert not list(LOCKS.glob(f"GPU-{RUN}-*"))


@pytest.mark.parametrize(
    "kind", [pytest.param("of another", marks=pytest.mark.needs("root")), "open", "link", "file"]
)
def test_a_folder_that_is_not_ours_holds_no_locks(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever makes it first must not decide what we open, or how long we wait."""
    monkeypatch.setattr("snakefold.kernel.devices._LOCKS", tmp_path)
    folder, other = tmp_path / LOCKS.name, tmp_path / "other"
    other.mkdir(mode=0o700)
    if kind == "link":
        folder.symlink_to(other)
    elif kind == "file":
        folder.touch()
    else:
        folder.mkdir(mode=0o700)
        folder.chmod(0o777 if kind == "open" else 0o700)
    if kind == "of another":
        os.chown(folder, 12345, 12345)
    said: list[str] = []
    assert take_device(said.append) is None
    assert said == [
        f"{tmp_path}: no folder for locks of GPUs could be made there; processes share the first GPU"
    ]
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
    assert not list(other.iterdir())


def test_a_run_uses_all_and_the_plan_counts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def resources(*words: str) -> list[str]:
        options = cli.parser().parse_args(["run", *words])
        options.passed_on = []
        line = snakemake_command(options, None)
        if "--resources" not in line:
            return []
        at = line.index("--resources")
        assert line[at + 3] == "--workflow-profile"  # an option must follow what takes several
        return line[at + 1 : at + 3]

    assert resources() == ["gpu=4", "msa_server=1"]
    assert resources("--set", "gpu.workers=3") == ["gpu=3", "msa_server=1"]
    assert resources("--set", "gpu.workers={local: 9}") == ["gpu=4", "msa_server=1"]
    assert resources("--profile", "runpod") == []
    classes = load_classes(["local"], None)
    config = load_config({"predict": {"threads": 2}})
    assert worker_limits(config, classes, 64) == {"local": 4}
    assert worker_limits(config, classes, 4) == {"local": 2}
    assert worker_limits(load_config({"gpu": {"workers": 1}}), classes, 64) == {"local": 1}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert resources() == []
    assert worker_limits(config, classes, 64) == {"local": 1}
