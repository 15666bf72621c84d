"""RunPod's own SDK against the emulator: its clients from one side, its worker loop from the other.

Code that was not written for the emulator has to find in it what it finds at RunPod.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from snakefold.clusters.emulator import (
    API_KEY,
    Clock,
    EmulatorThread,
    Fault,
    ProcessWorkers,
    Scaling,
    State,
    StubWorkers,
)

runpod = pytest.importorskip("runpod", reason="needs runpod: pip install -e .[worker]")

ROOT = Path(__file__).parents[2]
HANDLER = ROOT / "tests" / "emulator" / "small_handler.py"
SNAKEFOLD = Path(sys.executable).with_name("snakefold")


@pytest.fixture
def sdk(monkeypatch):
    """Points the SDK at a service."""

    def point(service: EmulatorThread, key: str = API_KEY) -> None:
        monkeypatch.setattr(runpod, "endpoint_url_base", service.url)
        monkeypatch.setattr(runpod, "api_key", key)

    return point


async def by_kind(job):
    given = job["input"]
    if given.get("kind") == "error":
        return {"error": "the input is bad"}
    return {"echo": given}


def stub_service(**kwargs) -> EmulatorThread:
    def seconds(job) -> float:
        return (
            1e9 if job["input"].get("kind") == "long" else 5
        )  # a long one is alive whenever it is looked at

    scaling = Scaling(start_seconds=10, queue_delay=4)
    settings = {"workers": StubWorkers(by_kind, seconds=seconds), "scaling": scaling}
    return EmulatorThread({"fold": settings}, clock=Clock(speed=100), **kwargs)


def wait_until(true, seconds: float = 600.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "nothing came of it"
        time.sleep(0.05)


def test_synchronous_client(sdk):
    with stub_service() as service:
        sdk(service)
        endpoint = runpod.Endpoint("fold")
        job = endpoint.run({"n": 1})
        assert job.output(timeout=30) == {"echo": {"n": 1}}
        assert job.status() == "COMPLETED"
        assert endpoint.run({"kind": "long"}).status() in ("IN_QUEUE", "IN_PROGRESS")
        assert endpoint.run_sync({"n": 2}, timeout=30) == {"echo": {"n": 2}}
        failed = endpoint.run({"kind": "error"})
        assert failed.output(timeout=30) is None
        assert failed.status() == "FAILED"
        health = endpoint.health()
        assert (health["jobs"]["completed"], health["jobs"]["failed"]) == (2, 1)


def test_synchronous_client_cancels_and_purges(sdk):
    with EmulatorThread({"fold": {"scaling": Scaling(workers_max=0)}}) as service:
        sdk(service)
        endpoint = runpod.Endpoint("fold")
        job = endpoint.run({"n": 1})
        assert job.cancel() == {"id": job.job_id, "status": "CANCELLED"}
        assert job.status() == "CANCELLED"
        endpoint.run({"n": 2})
        assert endpoint.purge_queue() == {"removed": 1, "status": "completed"}


def test_synchronous_client_is_told_about_keys(sdk):
    with EmulatorThread() as service:
        sdk(service, key="rpa_wrong")
        with pytest.raises(RuntimeError, match="401"):
            runpod.Endpoint("fold").run({"n": 1})
        sdk(service)
        with pytest.raises(Exception, match="404"):
            runpod.Endpoint("elsewhere").run({"n": 1})


def test_synchronous_client_retries_429(sdk):
    with EmulatorThread() as service:
        sdk(service)
        service.add_faults(Fault("status", call="health", status=429, times=1))
        assert runpod.Endpoint("fold").health()["jobs"]["inQueue"] == 0
        assert [call.status for call in service.calls] == [429, 200]


def test_asynchronous_client(sdk):
    async def session(service: EmulatorThread) -> None:
        async with runpod.http_client.ClientSession() as http:
            endpoint = runpod.AsyncioEndpoint("fold", http)
            job = await endpoint.run({"n": 1})
            assert isinstance(job, runpod.AsyncioJob)
            assert await job.output(timeout=30) == {"echo": {"n": 1}}
            assert await job.status() == "COMPLETED"
            assert (await endpoint.health())["jobs"]["completed"] == 1
            other = await endpoint.run({"kind": "long"})
            assert (await other.cancel())["status"] == "CANCELLED"
            assert (await endpoint.purge_queue())["status"] == "completed"

    with stub_service() as service:
        sdk(service)
        asyncio.run(session(service))


def test_streams_through_the_synchronous_client(sdk):
    async def chunks(job):
        for number in range(3):
            yield {"chunk": number}

    with EmulatorThread({"fold": StubWorkers(chunks)}) as service:
        sdk(service)
        assert list(runpod.Endpoint("fold").run({"n": 1}).stream()) == [{"chunk": n} for n in range(3)]


# The SDK's worker loop


@contextlib.contextmanager
def real_service(workers_max: int = 2, env: dict[str, str] | None = None, **scaling):
    workers = ProcessWorkers([sys.executable, "-u", str(HANDLER)], env=env, ping_seconds=1)
    settings = Scaling(**{"workers_max": workers_max, "queue_delay": 0.5, "idle_timeout": 2, **scaling})
    with EmulatorThread({"fold": {"workers": workers, "scaling": settings}}) as service:
        yield service, workers


def submit(service: EmulatorThread, **given):
    return service.call(lambda emulator: emulator.endpoints["fold"].submit(given))


def finish(service: EmulatorThread, *jobs) -> None:
    wait_until(lambda: all(service.call(lambda _: [job.state.final for job in jobs])))


def alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.slow
def test_worker_loop_returns_results_errors_exceptions_and_progress(tmp_path):
    with real_service() as (service, workers):
        jobs = [submit(service, kind=kind) for kind in ("ok", "error", "raise")]
        jobs.append(submit(service, kind="progress", seen=f"{tmp_path}/seen"))
        wait_until(lambda: jobs[3].output == {"done": 1})
        wait_until(lambda: service.call(lambda emulator: emulator.count_calls("ping", 200)) > 0)
        (tmp_path / "seen").touch()
        finish(service, *jobs)
        ok, error, broken, progress = jobs
        assert [job.state for job in jobs] == ["COMPLETED", "FAILED", "FAILED", "COMPLETED"]
        assert ok.output["echo"] == {"kind": "ok"}
        assert ok.output["worker"] == ok.worker
        assert error.error == "the input is bad"
        assert "the handler broke" in broken.error
        assert broken.worker in broken.error
        assert progress.output == {"done": 2}
        processes = [ok.output["pid"]]
        wait_until(lambda: service.call(lambda e: e.endpoints["fold"].live_workers()) == [])
        assert not any(map(alive, processes))
        assert "Starting Serverless Worker" in workers.log(ok.worker)
        assert service.billed_seconds("fold") >= service.execution_seconds("fold")


@pytest.mark.slow
def test_cancel_reaches_the_handler_and_the_worker_goes_on(tmp_path):
    given = {
        "kind": "sleep",
        "seconds": 100,
        "pids": f"{tmp_path}/pids",
        "cancelled": f"{tmp_path}/cancelled",
    }
    with real_service(workers_max=1, idle_timeout=30) as (service, _):
        job = submit(service, **given)
        wait_until((tmp_path / "pids").exists)
        assert service.call(lambda e: e.endpoints["fold"].jobs.end(job, State.CANCELLED))
        wait_until((tmp_path / "cancelled").exists)
        after = submit(service, kind="ok")
        finish(service, after)
        assert after.worker == job.worker
        processes = [int(part) for part in (tmp_path / "pids").read_text().split()]
        assert all(map(alive, processes))  # its child slept on: nobody killed its group
        assert [attempt.outcome for attempt in job.attempts] == ["CANCELLED"]
    assert not any(map(alive, processes))  # the end of a worker takes everything with it


@pytest.mark.slow
def test_results_over_the_limit_are_dropped_and_workers_refreshed_or_replaced():
    with real_service(workers_max=3) as (service, workers):
        big = submit(service, kind="big", bytes=11 * 2**20)
        fits = submit(service, kind="big", bytes=9 * 2**20)
        refresh = submit(service, kind="refresh")
        finish(service, fits, refresh)
        assert len(fits.output["data"]) == 9 * 2**20
        assert "refresh_worker" not in refresh.output
        wait_until(lambda: service.call(lambda e: e.count_calls("job-done", 400)) > 0)
        wait_until(lambda: "Failed to return job results" in workers.log(big.worker or ""))
        wait_until(lambda: [attempt.outcome for attempt in big.attempts] == ["DROPPED"])
        assert big.state is State.IN_PROGRESS  # until its executionTimeout
        wait_until(lambda: service.call(lambda e: e.endpoints["fold"].workers[refresh.worker].gone))
        reason = service.call(lambda e: e.endpoints["fold"].workers[refresh.worker].reason)
        assert reason == "refresh_worker"
        dying = submit(service, kind="exit")
        wait_until(lambda: len(dying.attempts) >= 2)
        assert dying.attempts[0].outcome == "LOST"
        assert dying.attempts[1].worker != dying.attempts[0].worker


@pytest.mark.slow
def test_generators_stream_and_results_are_sent_again(sdk):
    with real_service(env={"SMALL_HANDLER": "streaming"}) as (service, _):
        sdk(service)
        service.add_faults(Fault("status", call="job-done", nth=1))
        job = runpod.Endpoint("fold").run({"chunks": 3})
        assert list(job.stream()) == [{"chunk": number} for number in range(3)]
        assert job.output() == [{"chunk": number} for number in range(3)]
        assert [call.status for call in service.calls if call.operation == "job-done"] == [502, 200]


@pytest.mark.slow
def test_nothing_survives_a_killed_emulator(tmp_path):
    """SIGKILL leaves no time to clean up: the workers' keepers see the pipe close."""
    command = [SNAKEFOLD, "emulator", "--port", "0", "--workers-min", "1"]
    emulator = subprocess.Popen(
        [*command, "--endpoint", f"fold={sys.executable} -u {HANDLER}"],
        cwd=ROOT, env={**os.environ, "TMPDIR": str(tmp_path)}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        wait_until(lambda: len(descendants(emulator.pid)) >= 3)  # keeper, worker, its pinging child
        processes = descendants(emulator.pid)
        emulator.send_signal(signal.SIGKILL)
        emulator.wait()
        wait_until(lambda: not any(map(alive, processes)))
    finally:
        emulator.kill()
        emulator.wait()
        assert emulator.stdout is not None
        emulator.stdout.close()


def descendants(process: int) -> list[int]:
    return [child.pid for child in psutil.Process(process).children(recursive=True)]
