"""The emulated service: endpoints behind one loopback port, and what tests may ask of it."""

from __future__ import annotations

import asyncio
import functools
import secrets
import shlex
import signal
import socket
import sys
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from snakefold.clusters.emulator import operations, page, transport
from snakefold.clusters.emulator.account import (
    API_KEY,
    DEFAULT_KEYS,
    NO_ACCESS_KEY,
    READ_ONLY_KEY,
    Account,
    Scope,
)
from snakefold.clusters.emulator.clock import Clock, ManualClock
from snakefold.clusters.emulator.endpoint import Endpoint
from snakefold.clusters.emulator.faults import Fault, Faults
from snakefold.clusters.emulator.gateway import Gateway
from snakefold.clusters.emulator.jobs import Job
from snakefold.clusters.emulator.management import Management
from snakefold.clusters.emulator.operations import Call
from snakefold.clusters.emulator.processes import ProcessWorkers
from snakefold.clusters.emulator.stubs import StubWorkers
from snakefold.clusters.emulator.webhooks import Webhooks
from snakefold.clusters.emulator.worker import Backend, Scaling


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
        self.account = Account(self)
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
        return operations.busiest(self.calls, operation, seconds)

    def detection_delays(self) -> list[float]:
        """Seconds of the clock from each job's end to the first answered /status after it, sorted."""
        return operations.detection_delays(self.calls, self.jobs)

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
        Gateway(self).routes(app.router)
        Management(self.account).routes(app.router)
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
                transport.apply(endpoint, fault)


def serve(service: Emulator) -> None:
    """Serve until SIGINT or SIGTERM.

    Raises:
        OSError: it cannot listen; `service.root` is empty then.
    """
    asyncio.run(_serve(service))


async def _serve(service: Emulator) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with service:
        print(_table(service), flush=True)
        await stop.wait()
        print("stopping: workers are ended", file=sys.stderr, flush=True)
    for name, endpoint in service.endpoints.items():
        print(f"{name}: {len(endpoint.jobs.records)} jobs, {endpoint.billed_seconds()} s billed", flush=True)


def _table(service: Emulator) -> str:
    rows = [
        ("page", f"{service.root}/"),
        ("jobs API", f"{service.url}    (in place of https://api.runpod.ai/v2)"),
        ("management API", f"{service.management_url}    (in place of https://api.runpod.io/v2)"),
        ("API key", f"{API_KEY}    (read only: {READ_ONLY_KEY}; refused with 403: {NO_ACCESS_KEY})"),
    ]
    for name, endpoint in service.endpoints.items():
        workers = endpoint.backend
        what = shlex.join(workers.command) if isinstance(workers, ProcessWorkers) else "stub"
        rows.append((f"endpoint {name}", f"{what}, {endpoint.scaling.workers_max} workers at most"))
        if isinstance(workers, ProcessWorkers):
            rows.append(("", f"logs in {workers.folder}"))
    return "\n".join(f"{title:16} {text}" for title, text in rows)
