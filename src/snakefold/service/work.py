"""A worker process: takes records of one kind from the queue, one at a time.

    python -m snakefold.service.work KIND SLOT LIFE

SLOT is its number among those of its kind on this machine, LIFE the descriptor of a pipe at whose end the
server is gone. It then finishes what it does and leaves: a successor with the same slot waits for it.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import pkgutil
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from snakefold.kernel.errors import SnakefoldError
from snakefold.service import records
from snakefold.service.kinds import KINDS, Duty, Ending, ended
from snakefold.service.logs import record_id, start_logging
from snakefold.service.plain import plain_of
from snakefold.service.queue import Queues
from snakefold.service.records import PULSE, State
from snakefold.service.settings import ServiceSettings, handed_on

log = logging.getLogger(__name__)
_PATIENCE = 20.0
_SHOWN = 15.0


class Worker:
    """What a worker does with the names that it takes from the queue."""

    def __init__(self, kind: str, settings: ServiceSettings) -> None:
        self._settings = settings
        self._does = pkgutil.resolve_name(KINDS[kind].does)
        self._attempts = KINDS[kind].attempts
        #: Users read what a record says; this process's log has it whole.
        self._plain = plain_of(settings)
        self._lock = threading.Lock()
        self._leaving = False
        self._duty: Duty | None = None
        self._idle = threading.Event()
        self._idle.set()

    def take(self, place: str) -> None:
        """Do the work of a record, unless it has ended or another worker has it."""
        folder = self._settings.folder / place
        duty = Duty(self._settings)
        with self._lock:
            if self._leaving:
                return  # it is put back into the queue by `mend`
            number = records.claim(folder, self._attempts)
            if number is None:
                return
            self._duty = duty
            self._idle.clear()
        token = record_id.set(folder.name)
        log.info("begun", extra={"attempt": number})
        try:
            with _pulse(folder, number, duty):
                ending = self._do(folder, duty)
            if not records.holds(folder, number):
                log.info(
                    "another worker has it now"
                )  # this one was taken for dead, or the record was reopened
            elif self._leaving and duty.stop.is_set() and not records.has_ended(folder):
                records.release(folder, number)
                log.info("given back")
            elif records.end(folder, ending.state, error=self._plain(ending.error), facts=ending.facts):
                log.info("ended", extra={"state": ending.state.value, "error": ending.error})
                ended(folder)
        finally:
            with self._lock:
                self._duty = None
                self._idle.set()
            record_id.reset(token)

    def leave(self, patience: float = _PATIENCE) -> None:
        """Stop what is being done, and give it back."""
        with self._lock:
            self._leaving = True
            if self._duty is not None:
                self._duty.stop.set()
        self._idle.wait(patience)

    def _do(self, folder: Path, duty: Duty) -> Ending:
        try:
            ending: Ending = self._does(records.read(folder), duty)
        except SnakefoldError as error:
            return Ending(State.FAILED, error=str(error))
        except Exception:
            log.exception("failed")
            return Ending(State.FAILED, error="The service failed at it; its log says how.")
        return ending


@contextlib.contextmanager
def _pulse(folder: Path, number: int, duty: Duty) -> Iterator[None]:
    """Show that the worker lives, and stop its work if somebody else ends the record or takes it."""
    done = threading.Event()

    def beat() -> None:
        passed = 0.0
        while not done.wait(0.5):
            passed += 0.5
            if records.has_ended(folder) or not records.holds(folder, number):
                duty.stop.set()
            if passed >= PULSE:
                passed = 0.0
                records.beat(folder, number)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def consume(kind: str, settings: ServiceSettings) -> None:
    """Take records of a kind until a signal comes."""
    queues = Queues(settings)
    worker = Worker(kind, settings)
    queues.does = worker.take
    consumer = queues.of(kind).create_consumer(workers=1, periodic=False, initial_delay=0.05, max_delay=0.5)
    try:
        consumer.run()
    finally:
        worker.leave()


@contextlib.contextmanager
def _slot(settings: ServiceSettings, kind: str, number: str) -> Iterator[None]:
    """The slot of this machine, once a predecessor that finishes its work has left it."""
    path = settings.folder / "slots" / f"{os.uname().nodename}-{kind}-{number}"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        threading.Thread(target=_show, args=(path,), daemon=True).start()
        yield


def _show(path: Path) -> None:
    """Say again and again that the slot has a worker: `metrics` counts them, on all machines."""
    while True:
        with contextlib.suppress(OSError):
            os.utime(path)
        time.sleep(_SHOWN)


def _watch(life: int) -> None:
    """When the server is gone, let the work be finished and no other begun."""
    os.read(life, 1)
    log.info("the server has gone: this worker finishes its work and leaves")
    os.kill(os.getpid(), signal.SIGINT)  # huey's graceful stop


def main(arguments: Sequence[str]) -> int:
    """Command line of a worker."""
    kind, slot, life = arguments
    settings = handed_on()
    start_logging()
    for name in ("huey", "huey.consumer"):
        logging.getLogger(name).setLevel(logging.WARNING)
    with _slot(settings, kind, slot):
        threading.Thread(target=_watch, args=(int(life),), daemon=True).start()
        consume(kind, settings)
    return 0


def _leave(number: int, _frame: Any) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _leave)  # while it waits for its slot; huey has its own later
    sys.exit(main(sys.argv[1:]))
