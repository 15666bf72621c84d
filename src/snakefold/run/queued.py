"""Jobs in the queue of a cluster, as the run saw them last: for the screen and `snakefold status`."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from snakefold.kernel.store import write_atomically
from snakefold.kernel.wording import count
from snakefold.plan.quote.model import seconds

WAITING, RUNNING = "waiting", "running"
#: Whose jobs a cluster gets; all others run where Snakemake runs.
QUEUED_RULES = ("msa", "predict")
#: The executor plugin's own account of its jobs, in the folder that a run was started in.
_LEDGER = Path(".snakemake", "runpod", "ledger.sqlite")
_FILE = Path("logs", "queue.json")
#: Reasons of a message; a scheduler may have more.
_MOST_REASONS = 4


@dataclass(frozen=True)
class Queued:
    """A job that waits or runs; `since` in seconds since 1970, None where nobody knows."""

    id: str
    state: str
    why: str = ""
    since: float | None = None
    rule: str = ""
    name: str = ""


@dataclass(frozen=True)
class Queue:
    """Jobs of one look, at `at` seconds since 1970."""

    executor: str
    at: float
    jobs: Sequence[Queued] = field(default_factory=tuple)
    rules: Sequence[str] = QUEUED_RULES

    def count(self, rule: str, state: str) -> int:
        """Jobs of a rule that wait, or run."""
        return sum(job.rule == rule and job.state == state for job in self.jobs)


def write_queue(results: Path, queue: Queue) -> None:
    """Leave it for `status`."""
    write_atomically(results / _FILE, json.dumps(asdict(queue)).encode())


def forget_queue(results: Path) -> None:
    """Before a run: what an earlier one saw is over."""
    (results / _FILE).unlink(missing_ok=True)


def read_queue(results: Path) -> Queue | None:
    """The last look; None if there is none, as where jobs run on this machine."""
    try:
        said = json.loads((results / _FILE).read_text(encoding="utf-8"))
        jobs = tuple(Queued(**job) for job in said["jobs"])
        return Queue(said["executor"], float(said["at"]), jobs, tuple(said["rules"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def read_ledger(folder: Path, since: float) -> Queue | None:
    """Jobs that RunPod has; None if the run has sent none.

    Args:
        folder: where the run was started.
        since: its start, seconds since 1970: it has looked at what is live since then.
    """
    path = folder / _LEDGER
    # SQLite writes beside the file first.
    written = [each.stat().st_mtime for each in (path, path.with_name(f"{path.name}-wal")) if each.is_file()]
    if max(written, default=0.0) < since:
        return None
    ask = (
        "SELECT job, rule, outputs, state, submitted FROM submissions "
        "WHERE job IS NOT NULL AND state IN ('IN_QUEUE', 'IN_PROGRESS') AND changed >= ?"
    )
    try:
        with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as ledger:
            rows = ledger.execute(ask, (since,)).fetchall()
        jobs = [
            Queued(
                id=job,
                state=WAITING if state == "IN_QUEUE" else RUNNING,
                why=state if state == "IN_QUEUE" else "",
                since=submitted,
                rule=rule,
                name=Path(json.loads(outputs)[0]).name.partition(".")[0],
            )
            for job, rule, outputs, state, submitted in rows
        ]
    except (sqlite3.Error, ValueError, LookupError, TypeError):
        return None
    return Queue("RunPod", time.time(), jobs, rules=("predict",))


def waiting_text(executor: str, jobs: Iterable[Queued], now: float | None = None) -> str:
    """`3 jobs wait in SLURM for 12 min: 2 Resources, 1 QOSMaxJobsPerUserLimit`; empty if none waits."""
    waiting = [job for job in jobs if job.state == WAITING]
    if not waiting:
        return ""
    reasons = Counter(job.why or "not looked at yet" for job in waiting).most_common()
    said = [f"{number} {reason[:160]}" for reason, number in reasons[:_MOST_REASONS]]
    said += [f"{len(reasons) - _MOST_REASONS} other reasons"] * (len(reasons) > _MOST_REASONS)
    starts = [job.since for job in waiting if job.since is not None]
    waited = max(0.0, (time.time() if now is None else now) - min(starts)) if starts else 0.0
    since = f", the first for {seconds(waited)}" if starts else ""
    wait = "waits" if len(waiting) == 1 else "wait"
    return f"{count(len(waiting), 'job')} {wait} in {executor}{since}: {', '.join(said)}"
