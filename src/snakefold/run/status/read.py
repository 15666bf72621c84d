"""What is done, what runs and what is left of a run, by the plan and by the files that are there."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from snakefold.config import Config, read_recorded
from snakefold.kernel.errors import SnakefoldError
from snakefold.plan.files import WEIGHTS, BatchRow, Kind, State, read_parameters, read_rows, read_targets
from snakefold.run.benchmarks import last_job
from snakefold.run.bill.execution import ExecutionRecord, read_record
from snakefold.run.failures import read_failures
from snakefold.run.queued import RUNNING, WAITING, Queue, Queued, read_ledger, read_queue
from snakefold.run.status.folder import RunFolder, read_run_folder


@dataclass
class Step:
    """Jobs of one rule; `queued`: those that wait in a scheduler, of those that have not started."""

    name: str
    total: int = 0
    done: int = 0
    running: int = 0
    queued: int = 0

    @property
    def waiting(self) -> int:
        """Jobs that have not started."""
        return self.total - self.done - self.running


@dataclass(frozen=True)
class Status:
    """A run as it stands.

    Attributes:
        state: planning, running, finished, failed (ended, with failures), stopped (killed or interrupted).
        targets: records that get a structure if all goes well; done, failed: those that are collected.
        refused: records that were refused.
        elapsed: seconds since the run started, while it lives.
        silent: seconds since it last wrote its log, if it was stopped.
        remaining: seconds that are left, by the plan and what batches have shown so far; None: unknown, as
            while jobs wait in a scheduler and none runs.
        busy: share of the workers' paid time in which they were not idle; None if nobody was paid.
        dollars: what finished batches cost so far.
        executor: whose queue the jobs of `waiting` are in, as the run saw it last, at `looked`.
    """

    results: Path
    state: str
    steps: list[Step] = field(default_factory=list)
    targets: int = 0
    done: int = 0
    failed: int = 0
    refused: int = 0
    errors: tuple[str, ...] = ()
    rehearsal: bool = False
    elapsed: float | None = None
    silent: float | None = None
    remaining: float | None = None
    busy: float | None = None
    dollars: float | None = None
    executor: str = ""
    waiting: tuple[Queued, ...] = ()
    looked: float | None = None

    @property
    def exit_code(self) -> int:
        """0 while all is well, 1 if targets failed or the run ended before its end."""
        return int(self.state in {"failed", "stopped"} or self.failed > 0)


class Reader:
    """Reads a results folder again and again; tables that have not changed are read once."""

    def __init__(self, results: Path) -> None:
        self.results = results
        self._tables: dict[Path, tuple[int, dict[str, int]]] = {}

    def read(self) -> Status:
        """How the run stands now.

        Raises:
            SnakefoldError: the folder holds no run, or a file of its plan is damaged.
        """
        config_file = self.results / "config.yaml"
        folder = read_run_folder(self.results)
        if not config_file.is_file():
            if folder.alive:
                return Status(self.results, "planning")
            raise SnakefoldError(
                f"{self.results}: not the results folder of a run (config.yaml is missing). Give one."
            )
        config, plan = read_recorded(self.results), self.results / "plan"
        if not (plan / "batches.tsv").is_file():
            return Status(self.results, _state(folder, "planning"), errors=folder.errors)
        try:
            batches, states = read_rows(plan), Counter(row.state for row in read_targets(plan, _State))
            outcomes = self._outcomes(batches)
        except (KeyError, TypeError, ValueError, OSError) as error:
            raise SnakefoldError(
                f"{plan}: is not as this version writes a plan, or a table is damaged ({error!r}). Run again."
            ) from error
        queue = self._queue(folder)
        steps = self._steps(batches, config, folder, queue)
        records = self._records(batches)
        # Not every executor knows how long its workers were idle.
        watched = [record for record in records if "idle_seconds" in record.model_fields_set]
        paid = sum(record.billed_seconds for record in watched)
        reported = all(step.done == step.total for step in steps if step.name == "report")
        finished = (self.results / "metrics.tsv").is_file() and reported
        if finished and not folder.alive:  # targets of jobs that failed for good are in no table of a batch
            outcomes["failed"] = _failures(self.results)
        whole = finished and all(step.done == step.total for step in steps)
        state = _state(folder, "running", finished=finished, whole=whole and not outcomes["failed"])
        alive = state == "running"
        return Status(
            results=self.results,
            state=state,
            steps=steps,
            targets=sum(count for name, count in states.items() if name != State.REFUSED),
            done=outcomes["done"],
            failed=outcomes["failed"],
            refused=states.get(State.REFUSED, 0),
            errors=folder.errors,
            rehearsal=(plan / WEIGHTS).exists() and read_parameters(plan).rehearsal,
            elapsed=time.time() - folder.started if alive and folder.started else None,
            silent=time.time() - folder.heard if state == "stopped" and folder.heard else None,
            remaining=self._remaining(batches, config, folder, queue) if alive else None,
            busy=1 - sum(record.idle_seconds for record in watched) / paid if paid else None,
            dollars=sum(record.billed_seconds * record.dollars_per_second for record in records)
            if records
            else None,
            executor=queue.executor if queue else "",
            waiting=tuple(job for job in queue.jobs if job.state == WAITING) if queue else (),
            looked=queue.at if queue else None,
        )

    def _queue(self, folder: RunFolder) -> Queue | None:
        """Jobs in a queue, if this run has one."""
        if not folder.alive or folder.place is None:
            return None
        started = folder.started or 0.0
        queue = read_queue(self.results)
        if queue is not None and queue.at >= started:
            return queue
        return read_ledger(folder.place, started)

    def _steps(
        self, batches: list[BatchRow], config: Config, folder: RunFolder, queue: Queue | None
    ) -> list[Step]:
        chunks = sorted({chunk for row in batches for chunk in row.chunks.split(",") if chunk})
        names = [row.batch for row in batches]
        asked = [row.batch for row in batches if row.kind != Kind.RESTORE]
        steps = [
            self._step("msa", [f"msa/{chunk}.json" for chunk in chunks], folder),
            self._step("request", [f"requests/{name}/request.json" for name in asked], folder),
        ]
        for rule in Kind:
            own = [f"predictions/{row.batch}.tar.zst" for row in batches if row.kind == rule]
            steps.append(self._step(rule, own, folder))
        steps.append(self._step("collect", [f"tables/{name}.parquet" for name in names], folder))
        steps.append(self._step("report", ["report/index.html"], folder))
        if config.publish:
            steps.append(self._step("publish", ["published.txt"], folder))
        for step in steps:
            if queue and step.name in queue.rules:
                # Snakemake calls a job running from its submission on.
                step.running = min(queue.count(step.name, RUNNING), step.total - step.done)
                step.queued = min(queue.count(step.name, WAITING), step.waiting)
        return [step for step in steps if step.total]

    def _step(self, name: str, outputs: list[str], folder: RunFolder) -> Step:
        """Outputs that are whole: one that a job is writing, or left behind when it was killed, is not."""
        paths = [self.results.resolve() / output for output in outputs]
        unfinished = [path in folder.unfinished for path in paths]
        done = sum(path.exists() and not open_ for path, open_ in zip(paths, unfinished, strict=True))
        return Step(name, len(paths), done, sum(unfinished) if folder.alive else 0)

    def _outcomes(self, batches: Iterable[BatchRow]) -> dict[str, int]:
        """Targets that are collected, by state."""
        total = {"done": 0, "failed": 0}
        for row in batches:
            path = self.results / "tables" / f"{row.batch}.parquet"
            try:
                changed = path.stat().st_mtime_ns
            except OSError:
                continue
            if self._tables.get(path, (0, {}))[0] != changed:
                self._tables[path] = changed, _counted(path)
            for state, count in self._tables[path][1].items():
                total[state] = total.get(state, 0) + count
        return total

    def _records(self, batches: Iterable[BatchRow]) -> list[ExecutionRecord]:
        paths = (self.results / "executions" / f"{row.batch}.json" for row in batches)
        return [record for record in map(_record, paths) if record is not None]

    def _remaining(
        self, batches: list[BatchRow], config: Config, folder: RunFolder, queue: Queue | None
    ) -> float | None:
        """Predictions that are left, by the plan's seconds, as wrong as those of finished batches were.

        Alignments overlap with them: what is left of those counts where it is more. While jobs wait in a
        queue, as many work at a time as work now; if none does, nobody knows.
        """
        waits = queue is not None and any(job.state == WAITING for job in queue.jobs)
        if queue is not None and waits and not any(job.state == RUNNING for job in queue.jobs):
            return None
        planned = measured = left = 0.0
        archives = self.results.resolve() / "predictions"
        for row in batches:
            took = last_job(self.results / "benchmarks" / "predict" / f"{row.batch}.tsv").wall
            path = archives / f"{row.batch}.tar.zst"
            if not path.exists() or path in folder.unfinished:
                left += row.seconds
            elif took is not None and row.seconds:
                planned, measured = planned + row.seconds, measured + took
        workers = config.gpu.workers
        together = workers if isinstance(workers, int) else sum(workers.values())
        if queue is not None and queue.count("predict", WAITING):
            together = min(together, queue.count("predict", RUNNING))
        predictions = left * (measured / planned if planned else 1.0) / max(1, together)
        return max(predictions, self._alignments_left(batches))

    def _alignments_left(self, batches: list[BatchRow]) -> float:
        """Chunks that are left by the mean of those that are done, one after the other; 0 if none is done."""
        chunks = {chunk for row in batches for chunk in row.chunks.split(",") if chunk}
        took = [last_job(self.results / "benchmarks" / "msa" / f"{chunk}.tsv").wall for chunk in chunks]
        known = [seconds for seconds in took if seconds is not None]
        return (len(chunks) - len(known)) * sum(known) / len(known) if known else 0.0


def _state(folder: RunFolder, while_alive: str, *, finished: bool = False, whole: bool = False) -> str:
    """`finished`: there is a report; `whole`: of everything. A job that failed may have been tried again."""
    if folder.alive:
        return while_alive
    if finished or folder.ended:
        return "finished" if whole else "failed"
    return "stopped"


def _failures(results: Path) -> int:
    """Targets in failures.tsv that were not refused."""
    if not (results / "failures.tsv").is_file():
        return 0
    return sum(row.state != State.REFUSED for row in read_failures(results))


@dataclass(frozen=True, slots=True)
class _State:
    state: State


def _counted(path: Path) -> dict[str, int]:
    from pyarrow import parquet

    column = parquet.read_table(path, columns=["state"]).column("state").to_pylist()
    return {state: column.count(state) for state in set(column)}


def _record(path: Path) -> ExecutionRecord | None:
    try:
        return read_record(path)
    except SnakefoldError:  # the bill will say so
        return None
