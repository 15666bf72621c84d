"""Operations of the jobs API: what clients of an endpoint call."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

from snakefold.clusters.emulator.clock import resolve
from snakefold.clusters.emulator.endpoint import Endpoint
from snakefold.clusters.emulator.jobs import Job, Policy, State
from snakefold.clusters.emulator.limits import PAYLOAD
from snakefold.clusters.emulator.operations import Operations, answer, problem

OPERATIONS = Operations()
MAX_WAIT_MS = 300_000


async def _submit(endpoint: Endpoint, request: web.Request, operation: str) -> Job | web.Response:
    limit = PAYLOAD[operation]
    too_large = problem(400, f"exceeded max body size of {limit // 2**20}MiB")
    if (request.content_length or 0) > limit:
        return too_large
    data = await request.read()
    if len(data) > limit:
        return too_large
    try:
        body = json.loads(data)
    except ValueError:
        return problem(400, "request body is not valid JSON")
    if not isinstance(body, dict) or body.get("input") is None:
        return problem(400, "request body must be a JSON object with the key input")
    webhook = body.get("webhook")
    if webhook is not None and not isinstance(webhook, str):
        return problem(400, "webhook must be a URL")
    try:
        policy = Policy.read(body.get("policy"), endpoint.execution_timeout)
    except ValueError as error:
        return problem(400, str(error))
    # Keys besides these are not documented, neither as refused nor as passed on: they are ignored.
    return endpoint.submit(body["input"], operation, policy, webhook=webhook, s3_config=body.get("s3Config"))


@OPERATIONS.add("run", "POST")
async def run(endpoint: Endpoint, request: web.Request, _: str) -> web.Response:
    job = await _submit(endpoint, request, "run")
    if isinstance(job, web.Response):
        return job
    return answer({"id": job.id, "status": State.IN_QUEUE.value})


@OPERATIONS.add("runsync", "POST")
async def runsync(endpoint: Endpoint, request: web.Request, _: str) -> web.Response:
    try:
        wait = int(request.query.get("wait", 90_000))
    except ValueError:
        return problem(400, "wait must be a number of milliseconds")
    if not 1000 <= wait <= MAX_WAIT_MS:
        return problem(400, "wait must lie between 1000 and 300000 milliseconds")
    job = await _submit(endpoint, request, "runsync")
    if isinstance(job, web.Response):
        return job
    ended = endpoint.watch(job)
    timer = endpoint.clock.call_later(wait / 1000, lambda: resolve(ended, None))
    await ended
    timer.cancel()
    return _view(endpoint, job)


def _view(endpoint: Endpoint, job: Job) -> web.Response:
    if job.deleted:
        return problem(404, "job not found")
    return answer(job.view(endpoint.clock.now()))


@OPERATIONS.add("status", "GET", of_job=True)
async def status(endpoint: Endpoint, _: web.Request, job_id: str) -> web.Response:
    job = endpoint.jobs.get(job_id)
    return problem(404, "job not found") if job is None else _view(endpoint, job)


@OPERATIONS.add("stream", "GET", of_job=True)
async def stream(endpoint: Endpoint, _: web.Request, job_id: str) -> web.Response:
    job = endpoint.jobs.get(job_id)
    if job is None:
        return problem(404, "job not found")
    chunks, job.stream = job.stream, []
    return answer({"id": job.id, "status": job.state.value, "stream": chunks})


@OPERATIONS.add("cancel", "POST", of_job=True)
async def cancel(endpoint: Endpoint, _: web.Request, job_id: str) -> web.Response:
    job = endpoint.jobs.get(job_id)
    if job is None:
        return problem(404, "job not found")
    endpoint.jobs.end(job, State.CANCELLED)
    return answer({"id": job.id, "status": job.state.value})


@OPERATIONS.add("retry", "POST", of_job=True)
async def retry(endpoint: Endpoint, _: web.Request, job_id: str) -> web.Response:
    job = endpoint.jobs.get(job_id)
    if job is None:
        return problem(404, "job not found")
    if not endpoint.jobs.retry(job):
        return problem(400, f"only FAILED and TIMED_OUT jobs can be retried; this one is {job.state.value}")
    return answer({"id": job.id, "status": State.IN_QUEUE.value})


@OPERATIONS.add("purge-queue", "POST")
async def purge_queue(endpoint: Endpoint, *_: Any) -> web.Response:
    return answer({"removed": endpoint.jobs.purge(), "status": "completed"})


@OPERATIONS.add("health", "GET")
async def health(endpoint: Endpoint, *_: Any) -> web.Response:
    return answer(endpoint.health())
