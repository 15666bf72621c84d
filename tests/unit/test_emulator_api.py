"""The emulated jobs API over HTTP, on a clock moved by hand: answers, limits, times to live, webhooks."""

from __future__ import annotations

import asyncio
import functools
import json

import pytest
from aiohttp import web
from tests.emulator import (
    API_KEY,
    NO_ACCESS_KEY,
    READ_ONLY_KEY,
    ManualClock,
    Scaling,
    Scope,
    State,
    StubWorkers,
)
from tests.emulator.__main__ import main
from tests.emulator.helpers import running
from tests.emulator.limits import DOCUMENTED, Limiter, TooManyRequests


def asynchronous(test):
    @functools.wraps(test)
    def run(*args, **kwargs):
        asyncio.run(test(*args, **kwargs))

    return run


def on_manual_clock(workers=None, **kwargs):
    scaling = kwargs.pop("scaling", None) or Scaling(start_seconds=10, idle_timeout=5)
    settings = {"workers": workers or StubWorkers(seconds=30), "scaling": scaling}
    return running({"fold": settings}, clock=ManualClock(), **kwargs)


@asynchronous
async def test_a_job_from_the_queue_to_its_result():
    async with on_manual_clock() as (service, client):
        status, body = await client.call("POST", "run", json={"input": {"n": 1}, "surplus": True})
        assert (status, body["status"]) == (200, "IN_QUEUE")
        assert body["id"].endswith("-e1")
        assert set(body) == {"id", "status"}
        await service.advance(9.9)
        assert await client.state(body["id"]) == "IN_QUEUE"
        await service.advance(0.1)
        assert await client.state(body["id"]) == "IN_PROGRESS"
        await service.advance(30)
        _, shown = await client.status(body["id"])
        assert shown.pop("workerId") in service.endpoints["fold"].workers
        assert shown == {
            "id": body["id"],
            "status": "COMPLETED",
            "delayTime": 10_000,
            "executionTime": 30_000,
            "output": {"echo": {"n": 1}},
        }
        _, health = await client.call("GET", "health")
        assert health["jobs"] == {"completed": 1, "failed": 0, "inProgress": 0, "inQueue": 0, "retried": 0}
        assert (health["workers"]["idle"], health["workers"]["running"]) == (1, 0)
        await service.advance(5)
        assert (await client.call("GET", "health"))[1]["workers"]["idle"] == 0
        assert service.billed_seconds("fold") == 45


@asynchronous
async def test_keys_scopes_and_addresses():
    async with on_manual_clock(keys={API_KEY: Scope(endpoints=frozenset({"fold"})), "other": Scope()}) as (
        s,
        client,
    ):
        s.add_endpoint("msa", StubWorkers())
        for headers, endpoint, expected in [
            ({"Authorization": ""}, "fold", 401),
            ({"Authorization": "Bearer wrong"}, "fold", 401),
            ({"Authorization": f"Bearer {API_KEY}"}, "msa", 403),
            ({"Authorization": "Bearer other"}, "msa", 200),
            ({"Authorization": "other"}, "msa", 200),
            ({"Authorization": "Bearer other"}, "nowhere", 404),
        ]:
            async with client.session.get(f"{s.url}/{endpoint}/health", headers=headers) as response:
                assert response.status == expected, (headers, endpoint)
        assert (await client.call("GET", "run"))[0] == 405
        assert (await client.call("GET", "dance"))[0] == 404
        assert (await client.call("GET", "status/unknown-e1"))[0] == 404


@asynchronous
async def test_read_only_keys_read_and_closed_keys_do_not():
    async with on_manual_clock(key=READ_ONLY_KEY) as (_, client):
        assert (await client.call("GET", "health"))[0] == 200
        assert (await client.call("POST", "run", json={"input": 1}))[0] == 403
    async with on_manual_clock(key=NO_ACCESS_KEY) as (_, client):
        assert (await client.call("GET", "health"))[0] == 403


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"{}",
        b'{"input": null}',
        b'{"input": 1, "webhook": 5}',
        b'{"input": 1, "policy": {"ttl": 9999}}',
        b'{"input": 1, "policy": {"ttl": true}}',
        b'{"input": 1, "policy": {"executionTimeout": 4999}}',
        b'{"input": 1, "policy": {"executionTimeout": 604800001}}',
        b'{"input": 1, "policy": {"lowPriority": "no"}}',
        b'{"input": 1, "policy": []}',
    ],
)
@asynchronous
async def test_bad_requests_are_refused(body):
    async with on_manual_clock() as (service, client):
        status, answer = await client.call("POST", "run", data=body)
        assert status == 400
        assert answer["error"]
        assert service.jobs == []


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
async def test_runsync_answers_with_the_result_or_after_its_wait():
    async with on_manual_clock(StubWorkers(seconds=30), scaling=Scaling(start_seconds=10)) as (
        service,
        client,
    ):
        waiting = asyncio.ensure_future(client.call("POST", "runsync?wait=60000", json={"input": "a"}))
        short = asyncio.ensure_future(client.call("POST", "runsync?wait=1000", json={"input": "b"}))
        while len(service.jobs) < 2:
            await asyncio.sleep(0.01)
        await service.advance(1)
        status, body = await short
        assert (status, body["status"]) == (200, "IN_QUEUE")
        assert body["id"].startswith("sync-")
        await service.advance(40)
        assert (await waiting)[1]["output"] == {"echo": "a"}
        for wait in ("999", "300001", "soon"):
            assert (await client.call("POST", f"runsync?wait={wait}", json={"input": 1}))[0] == 400


@asynchronous
async def test_results_are_kept_30_minutes_and_of_runsync_one():
    async with on_manual_clock(StubWorkers(seconds=0), scaling=Scaling()) as (service, client):
        job = await client.run()
        answer = asyncio.ensure_future(client.call("POST", "runsync", json={"input": 1}))
        while len(service.jobs) < 2:
            await asyncio.sleep(0.01)
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
async def test_cancel_stops_what_runs_and_removes_what_waits():
    cancelled = []

    async def work(job):
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cancelled.append(job["input"])
            raise

    async with running({"fold": {"workers": StubWorkers(work), "scaling": Scaling(workers_max=1)}}) as (
        _,
        client,
    ):
        first, second = await client.run("first"), await client.run("second")
        while await client.state(first) != "IN_PROGRESS":
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        for job in (second, first):
            assert (await client.call("POST", f"cancel/{job}"))[1] == {"id": job, "status": "CANCELLED"}
        await asyncio.sleep(0.05)
        assert cancelled == ["first"]
        assert [await client.state(job) for job in (first, second)] == ["CANCELLED"] * 2


@asynchronous
async def test_a_finished_job_is_not_cancelled():
    async with on_manual_clock(StubWorkers(seconds=0)) as (service, client):
        job = await client.run()
        await service.advance(10)
        assert (await client.call("POST", f"cancel/{job}"))[1] == {"id": job, "status": "COMPLETED"}


@asynchronous
async def test_retry_takes_failed_jobs_only_under_their_own_id():
    outcomes = iter([{"error": "first time"}, "second time"])
    async with on_manual_clock(StubWorkers(lambda job: next(outcomes))) as (service, client):
        job = await client.run("again")
        assert (await client.call("POST", f"retry/{job}"))[0] == 400
        await service.advance(10)
        assert (await client.status(job))[1]["error"] == "first time"
        assert (await client.call("POST", f"retry/{job}"))[1] == {"id": job, "status": "IN_QUEUE"}
        assert "error" not in (await client.status(job))[1]
        await service.advance(10)
        assert (await client.status(job))[1]["output"] == "second time"
        assert (await client.call("GET", "health"))[1]["jobs"]["retried"] == 1


@asynchronous
async def test_purge_leaves_what_runs():
    async with on_manual_clock(scaling=Scaling(workers_max=1)) as (service, client):
        jobs = [await client.run() for _ in range(4)]
        await service.advance(1)
        assert (await client.call("POST", "purge-queue"))[1] == {"removed": 3, "status": "completed"}
        assert [await client.state(job) for job in jobs] == ["IN_PROGRESS"] + ["CANCELLED"] * 3
        await client.call("POST", "purge-queue")
        assert (await client.call("POST", "purge-queue"))[0] == 429


@asynchronous
async def test_streamed_chunks_are_given_once():
    async def work(job):
        for number in range(3):
            yield number

    async with on_manual_clock(StubWorkers(work)) as (service, client):
        job = await client.run()
        await service.advance(10)
        _, first = await client.call("GET", f"stream/{job}")
        assert (first["status"], first["stream"]) == ("COMPLETED", [{"output": n} for n in range(3)])
        assert (await client.call("GET", f"stream/{job}"))[1]["stream"] == []


async def webhook_receiver(answers):
    received = []

    async def receive(request):
        received.append(await request.json())
        return web.Response(status=next(answers))

    app = web.Application()
    app.router.add_post("/hook", receive)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    return runner, f"http://127.0.0.1:{port}/hook", received


@pytest.mark.parametrize(
    ("answers", "times"), [([200], [0]), ([500, 204, 200], [0, 10, 20]), ([500] * 9, [0, 10, 20])]
)
@asynchronous
async def test_webhooks_are_tried_three_times_ten_seconds_apart(answers, times):
    runner, url, received = await webhook_receiver(iter(answers))
    try:
        async with on_manual_clock(StubWorkers(seconds=0), scaling=Scaling()) as (service, client):
            job = await client.run(webhook=url)
            begun = service.clock.now()
            await service.advance(120)
            tries = service.webhooks.deliveries
            assert [delivery.time - begun for delivery in tries] == times
            assert [delivery.status for delivery in tries] == answers[: len(times)]
            assert {body["id"] for body in received} == {job}
            assert received[0]["status"] == "COMPLETED"
    finally:
        await runner.cleanup()


@asynchronous
async def test_webhooks_leave_this_machine_alone_only():
    async with on_manual_clock(StubWorkers(seconds=0)) as (service, client):
        await client.run(webhook="https://example.com/hook")
        await service.advance(60)
        assert [(d.status, d.error) for d in service.webhooks.deliveries] == [
            (0, "the emulator delivers to loopback addresses only")
        ]


@asynchronous
async def test_state_page_and_log_of_calls():
    async with on_manual_clock() as (service, client):
        job = await client.run("<script>")
        await client.state(job)
        async with client.session.get(f"{service.root}/emulator/state") as response:
            shown = await response.json()
        assert shown["live_jobs"] == 1
        assert shown["calls"] == {"run 200": 1, "status 200": 1}
        async with client.session.get(f"{service.root}/") as response:
            assert job in await response.text()
        assert [(call.operation, call.status, call.job) for call in service.calls] == [
            ("run", 200, ""),
            ("status", 200, job),
        ]
        assert service.live_jobs()[0].state is State.IN_QUEUE
        assert service.count_calls("status", 200) == 1


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
async def test_a_lost_job_is_first_in_the_queue_again():
    async with on_manual_clock(scaling=Scaling(workers_max=1)) as (service, client):
        jobs = [await client.run(n) for n in range(3)]
        await service.advance(5)
        endpoint = service.endpoints["fold"]
        endpoint.stop(endpoint.live_workers()[0], "killed", kill=True)
        await service.advance(5)
        assert [await client.state(job) for job in jobs] == ["IN_PROGRESS", "IN_QUEUE", "IN_QUEUE"]


@asynchronous
async def test_a_worker_is_refreshed_after_a_job_that_asks_for_it():
    workers = StubWorkers(lambda job: {"refresh_worker": job["input"], "n": 1})
    async with on_manual_clock(workers, scaling=Scaling(workers_max=1, idle_timeout=100)) as (
        service,
        client,
    ):
        for refresh in (False, True, False):
            job = await client.run(refresh)
            await service.advance(20)
            assert (await client.status(job))[1]["output"] == {"n": 1}
        first, second, third = (job.worker for job in service.jobs)
        assert first == second != third


@pytest.mark.parametrize(
    "arguments", [["--endpoint", "fold"], ["--faults", "nowhere.yaml"], ["--endpoint", "a=stub:x"]]
)
def test_the_program_says_what_it_cannot_do(arguments, capsys):
    assert main(["--port", "0", *arguments]) == 2
    assert capsys.readouterr().err.startswith("emulator: ")


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
