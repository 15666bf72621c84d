"""Jobs, one at a time, in a warm process that outlives them: for RunPod's loop, and for the service."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable
from typing import Any

from snakefold.kernel.envelope import LARGEST_ANSWER
from snakefold.kernel.errors import Reason, SnakefoldError
from snakefold.worker.child import Child, Say, show
from snakefold.worker.endpoints import InvalidInput, read_input
from snakefold.worker.failures import JobError, as_job_error, failure, without_secrets
from snakefold.worker.settings import read_settings

#: Targets that must be left for a report of progress: one that is sent close to the end can overtake the
#: result and take its place.
_PROGRESS_LEFT = 2


def checked_size(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer that RunPod takes, or the typed failure of one that it would drop.

    RunPod refuses what is larger without a word to the caller, whose job then ends TIMED_OUT.
    """
    size = len(json.dumps(answer, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    if size <= LARGEST_ANSWER:
        return answer
    message = (
        f"The answer has {size:,} bytes, and RunPod drops what is over 10 MB. Give the results a sink with "
        "`url`, `path` or `key`, or ask for less in one job. What was computed is in the worker's store."
    )
    return failure(JobError(Reason.INVALID_INPUT, message), str(answer.get("log", "")))


class _Warm:
    """The warm process of this worker, if there is one."""

    def __init__(self) -> None:
        self.child: Child | None = None
        self.lock = asyncio.Lock()

    def get(self, say: Say) -> Child:
        """A process that can take a task, and whose lines go to `say` from now on."""
        if self.child is None or not self.child.alive:
            self.drop(grace=0.0)
            self.child = Child(say)
        self.child.say = say
        return self.child

    def drop(self, grace: float = 5.0) -> None:
        """End it."""
        child, self.child = self.child, None
        if child is not None:
            child.stop(grace)


_warm = _Warm()


Progress = Callable[[int, int], None]


async def handler(event: dict[str, Any]) -> dict[str, Any]:
    """Answer a job of RunPod's; see `answer`."""
    reported = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal reported
        now = time.monotonic()
        if total - done >= _PROGRESS_LEFT and now - reported >= read_settings().progress_seconds:
            reported = now
            import runpod  # type: ignore[import-untyped]

            runpod.serverless.progress_update(event, {"progress": {"done": done, "of": total}})

    told = report if "RUNPOD_WEBHOOK_POST_OUTPUT" in os.environ else None
    return await answer(event.get("input"), progress=told)


async def answer(given: object, *, progress: Progress | None = None, say: Say = show) -> dict[str, Any]:
    """Do what an `input` asks for, in the warm process of this worker.

    A task that is cancelled kills the process, and all that it started.

    Args:
        progress: takes how many targets are done, and of how many; called from another thread.
        say: takes every line that the process prints, without secrets; called from another thread.

    Returns:
        The response of its contract, or `{"error": …}` with JSON text of reason, message and log. After an
        out-of-memory `refresh_worker` is in it, so that RunPod starts the worker anew.
    """
    try:
        read_input(given)
        settings = read_settings()
    except (InvalidInput, SnakefoldError) as error:
        return failure(as_job_error(error))
    async with _warm.lock:
        job = _Job(progress, say)
        try:
            async with asyncio.timeout(settings.job_timeout):
                return await job.run(given)
        except TimeoutError:
            message = f"The job was stopped after {settings.job_timeout:g} seconds."
            return failure(JobError(Reason.TIMEOUT, message), job.log)
        finally:
            if not job.ended:
                await _finish(asyncio.to_thread(job.kill))


class _Job:
    """One job in the warm process."""

    def __init__(self, progress: Progress | None, say: Say) -> None:
        self.ended = False
        self._progress = progress
        self._say = say
        self._child: Child | None = None
        self._folding: dict[str, Any] | None = None

    @property
    def log(self) -> str:
        """The end of what it printed."""
        return self._child.log if self._child else ""

    async def run(self, given: object) -> dict[str, Any]:
        """Do it."""
        self._child = await asyncio.to_thread(_warm.get, self._say)
        try:
            answer = await asyncio.to_thread(self._child.ask, given, self._notice)
        except JobError as error:
            self.ended = True
            if not self._child.alive or error.reason is Reason.OUT_OF_MEMORY:
                await asyncio.to_thread(_warm.drop)
            return failure(error, self.log)
        self.ended = True
        if answer.get("refresh_worker"):
            await asyncio.to_thread(_warm.drop)
        worker = {**answer.get("worker", {}), "id": os.environ.get("RUNPOD_POD_ID", "")}
        return checked_size({**answer, "log": without_secrets(self.log), "worker": worker})

    def kill(self) -> None:
        """End the process: the job was cancelled, or took too long."""
        _warm.drop()
        if self._folding is None:
            return
        from snakefold.kernel.store import open_store
        from snakefold.run import task

        try:
            store = open_store(read_settings().store)
            task.forgive(self._folding["recipe"], self._folding["keys"], store)
        except SnakefoldError as error:
            self._say(without_secrets(str(error)))

    def _notice(self, message: dict[str, Any]) -> None:
        self._folding = message.get("working_on", self._folding)
        if self._progress is not None and "progress" in message:
            self._progress(*message["progress"])


async def _finish(work: Any) -> None:
    """Do it to its end, whoever cancels meanwhile."""
    task = asyncio.ensure_future(work)
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise
    task.result()
