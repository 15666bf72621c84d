"""Snakemake's side: which jobs are sent, when they are asked about, and what happens when the run ends."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncGenerator, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo  # type: ignore[import-untyped]
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor  # type: ignore[import-untyped]

from .ending import Left, allowed, how_to_end
from .engine import Engine
from .errors import HOPELESS, NO_SERVICE, AccessError, JobError, NotFoundError, RunpodError
from .here import Processes, end_children
from .interrupts import Interrupts
from .ledger import Ledger
from .payload import describe
from .policy import seconds
from .settings import Configuration, NoServiceError, configure
from .storage import storages
from .transfer import Transfer
from .trip import Trip

T = TypeVar("T")
LEDGER = Path(".snakemake/runpod/ledger.sqlite")


class Executor(RemoteExecutor):
    """Sends jobs of rules with the resource `runpod_endpoint`; all others run on this machine."""

    _pause = 0.1

    async def sleep(self) -> None:
        """Between two looks at what has finished. The base class begins before settings are read."""
        await asyncio.sleep(self._pause)

    def __post_init__(self) -> None:
        self._engine: Engine | None = None
        self._trips: dict[Any, Trip] = {}
        self._processes = Processes(self.workflow.resource_settings.cores or _cores())
        self._lost_heart = False
        self._ended = False
        self._interrupts = Interrupts()
        wanted = {rule.name for rule in self.workflow.rules if "runpod_endpoint" in rule.resources}
        try:
            if wanted:
                settings = configure(self.workflow.executor_settings, config=self.workflow.config)
                self._engine = self._connect(settings)
        except NoServiceError as error:
            if not self._may_run_here:
                raise
            self.logger.warning(f"{error}\nAll jobs run on this machine (runpod-fallback: local).")
            wanted = set()
        self._wanted = wanted
        # Core's own executor runs these, with its threads, environments and containers.
        here = [rule for rule in self.workflow.rules if rule.name not in wanted and rule.group is None]
        self.workflow.localrules(*(rule.name for rule in here))

    def _connect(self, settings: Configuration) -> Engine:
        """An engine whose endpoints answer."""
        try:
            ledger = Ledger(LEDGER)
        except (OSError, sqlite3.Error) as error:
            raise WorkflowError(
                f"{LEDGER}: the ledger of what was sent to RunPod cannot be written: {error}"
            ) from error
        engine = Engine(
            settings,
            ledger,
            Transfer(settings, storages(settings), ledger),
            warn=lambda text: self.logger.warning(f"RunPod: {text}"),
            fatal=self._stop_everything,
        )
        self._pause = min(0.5, settings.poll_interval / 2)
        try:
            for name, endpoint in sorted(settings.endpoints.items()):
                _check(engine, name, endpoint)
        except WorkflowError:
            engine.close()
            raise
        self._settings = settings
        return engine

    def _stop_everything(self, error: RunpodError) -> None:
        if not self._lost_heart:
            self._lost_heart = True
            self.workflow.scheduler.executor_error_callback(WorkflowError(str(error)))

    # Jobs

    def run_jobs(self, jobs: list[Any]) -> None:
        self._interrupts.install()
        for job in jobs:
            self.run_job_pre(job)
        sent = [job for job in jobs if not self._runs_here(job)]
        problems = dict(zip(sent, self.workflow.async_run(_prepare(sent)), strict=True))
        for job in jobs:
            self._begin(job, problems.get(job))

    def _runs_here(self, job: Any) -> bool:
        """Groups whose rules name no endpoint, and jobs for which a rule's function names none."""
        if self._engine is None or self._wanted.isdisjoint(job.rules):
            return True
        return not job.is_group() and not job.resources.get("runpod_endpoint")

    def run_job(self, job: Any) -> None:
        """Not called: `run_jobs` prepares them together."""

    def _begin(self, job: Any, problem: BaseException | None) -> None:
        info = SubmittedJobInfo(job)
        if self._engine is None or self._runs_here(job):
            self._start_here(info)
            self.report_job_submission(info)
            return
        try:
            task = describe(job)
        except JobError as error:
            problem = error
        if problem is not None:
            self.report_job_error(info, msg=f"{problem} ")
            return
        trip = self._engine.carry(task)
        info.aux = {"trip": trip}
        self._trips[job] = trip
        self.report_job_submission(info)

    @property
    def _may_run_here(self) -> bool:
        return bool(self.workflow.executor_settings.fallback == "local")

    def _start_here(self, info: SubmittedJobInfo) -> None:
        info.aux = {"exit_code": self._processes.start(self.format_job_exec(info.job), info.job.threads)}

    async def check_active_jobs(
        self, active_jobs: list[SubmittedJobInfo]
    ) -> AsyncGenerator[SubmittedJobInfo, None]:
        for info in active_jobs:
            try:
                live = self._ended or not self._report(info)
            except Exception as error:  # what escapes here ends the thread that watches all jobs
                self.logger.error(f"RunPod: job {info.job.jobid}: {type(error).__name__}: {error}")  # noqa: TRY400
                self.workflow.scheduler.error_callback(info.job)
                live = False
            if live:
                yield info

    def _report(self, info: SubmittedJobInfo) -> bool:
        """Tell Snakemake of a job that has ended; false while it has not."""
        aux = info.aux or {}
        if "exit_code" in aux:
            code = aux["exit_code"]()
            if code is not None:
                self.report_job_success(info) if code == 0 else self.report_job_error(info)
            return code is not None
        trip: Trip = aux["trip"]
        if not trip.finished:
            return False
        if trip.error is not None and trip.error.reason in NO_SERVICE and self._may_run_here:
            del self._trips[info.job]
            self.logger.warning(
                f"RunPod: rule {trip.task.rule}, job {trip.task.jobid}: {trip.error}\n"
                "It runs on this machine now (runpod-fallback: local)."
            )
            self._start_here(info)
            return False
        info.external_jobid = trip.job
        if trip.error is None:
            self.report_job_success(info)
        else:
            logs = [str(path) for path in trip.task.logs]
            self.report_job_error(info, msg=f"RunPod: {trip.error} ", aux_logs=logs)
        return True

    def handle_job_success(self, job: Any) -> None:
        super().handle_job_success(job)
        trip = self._trips.pop(job, None)
        if trip is not None and self._engine is not None:
            self._engine.seen(trip)

    def handle_job_error(self, job: Any) -> None:
        """Why a try failed and what the next one will cost: core says "Trying to restart job" and no more."""
        super().handle_job_error(job)
        trip = self._trips.pop(job, None)
        if trip is not None and trip.error is not None and not self._ended:
            longest = seconds(trip.task.runtime, self._settings.execution_timeout)
            text = retry_text(trip, job.attempt, job.restart_times + 1, longest)
            if trip.error.reason in HOPELESS:
                # Core asks nobody whether a try makes sense; it counts them.
                job.attempt = max(job.attempt, job.restart_times + 1)
            self.logger.warning(f"RunPod: {text}")

    # The end

    def cancel(self) -> None:
        """Ctrl-C and SIGTERM: cancel or keep what is live, as configured, and say what is left."""
        with self._interrupts.held():
            engine = self._engine
            if engine is not None and not self._ended:
                self._ended = True
                try:
                    self._end_jobs(engine)
                except Exception as error:  # whatever it is, the run must end, and say so
                    self.logger.error(f"RunPod: while ending the run: {type(error).__name__}: {error}")  # noqa: TRY400
            self.shutdown()
            end_children()

    def cancel_jobs(self, active_jobs: list[SubmittedJobInfo]) -> None:
        """Never called: during a sweep the list it would get is empty. See `cancel`."""

    def _end_jobs(self, engine: Engine) -> None:
        live = self._wait(engine, engine.left())
        if self._settings.keep:
            self._say_kept(live, "kept: the next run re-attaches to them")
        elif live:
            most = allowed(len(live), self._settings.cancel_timeout)
            self.logger.info(
                f"RunPod: jobs to be cancelled: {len(live)}, within {most:.0f} s. A process that is killed "
                f"before leaves them at work; their ids are in {LEDGER}."
            )
        if not self._settings.keep:
            done, left = self._wait(engine, engine.cancel_all())
            self.logger.info(f"RunPod: jobs cancelled: {done}.")
            self._say_left(left)
        self._say_doubts(engine)

    def _wait(self, engine: Engine, work: Coroutine[Any, Any, T]) -> T:
        """Wait for work of the engine, and tell whoever sends more signals that it goes on."""
        future = engine.begin(work)
        told = 0
        while True:
            try:
                return future.result(0.2)
            except TimeoutError:
                if future.done():
                    raise
            if self._interrupts.ignored > told:
                told = self._interrupts.ignored
                self.logger.warning(
                    "RunPod: jobs are being cancelled; signals do not shorten that (SIGKILL would leave jobs "
                    "at work that cost money)."
                )

    def _say_kept(self, jobs: Sequence[Left], what: str) -> None:
        if jobs:
            lines = "\n".join(f"  {job}" for job in jobs[:50]) + ("\n  …" if len(jobs) > 50 else "")
            self.logger.warning(f"RunPod: jobs {what} ({len(jobs)}):\n{lines}")

    def _say_left(self, left: Sequence[Left]) -> None:
        if left:
            self.logger.error(
                f"RunPod: jobs not certainly cancelled ({len(left)}); they may run on and cost money:\n"
                + how_to_end(left, self._settings.base_url)
            )

    def _say_doubts(self, engine: Engine) -> None:
        if count := self._wait(engine, engine.in_doubt()):
            self.logger.warning(
                f"RunPod: {count} submissions got no answer, in this run or one that was killed; if RunPod "
                "took them, they run to their end."
            )

    def shutdown(self) -> None:
        with self._interrupts.held():
            super().shutdown()
            engine, self._engine = self._engine, None
            try:
                if engine is not None and not self._ended:
                    self._tidy(engine)
            except Exception as error:  # the results are here; a service that fails now must not spoil them
                self.logger.warning(f"RunPod: at the end of the run: {type(error).__name__}: {error}")
            finally:
                if engine is not None:
                    engine.close()
                # After the jobs that cost money.
                self._processes.end()

    def _tidy(self, engine: Engine) -> None:
        self._ended = True
        if engine.budget.left_out:
            names = "\n".join(f"  {name}" for name in engine.budget.left_out)
            self.logger.error(f"RunPod: left out for the budget of {engine.budget.limit}:\n{names}")
        if self._settings.keep:
            self._say_kept(self._wait(engine, engine.left()), "still live, kept")
        else:
            # After an error that ended the run there may be live ones of this run too.
            _, left = self._wait(engine, engine.cancel_all(strangers_only=not self._lost_heart))
            self._say_left(left)
        self._say_doubts(engine)
        if not any(True for _ in self.workflow.dag.needrun_jobs()):
            engine.close_account()


async def _prepare(jobs: list[Any]) -> list[BaseException | None]:
    """What a Snakemake on the worker would do first: make folders, and remove stale outputs.

    Groups are left alone: they will be refused.
    """
    work = [asyncio.sleep(0) if job.is_group() else job.prepare() for job in jobs]
    return list(await asyncio.gather(*work, return_exceptions=True))


def _cores() -> int:
    """Of this machine, as far as this process may use them."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _check(engine: Engine, name: str, endpoint: str) -> None:
    try:
        engine.call(engine.check(endpoint))
    except AccessError as error:
        raise WorkflowError(str(error)) from None
    except NotFoundError as error:
        raise WorkflowError(
            f"{error}: RunPod knows no endpoint {endpoint!r} ({name}). Its id stands in the console under "
            "Serverless; "
            f"set --runpod-endpoints {name}=ID."
        ) from None
    except RunpodError as error:
        raise NoServiceError(f"RunPod cannot be reached: {error}") from None


def retry_text(trip: Trip, attempt: int, tries: int, longest: float) -> str:
    """Why a try failed, which one of how many it was, and what the next one is expected to cost.

    Args:
        longest: seconds that the job may run.
    """
    task = trip.task
    why = " ".join(str(trip.error).split())
    text = f"rule {task.rule}, job {task.jobid}: try {attempt} of {tries} failed: {why[:500].rstrip('.')}."
    priced = task.dollars_per_second is not None
    spent = f"It has cost ${trip.dollars:.4f} so far" if priced else "What it has cost is not known"
    if trip.error is not None and trip.error.reason in HOPELESS and attempt < tries:
        return f"{text} {spent}; another try would fail in the same way, and is not made."
    if attempt >= tries:
        return f"{text} {spent}; it is not tried again."
    price = "its price is not known (dollars_per_second)"
    if priced:
        most = longest * (task.dollars_per_second or 0.0)
        price = f"${task.reserved(longest) or 0.0:.4f} expected, ${most:.4f} at most"
    return f"{text} {spent}; the next try: {price}."
