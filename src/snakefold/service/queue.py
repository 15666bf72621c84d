"""The queue: names of records that wait, by kind, in huey's tables on SQLite or Redis.

huey forgets a task when a worker takes it. The records do not: `mend` puts those that a dead worker left back
into the queue, and those that were recorded in the moment before a crash. A name that is in the queue twice
does no harm, for a record is claimed once.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from huey import PriorityRedisHuey, SqliteHuey
from huey.api import Huey
from huey.registry import Message
from huey.serializer import Serializer
from redis import ConnectionPool, RedisError

from snakefold.service import records
from snakefold.service.kinds import ended
from snakefold.service.opened import Opened
from snakefold.service.records import Record, State
from snakefold.service.settings import ServiceSettings

log = logging.getLogger(__name__)
_OVERDUE = "No worker took the job within its time to live (policy.ttl). Nothing was computed."


class Queues:
    """One queue for each kind of work.

    Attributes:
        does: what this process does with a folder of a kind, if it is a worker.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self.does: Callable[[str], None] = _nobody
        self._settings = settings
        self._queues: dict[str, tuple[Huey, Any]] = {}

    def of(self, kind: str) -> Huey:
        """huey's queue of a kind, for its consumer."""
        return self._opened(kind)[0]

    def _opened(self, kind: str) -> tuple[Huey, Any]:
        if kind not in self._queues:
            queue = _open(self._settings, kind)

            def do(place: str) -> None:
                self.does(place)

            self._queues[kind] = queue, queue.task()(do)
        return self._queues[kind]

    def put(self, record: Record) -> None:
        """Let a record wait for a worker; if the queue is out of order, it does so once `mend` finds it."""
        place = record.folder.relative_to(self._settings.folder)
        try:
            queue, task = self._opened(record.kind)
            queue.enqueue(task.s(str(place), priority=record.priority))
        except (RedisError, sqlite3.Error) as error:
            log.warning(
                "not in the queue yet",
                extra={"record": record.id, "error": f"{type(error).__name__}: {error}"},
            )

    def waiting(self, kind: str) -> set[str]:
        """Folders that wait."""
        return {str(task.args[0]) for task in self.of(kind).pending()}

    def purge(self, kind: str) -> None:
        """Forget what waits; the records are another matter."""
        self.of(kind).flush()


def mend(queues: Queues, roots: list[Path], settings: ServiceSettings, opened: Opened | None = None) -> int:
    """Put back what waits for nobody; how many records that were. What has waited too long is ended.

    Args:
        opened: that of the calls before, so that what has not changed is not read again.
    """
    lost: list[Record] = []
    opened = opened or Opened()
    for root in roots:
        for record in opened.of(root):
            if is_overdue(record):
                if records.end(record.folder, State.TIMED_OUT, error=_OVERDUE):
                    ended(record.folder)
                continue
            if record.attempts == 0 or records.is_dead(record.folder, record.attempts):
                lost.append(record)
    known = {kind: queues.waiting(kind) for kind in {record.kind for record in lost}}
    above = f"{settings.folder}/"
    mended = 0
    for record in lost:
        if str(record.folder).removeprefix(above) not in known[record.kind]:
            log.info("put back into the queue", extra={"record": record.id, "kind": record.kind})
            queues.put(record)
            mended += 1
    return mended


def is_overdue(record: Record) -> bool:
    """Whether no worker took it within its `ttl`, seconds from submission."""
    ttl = record.facts.get("ttl")
    return ttl is not None and not record.attempts and time.time() > record.created + ttl


class _Names(Serializer):
    """Messages as JSON: what a queue holds is data, never code."""

    def _serialize(self, data: Any) -> bytes:
        return json.dumps(list(data)).encode()

    def _deserialize(self, data: bytes) -> Any:
        id_, name, eta, retries, delay, priority, args, kwargs, *rest = json.loads(data)
        return Message(id_, name, eta, retries, delay, priority, tuple(args), kwargs, *rest)


def _open(settings: ServiceSettings, kind: str) -> Huey:
    name = f"snakefold-{kind}"
    if settings.queue == "sqlite":
        path = settings.folder / "queue.db"
        path.parent.mkdir(parents=True, exist_ok=True)
        return SqliteHuey(name, filename=str(path), timeout=30, results=False, serializer=_Names())
    # Longer than a worker waits for a name, and no longer than a client for an answer.
    pool = ConnectionPool.from_url(settings.queue_address, socket_timeout=10, socket_connect_timeout=5)
    return PriorityRedisHuey(name, connection_pool=pool, results=False, serializer=_Names())


def _nobody(place: str) -> None:
    raise RuntimeError(f"{place}: no worker of this kind is in this process")
