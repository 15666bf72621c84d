"""A run as it stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from snakefold.run.progress import Failure
from snakefold.run.queued import Queued


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
class AtWork:
    """A batch that is computed now: its target (empty between two), what is done with it, and for how long.

    Attributes:
        stage: a word of `kernel.stages`; empty where only the numbers are known.
        done, total: targets of the batch.
        seconds: since the target began; since the batch did, between two.
    """

    batch: str
    target: str = ""
    length: int = 0
    stage: str = ""
    done: int = 0
    total: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Status:
    """A run as it stands.

    Attributes:
        state: planning, running, finished, failed (ended, with failures), stopped (killed or interrupted).
        chains, aligned: chains to search, and those of finished chunks.
        targets: records that get a structure if all goes well; done, failed: those that are collected, or
            that their jobs told of.
        failed_before: backbones without designs, once these are folded.
        refused: records that were refused.
        failures: some of the failed targets.
        at_work: batches that are computed now, where their jobs say so.
        errors: rules of jobs that failed, once per failed attempt; retries: jobs that were started again.
        warnings: what the plan step warned of.
        rehearsals: engines that predict with random parameters, if the quote names them.
        elapsed: seconds since the run started, while it lives.
        silent: seconds since it last wrote its log, if it was stopped.
        remaining: seconds that are left, by the plan and what batches have shown so far; None: unknown, as
            while jobs wait in a scheduler and none runs, or once the plan's time is up.
        planned: seconds that the quote expected of the run; None: there is no quote, or nothing to compute.
        busy: share of the workers' paid time in which they were not idle; None if nobody was paid.
        dollars: what finished batches cost so far; quoted: what the quote expected. None: nothing is known.
        executor: whose queue the jobs of `waiting` are in, as the run saw it last, at `looked`.
    """

    results: Path
    state: str
    steps: list[Step] = field(default_factory=list)
    chains: int = 0
    aligned: int = 0
    targets: int = 0
    done: int = 0
    failed: int = 0
    failed_before: int = 0
    refused: int = 0
    failures: tuple[Failure, ...] = ()
    at_work: tuple[AtWork, ...] = ()
    errors: tuple[str, ...] = ()
    retries: int = 0
    warnings: tuple[str, ...] = ()
    rehearsal: bool = False
    rehearsals: tuple[str, ...] = ()
    elapsed: float | None = None
    silent: float | None = None
    remaining: float | None = None
    planned: float | None = None
    busy: float | None = None
    dollars: float | None = None
    quoted: float | None = None
    executor: str = ""
    waiting: tuple[Queued, ...] = ()
    looked: float | None = None

    @property
    def exit_code(self) -> int:
        """0 while all is well, 1 if targets failed or the run ended before its end."""
        return int(self.state in {"failed", "stopped"} or self.failed + self.failed_before > 0)

    @property
    def late(self) -> bool:
        """Whether the run takes longer than its quote expected."""
        return self.elapsed is not None and self.planned is not None and self.elapsed > self.planned > 0

    @property
    def report(self) -> Path:
        """The report page; it is there once the run is finished."""
        return self.results.absolute() / "report" / "index.html"

    def as_json(self) -> Mapping[str, Any]:
        """For `snakefold status --json`; absent values are null."""
        return {
            **asdict(self),
            "results": str(self.results),
            "report": str(self.report),
            "late": self.late,
            "exit_code": self.exit_code,
        }
