"""The emulated management API v2: what a deployment creates, compares, changes and deletes."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import web
from tests.emulator.helpers import asynchronous, running

from snakefold.clusters.emulator import (
    NO_ACCESS_KEY,
    READ_ONLY_KEY,
    Emulator,
    ManualClock,
    Scaling,
    StubWorkers,
    api,
    workers,
)
from snakefold.clusters.emulator.management import Management

TEMPLATE = {
    "name": "fold",
    "image": "registry/fold:1",
    "serverless": True,
    "env": {"A": "1", "B": "2"},
    "disk": 30,
}
ENDPOINT = {
    "name": "fold",
    "type": "QUEUE",
    "gpu": {"pools": ["ADA_24"], "minCudaVersion": "12.4"},
    "workers": {"min": 0, "max": 5, "idleTimeout": 7},
    "scaling": {"type": "QUEUE_DELAY", "queueDelay": 4},
}
DAY = 86_400


def account(**kwargs):
    return running({"old": StubWorkers()}, endpoint="old", clock=ManualClock(), **kwargs)


@asynchronous
async def test_template_volume_and_endpoint_from_nothing_to_a_finished_job():
    async with account() as (service, client):
        status, template = await client.manage("POST", "templates", json=TEMPLATE)
        assert status == 201
        assert (template["startJupyter"], template["startSsh"]) == (True, True)  # the API's defaults
        volume = {"name": "db", "size": 100, "dataCenter": "EU-RO-1"}
        status, volume = await client.manage("POST", "network-volumes", json=volume)
        assert status == 201
        body = {
            **ENDPOINT,
            "templateId": template["id"],
            "networkVolumes": [volume["id"]],
            "dataCenterIds": ["EU-RO-1"],
            "env": {"B": "3"},
        }
        status, endpoint = await client.manage("POST", "serverless", json=body)
        assert status == 201
        assert endpoint["image"] == "registry/fold:1"
        assert endpoint["env"] == {"A": "1", "B": "3"}
        assert endpoint["workers"] == {"min": 0, "max": 5, "idleTimeout": 7}
        assert (endpoint["timeout"], endpoint["flashboot"]) == (300_000, "OFF")  # not the console's defaults
        assert "templateId" not in endpoint
        assert (await client.manage("GET", f"serverless/{endpoint['id']}"))[1] == endpoint
        assert endpoint["requestUrls"]["run"] == f"{service.url}/{endpoint['id']}/run"
        async with client.session.post(endpoint["requestUrls"]["run"], json={"input": 1}) as response:
            job = (await response.json())["id"]
        await service.advance(30)
        async with client.session.get(f"{service.url}/{endpoint['id']}/status/{job}") as response:
            assert (await response.json())["status"] == "COMPLETED"
        assert (await client.manage("DELETE", f"templates/{template['id']}"))[0] == 400
        assert (await client.manage("DELETE", f"serverless/{endpoint['id']}"))[0] == 204
        # The documentation: an endpoint takes its bound template with it.
        assert (await client.manage("GET", f"templates/{template['id']}"))[0] == 404
        assert (await client.manage("GET", f"serverless/{endpoint['id']}"))[0] == 404
        assert (await client.manage("DELETE", f"network-volumes/{volume['id']}"))[0] == 204


@asynchronous
async def test_a_patch_changes_what_it_names():
    async with account() as (service, client):
        before = (await client.manage("POST", "serverless", json={**ENDPOINT, "image": "a:1"}))[1]
        path = f"serverless/{before['id']}"
        change = {
            "image": "a:2",
            "workers": {"max": 2},
            "gpu": {"allowedCudaVersions": []},
            "timeout": 900_000,
        }
        status, after = await client.manage("PATCH", path, json=change)
        assert status == 200
        workers = {"min": 0, "max": 2, "idleTimeout": 7}
        assert after == {**before, "image": "a:2", "workers": workers, "timeout": 900_000}
        assert service.endpoints[before["id"]].execution_timeout == 900
        by_count = {"scaling": {"type": "REQUEST_COUNT", "requestCount": 3}}
        after = (await client.manage("PATCH", path, json=by_count))[1]
        assert after["scaling"] == by_count["scaling"]
        assert "idleTimeout" not in after["workers"]


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("templates", {"name": "x"}, 422, "image"),
        ("templates", {**TEMPLATE, "colour": "red"}, 422, "colour"),
        ("templates", {**TEMPLATE, "env": {"A": 1}}, 422, "env.A"),
        ("serverless", {**ENDPOINT}, 422, "image"),
        ("serverless", {**ENDPOINT, "image": "a", "flashboot": True}, 422, "flashboot"),
        ("serverless", {**ENDPOINT, "image": "a", "startJupyter": False}, 422, "startJupyter"),
        ("serverless", {**ENDPOINT, "image": "a", "workers": {"idleTimeout": 3601}}, 422, "idleTimeout"),
        ("serverless", {**ENDPOINT, "image": "a", "scaling": {"type": "QUEUE_DELAY"}}, 422, "queueDelay"),
        ("serverless", {**ENDPOINT, "image": "a", "gpu": None}, 400, "exactly one"),
        ("serverless", {**ENDPOINT, "image": "a", "gpu": {"pools": ["RTX"]}}, 400, "RTX"),
        ("serverless", {**ENDPOINT, "templateId": "nothing"}, 404, "template"),
        ("serverless", {**ENDPOINT, "image": "a", "networkVolumes": ["nothing"]}, 404, "nothing"),
        ("network-volumes", {"name": "v", "size": 9, "dataCenter": "EU-RO-1"}, 422, "size"),
        ("network-volumes", {"name": "v", "size": 10, "dataCenter": "MOON-1"}, 400, "MOON-1"),
    ],
)
@asynchronous
async def test_bodies_outside_the_schema_are_refused(path, body, status, said):
    async with account() as (_, client):
        got, problem = await client.manage("POST", path, json=body)
        assert got == status
        assert problem["status"] == status
        assert said in problem["detail"] + " ".join(problem.get("errors", []))


@asynchronous
async def test_volumes_only_grow_and_stay_in_their_data_centre():
    async with account() as (_, client):
        body = {"name": "v", "size": 50, "dataCenter": "EU-RO-1"}
        volume = (await client.manage("POST", "network-volumes", json=body))[1]
        path = f"network-volumes/{volume['id']}"
        assert (await client.manage("PATCH", path, json={"size": 60}))[1]["size"] == 60
        assert (await client.manage("PATCH", path, json={"size": 50}))[0] == 400
        assert (await client.manage("PATCH", path, json={}))[0] == 422
        elsewhere = {**ENDPOINT, "image": "a", "networkVolumes": [volume["id"]], "dataCenterIds": ["US-KS-2"]}
        assert (await client.manage("POST", "serverless", json=elsewhere))[0] == 400


@asynchronous
async def test_an_idle_endpoint_is_scaled_down_and_stays_there():
    async with running({"fold": {"scaling": Scaling(workers_max=5)}}, clock=ManualClock()) as (
        service,
        client,
    ):
        most = []
        for days in (2.9, 0.2, 3.8, 0.2):
            await service.advance(days * DAY)
            most.append((await client.manage("GET", "serverless/fold"))[1]["workers"]["max"])
        assert most == [5, 2, 2, 0]
        job = await client.run()
        await service.advance(60)
        assert await client.state(job) == "IN_QUEUE"
        await client.manage("PATCH", "serverless/fold", json={"workers": {"max": 5}})
        await service.advance(60)
        assert await client.state(job) == "COMPLETED"


@asynchronous
async def test_requests_keep_an_endpoint_scaled():
    async with running({"fold": {"scaling": Scaling(workers_max=5)}}, clock=ManualClock()) as (
        service,
        client,
    ):
        for _ in range(5):
            await service.advance(2.9 * DAY)
            await client.run()
        assert service.endpoints["fold"].scaling.workers_max == 5


@asynchronous
async def test_catalogue_has_prices_and_keys_have_scopes():
    async with account() as (_, client):
        gpus = (await client.manage("GET", "catalog/gpus"))[1]["gpus"]
        assert {gpu["pool"]: gpu["price"]["serverless"] for gpu in gpus}["ADA_24"] == pytest.approx(
            0.00031 * 3600
        )
        assert "EU-RO-1" in {
            d["id"] for d in (await client.manage("GET", "catalog/datacenters"))[1]["dataCenters"]
        }
        assert [e["id"] for e in (await client.manage("GET", "serverless"))[1]["endpoints"]] == ["old"]
        bad = {"headers": {"Authorization": "Bearer wrong"}}
        assert (await client.manage("GET", "templates", **bad))[0] == 401
    async with account(key=READ_ONLY_KEY) as (_, client):
        assert (await client.manage("GET", "templates"))[0] == 200
        assert (await client.manage("POST", "templates", json=TEMPLATE))[0] == 403
    async with account(key=NO_ACCESS_KEY) as (_, client):
        assert (await client.manage("GET", "templates"))[0] == 403


@asynchronous
async def test_the_account_tells_its_quota_and_the_names_of_its_secrets():
    async with account() as (service, client):
        assert (await client.manage("GET", "account/limits"))[1] == {
            "serverlessWorkers": {"current": 3, "limit": None}
        }
        service.account.worker_quota = 5
        service.account.secrets.append("s3_key")
        most = {**ENDPOINT, "image": "x", "workers": {"max": 3}}
        status, problem = await client.manage("POST", "serverless", json=most)
        assert (status, "5 workers in all" in problem["detail"]) == (400, True)
        await client.manage("POST", "serverless", json={**most, "workers": {"max": 2}})
        limits = (await client.manage("GET", "account/limits"))[1]["serverlessWorkers"]
        assert limits == {"current": 5, "limit": 5}
        (secret,) = (await client.manage("GET", "account/secrets"))[1]["secrets"]
        assert secret == {"id": "secret-0", "name": "s3_key"}


@asynchronous
async def test_billing_of_an_endpoint_by_the_hour():
    """The documented shape, with the seconds of workers at the price of their pool."""
    async with account() as (service, client):
        service.clock.jump(3600 - service.clock.now() % 3600 - 10)  # ten seconds before a full hour
        await client.run(1)
        await service.advance(100)
        _, body = await client.manage("GET", "billing/serverless?bucketSize=hour&lastN=2&serverlessId=old")
        assert [record["serverlessId"] for record in body["records"]] == ["old"]
        query, totals = body["metadata"]["query"], body["metadata"]["totals"]
        assert query["bucketSize"] == "hour" and query["startTime"] < query["endTime"]
        billed = service.billed_seconds("old")
        assert totals["totalAmount"] == totals["gpuAmount"] == pytest.approx(billed * 0.00031)
        start, end = query["startTime"], query["endTime"]
        window = f"startTime={start}&endTime={end}"
        _, days = await client.manage("GET", f"billing/serverless?{window}")
        assert days["metadata"]["totals"] == totals
        _, others = await client.manage("GET", f"billing/serverless?{window}&serverlessId=other")
        assert others["records"] == [] and others["metadata"]["recordCount"] == 0
        for query in ("bucketSize=minute", f"lastN=1&startTime={start}", "startTime=now"):
            assert (await client.manage("GET", f"billing/serverless?{query}"))[0] == 400
        service.account.refused.add("/billing/serverless")
        assert (await client.manage("GET", "billing/serverless"))[0] == 403


@asynchronous
async def test_the_log_of_a_worker_says_that_its_answer_was_dropped():
    async with running({"fold": StubWorkers(lambda job: "x" * (11 * 2**20))}, clock=ManualClock()) as (
        service,
        client,
    ):
        job = await client.run(1)
        await service.advance(20)
        worker = (await client.status(job))[1]["workerId"]
        path = f"{service.management_url}/serverless/fold/workers/{worker}/logs"
        async with client.session.get(path, params={"tail": "5", "source": "container"}) as answer:
            assert answer.content_type == "text/event-stream"
            text = await answer.text()
        assert "Failed to return job results" in text and job in text
        assert (await client.manage("GET", "serverless/fold/workers/none/logs"))[0] == 404


def test_the_documentation_names_every_call():
    page = (Path(__file__).resolve().parents[2] / "docs" / "emulator.md").read_text(encoding="utf-8")
    application = web.Application()
    Management(Emulator().account).routes(application.router)
    paths = {resource.canonical.removeprefix("/management/v2") for resource in application.router.resources()}
    assert "/account/secrets" in paths
    for path in {path.removesuffix("/{id}") for path in paths}:
        assert f"`{path}`" in page
    for name in api.OPERATIONS:
        assert f"`/{name}`" in page
    for name in workers.OPERATIONS:
        assert name in page
