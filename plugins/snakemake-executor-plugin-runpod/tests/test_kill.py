"""A run that is killed at any moment is gone on with: nothing is lost, nothing paid twice."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest
from flying import wait
from running import command, environment, prepare, result, run, said, start
from workers import SmallWorker, service_of

from snakefold.clusters.emulator import EmulatorThread, Fault

SLOW = """
rule slow:
    output:
        "slow.txt",
    shell:
        "sleep 7200"
"""
JOBS, SECONDS, KILLS = 200, 2.0, 20


def kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def begin(
    folder: Path, service: EmulatorThread, jobs: int, live: int, *more: str, locked: bool = False
) -> subprocess.Popen[bytes]:
    """A run, once so many of its jobs are live."""
    arguments = command(folder, service.url, jobs, *more, locked=locked)
    process = start(folder, arguments, environment(folder))
    wait(lambda: len(service.live_jobs()) == live == noted(folder))
    return process


def noted(folder: Path) -> int:
    """Jobs whose ids the run has in its ledger: before that, a kill leaves them nameless."""
    path = folder / ".snakemake/runpod/ledger.sqlite"
    with contextlib.suppress(sqlite3.OperationalError), contextlib.closing(sqlite3.connect(path)) as ledger:
        return int(ledger.execute("SELECT count(*) FROM submissions WHERE job IS NOT NULL").fetchone()[0])
    return 0


@pytest.mark.slow
def test_kill_at_twenty_random_moments(tmp_path: Path) -> None:
    moments = random.Random(4)  # noqa: S311
    worker = SmallWorker(again=0.01)
    # Answers to submissions take as long as they do over the internet: many are cut off.
    with service_of(Fault("slow", call="run", seconds=0.15), worker=worker, workers=6) as service:
        prepare(tmp_path, JOBS, SECONDS)
        arguments = command(tmp_path, service.url, JOBS, "--runpod-max-in-flight", "18")
        for _ in range(KILLS):
            seen = len(service.calls)
            process = start(tmp_path, arguments, environment(tmp_path))
            wait(lambda: len(service.calls) > seen or process.poll() is not None)  # noqa: B023
            time.sleep(moments.uniform(0.0, 3.0))
            kill(process)
        code, text = run(tmp_path, arguments, environment(tmp_path))
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
    # Nothing was begun and given up; what was sent again found its work done.
    assert {attempt.outcome for attempt in attempts} == {"COMPLETED"}


@pytest.mark.parametrize(
    "signals",
    [[signal.SIGINT, signal.SIGINT], [signal.SIGTERM, signal.SIGINT, signal.SIGTERM]],
    ids=["ctrl-c twice", "three signals"],
)
def test_an_interrupt_leaves_no_live_job(tmp_path: Path, signals: list[signal.Signals]) -> None:
    """timeout(1), systemd and CI send two within a second, or more."""
    with service_of() as service:
        prepare(tmp_path, 35, 600.0)
        # A job of core's own executor: a SIGTERM does not reach it, and core would wait for its end.
        snakefile = tmp_path / "Snakefile"
        snakefile.write_text(snakefile.read_text().replace("range(N)),", 'range(N)), "slow.txt",') + SLOW)
        process = begin(tmp_path, service, 35, 30, "--runpod-max-in-flight", "30")
        os.kill(process.pid, signals[0])
        for number in signals[1:]:
            # In the middle of the cancels, of which there are no more than ten a second.
            seen = service.call(lambda emulator: emulator.count_calls("cancel"))
            wait(lambda: service.call(lambda e: e.count_calls("cancel")) > seen + 2)  # noqa: B023
            os.kill(process.pid, number)
        assert process.wait(1200) != 0
        assert service.live_jobs() == [], said(tmp_path)
        assert "Traceback" not in said(tmp_path) and "signals do not shorten" in said(tmp_path)
        cancels = [call.wall for call in service.calls if call.operation == "cancel"]
    assert len(cancels) == 30 and "jobs cancelled: 30" in said(tmp_path)
    # 10 a second, to which test_units.py holds the gate itself; on a busy machine they may arrive in bunches.
    assert max(cancels) - min(cancels) >= (len(cancels) - 1) / 20


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_an_interrupt_may_keep_jobs_and_the_next_run_goes_on_with_them(
    tmp_path: Path, number: signal.Signals
) -> None:
    keep = ("--runpod-on-interrupt", "keep")
    with service_of(workers=8) as service:
        until = str(tmp_path / "go")
        prepare(tmp_path, 8, 0.1, until=until)
        process = begin(tmp_path, service, 8, 8, *keep)
        os.kill(process.pid, number)
        assert process.wait(1200) != 0
        assert len(service.jobs) == 8 and service.call(lambda e: e.count_calls("cancel")) == 0
        assert "re-attaches" in said(tmp_path)
        Path(until).touch()
        code, text = run(tmp_path, command(tmp_path, service.url, 8, *keep), environment(tmp_path))
        assert code == 0, text
        assert len(service.jobs) == 8
    assert "re-attached" in (tmp_path / "logs/0.log").read_text()
    assert all((tmp_path / f"out/{i}.bin").read_bytes() == result(i, 0.1, until=until) for i in range(8))


def test_jobs_that_could_not_be_cancelled_are_listed_with_what_ends_them(tmp_path: Path) -> None:
    with service_of(Fault("status", call="cancel", status=503)) as service:
        prepare(tmp_path, 3, 600.0)
        process = begin(tmp_path, service, 3, 3, "--runpod-cancel-timeout", "1")
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(1200) != 0
        text = said(tmp_path)
        assert "not certainly cancelled (3)" in text and "Traceback" not in text, text
        ids = [job.id for job in service.live_jobs()]
        assert len(ids) == 3 and all(text.count(name) == 2 for name in ids)
        assert f"{service.url}/fold/cancel/$job" in text and "RUNPOD_API_KEY" in text


def test_what_an_earlier_run_left_and_nobody_wants_is_cancelled(tmp_path: Path) -> None:
    with service_of(workers=8) as service:
        prepare(tmp_path, 4, 600.0)
        kill(begin(tmp_path, service, 4, 4, locked=True))
        prepare(tmp_path, 4, 0.1)  # other requests now: other work
        # As it is documented: Snakemake's own lock outlives it.
        arguments = command(tmp_path, service.url, 4, locked=True)
        code, text = run(tmp_path, arguments, environment(tmp_path))
        assert code == 1 and "--unlock" in text, text
        assert run(tmp_path, [*arguments, "--unlock"], environment(tmp_path))[0] == 0
        code, text = run(tmp_path, arguments, environment(tmp_path))
        assert code == 0, text
        assert service.live_jobs() == []
