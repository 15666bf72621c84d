"""The worker API: what the SDK's loop inside a worker calls."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from aiohttp import web

from snakefold.clusters.emulator.clock import resolve
from snakefold.clusters.emulator.endpoint import Endpoint, TooLarge
from snakefold.clusters.emulator.jobs import Job
from snakefold.clusters.emulator.operations import Operations, answer, problem
from snakefold.clusters.emulator.processes import ProcessWorkers
from snakefold.clusters.emulator.worker import Worker

OPERATIONS = Operations()
POLL_SECONDS = 10.0


def _worker(endpoint: Endpoint, request: web.Request) -> Worker:
    worker = endpoint.workers.get(request.match_info["id"])
    if worker is None or worker.gone:
        raise web.HTTPNotFound(text="no such worker")
    return worker


def _work(job: Job) -> dict[str, Any]:
    work = {"id": job.id, "input": job.input}
    if job.webhook is not None:
        work["webhook"] = job.webhook
    if job.s3_config is not None:
        work["s3Config"] = job.s3_config
    return work


@OPERATIONS.add("job-take", "GET")
@OPERATIONS.add("job-take-batch", "GET")
async def job_take(endpoint: Endpoint, request: web.Request, _: str) -> web.Response:
    """Hold the call until there is work, ten seconds at most; 204 without."""
    worker = _worker(endpoint, request)
    batch = request.match_info["operation"] == "job-take-batch"
    most = int(request.query.get("batch_size", "1")) if batch else 1
    endpoint.ready(worker)
    if request.query.get("job_in_progress") == "0":
        # It runs nothing: what it was told to stop has stopped, and a result that never came was dropped.
        for job_id in list(worker.busy):
            endpoint.gave_up(worker, job_id)
    given: asyncio.Future[list[Job]] = asyncio.get_running_loop().create_future()
    endpoint.ask(worker, most, lambda jobs: resolve(given, jobs))
    stop = asyncio.ensure_future(worker.leaving.wait())
    either: set[asyncio.Future[Any]] = {given, stop}
    await asyncio.wait(either, timeout=POLL_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    if not given.done():
        endpoint.withdraw(worker)
        given.cancel()
        return web.Response(status=204)
    jobs = [_work(job) for job in given.result()]
    return answer(jobs if batch else jobs[0])


@OPERATIONS.add("job-done", "POST", of_job=True)
async def job_done(endpoint: Endpoint, request: web.Request, job_id: str) -> web.Response:
    data = await request.read()
    try:
        body = json.loads(data)
    except ValueError:
        return problem(400, "result is not valid JSON")
    if not isinstance(body, dict):
        return problem(400, "result must be an object")
    try:
        endpoint.done(request.match_info["id"], job_id, body, len(data))
    except KeyError:
        return problem(404, "job not found")
    except TooLarge as error:
        return problem(400, str(error))
    return answer({})


@OPERATIONS.add("job-stream", "POST", of_job=True)
async def job_stream(endpoint: Endpoint, request: web.Request, job_id: str) -> web.Response:
    job = endpoint.jobs.get(job_id)
    if job is None:
        return problem(404, "job not found")
    job.stream.append(json.loads(await request.read()))
    return answer({})


@OPERATIONS.add("job-stop", "GET")
async def job_stop(endpoint: Endpoint, request: web.Request, _: str) -> web.Response:
    worker = _worker(endpoint, request)
    if not isinstance(endpoint.backend, ProcessWorkers):  # stubs are told without being asked
        raise web.HTTPNotFound(text="no such worker")
    stop = await endpoint.backend.jobs_to_stop(worker, POLL_SECONDS)
    return answer({"jobsToStop": stop}) if stop else web.Response(status=204)


@OPERATIONS.add("ping", "GET")
async def ping(endpoint: Endpoint, request: web.Request, _: str) -> web.Response:
    worker = _worker(endpoint, request)
    running = set(request.query.get("job_id", "").split(","))
    for job_id, job in list(worker.busy.items()):
        if not job.live and job_id not in running:
            endpoint.gave_up(worker, job_id)
    return answer({})
