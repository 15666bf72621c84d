"""Documented limits of the emulated service: rates, sizes, times to live, retention, timeouts."""

from __future__ import annotations

import asyncio
import json

import pytest
from tests.emulator.helpers import asynchronous, eventually, on_manual_clock

from snakefold.clusters.emulator import ManualClock, Scaling, StubWorkers
from snakefold.clusters.emulator.limits import DOCUMENTED, Limiter, TooManyRequests


@pytest.mark.parametrize(("operation", "megabytes"), [("run", 10), ("runsync?wait=1000", 20)])
@asynchronous
async def test_payloads_over_the_limit_are_refused(operation, megabytes):
    async with on_manual_clock() as (service, client):
        frame = len(json.dumps({"input": ""}))
        over = await client.call("POST", operation, json={"input": "x" * (megabytes * 2**20 - frame + 1)})
        assert over[0] == 400
        if operation == "run":
            within = await client.call("POST", operation, json={"input": "x" * (megabytes * 2**20 - frame)})
            assert within[0] == 200
        assert len(service.jobs) == (operation == "run")


@asynchronous
async def test_cancels_over_the_documented_rate_are_429():
    async with on_manual_clock() as (service, client):
        job = await client.run()
        answers = [(await client.call("POST", f"cancel/{job}"))[0] for _ in range(101)]
        assert answers == [200] * 100 + [429]
        await service.advance(9.99)
        assert (await client.call("POST", f"cancel/{job}"))[0] == 429
        await service.advance(0.01)
        assert (await client.call("POST", f"cancel/{job}"))[0] == 200


@pytest.mark.parametrize(
    "operation", ["run", "runsync", "status", "stream", "cancel", "purge-queue", "requests"]
)
def test_rates_are_the_documented_ones(operation):
    """Spread over the window, the last call allowed is the rate's; the window slides."""
    clock = ManualClock()
    limiter = Limiter(clock)
    rate = {"run": 1000, "cancel": 100, "purge-queue": 2, "requests": 10}.get(operation, 2000)
    for _ in range(rate):
        with limiter.call(operation):
            clock.jump(10 / rate / 2)
    with pytest.raises(TooManyRequests), limiter.call(operation):
        pass
    clock.jump(5 + 1e-3)
    with limiter.call(operation):
        pass


@pytest.mark.parametrize("operation", [name for name, limit in DOCUMENTED.items() if limit.concurrent])
def test_calls_at_once_are_limited(operation):
    most = {"run": 200, "cancel": 20, "requests": 2}.get(operation, 400)
    limiter = Limiter(ManualClock())
    held = [limiter.call(operation) for _ in range(most)]
    for call in held:
        call.__enter__()
    with pytest.raises(TooManyRequests), limiter.call(operation):
        pass
    held[0].__exit__(None, None, None)
    with limiter.call(operation):
        pass


@asynchronous
async def test_results_are_kept_30_minutes_and_of_runsync_one():
    async with on_manual_clock(StubWorkers(seconds=0), scaling=Scaling()) as (service, client):
        job = await client.run()
        answer = asyncio.ensure_future(client.call("POST", "runsync", json={"input": 1}))
        await eventually(lambda: len(service.jobs) == 2)
        await service.advance(0)
        sync = (await answer)[1]["id"]
        await service.advance(59)
        assert await client.state(sync) == "COMPLETED"
        await service.advance(1)
        assert await client.state(sync) == "404"
        await service.advance(29 * 60 - 1)
        assert await client.state(job) == "COMPLETED"
        await service.advance(1)
        assert await client.state(job) == "404"
        assert (await client.call("POST", f"retry/{job}"))[0] == 404
        assert [kept.deleted for kept in service.jobs] == ["retention", "retention"]


@asynchronous
async def test_time_to_live_counts_the_queue_and_deletes_what_runs():
    """The documentation's trap: one worker, three jobs of 30 s, 60 s to live."""
    async with on_manual_clock(scaling=Scaling(workers_max=1)) as (service, client):
        jobs = [await client.run(policy={"ttl": 60_000}) for _ in range(3)]
        await service.advance(45)
        assert [await client.state(job) for job in jobs] == ["COMPLETED", "IN_PROGRESS", "IN_QUEUE"]
        await service.advance(15)
        # The first was done in time, but the time-to-live deletes results as well.
        assert [await client.state(job) for job in jobs] == ["404"] * 3
        assert [job.deleted for job in service.jobs] == ["ttl"] * 3
        assert service.execution_seconds("fold") == 60
        await service.advance(10)
        assert service.endpoints["fold"].live_workers() == []


@asynchronous
async def test_default_time_to_live_is_a_day():
    async with on_manual_clock(scaling=Scaling(workers_max=0)) as (service, client):
        job = await client.run()
        await service.advance(86_399)
        assert await client.state(job) == "IN_QUEUE"
        await service.advance(1)
        assert await client.state(job) == "404"


@asynchronous
async def test_execution_timeout_ends_the_job_and_its_worker():
    async with on_manual_clock(StubWorkers(seconds=1000)) as (service, client):
        default, own = await client.run(), await client.run(policy={"executionTimeout": 20_000})
        await service.advance(14 + 20)
        assert await client.state(own) == "TIMED_OUT"
        assert await client.state(default) == "IN_PROGRESS"
        await service.advance(600)
        assert await client.state(default) == "TIMED_OUT"
        assert service.execution_seconds("fold") == 620


@asynchronous
async def test_policies_at_the_bounds_are_taken():
    async with on_manual_clock() as (service, client):
        week = 7 * 86_400_000
        await client.run(policy={"ttl": 10_000, "executionTimeout": 5_000})
        await client.run(policy={"ttl": week, "executionTimeout": week, "lowPriority": True})
        policies = [(job.policy.ttl, job.policy.execution_timeout) for job in service.jobs]
        assert policies == [(10, 5), (604_800, 604_800)]


@asynchronous
async def test_a_retry_does_not_lengthen_the_life_of_a_job():
    async with on_manual_clock(StubWorkers(lambda job: {"error": "always"})) as (service, client):
        job = await client.run(policy={"ttl": 100_000})
        for _ in range(3):
            await service.advance(30)
            assert await client.state(job) == "FAILED"
            await client.call("POST", f"retry/{job}")
        await service.advance(9)
        assert await client.state(job) == "IN_QUEUE"
        await service.advance(1)
        assert await client.state(job) == "404"


@pytest.mark.parametrize(
    ("output", "state"),
    [("x" * 10 * 2**20, "IN_PROGRESS"), ("x" * 9 * 2**20, "COMPLETED"), ({1, 2}, "IN_PROGRESS")],
    ids=["over the limit", "within", "not JSON"],
)
@asynchronous
async def test_results_that_do_not_arrive_leave_the_job_in_progress(output, state):
    async with on_manual_clock(StubWorkers(lambda job: output)) as (service, client):
        job, after = await client.run(), await client.run()
        await service.advance(20)
        assert [await client.state(job), await client.state(after)] == [state, state]
        await service.advance(600)
        assert await client.state(job) == ("TIMED_OUT" if state == "IN_PROGRESS" else state)


@asynchronous
async def test_a_thousand_jobs_at_the_documented_rate_all_end():
    async with on_manual_clock(scaling=Scaling(workers_max=60, start_seconds=60)) as (service, client):
        for _ in range(10):
            await asyncio.gather(*(client.run(n) for n in range(100)))
        assert (await client.call("POST", "run", json={"input": 1}))[0] == 429
        await service.advance(20)
        assert len(service.live_jobs()) == 1000
        await service.advance(4 + 60 - 20 + 17 * 30)  # ceil(1000 / 60) rounds of 30 s
        assert service.live_jobs() == []
        assert service.busiest("run") == 1001
        assert service.execution_seconds("fold") == 30_000
        first = service.jobs[0]
        assert await client.state(first.id) == "COMPLETED"
        assert service.detection_delays() == [service.clock.now() - first.finished]
