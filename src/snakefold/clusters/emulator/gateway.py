"""What every call to an endpoint passes: fault, key, operation, limits; and the note of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from aiohttp import web

from snakefold.clusters.emulator import api, workers
from snakefold.clusters.emulator.account import refusal
from snakefold.clusters.emulator.limits import TooManyRequests
from snakefold.clusters.emulator.operations import Call, problem
from snakefold.clusters.emulator.transport import answer_with_fault

if TYPE_CHECKING:
    from snakefold.clusters.emulator.service import Emulator


class Gateway:
    """Takes the calls to `/v2/ENDPOINT/OPERATION[/JOB]`, of clients and of workers."""

    def __init__(self, service: Emulator) -> None:
        self._service = service

    def routes(self, router: web.UrlDispatcher) -> None:
        for path in ("{operation}", "{operation}/{id}", "{operation}/{id}/{job}"):
            router.add_route("*", "/v2/{endpoint}/" + path, self._call)

    async def _call(self, request: web.Request) -> web.StreamResponse:
        match = request.match_info
        name, operation = match["endpoint"], match["operation"]
        response: web.StreamResponse
        started, moment = time.monotonic(), self._service.clock.now()
        fault = self._service.faults.for_call(name, operation)
        status, job_id = 0, match.get("job") or match.get("id") or ""
        try:
            if fault is None:
                response = await self._answer(request, name, operation)
            else:
                response = await answer_with_fault(
                    request, fault, lambda: self._answer(request, name, operation)
                )
            status = response.status
        except web.HTTPException as refused:
            status = refused.status
            raise
        else:
            return response
        finally:
            took, what = time.monotonic() - started, "" if fault is None else fault.what
            self._service.calls.append(Call(moment, started, operation, name, job_id, status, what, took))

    async def _answer(self, request: web.Request, name: str, operation: str) -> web.Response:
        by_worker = operation in workers.OPERATIONS
        asked = (workers if by_worker else api).OPERATIONS.get(operation)
        header = request.headers.get("Authorization")
        if by_worker:
            refused = None if header == self._service.worker_token else 401
        else:
            refused = refusal(self._service.keys, header, write=request.method != "GET", endpoint=name)
        if refused is not None:
            return problem(refused, "unauthorized" if refused == 401 else "forbidden")
        endpoint = self._service.endpoints.get(name)
        if endpoint is None:
            return problem(404, "endpoint not found")
        job_id = request.match_info.get("job" if by_worker else "id", "")
        if asked is None or asked.of_job != bool(job_id):
            return problem(404, "no such operation")
        if request.method != asked.method:
            return problem(405, f"{operation} takes {asked.method}")
        try:
            with endpoint.limiter.call(operation):
                return await asked.perform(endpoint, request, job_id)
        except TooManyRequests:
            return web.Response(status=429, text="Too Many Requests")
