"""The emulated service for synchronous code."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, TypeVar

from snakefold.clusters.emulator.faults import Fault
from snakefold.clusters.emulator.jobs import Job
from snakefold.clusters.emulator.operations import Call
from snakefold.clusters.emulator.service import Emulator

T = TypeVar("T")


class EmulatorThread:
    """The emulator for synchronous code: in a thread with a loop of its own.

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
