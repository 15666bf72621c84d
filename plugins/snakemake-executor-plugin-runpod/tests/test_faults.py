"""What can go wrong on the way, one by one: a job succeeds, is tried again by rule, or fails and says why."""

from __future__ import annotations

import base64
import itertools
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from flying import flying, wait
from workers import SmallWorker, service_of

from snakefold.clusters.emulator import NO_ACCESS_KEY, READ_ONLY_KEY, Clock, Fault, Scaling
from snakefold.clusters.emulator.jobs import State
from snakemake_executor_plugin_runpod import ledger
from snakemake_executor_plugin_runpod.client import Client
from snakemake_executor_plugin_runpod.errors import HOPELESS


@pytest.mark.parametrize(
    ("key", "status"), [("rpa_wrong", "401"), (NO_ACCESS_KEY, "403"), (READ_ONLY_KEY, "403")]
)
def test_a_key_that_is_refused_stops_everything_at_once(tmp_path: Path, key: str, status: str) -> None:
    with flying(tmp_path, key=key) as found:
        trips = found.carry(*(found.task(i) for i in range(5)))
        assert all(trip.error is not None and "RUNPOD_API_KEY" in str(trip.error) for trip in trips)
        assert status in str(trips[0].error)
        assert len(found.fatal) == 1
        assert found.service.jobs == []
        # Jobs after the refusal are not even tried.
        calls = len(found.service.calls)
        found.carry(found.task(9))
        assert len(found.service.calls) == calls


def test_an_endpoint_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with flying(tmp_path, endpoints={"fold": "gone"}) as found:
        (trip,) = found.carry(found.task())
        assert "404" in str(trip.error) and "gone" in str(trip.error)


def test_a_quota_that_is_spent_ends_the_job_with_what_the_service_says(tmp_path: Path) -> None:
    asked = []

    class Spent(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.path)
            self.rfile.read(int(self.headers["Content-Length"]))
            body = b'{"detail": "Your quota is 5 of residues a day (UTC)."}'
            self.send_response(429)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("X-Snakefold-Refused", "quota")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Spent) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/v2"
        with flying(tmp_path, base_url=url, management_url="") as found:
            (trip,) = found.carry(found.task())
        server.shutdown()
    assert asked == ["/v2/fold/run"]  # once: it is not the load of the service that refuses
    assert trip.error is not None and trip.error.reason in HOPELESS  # nor does Snakemake try again
    assert "Your quota is 5 of residues a day (UTC)." in str(trip.error)


@pytest.mark.parametrize(
    "fault",
    [
        Fault("status", call="run", status=429, nth=(1, 2)),
        Fault("status", call="run", status=500, nth=1),
        Fault("status", call="run", status=502, nth=1),
        Fault("status_after", call="run", status=502, nth=1),
        Fault("timeout_before", call="run", nth=1, seconds=0.2),
        Fault("timeout_after", call="run", nth=1, seconds=0.2),
        Fault("reset_before", call="run", nth=1),
        Fault("reset_after", call="run", nth=1),
        Fault("malformed", call="run", nth=1),
        Fault("truncated", call="run", nth=1),
        Fault("empty", call="run", nth=1),
    ],
    ids=lambda fault: f"{fault.what}-{fault.status}",
)
def test_a_submission_without_a_good_answer_is_computed_once(tmp_path: Path, fault: Fault) -> None:
    with flying(tmp_path, fault, worker=SmallWorker(seconds=0.3)) as found:
        trips = found.carry(*(found.task(i) for i in range(3)))
        assert [trip.error for trip in trips] == [None] * 3
        assert all(found.good(i) for i in range(3))
        assert found.worker.executions == 3
        # What was accepted without an answer is over before the work is sent again, which then finds it done.
        attempts = sorted(
            (job.input["digest"], attempt.started, attempt.ended)
            for job in found.service.jobs
            for attempt in job.attempts
        )
        for (digest, _, ended), (following, started, _) in itertools.pairwise(attempts):
            assert digest != following or started >= ended
        assert found.service.live_jobs() == []


@pytest.mark.parametrize(
    "fault",
    [
        Fault("status", call="status", status=429, nth=(1, 2, 3)),
        Fault("status", call="status", status=502, nth=(1, 2, 3)),
        Fault("timeout_before", call="status", nth=2, seconds=0.2),
        Fault("reset_before", call="status", nth=(1, 2)),
        Fault("reset_after", call="status", nth=(1, 2)),
        Fault("malformed", call="status", nth=(1, 2, 3)),
        Fault("truncated", call="status", nth=(1, 2, 3)),
        Fault("empty", call="status", nth=(1, 2)),
        Fault("unknown_state", call="status", nth=(1, 2, 3)),
        Fault("slow", call="status", nth=1, seconds=0.3),
    ],
    ids=lambda fault: f"{fault.what}-{fault.status}",
)
def test_a_look_that_fails_is_taken_again(tmp_path: Path, fault: Fault) -> None:
    with flying(tmp_path, fault, worker=SmallWorker(seconds=0.2)) as found:
        trips = found.carry(*(found.task(i) for i in range(3)))
        assert [trip.error for trip in trips] == [None] * 3
        assert len(found.service.jobs) == 3


def test_no_answer_in_time_ends_the_call_here(tmp_path: Path) -> None:
    fault = Fault("timeout_after", call="run", nth=1, seconds=5)
    with flying(tmp_path, fault) as found:

        async def impatient() -> None:
            await found.engine.client.close()
            found.engine.client = found.engine._carrier._client = Client(
                found.service.api_key, found.service.url, timeout=0.3
            )

        found.engine.call(impatient())
        (trip,) = found.carry(found.task())
        assert trip.error is None
        assert any("no answer in time" in line for line in trip.story)
        assert found.worker.executions == 1


def test_a_service_that_stays_away_becomes_an_error(tmp_path: Path) -> None:
    with flying(tmp_path, Fault("status", call="run", status=503), patience=0.5) as found:
        (trip,) = found.carry(found.task())
        assert "503" in str(trip.error)
        assert found.service.jobs == []


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Fault("failed", error="CUDA error"), "CUDA error"),
        (Fault("timed_out", seconds=0.1), "runtime"),
        (Fault("cancelled", seconds=0.1), "not by this run"),
        (Fault("no_output"), "no output"),
        (Fault("corrupt"), "not what the worker sent"),
        (Fault("wrong_sha256"), "not what the worker sent"),
    ],
    ids=lambda value: value.what if isinstance(value, Fault) else "",
)
def test_a_bad_end_is_an_error_that_says_why_and_the_next_try_is_a_new_job(
    tmp_path: Path, fault: Fault, says: str
) -> None:
    one = Fault(**{**vars(fault), "nth": 1})
    with flying(tmp_path, one, worker=SmallWorker(seconds=0.3)) as found:
        data = b"longer than a digest, so that it is what a flipped byte hits" * 9
        (trip,) = found.carry(found.task(data=data))
        assert trip.error is not None and says in str(trip.error)
        assert not (tmp_path / "out/0.bin").exists()
        assert says in (tmp_path / "logs/0.log").read_text()
        record = json.loads((tmp_path / "record/0.json").read_text())
        assert record["attempts"] == 1 and record["billed_seconds"] > 0
        (again,) = found.carry(found.task(data=data))
        assert again.error is None and found.good(data=data)
        assert len(found.service.jobs) == 2
        assert json.loads((tmp_path / "record/0.json").read_text())["attempts"] == 2


def test_the_workers_typed_reason_and_log_are_passed_on(tmp_path: Path) -> None:
    with flying(tmp_path) as found:
        (trip,) = found.carry(found.task(request={"fail": "out_of_memory"}))
        assert trip.error is not None and trip.error.reason == "out_of_memory"
        assert "it does not work" in str(trip.error)
        assert "line of a log" in (tmp_path / "logs/0.log").read_text()


def test_a_job_the_service_has_lost_is_sent_again(tmp_path: Path) -> None:
    with flying(tmp_path, Fault("lost", seconds=0.1, nth=1), worker=SmallWorker(seconds=0.4)) as found:
        (trip,) = found.carry(found.task())
        assert trip.error is None and found.good()
        assert len(found.service.jobs) == 2


def test_a_job_that_is_lost_each_time_becomes_an_error(tmp_path: Path) -> None:
    with flying(tmp_path, Fault("lost", seconds=0.1), worker=SmallWorker(seconds=0.4)) as found:
        (trip,) = found.carry(found.task())
        assert trip.error is not None and trip.error.reason == "lost"
        assert len(found.service.jobs) == 3


def test_a_result_that_is_no_longer_kept_is_had_from_the_worker_again(tmp_path: Path) -> None:
    """Finished while nobody looked, and found after the 30 minutes for which RunPod keeps results."""
    clock = Clock()
    with flying(tmp_path, Fault("status", call="status", status=503), clock=clock) as found:
        trip = found.engine.carry(found.task())
        wait(lambda: any(str(job.state) == "COMPLETED" for job in found.service.jobs))
        found.service.call(lambda emulator: emulator.clock.jump(3600))
        found.service.call(lambda emulator: emulator.faults.clear())
        wait(lambda: trip.finished)
        assert trip.error is None and found.good()
        assert found.worker.executions == 1


def test_a_job_the_platform_ran_twice_is_collected_once(tmp_path: Path) -> None:
    with flying(tmp_path, Fault("twice"), worker=SmallWorker(seconds=0.2)) as found:
        (trip,) = found.carry(found.task())
        assert trip.error is None and found.good()
        (job,) = found.service.jobs
        assert len(job.attempts) == 2


def test_a_worker_that_dies_costs_a_wait_only(tmp_path: Path) -> None:
    with flying(tmp_path, Fault("worker_dies", seconds=0.1, nth=1), worker=SmallWorker(seconds=0.3)) as found:
        (trip,) = found.carry(found.task())
        assert trip.error is None and found.good()


@pytest.mark.parametrize("seconds", [-0.5, 86_400.0, 8 * 86_400.0])
def test_jumps_of_the_services_clock(tmp_path: Path, seconds: float) -> None:
    """Backwards: nothing. Forwards: ttl and execution timeout strike at once; the job is sent again."""
    with flying(tmp_path, worker=SmallWorker(seconds=0.5)) as found:
        trip = found.engine.carry(found.task(runtime=60 * 24 * 2))
        wait(lambda: found.service.live_jobs() != [])
        found.service.call(lambda emulator: emulator.clock.jump(seconds))
        wait(lambda: trip.finished)
        assert trip.error is None and found.good(), trip.error


def test_jumps_of_this_machines_clock_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    real, jumped = time.time, [0.0]
    with flying(tmp_path, worker=SmallWorker(seconds=0.5)) as found:
        monkeypatch.setattr(time, "time", lambda: real() + jumped[0])
        trip = found.engine.carry(found.task())
        wait(lambda: found.service.live_jobs() != [])
        jumped[0] = -10 * 86_400.0
        wait(lambda: trip.finished)
        assert trip.error is None and found.good()


@pytest.mark.parametrize(
    ("cause", "says"),
    [("throttled", "no capacity"), ("crash_loop", "UNHEALTHY"), ("zero", "workersMax is 0")],
)
def test_a_job_that_no_worker_takes_is_cancelled_in_the_end_and_says_why(
    tmp_path: Path, cause: str, says: str
) -> None:
    def spoil(emulator: Any) -> None:
        endpoint = emulator.endpoints["fold"]
        if cause == "throttled":
            endpoint.capacity = 0
        elif cause == "crash_loop":
            endpoint.crash_loop = True
        else:
            endpoint.scaling.workers_max = 0

    with flying(tmp_path, scaling=Scaling(workers_min=0), queue_timeout=4.0) as found:
        found.service.call(spoil)
        (trip,) = found.carry(found.task())
        assert trip.error is not None and says in str(trip.error), trip.error
        assert any(says in warning for warning in found.warnings)
        assert found.service.live_jobs() == []


def hostile(change: Any) -> Fault:
    return Fault("corrupt", change=change)


def _part(data: bytes) -> dict[str, Any]:
    import hashlib

    return {
        "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "base64": base64.b64encode(data).decode(),
    }


@pytest.mark.parametrize(
    "change",
    [
        lambda output: {**output, "results": {"../../escaped": _part(b"x")}},
        lambda output: {**output, "results": {**output["results"], "/etc/passwd": _part(b"x")}},
        lambda output: {**output, "results": {}},
        lambda output: {**output, "results": {"archive": {**_part(b"x"), "size": 10**15}}},
        lambda output: {**output, "results": {"archive": {**_part(b"xx"), "size": 1}}},
        lambda output: {**output, "results": {"archive": {**_part(b"x"), "size": True}}},
        lambda output: {**output, "results": {"archive": {**_part(b"x"), "base64": "not base64!"}}},
        lambda output: {**output, "results": {"archive": {**_part(b"x"), "base64": 7}}},
        lambda output: {**output, "results": {"archive": {"size": 1, "sha256": "0" * 64, "stored": True}}},
        lambda output: {
            **output,
            "results": {"archive": {"size": 1, "sha256": "0" * 64, "path": "/etc/passwd"}},
        },
        lambda output: {**output, "results": ["archive"]},
        lambda output: {**output, "digest": "0" * 64},
        lambda output: {**output, "version": 99},
        lambda _: "just text",
        lambda output: [output],
    ],
)
def test_a_hostile_answer_writes_nothing(tmp_path: Path, change: Any) -> None:
    with flying(tmp_path, hostile(change)) as found:
        before = set(tmp_path.parent.iterdir())
        (trip,) = found.carry(found.task())
        assert trip.error is not None
        assert not list((tmp_path / "out").glob("*")) if (tmp_path / "out").exists() else True
        assert set(tmp_path.parent.iterdir()) == before


def test_a_submission_that_a_kill_cut_off_is_told_of_while_it_may_be_at_work(tmp_path: Path) -> None:
    work = {"until": str(tmp_path / "go")}
    with service_of(Fault("slow", call="run", seconds=600)) as service:
        with flying(tmp_path, service=service) as found:
            found.engine.carry(found.task(0, request=work))
            wait(lambda: len(service.live_jobs()) == 1)
        service.call(lambda emulator: emulator.faults.clear())
        with flying(tmp_path, service=service) as found:
            (trip,) = found.carry(found.task(1))  # other work: nobody waits for the first
            assert trip.error is None
            assert found.engine.call(found.engine.in_doubt()) == 1
            (tmp_path / "go").touch()
            wait(lambda: service.live_jobs() == [])
            assert found.engine.call(found.engine.in_doubt()) == 0


@pytest.mark.parametrize("late", [False, True], ids=["before the next run", "while it waits"])
def test_a_job_whose_cancellation_an_interrupted_run_did_not_see_is_sent_again(
    tmp_path: Path, late: bool
) -> None:
    work = {"until": str(tmp_path / "go")}

    def cancel(emulator: Any) -> None:
        jobs = emulator.endpoints["fold"].jobs
        for job in list(jobs.records.values()):
            jobs.end(job, State.CANCELLED)

    with service_of() as service:
        with flying(tmp_path, service=service) as found:
            left = found.engine.carry(found.task(0, request=work))
            wait(lambda: left.job is not None)
        if not late:
            service.call(cancel)
        with flying(tmp_path, service=service) as found:
            trip = found.engine.carry(found.task(0, request=work))
            wait(lambda: trip.job is not None)
            if late:
                service.call(cancel)
            (tmp_path / "go").touch()
            wait(lambda: trip.finished)
            assert trip.error is None, trip.error
        assert len(service.jobs) == 2
    assert "it was cancelled" in (tmp_path / "logs/0.log").read_text()


def test_the_ledger_tells_the_story(tmp_path: Path) -> None:
    with flying(tmp_path, Fault("failed", nth=1)) as found:
        trips = found.carry(found.task(0), found.task(1))
        for trip in trips:
            if trip.error is None:
                found.engine.seen(trip)
    book = ledger.Ledger(tmp_path / "ledger.sqlite")
    found_states = sorted(state for (state,) in book._db.execute("SELECT state FROM submissions").fetchall())
    assert found_states == ["DONE", "FAILED"]
    assert book.live() == []
    assert book.dollars() > 0
    book.close()
