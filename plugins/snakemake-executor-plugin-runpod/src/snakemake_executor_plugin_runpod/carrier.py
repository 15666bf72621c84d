"""The way of one job: resumed or submitted, waited for, sent again where that may help, and concluded."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

from . import ledger as states
from . import outcome
from .budget import Budget
from .client import Client
from .diagnosis import timed_out
from .errors import JobError, RunpodError, UnavailableError
from .flight import Flight
from .ledger import Ledger, Row
from .limits import Backoff
from .payload import Task, Work, read
from .policy import policy, seconds
from .queue import STUCK, Queue
from .settings import Configuration
from .transfer import Transfer
from .trip import Trip

#: How often a job that the service has lost is sent again before it counts as failed.
_RESENDS = 2
_READERS = 4


class Carrier:
    """Carries jobs, in the engine's loop.

    Args:
        queue_of: the queue of an endpoint id.

    Attributes:
        stopped: why nothing is sent any more; None while jobs are.
        away: the service has not answered a submission for as long as patience allows, and not since.
    """

    def __init__(
        self,
        configuration: Configuration,
        ledger: Ledger,
        transfer: Transfer,
        client: Client,
        budget: Budget,
        *,
        queue_of: Callable[[str], Queue],
        warn: Callable[[str], None],
    ) -> None:
        self._settings = configuration
        self._ledger = ledger
        self._transfer = transfer
        self._client = client
        self._budget = budget
        self._queue = queue_of
        self._warn = warn
        self._readers = asyncio.Semaphore(_READERS)
        self.stopped: RunpodError | None = None
        self.away = False

    async def carry(self, trip: Trip) -> None:
        """To its end.

        Raises:
            RunpodError: what went wrong.
        """
        if self.stopped is not None:
            raise JobError(str(self.stopped), "service")
        settings, task = self._settings, trip.task
        endpoint = settings.endpoint_of(task.endpoint, task.gpu_class)
        queue = self._queue(endpoint)
        async with self._readers:
            work = await asyncio.to_thread(read, task)
        trip.digest = work.digest
        async with self._transfer.uploads.held(work):
            await queue.open()
            answer = await self._resume(trip, work, queue)
            if answer is not None and answer["status"] == "CANCELLED":
                # The run that sent it had asked for that, and did not see it come through.
                trip.tell("it was cancelled, as the run that submitted it had asked: submitted again")
                answer = None
            answer = answer or await self._submit(trip, work, queue)
            resends = 0
            while resends < _RESENDS and self._is_sent_again(trip, answer):
                resends += 1
                answer = await self._submit(trip, work, queue)
            await self._conclude(trip, work, queue, answer)

    def _is_sent_again(self, trip: Trip, answer: dict[str, Any]) -> bool:
        """What RunPod has lost, or did not end at its limits, may do better the next time."""
        if answer["status"] == states.LOST:
            trip.tell(
                "RunPod no longer knows the job: its ttl is over, or the 30 minutes that results are kept"
            )
            return True
        if answer["status"] != states.OVERDUE or answer.get("live"):
            return False
        before = sum(row.state == states.OVERDUE for row in self._attempts(trip))
        again = before <= self._settings.overtime_resends
        trip.tell(f"{answer['error']}: cancelled" + (", and sent again" if again else ""))
        return again

    async def _resume(self, trip: Trip, work: Work, queue: Queue) -> dict[str, Any] | None:
        """The last answer about a submission of this work by an earlier run or try; None: there is none."""
        row = self._ledger.find(work.digest, map(str, trip.task.outputs.values()))
        if row is None or row.endpoint != queue.endpoint:
            return None
        if row.job is None:
            trip.tell(
                "an earlier submission of this job got no answer: waiting until RunPod has surely none of it"
            )
            await queue.doubts.settled(row.id, self._doubt(trip.task))
            return None
        trip.submission, trip.job = row.id, row.job
        trip.tell(f"re-attached to job {row.job}, submitted by an earlier run or try")
        limits = policy(trip.task.runtime, self._settings.execution_timeout, self._settings.queue_timeout)
        found = await queue.resume(row, limit=limits["executionTimeout"] / 1000, ttl=limits["ttl"] / 1000)
        if isinstance(found, dict):
            # Nobody saw its end: it ran no longer than it may.
            ran = row.seen_at_work()
            ran = None if ran is None else min(ran, row.worked + limits["executionTimeout"] / 1000)
            self._note_end(trip, queue, found, ran, row.worked)
            return None if found["status"] == states.LOST else found
        self._budget.in_flight += 1
        try:
            async with queue.places.place_of_old():
                return await self._wait(trip, queue, found)
        finally:
            await self._budget.settle()

    async def _submit(self, trip: Trip, work: Work, queue: Queue) -> dict[str, Any]:
        """Send the work and wait for its end; returns the last answer of /status."""
        task, settings = trip.task, self._settings
        limits = policy(task.runtime, settings.execution_timeout, settings.queue_timeout)
        reserved = task.reserved(limits["executionTimeout"] / 1000)
        # Where jobs may run elsewhere, one that has waited for the service in vain has waited for all.
        backoff = Backoff(0.0 if self.away and settings.fallback else settings.patience)
        while True:
            async with queue.places.place():
                await self._budget.admit(
                    f"{task.rule} (job {task.jobid})",
                    reserved,
                    lambda: self._prepare(trip, work, queue, reserved),
                )
                try:
                    body = await self._transfer.send(work, trip.submission, limits)
                    flight = await self._send(trip, queue, body, limits, backoff)
                    if flight is not None:
                        del body
                        return await self._wait(trip, queue, flight)
                finally:
                    await self._settle(trip)

    def _prepare(self, trip: Trip, work: Work, queue: Queue, reserved: float | None) -> None:
        trip.submission = self._ledger.prepare(
            digest=work.digest,
            outputs=map(str, trip.task.outputs.values()),
            rule=trip.task.rule,
            endpoint=queue.endpoint,
            dollars_per_second=trip.task.dollars_per_second or 0.0,
            reserved=reserved or 0.0,
        )

    async def _settle(self, trip: Trip) -> None:
        """No longer in flight; a submission that never left costs nothing."""
        if trip.submission and trip.job is None:
            self._ledger.drop_prepared(trip.submission)
        await self._budget.settle()

    async def _send(
        self, trip: Trip, queue: Queue, body: bytes, limits: Mapping[str, int], backoff: Backoff
    ) -> Flight | None:
        """Submit; None where an answer was lost and the job may have been there: it is over by then.

        Raises:
            RunpodError: it was not taken, and will not be.
        """
        submission = trip.submission
        while True:
            if self.stopped is not None:
                raise JobError(str(self.stopped), "service")
            async with queue.places.sending():
                self._ledger.state(submission, states.SENDING)
                try:
                    answer = await self._client.run(queue.endpoint, body)
                except UnavailableError as error:
                    failure = error
                    if not error.taken:
                        self._ledger.state(submission, states.PREPARED, str(error))
                except RunpodError as error:
                    self._ledger.state(submission, states.REFUSED, str(error))
                    raise
                else:
                    self.away = False
                    trip.job = answer["id"]
                    state = str(answer.get("status", "IN_QUEUE"))
                    self._ledger.accepted(submission, answer["id"], "IN_QUEUE")
                    trip.tell(f"submitted as job {trip.job} to endpoint {queue.endpoint} ({state})")
                    limit, ttl = limits["executionTimeout"] / 1000, limits["ttl"] / 1000
                    return queue.add(submission, answer["id"], limit=limit, ttl=ttl)
            trip.tell(f"submission: {failure}")
            if failure.taken:
                await queue.doubts.settled(submission, self._doubt(trip.task))
            if backoff.spent():
                raise failure
            await backoff.wait()
            if failure.taken:
                return None

    async def _wait(self, trip: Trip, queue: Queue, flight: Flight) -> dict[str, Any]:
        answer = await asyncio.shield(flight.ended)
        now = time.monotonic()
        # An end that may have gone unseen for half an hour tells nothing of what the job did until then.
        seen = answer["status"] != states.LOST or flight.running_since is not None or flight.watched(now)
        self._note_end(trip, queue, answer, flight.at_work(now) if seen else None, flight.worked)
        return answer

    def _note_end(
        self, trip: Trip, queue: Queue, answer: dict[str, Any], ran: float | None, worked: float
    ) -> None:
        state = answer["status"]
        answer["ran"] = ran
        if answer.get("live"):
            return  # it is live, and stays so in the ledger
        if state == states.LOST:
            trip.job = None
        queue.note_end(
            trip.submission, answer, "CANCELLED" if state == STUCK else state, ran=ran, worked=worked
        )

    async def _conclude(self, trip: Trip, work: Work, queue: Queue, answer: dict[str, Any]) -> None:
        """Collect a result, or raise what went wrong; leaves log, benchmark and execution record."""
        task, submission, state = trip.task, trip.submission, answer["status"]
        try:
            if state == states.LOST:
                raise JobError("RunPod has lost the job, each time it was sent", "lost")
            if state == "TIMED_OUT":
                limit = seconds(task.runtime, self._settings.execution_timeout)
                raise await timed_out(self._client, queue.endpoint, answer, limit)
            if state != states.COMPLETED:
                raise outcome.failure(answer)
            try:
                told = await self._transfer.receive(work, submission, answer.get("output"))
            except JobError as error:
                if error.reason not in ("disk", "storage", "unreadable"):
                    self._ledger.state(submission, states.SPOILED, str(error))
                raise
            self._ledger.state(submission, states.COLLECTED)
            bill = outcome.bill(answer, answer.get("ran"))
            trip.tell(
                f"COMPLETED: {bill.queued or 0:.1f} s in the queue, {bill.billed or 0:.1f} s on the worker"
            )
            self.write(trip, lambda: outcome.write_log(task, trip.story, str(told.get("log", ""))))
            self.write(trip, lambda: outcome.write_benchmark(task, bill.billed or 0.0))
        finally:
            self.record(trip)

    def _attempts(self, trip: Trip) -> list[Row]:
        return self._ledger.attempts(trip.digest, map(str, trip.task.outputs.values()))

    def record(self, trip: Trip) -> None:
        """What all submissions of a job took and cost, as far as is known."""
        if trip.digest:
            attempts = self._attempts(trip)
            trip.dollars = sum(row.dollars for row in attempts)
            self.write(trip, lambda: outcome.write_record(trip.task, attempts))

    def write(self, trip: Trip, call: Callable[[], None]) -> None:
        try:
            call()
        except JobError as error:
            self._warn(f"rule {trip.task.rule}, job {trip.task.jobid}: {error}")

    def _doubt(self, task: Task) -> float:
        return seconds(task.runtime, self._settings.execution_timeout) + self._settings.patience
