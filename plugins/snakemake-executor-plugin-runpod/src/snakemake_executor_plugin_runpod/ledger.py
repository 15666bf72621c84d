"""What was sent to RunPod and what became of it: SQLite, so that a run killed at any moment can be gone on
with.

One row for every submission, written before it is sent. Rows hold names, digests, job ids, states and
dollars; never a payload, a URL or a key. One thread writes.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .policy import LONGEST

PREPARED = "PREPARED"  # nothing of it has been sent, or for certain not been taken
SENDING = "SENDING"  # not answered yet: the service may have it or not
COMPLETED = "COMPLETED"
COLLECTED = "COLLECTED"  # outputs are written; Snakemake has not said yet that it saw them
DONE = "DONE"
REFUSED = "REFUSED"  # it never reached the queue
LOST = "LOST"  # the service no longer knows it
SPOILED = "SPOILED"  # what it returned is unusable
OVERDUE = "OVERDUE"  # cancelled: RunPod did not end it at its limits
_FAILED = (OVERDUE, "FAILED", "CANCELLED", "TIMED_OUT")
FINAL = (PREPARED, COMPLETED, COLLECTED, DONE, REFUSED, LOST, SPOILED, *_FAILED)
#: States of which no result will come any more.
_GONE = (PREPARED, DONE, REFUSED, LOST, SPOILED, *_FAILED)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS submissions (
  id INTEGER PRIMARY KEY,
  digest TEXT NOT NULL,
  outputs TEXT NOT NULL,
  rule TEXT NOT NULL,
  endpoint TEXT NOT NULL,
  job TEXT,
  state TEXT NOT NULL,
  submitted REAL NOT NULL,
  changed REAL NOT NULL,
  queued_seconds REAL,
  billed_seconds REAL,
  start_seconds REAL,
  dollars_per_second REAL NOT NULL DEFAULT 0,
  reserved REAL NOT NULL DEFAULT 0,
  gpu TEXT NOT NULL DEFAULT '',
  message TEXT NOT NULL DEFAULT '',
  account INTEGER NOT NULL,
  started REAL,
  worked REAL NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS by_digest ON submissions (digest, outputs);
CREATE INDEX IF NOT EXISTS by_state ON submissions (endpoint, state);
CREATE TABLE IF NOT EXISTS progress (id INTEGER PRIMARY KEY, done INTEGER NOT NULL, total INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS names (name TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS accounts (id INTEGER PRIMARY KEY, opened REAL NOT NULL, closed REAL);
"""


#: Columns that ledgers of earlier versions lack.
_LATER = {"started": "REAL", "worked": "REAL NOT NULL DEFAULT 0"}


@dataclass(frozen=True)
class Row:
    """One submission; times in seconds since 1970, durations in seconds.

    Attributes:
        started: when it was first seen in its present execution; None: it waits.
        worked: seconds at work of executions whose worker died.
    """

    id: int
    digest: str
    outputs: str
    rule: str
    endpoint: str
    job: str | None
    state: str
    submitted: float
    changed: float
    queued_seconds: float | None
    billed_seconds: float | None
    start_seconds: float | None
    dollars_per_second: float
    reserved: float
    gpu: str
    message: str
    account: int
    started: float | None
    worked: float

    @property
    def live(self) -> bool:
        return self.state not in FINAL

    @property
    def dollars(self) -> float:
        """What it has cost, as far as its end was seen."""
        return self.dollars_per_second * ((self.billed_seconds or 0.0) + (self.start_seconds or 0.0))

    def seen_at_work(self) -> float | None:
        """Seconds from its start to now, where an earlier run saw it start."""
        if self.started is None:
            return self.worked or None
        return self.worked + max(0.0, time.time() - self.started)


class Ledger:
    """The ledger of one working directory. Every change is committed before the method returns.

    Attributes:
        name: of the working directory, drawn by lot: where it shares storage with others, its things are told
            by it.

    Raises:
        sqlite3.Error: from any method, where the disk does not take it.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        # Autocommit: each statement is its own transaction, on disk before the call it announces is made.
        self._db = sqlite3.connect(path, isolation_level=None, timeout=30, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(_SCHEMA)
        there = {name for _, name, *_ in self._db.execute("PRAGMA table_info(submissions)")}
        for name, kind in _LATER.items():
            if name not in there:
                self._db.execute(f"ALTER TABLE submissions ADD COLUMN {name} {kind}")
        # What a run that was killed had only prepared costs nothing.
        self._db.execute("UPDATE submissions SET state = ? WHERE state = ?", (REFUSED, PREPARED))
        open_account = self._db.execute("SELECT max(id) FROM accounts WHERE closed IS NULL").fetchone()[0]
        if open_account is None:
            self._db.execute("INSERT INTO accounts (opened) VALUES (?)", (time.time(),))
            open_account = self._db.execute("SELECT max(id) FROM accounts").fetchone()[0]
        self.account: int = open_account
        if self._db.execute("SELECT count(*) FROM names").fetchone() == (0,):
            self._db.execute("INSERT INTO names VALUES (?)", (secrets.token_hex(6),))
        (self.name,) = self._db.execute("SELECT name FROM names").fetchone()
        self._first = self._db.execute("SELECT coalesce(max(id), 0) FROM submissions").fetchone()[0]

    def close(self) -> None:
        self._db.close()

    def prepare(
        self,
        *,
        digest: str,
        outputs: Iterable[str],
        rule: str,
        endpoint: str,
        dollars_per_second: float,
        reserved: float,
    ) -> int:
        """Note a submission that will be made; returns its id."""
        now = time.time()
        cursor = self._db.execute(
            "INSERT INTO submissions (digest, outputs, rule, endpoint, state, submitted, changed, "
            "dollars_per_second, reserved, account) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(digest, _names(outputs), rule, endpoint, PREPARED, now, now),
                *(dollars_per_second, reserved, self.account),
            ),
        )
        return int(cursor.lastrowid or 0)

    def accepted(self, row: int, job: str, state: str) -> None:
        self._db.execute(
            "UPDATE submissions SET job = ?, state = ?, changed = ? WHERE id = ?",
            (job, state, time.time(), row),
        )

    def state(self, row: int, state: str, message: str = "") -> None:
        self._db.execute(
            "UPDATE submissions SET state = ?, message = ?, changed = ? WHERE id = ?",
            (state, message[:2000], time.time(), row),
        )

    def at_work(self, row: int, state: str, started: float | None, worked: float) -> None:
        """It was seen to begin, or to wait again (`started` is None); a job at work costs money."""
        self._db.execute(
            "UPDATE submissions SET state = ?, started = ?, worked = ?, changed = ? WHERE id = ?",
            (state, started, worked, time.time(), row),
        )

    def row(self, row: int) -> Row:
        return self._rows("id = ?", row)[0]

    def drop_prepared(self, row: int) -> None:
        """A submission that was prepared will not be made."""
        self._db.execute(
            "UPDATE submissions SET state = ?, changed = ? WHERE id = ? AND state = ?",
            (REFUSED, time.time(), row, PREPARED),
        )

    def progress(self, row: int, done: int, total: int) -> None:
        """How far the worker says a job is: for whoever shows the run."""
        self._db.execute("INSERT OR REPLACE INTO progress VALUES (?, ?, ?)", (row, done, total))

    def ended(
        self,
        row: int,
        state: str,
        *,
        queued: float | None,
        billed: float | None,
        start: float | None,
        gpu: str,
        message: str = "",
    ) -> None:
        """The end of a job and its seconds."""
        self._db.execute(
            "UPDATE submissions SET state = ?, changed = ?, queued_seconds = coalesce(?, queued_seconds), "
            "billed_seconds = coalesce(?, billed_seconds), start_seconds = coalesce(?, start_seconds), "
            "gpu = ?, message = ? WHERE id = ?",
            (state, time.time(), queued, billed, start, gpu, message[:2000], row),
        )

    def find(self, digest: str, outputs: Iterable[str]) -> Row | None:
        """The latest submission of this work whose result may be had, or may come yet."""
        found = self._rows(
            f"digest = ? AND outputs = ? AND state NOT IN ({_marks(_GONE)}) ORDER BY id DESC LIMIT 1",
            digest,
            _names(outputs),
            *_GONE,
        )
        return found[0] if found else None

    def live(self, endpoint: str | None = None) -> list[Row]:
        """Submissions that are not known to have ended, those without a job id included."""
        where = f"state NOT IN ({_marks(FINAL)})"
        if endpoint is None:
            return self._rows(f"{where} ORDER BY id", *FINAL)
        return self._rows(f"endpoint = ? AND {where} ORDER BY id", endpoint, *FINAL)

    def has_earlier(self) -> bool:
        """Whether a submission of an earlier run may still be live, and be taken up by this one."""
        # No job outlives RunPod's longest ttl.
        since = time.time() - LONGEST
        where = f"id <= ? AND submitted > ? AND state NOT IN ({_marks(FINAL)}) LIMIT 1"
        return bool(self._rows(where, self._first, since, *FINAL))

    def attempts(self, digest: str, outputs: Iterable[str]) -> list[Row]:
        """What was sent for this work since Snakemake last saw it done, the first first."""
        names = _names(outputs)
        return self._rows(
            "digest = ? AND outputs = ? AND state != ? AND id > "
            "(SELECT coalesce(max(id), 0) FROM submissions WHERE digest = ? AND outputs = ? AND state = ?) "
            "ORDER BY id",
            *(digest, names, REFUSED, digest, names, DONE),
        )

    def dollars(self) -> float:
        """Spent and put by since the account was opened: by this run, and by those before it that did not
        finish.

        A job whose bill was not seen counts with what was put by for it, or with the time for which it has
        been at work, whichever is more.
        """
        until = f"CASE WHEN state IN ({_marks(FINAL)}) THEN changed ELSE ? END"
        worked = f"worked + max(0, coalesce({until} - started, 0))"
        (total,) = self._db.execute(
            "SELECT coalesce(sum(CASE WHEN billed_seconds IS NULL "  # noqa: S608 (no input in it)
            f"THEN max(reserved, dollars_per_second * ({worked})) "
            "ELSE dollars_per_second * (billed_seconds + coalesce(start_seconds, 0)) END), 0) "
            "FROM submissions WHERE account = ? AND state != ?",
            (*FINAL, time.time(), self.account, REFUSED),
        ).fetchone()
        return float(total)

    def close_account(self) -> None:
        """The workflow is through: the next run starts with nothing spent."""
        self._db.execute("UPDATE accounts SET closed = ? WHERE id = ?", (time.time(), self.account))

    def _rows(self, where: str, *values: object) -> list[Row]:
        cursor = self._db.execute(f"SELECT * FROM submissions WHERE {where}", values)  # noqa: S608 (no input in it)
        return [Row(*values) for values in cursor]


def _names(outputs: Iterable[str]) -> str:
    return json.dumps(list(outputs))


def _marks(values: tuple[str, ...]) -> str:
    return ", ".join("?" * len(values))
