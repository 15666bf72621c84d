"""A run that is killed at any moment is gone on with: nothing is lost, nothing paid twice."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from flying import wait
from running import command, environment, prepare, result, run, said, start
from tests.emulator import EmulatorThread, Fault, Faults, Scaling, StubWorkers
from workers import SmallWorker

JOBS, SECONDS, KILLS = 200, 2.0, 20


def kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.slow
def test_kill_at_twenty_random_moments(tmp_path: Path) -> None:
    moments = random.Random(4)  # noqa: S311
    worker = SmallWorker(again=0.01)
    endpoint = {
        "workers": StubWorkers(worker, worker.seconds),
        "scaling": Scaling(workers_min=6, workers_max=6),
    }
    # Answers to submissions take as long as they do over the internet: many are cut off.
    faults = Faults([Fault("slow", call="run", seconds=0.15)])
    with EmulatorThread({"fold": endpoint}, faults=faults) as service:
        prepare(tmp_path, JOBS, SECONDS)
        arguments = command(tmp_path, service.url, JOBS, "--runpod-max-in-flight", "18")
        for _ in range(KILLS):
            seen = len(service.calls)
            process = start(tmp_path, arguments, environment(tmp_path))
            wait(lambda: len(service.calls) > seen or process.poll() is not None, 60)  # noqa: B023
            time.sleep(moments.uniform(0.0, 3.0))
            kill(process)
        code, text = run(tmp_path, arguments, environment(tmp_path), timeout=180)
        assert code == 0, text
        assert service.live_jobs() == []
        jobs = service.jobs
        attempts = [attempt for job in jobs for attempt in job.attempts]
        paid = service.execution_seconds("fold")
    assert all((tmp_path / f"out/{i}.bin").read_bytes() == result(i, SECONDS) for i in range(JOBS))
    assert worker.executions == JOBS
    durations = sorted((attempt.ended or 0.0) - attempt.started for attempt in attempts)
    clean = sum(durations[-JOBS:])
    lost = len(jobs) - JOBS
    print(f"{lost} submissions whose answer a kill cut off; {paid / clean:.4f} of a clean run's job-seconds")
    assert paid <= 1.02 * clean


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_an_interrupt_leaves_no_live_job(tmp_path: Path, number: signal.Signals) -> None:
    worker = SmallWorker()
    endpoint = {"workers": StubWorkers(worker, worker.seconds), "scaling": Scaling(workers_min=3)}
    with EmulatorThread({"fold": endpoint}) as service:
        prepare(tmp_path, 25, 600.0)
        arguments = command(tmp_path, service.url, 25, "--runpod-max-in-flight", "20")
        process = start(tmp_path, arguments, environment(tmp_path))
        wait(lambda: len(service.live_jobs()) == 20, 60)
        os.kill(process.pid, number)
        assert process.wait(60) != 0
        assert service.live_jobs() == [], said(tmp_path)
        cancels = sorted(call.wall for call in service.calls if call.operation == "cancel")
    assert len(cancels) == 20 and "20 jobs cancelled" in said(tmp_path)
    assert all(later - earlier >= 1.0 for earlier, later in zip(cancels, cancels[10:], strict=False))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_an_interrupt_may_keep_jobs_and_the_next_run_goes_on_with_them(
    tmp_path: Path, number: signal.Signals
) -> None:
    worker = SmallWorker()
    endpoint = {
        "workers": StubWorkers(worker, worker.seconds),
        "scaling": Scaling(workers_min=8, workers_max=8),
    }
    with EmulatorThread({"fold": endpoint}) as service:
        prepare(tmp_path, 8, 4.0)
        arguments = command(tmp_path, service.url, 8, "--runpod-on-interrupt", "keep")
        process = start(tmp_path, arguments, environment(tmp_path))
        wait(lambda: len(service.live_jobs()) == 8, 60)
        os.kill(process.pid, number)
        assert process.wait(60) != 0
        assert len(service.jobs) == 8 and service.call(lambda e: e.count_calls("cancel")) == 0
        assert "re-attaches" in said(tmp_path)
        code, text = run(tmp_path, arguments, environment(tmp_path))
        assert code == 0, text
        assert len(service.jobs) == 8
    assert "re-attached" in (tmp_path / "logs/0.log").read_text()
    assert all((tmp_path / f"out/{i}.bin").read_bytes() == result(i, 4.0) for i in range(8))


def test_what_an_earlier_run_left_and_nobody_wants_is_cancelled(tmp_path: Path) -> None:
    worker = SmallWorker()
    endpoint = {
        "workers": StubWorkers(worker, worker.seconds),
        "scaling": Scaling(workers_min=8, workers_max=8),
    }
    with EmulatorThread({"fold": endpoint}) as service:
        prepare(tmp_path, 4, 600.0)
        process = start(tmp_path, command(tmp_path, service.url, 4), environment(tmp_path))
        wait(lambda: len(service.live_jobs()) == 4, 60)
        kill(process)
        prepare(tmp_path, 4, 0.1)  # other requests now: other work
        code, text = run(tmp_path, command(tmp_path, service.url, 4), environment(tmp_path))
        assert code == 0, text
        assert service.live_jobs() == []
