"""Items of one job: each is read, computed, written and told of by itself, and fails by itself.

Reading and writing happen in threads while another item is computed; computing is in order, in the thread of
the caller, for a GPU does one thing at a time. An item that is done is told of before the job ends, and stays
done whatever becomes of the others.

A job that comes twice computes nothing twice, if `fetch` gives `Ready` for an item whose outputs are there
(`Objects.answered`): it is told of again, under the same idempotency key.
"""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from pydantic import Field

from snakefold.kernel.contracts import Model
from snakefold.kernel.envelope import ToldResponse
from snakefold.kernel.errors import Reason, SnakefoldError
from snakefold.worker.failures import as_job_error, without_secrets

Item = TypeVar("Item")
Input = TypeVar("Input")
Output = TypeVar("Output")

#: Facts of an item that is done, such as the keys of its outputs: for whoever is told of it.
Facts = Mapping[str, Any]
_LONGEST_ERROR = 2000


@dataclass(frozen=True)
class Ready:
    """What `fetch` gives for an item whose outputs are there already."""

    facts: Facts = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What became of an item.

    Attributes:
        number: of the item, from 0, in the order of the job.
        facts: of an item that is done; what `deliver`, or `Ready`, said.
        reason, error: of one that failed.
        ready: it is done, and nothing was computed.
    """

    number: int
    facts: Facts = field(default_factory=dict)
    reason: Reason | None = None
    error: str = ""
    ready: bool = False

    @property
    def done(self) -> bool:
        """Whether it has its outputs."""
        return self.reason is None


@dataclass(frozen=True)
class Ran:
    """What became of the items of a job.

    Attributes:
        outcomes: of all that were at work, in the order of the job.
        total: items of the job; more than there are outcomes, if it was cancelled.
    """

    outcomes: list[Outcome]
    total: int

    @property
    def failed(self) -> list[Outcome]:
        """Those without outputs."""
        return [each for each in self.outcomes if not each.done]

    @property
    def cancelled(self) -> bool:
        """Whether it ended before all items were at work."""
        return len(self.outcomes) < self.total

    @property
    def out_of_memory(self) -> bool:
        """Whether an item was: what is left of its memory may fail the next job."""
        return any(each.reason is Reason.OUT_OF_MEMORY for each in self.outcomes)


class ItemError(Model):
    """An item without outputs."""

    idx: int = Field(description="Number of the item, as the request has it.")
    reason: Reason = Field(description="Reason code.")
    error: str = Field(description="For people.")


class ItemsResponse(ToldResponse):
    """What a job of items answers, besides what its own contract adds."""

    total_items: int = Field(description="Items of the job.")
    successful_items: int = Field(description="Items with outputs, those that were there before included.")
    failed_items: int = Field(description="Items without.")
    errors: list[ItemError] = Field([], description="Why, of each of these.")
    ready_items: int = Field(0, description="Of the successful ones, those whose outputs were there before.")
    cancelled: bool = Field(False, description="Whether the job was ended before all of its items.")


def counts(ran: Ran, idx: Callable[[int], int]) -> dict[str, Any]:
    """The keys of an `ItemsResponse`; items that were not at work are neither successful nor failed.

    Args:
        idx: of an item, by its number in the order of the job.
    """
    return {
        "total_items": ran.total,
        "successful_items": len(ran.outcomes) - len(ran.failed),
        "failed_items": len(ran.failed),
        "errors": [
            ItemError(idx=idx(each.number), reason=each.reason or Reason.INTERNAL, error=each.error)
            for each in ran.failed
        ],
        "ready_items": sum(each.ready for each in ran.outcomes),
        "cancelled": ran.cancelled,
    }


def bounded(asked: int | None, most: int) -> int:
    """How many items are read, and written, at a time: as the job asks, up to what the operator allows."""
    return max(1, min(most if asked is None else asked, most))


def run_items(
    items: Sequence[Item],
    fetch: Callable[[Item], Input | Ready],
    compute: Callable[[Item, Input], Output],
    deliver: Callable[[Item, Output], Facts],
    tell: Callable[[Item, Outcome], object],
    *,
    concurrency: int,
    cancelled: Callable[[], bool] = lambda: False,
    progress: Callable[[int, int], None] | None = None,
    log: Callable[[str], None] = print,
) -> Ran:
    """Do all items of a job.

    Args:
        fetch: reads what an item needs; in a thread, up to `concurrency` items ahead.
        compute: in order, in this thread.
        deliver: writes what was computed, and says where; in a thread.
        tell: is told of an item once it is delivered, or has failed; in a thread. What it raises is logged,
            and changes nothing.
        concurrency: items that are read, and written, at a time. No more than twice as many are in memory.
        cancelled: looked at before an item is computed. What was computed until then is delivered.
        progress: takes how many items have ended, and of how many; called in this thread.

    Raises:
        nothing of what the functions raise as an Exception: it fails the item. What ends the process
        (SystemExit, KeyboardInterrupt) ends this too, and what is being written is written to its end.
    """
    return _Run(items, fetch, compute, deliver, tell, max(1, concurrency), progress, log).run(cancelled)


@dataclass
class _Run(Generic[Item, Input, Output]):
    items: Sequence[Item]
    fetch: Callable[[Item], Input | Ready]
    compute: Callable[[Item, Input], Output]
    deliver: Callable[[Item, Output], Facts]
    tell: Callable[[Item, Outcome], object]
    concurrency: int
    progress: Callable[[int, int], None] | None
    log: Callable[[str], None]
    fetched: deque[Future[Input | Ready]] = field(default_factory=deque)
    asked: int = 0
    leaving: set[Future[Outcome]] = field(default_factory=set)
    ended: list[Outcome] = field(default_factory=list)

    def run(self, cancelled: Callable[[], bool]) -> Ran:
        # Readers and writers have threads of their own: neither waits for the other.
        readers = ThreadPoolExecutor(self.concurrency, thread_name_prefix="fetch")
        writers = ThreadPoolExecutor(self.concurrency, thread_name_prefix="deliver")
        try:
            for number, item in enumerate(self.items):
                self._ask(readers)
                if cancelled():
                    break
                self._leave(writers, number, item, self._computed(number, item))
        finally:
            readers.shutdown(wait=False, cancel_futures=True)
            writers.shutdown(wait=True)
        self._collect(0)
        return Ran(sorted(self.ended, key=lambda each: each.number), len(self.items))

    def _ask(self, readers: ThreadPoolExecutor) -> None:
        """Let the next items be read, no further ahead than that."""
        while self.asked < len(self.items) and len(self.fetched) < self.concurrency:
            self.fetched.append(readers.submit(self.fetch, self.items[self.asked]))
            self.asked += 1

    def _computed(self, number: int, item: Item) -> Outcome | tuple[Output]:
        """What an item's computing gave, or its end."""
        try:
            found = self.fetched.popleft().result()
            if isinstance(found, Ready):
                return Outcome(number, found.facts, ready=True)
            return (self.compute(item, found),)
        except Exception as error:
            return self._failed(number, error)

    def _leave(
        self, writers: ThreadPoolExecutor, number: int, item: Item, computed: Outcome | tuple[Output]
    ) -> None:
        """Let an item be written and told of, once there is room for it."""
        self._collect(self.concurrency - 1)
        self.leaving.add(writers.submit(self._finish, number, item, computed))

    def _finish(self, number: int, item: Item, computed: Outcome | tuple[Output]) -> Outcome:
        if isinstance(computed, Outcome):
            outcome = computed
        else:
            try:
                outcome = Outcome(number, self.deliver(item, computed[0]))
            except Exception as error:
                outcome = self._failed(number, error)
        try:
            self.tell(item, outcome)
        except Exception as error:
            self.log(f"item {number + 1}: nobody could be told: {without_secrets(str(error))}")
        return outcome

    def _failed(self, number: int, error: Exception) -> Outcome:
        failed = as_job_error(error)
        if failed.reason is Reason.INTERNAL and not isinstance(error, SnakefoldError):
            # Nobody foresaw it: whoever looks into it needs more than its text.
            self.log(without_secrets("".join(traceback.format_exception(error)).rstrip()))
        message = without_secrets(failed.message)[:_LONGEST_ERROR]
        self.log(f"item {number + 1} of {len(self.items)}: {failed.reason}: {message}")
        return Outcome(number, reason=failed.reason, error=message)

    def _collect(self, most: int) -> None:
        """Note what has ended; waits until no more than `most` items are leaving."""
        while self.leaving:
            patient = None if len(self.leaving) > most else 0.0
            ended, self.leaving = wait(self.leaving, patient, FIRST_COMPLETED)
            if not ended:
                return
            for each in ended:
                self.ended.append(each.result())
                if self.progress is not None:
                    self.progress(len(self.ended), len(self.items))
