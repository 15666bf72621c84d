"""Faults of the connection: how an answer is withheld, cut, spoiled or replaced."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from aiohttp import web

from snakefold.clusters.emulator.faults import Fault
from snakefold.clusters.emulator.jobs import Job, State
from snakefold.clusters.emulator.worker import Worker

if TYPE_CHECKING:
    from snakefold.clusters.emulator.endpoint import Endpoint


def on_submit(endpoint: Endpoint, job: Job) -> None:
    faults = endpoint.faults.for_job(endpoint.id, job.id, job.number, job.input)
    later = endpoint.clock.call_later
    if "stuck" in faults:
        job.stuck = True
    if "expired" in faults:
        job.stuck = True
        later(faults["expired"].seconds, lambda: endpoint.jobs.end(job, State.TIMED_OUT, "job timed out"))
    if "endless" in faults:
        job.endless = True
    if "cancelled" in faults:
        later(faults["cancelled"].seconds, lambda: endpoint.jobs.end(job, State.CANCELLED))
    if "lost" in faults:
        later(faults["lost"].seconds, lambda: endpoint.jobs.delete(job, "lost"))


def on_take(endpoint: Endpoint, worker: Worker, job: Job) -> None:
    faults = endpoint.faults.of_job(job.id)
    later = endpoint.clock.call_later
    if "timed_out" in faults:
        later(faults["timed_out"].seconds, lambda: endpoint.jobs.end(job, State.TIMED_OUT, "job timed out"))
    if len(job.attempts) > 1:
        return
    if "worker_dies" in faults:
        later(faults["worker_dies"].seconds, lambda: endpoint.stop(worker, "killed by a fault", kill=True))
    if "twice" in faults:
        later(0.0, lambda: _run_again(endpoint, job))


def _run_again(endpoint: Endpoint, job: Job) -> None:
    """Hand a job that is being run to a second worker, started for it if none is free."""
    if job.state is not State.IN_PROGRESS or endpoint.closed:
        return
    if endpoint.asking():
        endpoint.hand(endpoint.asking()[-1], [job])
        return
    if not any(worker.starting for worker in endpoint.live_workers()):
        endpoint.add_worker()
    endpoint.clock.call_later(0.25, lambda: _run_again(endpoint, job))


def apply(endpoint: Endpoint, fault: Fault) -> None:
    """A fault of an endpoint, now; those that last end by themselves after its seconds."""
    if fault.what == "no_capacity":
        endpoint.capacity = 0
        endpoint.clock.call_later(fault.seconds, lambda: _recover(endpoint))
    elif fault.what == "crash_loop":
        endpoint.crash_loop = True
        endpoint.clock.call_later(fault.seconds, lambda: _recover(endpoint))
    elif fault.what == "scaled_to_zero":
        endpoint.scaling.workers_max = 0


def _recover(endpoint: Endpoint) -> None:
    endpoint.capacity, endpoint.crash_loop = None, False
    endpoint.scale()


_HTML = """<html>
<head><title>{status} {reason}</title></head>
<body><center><h1>{status} {reason}</h1></center><hr><center>cloudflare</center></body>
</html>
"""
_BEFORE = {"status", "timeout_before", "reset_before"}


async def answer_with_fault(
    request: web.Request, fault: Fault, answer: Callable[[], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Answer a call as its fault has it; `answer` lets the call take effect.

    Waits of faults are of the wall's seconds, as the clients that wait for them are.
    """
    if fault.what in ("status", "status_after"):
        if fault.what == "status_after":
            await answer()
        return html(fault.status)
    if fault.what == "slow":
        late = await answer()
        await _wait(fault)
        return late
    response = None if fault.what in _BEFORE else await answer()
    if fault.what.startswith("timeout"):
        await _wait(fault)
        return _reset(request)
    if fault.what.startswith("reset"):
        return _reset(request)
    given = response.body if isinstance(response, web.Response) else None
    body = given if isinstance(given, bytes) else b""
    if fault.what == "empty":
        return web.Response(status=200)
    if fault.what == "malformed":
        return web.Response(body=b'{"id": ' + body[: len(body) // 2], content_type="application/json")
    if fault.what == "unknown_state":
        content = json.loads(body)
        content["status"] = fault.error or "PAUSED"
        return web.json_response(content)
    return await _truncated(request, body)


async def _wait(fault: Fault) -> None:
    end = time.monotonic() + fault.seconds
    while (left := end - time.monotonic()) > 0 and not (fault.until and fault.until.is_set()):
        await asyncio.sleep(min(left, 0.05) if fault.until else left)


def html(status: int) -> web.Response:
    reason = {500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Unavailable"}.get(
        status, "Error"
    )
    return web.Response(
        status=status, text=_HTML.format(status=status, reason=reason), content_type="text/html"
    )


async def _truncated(request: web.Request, body: bytes) -> web.StreamResponse:
    response = web.StreamResponse(
        headers={"Content-Type": "application/json", "Content-Length": str(len(body))}
    )
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    if request.transport is not None:
        request.transport.close()
    return response


def _reset(request: web.Request) -> web.Response:
    transport = request.transport
    if transport is not None:
        connection = transport.get_extra_info("socket")
        if connection is not None:
            # Linger of zero: the peer sees a reset, not an orderly end.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return web.Response(status=500)
