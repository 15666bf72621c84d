"""Jobs of one endpoint and the states they go through: the queue, its clock-driven ends, and nothing of HTTP.

IN_QUEUE → IN_PROGRESS → COMPLETED | FAILED | CANCELLED | TIMED_OUT. Only `retry` leads out of a final state,
and only out of FAILED and TIMED_OUT. Time-to-live and retention delete a job: it is unknown then.
"""

from __future__ import annotations

import collections
import dataclasses
import enum
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from snakefold.clusters.emulator.clock import Clock, Timer

RETENTION = {"run": 30 * 60.0, "runsync": 60.0}


class State(enum.StrEnum):
    IN_QUEUE = "IN_QUEUE"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    TIMED_OUT = "TIMED_OUT"

    @property
    def final(self) -> bool:
        return self not in (State.IN_QUEUE, State.IN_PROGRESS)


@dataclasses.dataclass(frozen=True)
class Policy:
    """How long a job may run and live, seconds; bounds as documented, values outside them are refused."""

    execution_timeout: float = 600.0
    ttl: float = 86_400.0
    low_priority: bool = False

    @classmethod
    def read(cls, given: Mapping[str, Any] | None, execution_timeout: float) -> Policy:
        """Milliseconds of a request's `policy` to seconds.

        Raises:
            ValueError: a value of the wrong type or outside 5 s (ttl: 10 s) to 7 days.
        """
        given = {} if given is None else given
        if not isinstance(given, Mapping):
            raise ValueError("policy must be an object")  # noqa: TRY004
        low = given.get("lowPriority", False)
        if not isinstance(low, bool):
            raise ValueError("policy.lowPriority must be true or false")  # noqa: TRY004
        return cls(
            _seconds(given, "executionTimeout", execution_timeout, least=5.0),
            _seconds(given, "ttl", cls.ttl, least=10.0),
            low,
        )


def _seconds(given: Mapping[str, Any], name: str, default: float, least: float) -> float:
    value = given.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"policy.{name} must be a number of milliseconds")  # noqa: TRY004
    if not least * 1000 <= value <= 7 * 86_400_000:
        raise ValueError(f"policy.{name} must lie between {least:g} seconds and 7 days, in milliseconds")
    return value / 1000


@dataclasses.dataclass
class Attempt:
    """One execution of a job by one worker; `ended` is None while it runs."""

    job: str
    worker: str
    started: float
    ended: float | None = None
    outcome: str = ""


@dataclasses.dataclass(eq=False)
class Job:
    id: str
    number: int
    input: Any
    operation: str
    policy: Policy
    created: float
    queued: float
    webhook: str | None = None
    s3_config: Any = None
    state: State = State.IN_QUEUE
    worker: str | None = None
    started: float | None = None
    finished: float | None = None
    output: Any = None
    has_output: bool = False
    error: str | None = None
    stream: list[Any] = dataclasses.field(default_factory=list)
    attempts: list[Attempt] = dataclasses.field(default_factory=list)
    deleted: str = ""
    stuck: bool = False
    endless: bool = False
    timers: list[Timer] = dataclasses.field(default_factory=list)

    @property
    def sync(self) -> bool:
        return self.operation == "runsync"

    @property
    def live(self) -> bool:
        return not self.deleted and not self.state.final

    def view(self, now: float) -> dict[str, Any]:
        """What /status answers; delayTime and executionTime in ms."""
        out: dict[str, Any] = {"id": self.id, "status": self.state.value}
        if self.started is not None:
            out["delayTime"] = round((self.started - self.queued) * 1000)
            out["workerId"] = self.worker
            if self.state.final:
                out["executionTime"] = round(((self.finished or now) - self.started) * 1000)
        if self.has_output:
            out["output"] = self.output
        if self.error is not None:
            out["error"] = self.error
        return out


class JobTable:
    """Every job of an endpoint, the order of those that wait, and counts as /health shows them.

    Callbacks: `changed(job, before)` after every change of state; `removed(job, running_on)` when a job is
    deleted, with the worker it was running on, if any.
    """

    def __init__(
        self, clock: Clock, prefix: str = "e1", retention: Mapping[str, float] | None = None
    ) -> None:
        self.clock = clock
        self.retention = dict(RETENTION if retention is None else retention)
        self.records: dict[str, Job] = {}
        self.queue: collections.OrderedDict[str, Job] = collections.OrderedDict()
        self.retried = 0
        self.changed: Callable[[Job, State | None], None] = lambda *_: None
        self.removed: Callable[[Job, str | None], None] = lambda *_: None
        self._prefix = prefix
        self._counts: collections.Counter[State] = collections.Counter()

    def get(self, job_id: str) -> Job | None:
        """A job that still exists for callers of the API."""
        job = self.records.get(job_id)
        return None if job is None or job.deleted else job

    def count(self, state: State) -> int:
        return self._counts[state]

    def waiting(self) -> Iterator[Job]:
        """Queued jobs in the order they will be taken, the stuck ones left out."""
        return (job for job in self.queue.values() if not job.stuck)

    def submit(
        self,
        given: Any,
        operation: str = "run",
        policy: Policy | None = None,
        *,
        webhook: str | None = None,
        s3_config: Any = None,
        prepare: Callable[[Job], None] = lambda _: None,
    ) -> Job:
        """Queue a job; `prepare` sees it before anything can happen to it."""
        policy = policy or Policy()
        now = self.clock.now()
        name = f"{'sync-' if operation == 'runsync' else ''}{uuid.uuid4()}-{self._prefix}"
        job = Job(name, len(self.records) + 1, given, operation, policy, now, now, webhook, s3_config)
        self.records[job.id] = job
        prepare(job)
        self.queue[job.id] = job
        self._counts[job.state] += 1
        job.timers.append(self.clock.call_at(now + policy.ttl, lambda: self._expire(job)))
        self.changed(job, None)
        return job

    def start(self, job: Job, worker: str) -> Attempt:
        now = self.clock.now()
        attempt = Attempt(job.id, worker, now)
        job.attempts.append(attempt)
        if job.state is State.IN_QUEUE:
            del self.queue[job.id]
            job.worker, job.started = worker, now
            due = now + job.policy.execution_timeout
            job.timers.append(self.clock.call_at(due, lambda: self._time_out(job, attempt)))
            self._set(job, State.IN_PROGRESS)
        return attempt

    def finish(self, job: Job, worker: str, *, output: Any = None, error: str | None = None) -> bool:
        """A worker's result. False, and nothing changes, where the job no longer waits for one."""
        self._end_attempt(job, worker, "FAILED" if error is not None else "COMPLETED")
        if job.deleted or job.state is not State.IN_PROGRESS:
            return False
        job.worker = worker
        job.output, job.has_output, job.error = output, output is not None, error
        self._set(job, State.COMPLETED if error is None else State.FAILED)
        return True

    def progress(self, job: Job, output: Any) -> None:
        """An intermediate output; one that arrives late overwrites the result, as it does on the platform."""
        if not job.deleted and job.state in (State.IN_PROGRESS, State.COMPLETED):
            job.output, job.has_output = output, True

    def end(self, job: Job, state: State, error: str | None = None) -> bool:
        """CANCELLED, TIMED_OUT or FAILED, from any live state."""
        if not job.live:
            return False
        self.queue.pop(job.id, None)
        job.error = error
        self._set(job, state)
        return True

    def retry(self, job: Job) -> bool:
        """FAILED and TIMED_OUT jobs wait again under the same id, their output removed."""
        if job.deleted or job.state not in (State.FAILED, State.TIMED_OUT):
            return False
        self.retried += 1
        self._requeue(job)
        return True

    def release(self, job: Job, worker: str) -> bool:
        """The worker that ran a job is gone: the job waits again, at the head of the queue."""
        self._end_attempt(job, worker, "LOST")
        if job.deleted or job.state is not State.IN_PROGRESS or job.worker != worker:
            return False
        self.retried += 1
        self._requeue(job, first=True)
        return True

    def purge(self) -> int:
        """Remove what waits; jobs in progress go on."""
        waiting = list(self.queue.values())
        for job in waiting:
            self.end(job, State.CANCELLED)
        return len(waiting)

    def delete(self, job: Job, why: str) -> None:
        if job.deleted:
            return
        running_on = job.worker if job.state is State.IN_PROGRESS else None
        self.queue.pop(job.id, None)
        job.deleted = why
        self._counts[job.state] -= not job.state.final  # /health counts finished jobs for good
        for timer in job.timers:
            timer.cancel()
        job.timers.clear()
        job.input = job.output = job.s3_config = None
        job.stream.clear()
        self.removed(job, running_on)

    def stopped(self, job: Job, worker: str, outcome: str | None = None) -> None:
        """A worker gave up a job; by default because of the state the job is in."""
        self._end_attempt(job, worker, outcome or job.deleted.upper() or job.state.value)

    def _end_attempt(self, job: Job, worker: str, outcome: str) -> None:
        for attempt in reversed(job.attempts):
            if attempt.worker == worker and attempt.ended is None:
                attempt.ended, attempt.outcome = self.clock.now(), outcome
                return

    def _requeue(self, job: Job, *, first: bool = False) -> None:
        job.worker = job.started = job.finished = job.error = job.output = None
        job.has_output = False
        job.stream.clear()
        job.queued = self.clock.now()
        self.queue[job.id] = job
        if first:
            # Before anybody hears of it: a worker that waits takes the job at once.
            self.queue.move_to_end(job.id, last=False)
        for timer in job.timers[1:]:  # the first is the time-to-live, which counts from submission
            timer.cancel()
        del job.timers[1:]
        self._set(job, State.IN_QUEUE)

    def _expire(self, job: Job) -> None:
        if not job.endless:
            self.delete(job, "ttl")

    def _time_out(self, job: Job, attempt: Attempt) -> None:
        if job.endless:
            return
        if job.state is State.IN_PROGRESS and job.attempts and attempt in job.attempts:
            self.end(job, State.TIMED_OUT, "job timed out after executionTimeout")

    def _set(self, job: Job, state: State) -> None:
        before, job.state = job.state, state
        self._counts[before] -= 1
        self._counts[state] += 1
        if state.final:
            now = job.finished = self.clock.now()
            for timer in job.timers[1:]:
                timer.cancel()
            del job.timers[1:]
            keep = self.retention[job.operation]
            job.timers.append(self.clock.call_at(now + keep, lambda: self.delete(job, "retention")))
        self.changed(job, before)
