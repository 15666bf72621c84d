"""What tests against the emulator share."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import aiohttp

from snakefold.clusters.emulator.account import API_KEY
from snakefold.clusters.emulator.clock import ManualClock
from snakefold.clusters.emulator.service import Emulator
from snakefold.clusters.emulator.stubs import StubWorkers
from snakefold.clusters.emulator.worker import Backend, Scaling


def asynchronous(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """A coroutine as a test, in an event loop of its own."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


async def eventually(true: Callable[[], Any], seconds: float = 300.0) -> None:
    """Wait for what may take its time on a busy machine."""
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.01)


class Client:
    """The shortest client of one endpoint: (status, JSON or text) of every call, nothing retried."""

    def __init__(self, session: aiohttp.ClientSession, service: Emulator, endpoint: str) -> None:
        self.session = session
        self.service = service
        self.base = f"{service.url}/{endpoint}"

    async def call(self, method: str, path: str, **kwargs: Any) -> tuple[int, Any]:
        async with self.session.request(method, f"{self.base}/{path}", **kwargs) as response:
            if response.content_type == "application/json":
                return response.status, await response.json()
            return response.status, await response.text()

    async def manage(self, method: str, path: str, **kwargs: Any) -> tuple[int, Any]:
        url = f"{self.service.management_url}/{path}"
        async with self.session.request(method, url, **kwargs) as response:
            content = await response.read()
            return response.status, await response.json(content_type=None) if content else None

    async def run(self, given: Any = "x", **keys: Any) -> str:
        status, body = await self.call("POST", "run", json={"input": given, **keys})
        assert status == 200, body
        return body["id"]

    async def status(self, job: str) -> tuple[int, Any]:
        return await self.call("GET", f"status/{job}")

    async def state(self, job: str) -> str:
        """The state of a job, or the HTTP status where it has none."""
        status, body = await self.status(job)
        return body["status"] if status == 200 else str(status)


@contextlib.asynccontextmanager
async def running(
    *args: Any, endpoint: str = "fold", key: str = API_KEY, **kwargs: Any
) -> AsyncIterator[tuple[Emulator, Client]]:
    """An emulator and a client of one of its endpoints."""
    headers = {"Authorization": f"Bearer {key}"}
    async with Emulator(*args, **kwargs) as service, aiohttp.ClientSession(headers=headers) as session:
        yield service, Client(session, service, endpoint)


def on_manual_clock(
    workers: Backend | None = None, *, scaling: Scaling | None = None, **kwargs: Any
) -> contextlib.AbstractAsyncContextManager[tuple[Emulator, Client]]:
    """An endpoint `fold` whose workers start for 10 s, by default run for 30 s, and idle out after 5 s."""
    settings = {
        "workers": workers or StubWorkers(seconds=30),
        "scaling": scaling or Scaling(start_seconds=10, idle_timeout=5),
    }
    return running({"fold": settings}, clock=ManualClock(), **kwargs)
