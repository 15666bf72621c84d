"""The emulated service: endpoints behind one loopback port, and what tests may ask of it."""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import dataclasses
import functools
import secrets
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from types import TracebackType
from typing import Any, TypeVar

from aiohttp import web

from . import api, inject, management, page, workers
from .auth import API_KEY, DEFAULT_KEYS, Scope, refusal
from .clock import Clock, ManualClock
from .endpoint import Endpoint
from .faults import Fault, Faults
from .jobs import Job
from .limits import TooManyRequests
from .operations import problem
from .processes import ProcessWorkers
from .scaling import Scaling
from .stubs import StubWorkers
from .transport import answer_with_fault
from .webhooks import Webhooks
from .worker import Backend

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Call:
    """One call to the service. `time` is of its clock, `wall` of time.monotonic; seconds of wall time."""

    time: float
    wall: float
    operation: str
    endpoint: str
    job: str
    status: int
    fault: str
    seconds: float


class Emulator:
    """RunPod's jobs API, worker API and management API on one port of this machine.

    >>> async with Emulator({"fold": StubWorkers(work, seconds=30)}, clock=ManualClock()) as service:
    ...     runpod.endpoint_url_base = service.url

    Args:
        endpoints: endpoint id → its workers (StubWorkers, ProcessWorkers), or a dict with `workers` and any
            keyword of `Endpoint`.
        clock: default: the wall's. ManualClock: nothing happens but by `advance`.
        faults: rules and rates, for all endpoints.
        keys: API keys and their scopes.
    """

    def __init__(
        self,
        endpoints: Mapping[str, Backend | Mapping[str, Any]] | None = None,
        *,
        clock: Clock | None = None,
        faults: Faults | None = None,
        keys: Mapping[str, Scope] = DEFAULT_KEYS,
        port: int = 0,
    ) -> None:
        self.clock = clock or Clock()
        self.faults = faults or Faults()
        self.keys = dict(keys)
        self.api_key = API_KEY
        self.endpoints: dict[str, Endpoint] = {}
        self.webhooks = Webhooks(self.clock)
        self.calls: list[Call] = []
        self.worker_token = secrets.token_hex(16)
        self.account = management.Account(self)
        self._given = dict(endpoints or {"fold": StubWorkers()})
        self._port = port
        self._runner: web.AppRunner | None = None
        self._root = ""

    # What tests ask

    @property
    def root(self) -> str:
        """`http://127.0.0.1:PORT`."""
        return self._root

    @property
    def url(self) -> str:
        """Base of the jobs API, in place of https://api.runpod.ai/v2."""
        return f"{self._root}/v2"

    @property
    def management_url(self) -> str:
        """Base of the management API, in place of https://api.runpod.io/v2."""
        return f"{self._root}/management/v2"

    @property
    def jobs(self) -> list[Job]:
        """Every job there ever was, in order of submission; `deleted` says why one is unknown to the API."""
        jobs = [job for endpoint in self.endpoints.values() for job in endpoint.jobs.records.values()]
        return sorted(jobs, key=lambda job: (job.created, job.number))

    def live_jobs(self) -> list[Job]:
        return [job for job in self.jobs if job.live]

    def billed_seconds(self, endpoint: str) -> int:
        return self.endpoints[endpoint].billed_seconds()

    def execution_seconds(self, endpoint: str) -> float:
        return self.endpoints[endpoint].execution_seconds()

    def count_calls(self, operation: str, status: int | None = None) -> int:
        return sum(c.operation == operation and status in (None, c.status) for c in self.calls)

    def busiest(self, operation: str, seconds: float = 10.0) -> int:
        """The most calls of an operation within any so many seconds of the clock."""
        times = sorted(call.time for call in self.calls if call.operation == operation)
        return max(
            (bisect.bisect_left(times, start + seconds) - i for i, start in enumerate(times)), default=0
        )

    def detection_delays(self) -> list[float]:
        """Seconds of the clock from each job's end to the first answered /status after it, sorted."""
        asked: dict[str, list[float]] = {}
        for call in sorted(self.calls, key=lambda call: call.time):
            if call.operation == "status" and call.status == 200 and not call.fault:
                asked.setdefault(call.job, []).append(call.time)
        ended = [(job.finished, asked.get(job.id, [])) for job in self.jobs if job.finished is not None]
        return sorted(
            next(t for t in times if t >= end) - end for end, times in ended if times and times[-1] >= end
        )

    async def advance(self, seconds: float) -> None:
        """Move a ManualClock."""
        if not isinstance(self.clock, ManualClock):
            raise TypeError("only a ManualClock is moved by hand: Emulator(clock=ManualClock())")
        await self.clock.advance(seconds)

    # Life

    def add_endpoint(self, name: str, given: Backend | Mapping[str, Any]) -> Endpoint:
        settings: dict[str, Any] = dict(given) if isinstance(given, Mapping) else {"workers": given}
        backend = settings.pop("workers", None) or StubWorkers()
        if isinstance(backend, ProcessWorkers):
            backend.api, backend.token = self.url, self.worker_token
        scaling = settings.pop("scaling", None)
        if isinstance(scaling, Mapping):
            scaling = Scaling(**scaling)
        endpoint = Endpoint(name, self.clock, backend, faults=self.faults, scaling=scaling, **settings)
        endpoint.on_final = lambda _, job: self.webhooks.deliver(job)
        self.endpoints[name] = endpoint
        endpoint.scale()
        return endpoint

    async def start(self) -> Emulator:
        app = web.Application(client_max_size=128 * 2**20)
        for path in ("{operation}", "{operation}/{id}", "{operation}/{id}/{job}"):
            app.router.add_route("*", "/v2/{endpoint}/" + path, self._call)
        self.account.routes(app.router)
        page.routes(app.router, self)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, keepalive_timeout=75.0)
        await self._runner.setup()
        listener = socket.create_server(("127.0.0.1", self._port), backlog=1024)
        await web.SockSite(self._runner, listener).start()
        self._root = f"http://127.0.0.1:{listener.getsockname()[1]}"
        for name, given in self._given.items():
            self.add_endpoint(name, given)
        for fault in self.faults.for_endpoints():
            if fault.at <= 0:
                self._apply(fault)
                continue
            self.clock.call_later(fault.at, functools.partial(self._apply, fault))
        return self

    async def close(self) -> None:
        await asyncio.gather(*(endpoint.close() for endpoint in self.endpoints.values()))
        await self.clock.close()
        if self._runner is not None:
            await self._runner.cleanup()

    async def __aenter__(self) -> Emulator:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _apply(self, fault: Fault) -> None:
        if fault.what == "clock_jump":
            self.clock.jump(fault.seconds)
            return
        for endpoint in self.endpoints.values():
            if fault.endpoint in ("*", endpoint.id):
                inject.apply(endpoint, fault)

    # Calls

    async def _call(self, request: web.Request) -> web.StreamResponse:
        match = request.match_info
        name, operation = match["endpoint"], match["operation"]
        response: web.StreamResponse
        started, moment = time.monotonic(), self.clock.now()
        fault = self.faults.for_call(name, operation)
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
            self.calls.append(Call(moment, started, operation, name, job_id, status, what, took))

    async def _answer(self, request: web.Request, name: str, operation: str) -> web.Response:
        by_worker = operation in workers.OPERATIONS
        asked = (workers if by_worker else api).OPERATIONS.get(operation)
        header = request.headers.get("Authorization")
        if by_worker:
            refused = None if header == self.worker_token else 401
        else:
            refused = refusal(self.keys, header, write=request.method != "GET", endpoint=name)
        if refused is not None:
            return problem(refused, "unauthorized" if refused == 401 else "forbidden")
        endpoint = self.endpoints.get(name)
        if endpoint is None:
            return problem(404, "endpoint not found")
        job_id = request.match_info.get("job" if by_worker else "id", "")
        if asked is None or asked.of_job != bool(job_id):
            return problem(404, "no such operation")
        if request.method != asked.method:
            return problem(405, f"{operation} takes {asked.method}")
        try:
            with endpoint.limiter.call(operation):
                return await asked.perform(self, endpoint, request, job_id)
        except TooManyRequests:
            return web.Response(status=429, text="Too Many Requests")


class EmulatorThread:
    """The emulator for synchronous tests: in a thread with a loop of its own.

    >>> with EmulatorThread({"fold": StubWorkers()}) as service:
    ...     requests.get(f"{service.url}/fold/health", …)

    `call(function)` runs `function(emulator)` inside that thread; the common questions are methods.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._arguments = args, kwargs
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="emulator", daemon=True)

    def __enter__(self) -> EmulatorThread:
        self._thread.start()

        async def start() -> Emulator:
            args, kwargs = self._arguments
            return await Emulator(*args, **kwargs).start()

        try:
            self.emulator = self.wait(start())
        except BaseException:
            self._stop_loop()
            raise
        self.url = self.emulator.url
        self.management_url = self.emulator.management_url
        self.root = self.emulator.root
        self.api_key = self.emulator.api_key
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        with contextlib.ExitStack() as stack:
            stack.callback(self._stop_loop)
            self.wait(self.emulator.close())

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def call(self, function: Callable[[Emulator], T]) -> T:
        async def inside() -> T:
            return function(self.emulator)

        return self.wait(inside())

    def advance(self, seconds: float) -> None:
        self.wait(self.emulator.advance(seconds))

    @property
    def jobs(self) -> list[Job]:
        return self.call(lambda emulator: emulator.jobs)

    @property
    def calls(self) -> list[Call]:
        return self.call(lambda emulator: list(emulator.calls))

    def live_jobs(self) -> list[Job]:
        return self.call(lambda emulator: emulator.live_jobs())

    def billed_seconds(self, endpoint: str) -> int:
        return self.call(lambda emulator: emulator.billed_seconds(endpoint))

    def execution_seconds(self, endpoint: str) -> float:
        return self.call(lambda emulator: emulator.execution_seconds(endpoint))

    def add_faults(self, *rules: Fault) -> None:
        self.call(lambda emulator: emulator.faults.add(*rules))

    def _stop_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
