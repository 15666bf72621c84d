"""Beside the executor plugin of a cluster: what its scheduler says of jobs is told and written down.

The plugins watch jobs and say little: why a job waits they do not ask, and what became of one goes into a
record that Snakemake drops. Their three reports (submitted, done, failed) pass through here, and every half
minute the scheduler is asked what waits and why.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from snakefold.clusters import job_errors
from snakefold.clusters.kubernetes_pods import Kubernetes
from snakefold.clusters.slurm import Slurm
from snakefold.kernel.errors import Reason
from snakefold.run.attempts import COMPLETED, INTERRUPTED, Attempt, Ended, note, unsettled
from snakefold.run.queued import (
    QUEUED_RULES,
    RUNNING,
    WAITING,
    Queue,
    Queued,
    forget_queue,
    waiting_text,
    write_queue,
)
from snakefold.run.retries import give_up

#: Wildcard of a run with several stages: the folder of one, with a slash.
STAGE = "stage"
#: Pauses between two looks: short after a submission, for that is when something is new.
_FIRST_LOOK_SECONDS, _LOOK_SECONDS = 2.0, 30.0
#: How often ordinary waiting is told again while nothing runs.
_TELL_SECONDS = 600.0


class Scheduler(Protocol):
    """What is asked of a cluster.

    Attributes:
        ordinary, endless: reasons to wait that end by themselves, and such that somebody must end.
    """

    name: str
    ordinary: set[str]
    endless: set[str]

    def queue(self, ids: Iterable[str]) -> list[Queued]:
        """Those of our jobs that wait or run."""

    def ended(self, job: str, rule: str) -> Ended | None:
        """How a job has ended; None if it has not, or nobody knows any more."""

    def refused(self, said: str) -> Ended | None:
        """What an executor plugin's error says of a submission; None if it is about something else."""


@dataclass(frozen=True)
class _Live:
    rule: str
    name: str
    attempt: Attempt
    info: Any


class Watch:
    """Follows the jobs of one run. Nothing that goes wrong here ends a run: `warn` is told."""

    def __init__(
        self,
        results: Path,
        scheduler: Scheduler,
        *,
        say: Callable[[str], None],
        warn: Callable[[str], None],
        stages: Sequence[str] = ("",),
    ) -> None:
        self._results, self._scheduler, self._say, self._warn = results, scheduler, say, warn
        self._folders = [results / stage for stage in stages]
        self._live: dict[str, _Live] = {}
        #: By job, when each of its runs began and was last seen: our own clock, where nobody else has one.
        self._runs: dict[str, dict[float, float]] = {}
        self._told: set[str] = set()
        self._told_at = 0.0
        self._lock = threading.Lock()
        self._pause, self._due = _LOOK_SECONDS, time.monotonic() + _LOOK_SECONDS
        self._wake = threading.Event()
        self._stopped = False
        self._interrupted = False

    def attach(self, executor: Any) -> None:
        """Stand between an executor plugin and Snakemake, and begin to look."""
        submitted, done, failed = (
            getattr(executor, f"report_job_{what}") for what in ("submission", "success", "error")
        )
        cancel = executor.cancel

        @functools.wraps(submitted)
        def report_job_submission(info: Any, *arguments: Any, **options: Any) -> None:
            self._safely(lambda: self.submitted(info))
            submitted(info, *arguments, **options)

        @functools.wraps(done)
        def report_job_success(info: Any) -> None:
            self._safely(lambda: self.done(info.job, info.external_jobid))
            done(info)

        @functools.wraps(failed)
        def report_job_error(info: Any, msg: str | None = None, **options: Any) -> None:
            end = self._safely(lambda: self.failed(info.job, info.external_jobid, msg or ""))
            if end is None:
                failed(info, msg=msg, **options)
                return
            if end.reason is Reason.SUBMISSION_REFUSED:
                # Told as it is given up: not again as an error.
                give_up(info.job, end.reason, end.message, end.advice)
                options[job_errors.TOLD] = True
            elif end.reason is None and info.external_jobid is not None:
                options[job_errors.UNEXPLAINED] = True
            failed(info, msg=f"{end.message} {end.advice} ", **options)

        @functools.wraps(cancel)
        def cancel_all() -> None:
            self._interrupted = True
            self._safely(lambda: self._cancel_unlisted(executor))
            cancel()

        executor.cancel = cancel_all
        executor.report_job_submission = report_job_submission
        executor.report_job_success = report_job_success
        executor.report_job_error = report_job_error
        self._safely(lambda: write_queue(self._results, Queue(self._scheduler.name, time.time())))
        threading.Thread(target=self._look_again_and_again, name="queue", daemon=True).start()

    def begin(self, executor: Any) -> None:
        """Look up what an earlier run left behind, and attach to this one's executor plugin."""
        self._safely(lambda: self.settle(over=True))
        self.attach(executor)

    def stop(self) -> None:
        """No more looks; ends of jobs that nobody reported (an interrupt) are looked up."""
        self._stopped = True
        self._wake.set()
        self._safely(self.settle)

    def settle(self, *, over: bool = False) -> None:
        """Look up the ends of jobs whose end nobody saw, as far as the scheduler knows them.

        Args:
            over: none of them is at work any more; what the scheduler has forgotten is not asked for again.
        """
        found = [(folder, each) for folder in self._folders for each in unsettled(folder)]
        for folder, (rule, name, attempt) in found:
            if attempt.executor != self._scheduler.name.lower():
                continue
            end = self._scheduler.ended(attempt.id, rule)
            if end is None and over:
                end = Ended(INTERRUPTED)
            if end is not None:
                end = self._clocked(attempt.id, end)
                note(folder, rule, name, attempt.with_end(_with_its_run(end)))

    def _cancel_unlisted(self, executor: Any) -> None:
        """While a plugin looks at its jobs its list of them is empty, and it would cancel none."""
        with executor.lock:
            listed = {info.external_jobid for info in executor.active_jobs}
        with self._lock:
            rest = [live.info for job, live in self._live.items() if job not in listed]
        if rest:
            executor.cancel_jobs(rest)

    # Reports

    def submitted(self, info: Any) -> None:
        """A job is in the queue."""
        found, external = _named(info.job), info.external_jobid
        if found is None or external is None:
            return
        rule, name = found
        attempt = self._attempt(info.job, external)
        with self._lock:
            self._live[external] = _Live(rule, name, attempt, info)
            self._pause = _FIRST_LOOK_SECONDS
            self._due = min(self._due, time.monotonic() + self._pause)
        self._wake.set()
        note(self._folder(info.job), rule, name, attempt)

    def done(self, job: Any, external: str | None) -> None:
        """A job is over, and well."""
        found = _named(job)
        if found is None or external is None:
            return
        rule, name = found
        attempt = self._pop(job, external)
        end = self._safely(lambda: self._scheduler.ended(external, rule)) or Ended(COMPLETED, whole=False)
        end = replace(end, state=COMPLETED, reason=None, message="", advice="")
        note(self._folder(job), rule, name, attempt.with_end(self._clocked(external, end)))

    def failed(self, job: Any, external: str | None, said: str) -> Ended | None:
        """A job has failed; returns why, if anybody knows."""
        found = _named(job)
        if found is None:
            return None
        if external is not None:
            return self._failed(*found, job, external)
        refused = self._scheduler.refused(said)
        if refused is not None:
            note(self._folder(job), *found, self._attempt(job, "").with_end(refused))
        return refused

    def _failed(self, rule: str, name: str, job: Any, external: str) -> Ended:
        attempt = self._pop(job, external)
        unknown = Ended("FAILED", None, f"{self._scheduler.name} job {external} failed.", whole=False)
        end = self._safely(lambda: self._scheduler.ended(external, rule)) or unknown
        if end.state == COMPLETED:  # the job is well, and its outputs are not there
            end = replace(unknown, seconds=end.seconds, queued=end.queued, whole=end.whole)
        end = self._clocked(external, end)
        if self._interrupted:
            end = _with_its_run(end)
        note(self._folder(job), rule, name, attempt.with_end(end))
        return end

    def _folder(self, job: Any) -> Path:
        """Results of the stage that a job is of."""
        return self._results / getattr(job.wildcards, STAGE, "")

    def _pop(self, job: Any, external: str) -> Attempt:
        with self._lock:
            live = self._live.pop(external, None)
        return live.attempt if live is not None else self._attempt(job, external)

    def _attempt(self, job: Any, external: str) -> Attempt:
        given = job.resources
        return Attempt(
            executor=self._scheduler.name.lower(),
            id=external,
            submitted=time.time(),
            gpu=str(given.get("gpu_class", "") or ""),
            dollars_per_second=float(given.get("dollars_per_second", 0) or 0),
        )

    def _clocked(self, external: str, end: Ended) -> Ended:
        """With the seconds that we have seen, where the scheduler does not know them, or not all."""
        runs = self._runs.pop(external, {})
        if end.seconds is None or not end.whole:
            earlier = [
                last - start for start, last in runs.items() if end.seconds is None or start != end.started
            ]
            seen = sum(earlier) + (end.seconds or 0.0)
            return replace(end, seconds=seen if earlier or end.seconds is not None else None)
        return end

    # Looks

    def _look_again_and_again(self) -> None:
        while not self._stopped:
            if self._wake.wait(max(0.0, self._due - time.monotonic())):
                self._wake.clear()
                continue
            with self._lock:
                self._pause = min(_LOOK_SECONDS, 2 * self._pause)
                self._due = time.monotonic() + self._pause
            self._safely(self.look)

    def look(self) -> None:
        """Ask what waits and why; leave it for `status`, and tell of it if something is new."""
        with self._lock:
            live = dict(self._live)
        found = self._scheduler.queue(live) if live else []
        now = time.time()
        jobs = []
        for job in found:
            jobs.append(replace(job, rule=live[job.id].rule, name=live[job.id].name))
            if job.state == RUNNING and job.since is not None:
                self._runs.setdefault(job.id, {})[job.since] = max(now, job.since)
        write_queue(self._results, Queue(self._scheduler.name, now, jobs))
        self._tell(jobs, now)

    def _tell(self, jobs: list[Queued], now: float) -> None:
        waiting = [job for job in jobs if job.state == WAITING]
        reasons = {_kind(job.why) for job in waiting} - {""}
        unusual = reasons - self._scheduler.ordinary - self._told
        idle = reasons and not any(job.state == RUNNING for job in jobs)
        if unusual or (idle and now - self._told_at > _TELL_SECONDS):
            self._told |= reasons
            self._told_at = now
            endless = ", ".join(sorted(reasons & self._scheduler.endless))
            advice = (
                f" {endless}: these jobs would wait for ever. Stop the run, correct the resources that they "
                "request (site.yaml of the profile), and start it again."
            )
            self._say(f"{waiting_text(self._scheduler.name, waiting, now)}.{advice if endless else ''}")

    def _safely(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except Exception as error:  # whatever a cluster's commands say, the run goes on without it
            self._warn(f"{self._scheduler.name}: {type(error).__name__}: {str(error)[:300]}")
            return None


def watch(
    results: Path,
    plugin: str,
    executor: Any,
    say: Callable[[str], None],
    warn: Callable[[str], None],
    *,
    stages: Sequence[str] = ("",),
) -> Watch | None:
    """Begin to watch the jobs of a run; None where no scheduler is between Snakemake and them.

    Args:
        plugin: name of the executor plugin.
        stages: folders of the stages below the results: values of the wildcard `stage`.
    """
    forget_queue(results)
    scheduler: Scheduler
    if plugin == "slurm":
        scheduler = Slurm()
    elif plugin == "kubernetes":
        scheduler = Kubernetes(executor)
    else:
        return None
    found = Watch(results, scheduler, say=say, warn=warn, stages=stages)
    found.begin(executor)
    return found


def _with_its_run(end: Ended) -> Ended:
    """An end that came with, or after, that of the run: the job did not fail, whatever the scheduler says."""
    state = COMPLETED if end.state == COMPLETED else INTERRUPTED
    return replace(end, state=state, reason=None, message="", advice="")


def _named(job: Any) -> tuple[str, str] | None:
    """Rule and batch or chunk of a job; None for others, groups among them."""
    if job.is_group() or job.rule.name not in QUEUED_RULES:
        return None
    stage = getattr(job.wildcards, STAGE, None)
    return job.rule.name, str(next(each for each in job.wildcards if each != stage))


def _kind(why: str) -> str:
    """What a reason is without its particulars: names of nodes, numbers."""
    return why.partition(":")[0].partition(",")[0]
