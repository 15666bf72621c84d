"""The emulated jobs API over HTTP, on a clock moved by hand: operations, keys, webhooks, what it shows."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web
from tests.emulator.helpers import asynchronous, eventually, on_manual_clock, running

from snakefold.clusters.emulator import (
    API_KEY,
    NO_ACCESS_KEY,
    READ_ONLY_KEY,
    Scaling,
    Scope,
    State,
    StubWorkers,
)


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


@asynchronous
async def test_runsync_answers_with_the_result_or_after_its_wait():
    async with on_manual_clock(StubWorkers(seconds=30), scaling=Scaling(start_seconds=10)) as (
        service,
        client,
    ):
        waiting = asyncio.ensure_future(client.call("POST", "runsync?wait=60000", json={"input": "a"}))
        short = asyncio.ensure_future(client.call("POST", "runsync?wait=1000", json={"input": "b"}))
        await eventually(lambda: len(service.jobs) == 2)
        await service.advance(1)
        status, body = await short
        assert (status, body["status"]) == (200, "IN_QUEUE")
        assert body["id"].startswith("sync-")
        await service.advance(40)
        assert (await waiting)[1]["output"] == {"echo": "a"}
        for wait in ("999", "300001", "soon"):
            assert (await client.call("POST", f"runsync?wait={wait}", json={"input": 1}))[0] == 400


@asynchronous
async def test_cancel_stops_what_runs_and_removes_what_waits():
    started, cancelled = [], []

    async def work(job):
        started.append(job["input"])
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
        await eventually(lambda: started == ["first"])
        assert await client.state(first) == "IN_PROGRESS"
        for job in (second, first):
            assert (await client.call("POST", f"cancel/{job}"))[1] == {"id": job, "status": "CANCELLED"}
        await eventually(lambda: cancelled == ["first"])
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
