"""Callbacks of folding jobs: every target is told of once its results are where they were asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol

from snakefold.kernel.envelope import FailedCallback, Result
from snakefold.kernel.errors import Reason
from snakefold.worker.callbacks import Callbacks, in_threads
from snakefold.worker.failures import as_job_error
from snakefold.worker.tasks import Context


class Asks(Protocol):
    """A request that says who is told (`kernel.envelope`)."""

    @property
    def callback_url(self) -> str | None:
        """Is told of every target."""

    @property
    def job_callback_url(self) -> str | None:
        """Is told of the end of the job."""

    @property
    def idempotency_prefix(self) -> str | None:
        """Of the keys; None: the digest of the request."""


class Told:
    """Who is told of the targets of a job. `ids` are their names, in the order of the request."""

    def __init__(self, callbacks: Callbacks, ids: Sequence[str]) -> None:
        self._callbacks = callbacks
        self._ids = ids

    def targets(self, say: Callable[[int], Mapping[str, Any]], **job: Any) -> list[FailedCallback] | None:
        """Tell of all targets, and of the end of the job.

        Args:
            say: what became of a target, by its number: `done` or `failed` of the functions below.
            job: further keys of what is said of the job.

        Returns:
            The callbacks that did not arrive; None if nobody wants to be told.
        """
        if not self._callbacks.wanted and self._callbacks.job_url is None:
            return None
        said = [say(number) for number in range(len(self._ids))]
        if self._callbacks.wanted:
            in_threads(
                lambda number: self._callbacks.item(number, id=self._ids[number], **said[number]), len(said)
            )
        successful = sum(each["status"] == "done" for each in said)
        self._callbacks.job(
            status="done",
            total_items=len(said),
            successful_items=successful,
            failed_items=len(said) - successful,
            **job,
        )
        return sorted(self._callbacks.failures, key=lambda each: each.idempotency_key)

    def failed(self, error: Exception) -> None:
        """Tell of a job that failed as a whole, and so of all its targets.

        Under keys of their own: a queue may try the job again, and a receiver that takes each key once must
        then hear that it is done.
        """
        whole = as_job_error(error)
        said = failed(whole.reason, whole.message)
        callbacks = replace(self._callbacks, prefix=f"{self._callbacks.prefix}:failed")
        if callbacks.wanted:
            in_threads(lambda number: callbacks.item(number, id=self._ids[number], **said), len(self._ids))
        callbacks.job(total_items=len(self._ids), **said)


@contextmanager
def telling(request: Asks, ids: Sequence[str], digest: str, context: Context) -> Iterator[Told]:
    """Who is told of a job's targets; what ends the job ends all of them.

    Raises:
        InvalidInput: an address may not be called, or the worker has no secret: nothing is computed.
    """
    prefix = request.idempotency_prefix or digest
    told = Told(context.callbacks(request.callback_url, request.job_callback_url, prefix), ids)
    try:
        yield told
    except Exception as error:
        told.failed(error)
        raise


def done(result: Result | None = None, **more: Any) -> dict[str, Any]:
    """What is said of a target with a structure, and of where its results are, if not in the answer."""
    where: dict[str, Any] = {}
    if result is not None and result.stored:
        where = {
            "output_key": result.key,
            "bucket": result.bucket,
            "path": result.path,
            "size": result.size,
            "sha256": result.sha256,
        }
    return {"status": "done", **where, **more}


def failed(reason: Reason | None, message: str, **more: Any) -> dict[str, Any]:
    """What is said of a target without one."""
    return {"status": "failed", "reason": str(reason or Reason.INTERNAL), "error": message, **more}
