"""Faults by script and by seed, as a client and the account see them."""

from __future__ import annotations

import base64
import hashlib
import threading

import aiohttp
import pytest
from tests.emulator.helpers import asynchronous, eventually, on_manual_clock, running

from snakefold.clusters.emulator import Clock, Fault, Faults, ManualClock, Scaling, State, StubWorkers
from snakefold.clusters.emulator.faults import CALL_FAULTS, read_faults

OUTPUT = {
    "archive": base64.b64encode(b"archive" * 20).decode(),
    "sha256": hashlib.sha256(b"archive" * 20).hexdigest(),
}


def with_faults(*rules, seconds=30, clock=None, **kwargs):
    settings = {
        "workers": StubWorkers(lambda job: OUTPUT, seconds=seconds),
        "scaling": Scaling(workers_max=2, start_seconds=10, idle_timeout=5),
    }
    return running({"fold": settings}, clock=clock or ManualClock(), faults=Faults(rules, **kwargs))


async def seen(client, seconds=600.0, method="POST", path="run"):
    """What a plain client that waits so long sees of one call."""
    try:
        timeout = aiohttp.ClientTimeout(total=seconds)
        async with client.session.request(
            method, f"{client.base}/{path}", json={"input": 1}, timeout=timeout
        ) as response:
            await response.json()
            return response.status
    except Exception as error:
        return type(error)


@pytest.mark.parametrize(
    ("rule", "expected", "accepted"),
    [
        (Fault("status", nth=1), aiohttp.ContentTypeError, False),
        (Fault("status_after", nth=1, status=500), aiohttp.ContentTypeError, True),
        (Fault("timeout_before", nth=1, seconds=600, until=threading.Event()), TimeoutError, False),
        (Fault("timeout_after", nth=1, seconds=600, until=threading.Event()), TimeoutError, True),
        (Fault("reset_before", nth=1), aiohttp.ClientOSError, False),
        (Fault("reset_after", nth=1), aiohttp.ClientOSError, True),
        (Fault("malformed", nth=1), ValueError, True),
        (Fault("truncated", nth=1), aiohttp.ClientPayloadError, True),
        (Fault("empty", nth=1), aiohttp.ContentTypeError, True),
        (Fault("slow", nth=1, seconds=0.1), 200, True),
        (Fault("unknown_state", nth=1), 200, True),
    ],
    ids=lambda value: value.what if isinstance(value, Fault) else "",
)
@asynchronous
async def test_every_fault_of_a_call(rule, expected, accepted):
    if rule.until:
        rule.until.clear()
    async with with_faults(rule) as (service, client):
        got = await seen(client, 3.0 if rule.until else 600.0)
        assert got == expected or (isinstance(got, type) and issubclass(got, expected))
        assert len(service.jobs) == accepted
        if rule.until:
            rule.until.set()
        assert await seen(client) == 200
        await eventually(lambda: len(service.calls) == 2)
        assert {call.fault for call in service.calls} == {rule.what, ""}


def test_every_fault_of_a_call_is_tested():
    cases = test_every_fault_of_a_call.pytestmark[0].args[1]
    assert {case[0].what for case in cases} == set(CALL_FAULTS)


@asynchronous
async def test_html_of_a_gateway():
    async with with_faults(Fault("status", call="health", status=503)) as (_, client):
        status, text = await client.call("GET", "health")
        assert status == 503
        assert "<html>" in text
        assert "Service Unavailable" in text


@asynchronous
async def test_rules_name_their_calls():
    async with with_faults(
        Fault("status", call="status", nth=(2, 4)), Fault("status", call="health", times=2, status=500)
    ) as (_, client):
        job = await client.run()
        assert [(await client.status(job))[0] for _ in range(5)] == [200, 502, 200, 502, 200]
        assert [(await client.call("GET", "health"))[0] for _ in range(3)] == [500, 500, 200]


@asynchronous
async def test_unknown_state_is_shown_as_asked():
    async with with_faults(Fault("unknown_state", call="status", error="RUNNING")) as (_, client):
        assert await client.state(await client.run()) == "RUNNING"


def test_a_fault_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no fault named 'sloth'"):
        Fault("sloth")
    with pytest.raises(ValueError, match="no rate"):
        Faults(rates={"no_capacity": 0.5})
    script = tmp_path / "faults.yaml"
    script.write_text("rules: [{what: reset_after, where: run}]")
    with pytest.raises(ValueError, match=r"faults\.yaml.*where"):
        read_faults(script)
    script.write_text("seed: 3\nrates: {failed: 0.5}\nrules: [{what: reset_after, call: run, nth: 2}]")
    faults = read_faults(script)
    assert (faults.seed, faults.rates, faults.rules) == (
        3,
        {"failed": 0.5},
        [Fault("reset_after", call="run", nth=2)],
    )


@pytest.mark.parametrize(
    ("rule", "state"),
    [
        (Fault("failed", nth=2, error="CUDA error: out of memory"), "FAILED"),
        (Fault("timed_out", nth=2, seconds=7), "TIMED_OUT"),
        (Fault("cancelled", nth=2, seconds=20), "CANCELLED"),
        (Fault("lost", nth=2, seconds=20), "404"),
        (Fault("stuck", nth=2), "IN_QUEUE"),
        (Fault("expired", nth=2, seconds=20), "TIMED_OUT"),
        (Fault("endless", nth=2), "IN_PROGRESS"),
        (Fault("no_output", nth=2), "COMPLETED"),
        (Fault("corrupt", nth=2), "COMPLETED"),
        (Fault("wrong_sha256", nth=2), "COMPLETED"),
    ],
    ids=lambda value: value.what if isinstance(value, Fault) else "",
)
@asynchronous
async def test_a_job_meets_its_fault_and_the_others_do_not(rule, state):
    async with with_faults(rule) as (service, client):
        jobs = [await client.run(n) for n in range(3)]
        await service.advance(200)
        assert [await client.state(job) for job in jobs] == ["COMPLETED", state, "COMPLETED"]
        assert (await client.status(jobs[0]))[1]["output"] == OUTPUT
        body = (await client.status(jobs[1]))[1]
        if rule.what == "failed":
            assert body["error"] == rule.error
        if rule.what == "no_output":
            assert "output" not in body
        if rule.what in ("corrupt", "wrong_sha256"):
            data = base64.b64decode(body["output"]["archive"])
            assert hashlib.sha256(data).hexdigest() != body["output"]["sha256"]
            assert (body["output"]["archive"] == OUTPUT["archive"]) == (rule.what == "wrong_sha256")
        assert service.live_jobs() == ([service.jobs[1]] if rule.what in ("stuck", "endless") else [])
        if rule.what == "expired":
            assert service.jobs[1].attempts == [] and "executionTime" not in body


@asynchronous
async def test_results_are_changed_as_a_test_wants():
    rule = Fault("corrupt", change=lambda output: {**output, "archive": "../../etc/passwd"})
    async with with_faults(rule) as (service, client):
        job = await client.run()
        await service.advance(60)
        assert (await client.status(job))[1]["output"] == {**OUTPUT, "archive": "../../etc/passwd"}


@asynchronous
async def test_jobs_are_chosen_by_their_input():
    async with with_faults(Fault("failed", job=lambda given: given == "bad")) as (service, client):
        jobs = [await client.run(given) for given in ("good", "bad", "good")]
        await service.advance(200)
        assert [await client.state(job) for job in jobs] == ["COMPLETED", "FAILED", "COMPLETED"]


@asynchronous
async def test_a_job_run_twice_is_paid_twice_and_answered_once():
    async with with_faults(Fault("twice", nth=1)) as (service, client):
        job = await client.run()
        await service.advance(200)
        assert await client.state(job) == "COMPLETED"
        first, second = service.jobs[0].attempts
        assert first.worker != second.worker
        assert (first.outcome, second.outcome) == ("COMPLETED", "COMPLETED")
        assert service.execution_seconds("fold") == 60


@asynchronous
async def test_a_job_outlives_its_worker():
    async with with_faults(Fault("worker_dies", nth=1, seconds=12)) as (service, client):
        job = await client.run()
        await service.advance(200)
        assert await client.state(job) == "COMPLETED"
        assert [attempt.outcome for attempt in service.jobs[0].attempts] == ["LOST", "COMPLETED"]
        assert service.execution_seconds("fold") == 12 + 30
        assert (await client.call("GET", "health"))[1]["jobs"]["retried"] == 1


@asynchronous
async def test_a_job_of_a_worker_that_dies_goes_to_one_that_waits():
    async with on_manual_clock(scaling=Scaling(workers_min=2, workers_max=2)) as (service, client):
        job, waiting = await client.run(), None
        await service.advance(5)
        endpoint = service.endpoints["fold"]
        (busy,) = [worker for worker in endpoint.live_workers() if worker.busy]
        assert len(endpoint.asking()) == 1
        endpoint.stop(busy, "killed", kill=True)
        waiting = await client.run()
        await service.advance(100)
        assert [await client.state(job), await client.state(waiting)] == ["COMPLETED", "COMPLETED"]
        assert [attempt.outcome for attempt in service.jobs[0].attempts] == ["LOST", "COMPLETED"]


@asynchronous
async def test_an_endless_job_outlives_both_of_its_limits_and_a_cancel_ends_it():
    async with with_faults(Fault("endless")) as (service, client):
        job = await client.run(policy={"executionTimeout": 60_000, "ttl": 125_000})
        await service.advance(86_400)
        assert await client.state(job) == "IN_PROGRESS"
        (worker,) = service.endpoints["fold"].live_workers()
        assert worker.busy
        assert (await client.call("POST", f"cancel/{job}"))[1]["status"] == "CANCELLED"
        await service.advance(10)
        assert not worker.busy


@asynchronous
async def test_a_job_that_kills_its_workers_fails_in_the_end():
    async with with_faults() as (service, client):
        job = await client.run()
        for _ in range(4):
            await service.advance(15)
            endpoint = service.endpoints["fold"]
            [worker] = [worker for worker in endpoint.live_workers() if worker.busy]
            endpoint.stop(worker, "out of memory", kill=True)
        await service.advance(15)
        assert await client.state(job) == "FAILED"
        assert "4 times" in (await client.status(job))[1]["error"]


@asynchronous
async def test_no_capacity_and_crash_loops_differ_in_the_workers_list():
    """Both look alike to /status: only the management API tells which it is."""
    rules = [Fault("no_capacity", at=0, seconds=100), Fault("crash_loop", at=1000, seconds=100)]
    async with with_faults(*rules) as (service, client):
        for status in ("throttled", "unhealthy"):
            job = await client.run()
            await service.advance(50)
            assert await client.state(job) == "IN_QUEUE"
            _, listed = await client.manage("GET", "serverless/fold/workers")
            assert listed["summary"][status] == listed["summary"]["total"] == 1
            assert listed["workers"][0]["status"] == status.upper()
            await service.advance(950 if status == "throttled" else 200)
            assert await client.state(job) == "COMPLETED"
        crashed = [worker for worker in service.endpoints["fold"].workers.values() if worker.crashes]
        # The start that went well, the job, the idle seconds: UNHEALTHY workers are not billed.
        assert crashed[0].billed_seconds(service.clock.now()) == 10 + 30 + 5


@asynchronous
async def test_clock_jumps_expire_what_lives_by_the_clock():
    async with with_faults(Fault("clock_jump", at=50, seconds=86_400)) as (service, client):
        job = await client.run()
        await service.advance(40)
        assert await client.state(job) == "COMPLETED"
        await service.advance(10)
        await service.advance(0)
        assert await client.state(job) == "404"


@asynchronous
async def test_a_real_clock_jumps_too_and_runs_faster():
    clock = Clock(speed=200)
    async with with_faults(clock=clock) as (service, client):
        job = await client.run()
        record = service.jobs[0]
        await eventually(lambda: record.state.final)
        assert record.view(clock.now())["executionTime"] >= 30_000
        clock.jump(3600)
        await eventually(lambda: record.deleted)
        assert await client.state(job) == "404"
        clock.jump(-7200)
        assert await client.state(await client.run()) in ("IN_QUEUE", "IN_PROGRESS")


@asynchronous
async def test_scaled_to_zero_is_visible():
    async with with_faults(Fault("scaled_to_zero", at=0)) as (service, client):
        await service.advance(0)
        job = await client.run()
        await service.advance(3600)
        assert await client.state(job) == "IN_QUEUE"
        assert (await client.manage("GET", "serverless/fold"))[1]["workers"]["max"] == 0


@asynchronous
async def test_chance_is_the_seeds():
    async def outcomes(seed):
        rates = {"failed": 0.3, "stuck": 0.2, "status": 0.2}
        async with with_faults(seconds=1, rates=rates, seed=seed) as (service, client):
            answers = [(await client.call("POST", "run", json={"input": n}))[0] for n in range(60)]
            await service.advance(200)
            return answers, [job.state for job in service.jobs]

    first, again, other = await outcomes(1), await outcomes(1), await outcomes(2)
    assert first == again != other
    answers, states = first
    assert 3 < answers.count(502) < 25
    assert 5 < states.count(State.FAILED) < 30
    assert 2 < states.count(State.IN_QUEUE) < 25
