"""The discrete-event model: searches feed batches, batches queue for workers, workers start, work and stop.

A batch is submitted once all its MSAs exist and the number in flight allows it: no worker is paid to wait for
an MSA. Workers of a pool are started one for each job that has waited `queue_delay`, serve the pool's queue
first come, first served, and stop after `idle_timeout` without a job, which is how RunPod describes its
queue-delay scaling. Events are those of batches, not of targets, so that a million targets are some ten
thousand jobs; where a job is cut short, the targets that it had finished follow from their cumulated seconds.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import simpy

from snakefold.plan.simulate.cluster import Cluster, Job, Pool, Workload
from snakefold.plan.simulate.result import Attempt, Life, Record

Process = Generator[simpy.Event, Any, None]

#: Parts of a run that are uncertain together: if one batch of a class is slower than the model says, all are.
PARTS = ("msa", "start", "load", "compile", "predict", "relax")


def simulate(
    workload: Workload, cluster: Cluster, *, seed: int = 0, factors: Mapping[str, float] | None = None
) -> Record:
    """Play the run through.

    Args:
        seed: of jitter, preemptions and failures; the same seed gives the same record.
        factors: actual over expected seconds by part (`PARTS`), 1 where nothing is said.

    Raises:
        ValueError: a job asks for a class that the cluster has no pool of.
    """
    missing = {job.gpu for job in workload.jobs} - set(cluster.pools)
    if missing:
        raise ValueError(f"no workers of class {', '.join(sorted(missing))}")
    run = _Run(workload, cluster, seed, factors or {})
    run.clock.process(run.begin())
    run.clock.run()
    return run.record


@dataclass(slots=True, eq=False)
class _Queued:
    """A job on its way through the run."""

    job: Job
    jitter: float
    finished: int = 0
    attempts: int = 0
    queued: float = 0.0


@dataclass(slots=True)
class _Workers:
    """The state of one pool. `ready` waits to be submitted, `queue` for a worker, `offers` for a job."""

    name: str
    pool: Pool
    limit: int
    slots: list[int]
    ready: list[int] = field(default_factory=list)
    queue: deque[_Queued] = field(default_factory=deque)
    offers: deque[simpy.Event] = field(default_factory=deque)
    in_flight: int = 0
    starting: int = 0


class _Run:
    def __init__(self, workload: Workload, cluster: Cluster, seed: int, factors: Mapping[str, float]) -> None:
        jitter, self.chance = np.random.default_rng(seed).spawn(2)
        self.clock = simpy.Environment()
        self.cluster = cluster
        self.factors = {part: factors.get(part, 1.0) for part in PARTS}
        self.cores = simpy.Container(self.clock, capacity=cluster.cores, init=cluster.cores)
        self.record = Record(searches=[(0.0, 0.0)] * len(workload.searches))
        drawn = np.exp(cluster.jitter * jitter.standard_normal(len(workload.jobs)))
        self.jobs = [_Queued(job, float(each)) for job, each in zip(workload.jobs, drawn, strict=True)]
        self.searches = workload.searches
        self.asked = workload.asked
        self.unsearched: Iterator[int] = iter(range(len(workload.searches)))
        self.missing = [len(job.searches) for job in workload.jobs]
        self.needed_by: dict[int, list[int]] = {}
        for number, job in enumerate(workload.jobs):
            for search in job.searches:
                self.needed_by.setdefault(search, []).append(number)
        self.workers = {
            name: _Workers(
                name,
                pool,
                limit=math.floor(cluster.in_flight * pool.workers),
                slots=list(range(pool.workers)),
            )
            for name, pool in cluster.pools.items()
        }
        self.uncollected = len(self.jobs)

    # The machine that searches

    def begin(self) -> Process:
        yield self.clock.timeout(self.cluster.steps.plan)
        for number, missing in enumerate(self.missing):
            if not missing:
                self.clock.process(self._request(number))
        threads = min(self.cluster.msa_threads, self.cluster.cores)
        at_once = 1 if self.asked else self.cluster.cores // threads
        for _ in range(min(at_once, len(self.searches))):
            self.clock.process(self._search(threads))
        if not self.jobs:
            yield from self._report()

    def _search(self, threads: int) -> Process:
        for number in self.unsearched:
            yield self.cores.get(threads)
            began = self.clock.now
            seconds = float(self.searches[number]) * self.factors["msa"]
            yield self.clock.timeout(seconds if self.asked else seconds / threads)
            yield self.cores.put(threads)
            self.record.searches[number] = (began, self.clock.now)
            for job in self.needed_by.get(number, ()):
                self.missing[job] -= 1
                if not self.missing[job]:
                    self.clock.process(self._request(job))

    def _local(self, seconds: float) -> Process:
        if seconds:
            yield self.cores.get(1)
            yield self.clock.timeout(seconds)
            yield self.cores.put(1)

    def _request(self, number: int) -> Process:
        yield from self._local(self.cluster.steps.request)
        workers = self.workers[self.jobs[number].job.gpu]
        heapq.heappush(workers.ready, number)
        self._submit(workers)

    def _collect(self) -> Process:
        yield from self._local(self.cluster.steps.collect)
        self.uncollected -= 1
        if not self.uncollected:
            yield from self._report()

    def _report(self) -> Process:
        yield from self._local(self.cluster.steps.report)
        self.record.wall = self.clock.now

    # The queue of a pool

    def _submit(self, workers: _Workers) -> None:
        while workers.ready and workers.in_flight < workers.limit:
            workers.in_flight += 1
            self._enqueue(workers, self.jobs[heapq.heappop(workers.ready)])

    def _enqueue(self, workers: _Workers, job: _Queued) -> None:
        job.queued = self.clock.now
        if workers.offers:
            workers.offers.popleft().succeed(job)
            return
        workers.queue.append(job)
        self.clock.process(self._grow_after_delay(workers))

    def _grow_after_delay(self, workers: _Workers) -> Process:
        yield self.clock.timeout(workers.pool.queue_delay)
        self._grow(workers)

    def _grow(self, workers: _Workers) -> None:
        if workers.slots and len(workers.queue) > workers.starting:
            workers.starting += 1
            self.clock.process(self._worker(workers, heapq.heappop(workers.slots)))

    # One worker

    def _worker(self, workers: _Workers, slot: int) -> Process:
        rate = self.cluster.preemptions_per_hour
        death = self.clock.now + (self.chance.exponential(3600 / rate) if rate else math.inf)
        life = Life(workers.name, slot, begin=self.clock.now)
        start = workers.pool.start_seconds * self.factors["start"]
        yield self.clock.timeout(min(start, death - self.clock.now))
        self._note(life, "start")
        workers.starting -= 1
        alive = life.begin + start < death
        while alive:
            if workers.queue:
                job = workers.queue.popleft()
            else:
                offer = self.clock.event()
                workers.offers.append(offer)
                yield offer | self.clock.timeout(min(workers.pool.idle_timeout, death - self.clock.now))
                self._note(life, "idle")
                if not offer.triggered:
                    workers.offers.remove(offer)
                    break
                job = cast(_Queued, offer.value)
            alive = yield from self._work(workers, life, job, death)
        life.end = self.clock.now
        self.record.lives.append(life)
        heapq.heappush(workers.slots, slot)
        self._grow(workers)

    def _work(
        self, workers: _Workers, life: Life, job: _Queued, death: float
    ) -> Generator[simpy.Event, Any, bool]:
        """Do a job, or what can be done of it; returns whether the worker lives on."""
        threads = min(workers.pool.threads, self.cluster.cores)
        if threads:
            yield self.cores.get(threads)
            self._note(life, "idle")
        began = self.clock.now
        load = job.job.load * self.factors["load"] * job.jitter
        scale = [self.factors[part] * job.jitter for part in ("compile", "predict", "relax")]
        parts = job.job.parts_from(job.finished) * np.array(scale)[:, None]
        ends = load + np.cumsum(parts.sum(axis=0))
        needed = float(ends[-1])
        limit, outcome = self._cut(needed, death - began)
        yield self.clock.timeout(limit)
        finished = len(ends) if outcome == "done" else int(np.searchsorted(ends, limit, side="right"))
        at = began
        for phase, seconds in zip(
            ("load", "compile", "predict", "relax"),
            (min(load, limit), *parts[:, :finished].sum(axis=1)),
            strict=True,
        ):
            self._note(life, phase, at := min(at + float(seconds), self.clock.now))
        if outcome != "done":
            self._note(life, "lost")
        if threads:
            yield self.cores.put(threads)
        job.finished += finished
        job.attempts += 1
        self.record.attempts.append(
            Attempt(job.job.name, workers.name, job.queued, began, self.clock.now, outcome, finished)
        )
        if outcome != "done" and job.attempts <= self.cluster.retries:
            self._enqueue(workers, job)
        else:
            self.record.lost_targets += len(job.job.shapes) - job.finished
            workers.in_flight -= 1
            self._submit(workers)
            self.clock.process(self._collect())
        return outcome != "preempted"

    def _cut(self, needed: float, life: float) -> tuple[float, str]:
        """How long a job that needs so many seconds runs, and what ends it."""
        ends = [(needed, "done"), (max(life, 0.0), "preempted")]
        if self.cluster.execution_timeout is not None:
            ends.append((self.cluster.execution_timeout, "timed_out"))
        if self.cluster.failure_rate and self.chance.random() < self.cluster.failure_rate:
            ends.append((needed * self.chance.random(), "failed"))
        return min(ends, key=lambda end: end[0])

    def _note(self, life: Life, phase: str, until: float | None = None) -> None:
        """Since the last note, the worker was in `phase`."""
        since = life.spans[-1][2] if life.spans else life.begin
        until = self.clock.now if until is None else until
        if until > since:
            life.spans.append((phase, since, until))
