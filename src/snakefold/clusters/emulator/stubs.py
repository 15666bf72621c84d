"""Workers inside the emulator's own process: a coroutine and a duration on the clock; thousands are cheap."""

from __future__ import annotations

import asyncio
import inspect
import json
import traceback
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from snakefold.clusters.emulator.endpoint import Endpoint, TooLarge
from snakefold.clusters.emulator.jobs import Job
from snakefold.clusters.emulator.worker import Worker

if TYPE_CHECKING:
    from snakefold.clusters.emulator.clock import Timer

_FOR_EVER = 10 * 365 * 86_400.0
Work = Callable[[dict[str, Any]], Any]


async def echo(job: dict[str, Any]) -> Any:
    """The work of a stub that was given none: returns its input."""
    return {"echo": job["input"]}


class StubWorkers:
    """Workers that run `work(job)`, a handler as the SDK takes them, `seconds` after they took the job.

    Args:
        work: returns the output, or raises, or is an async generator whose chunks are streamed. It gets
            `{"id": …, "input": …}`, as the SDK's handlers do.
        seconds: duration of the execution, or a function of the job.
        concurrency: jobs a worker runs at once.
    """

    def __init__(
        self,
        work: Work = echo,
        seconds: float | Callable[[dict[str, Any]], float] = 0.0,
        concurrency: int = 1,
    ) -> None:
        self.work = work
        self.seconds = seconds
        self.concurrency = concurrency
        self._tasks: dict[tuple[str, str], asyncio.Task[Any]] = {}
        self._starting: dict[str, Timer] = {}
        self._logs: dict[str, list[str]] = {}

    def start(self, endpoint: Endpoint, worker: Worker) -> None:
        def ready() -> None:
            endpoint.ready(worker)
            self._ask(endpoint, worker)

        self._starting[worker.id] = endpoint.clock.call_later(endpoint.scaling.start_seconds, ready)

    def stop(self, endpoint: Endpoint, worker: Worker, *, kill: bool = False) -> None:
        del kill  # there is nothing that could refuse to end
        if worker.id in self._starting:
            self._starting.pop(worker.id).cancel()
        for (worker_id, _), task in list(self._tasks.items()):
            if worker_id == worker.id:
                task.cancel()
        endpoint.gone(worker, worker.reason)

    def cancel(self, endpoint: Endpoint, worker: Worker, job: Job) -> None:
        del endpoint
        task = self._tasks.get((worker.id, job.id))
        if task is not None:
            task.cancel()

    def log(self, worker_id: str) -> str:
        """What the SDK would have printed."""
        return "".join(f"{line}\n" for line in self._logs.get(worker_id, ()))

    async def close(self) -> None:
        for task in list(self._tasks.values()):
            task.cancel()

    def _ask(self, endpoint: Endpoint, worker: Worker) -> None:
        free = self.concurrency - len(worker.busy)
        if free > 0:
            endpoint.ask(worker, free, lambda jobs: self._take(endpoint, worker, jobs))

    def _take(self, endpoint: Endpoint, worker: Worker, jobs: list[Job]) -> None:
        for job in jobs:
            task = endpoint.clock.spawn(self._run(endpoint, worker, job))
            self._tasks[worker.id, job.id] = task
            task.add_done_callback(lambda _, job=job: self._ended(endpoint, worker, job))  # type: ignore[misc]
        self._ask(endpoint, worker)

    def _ended(self, endpoint: Endpoint, worker: Worker, job: Job) -> None:
        self._tasks.pop((worker.id, job.id), None)
        if not worker.gone and not endpoint.closed:
            endpoint.gave_up(worker, job.id)
            self._ask(endpoint, worker)

    async def _run(self, endpoint: Endpoint, worker: Worker, job: Job) -> None:
        given = {"id": job.id, "input": job.input}
        seconds = self.seconds(given) if callable(self.seconds) else self.seconds
        await endpoint.clock.sleep(_FOR_EVER if job.endless else seconds)
        result = await self._result(job, given)
        try:
            body = json.dumps(result)
        except (TypeError, ValueError):
            # The SDK drops what cannot be serialised, and the job stays IN_PROGRESS.
            self._say(worker, job, "ERROR  | Error while returning job result. | not serializable")
            return
        try:
            endpoint.done(worker.id, job.id, json.loads(body), len(body))
        except TooLarge:
            self._say(worker, job, "ERROR  | Failed to return job results. | 400, message='Bad Request'")

    def _say(self, worker: Worker, job: Job, line: str) -> None:
        self._logs.setdefault(worker.id, []).append(f"{job.id} | {line}")

    async def _result(self, job: Job, given: dict[str, Any]) -> dict[str, Any]:
        try:
            if inspect.isasyncgenfunction(self.work):
                async for chunk in self.work(given):
                    job.stream.append({"output": chunk})
                return {"output": []}
            output = self.work(given)
            if isinstance(output, Awaitable):
                output = await output
        except Exception as error:  # a handler's error is a result, whatever it is
            details = {
                "error_type": str(type(error)),
                "error_message": str(error),
                "error_traceback": traceback.format_exc(),
            }
            return {"error": json.dumps(details)}
        result: dict[str, Any] = {"output": output}
        if isinstance(output, dict):
            output = dict(output)
            error_text, refresh = output.pop("error", None), output.pop("refresh_worker", None)
            result = {"output": output} if output else {}
            if error_text:
                result["error"] = error_text
            if refresh:
                result["stopPod"] = True
        return result
