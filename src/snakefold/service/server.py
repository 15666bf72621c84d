"""The server: answers requests, keeps its workers alive, and puts lost records back into the queue."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import uvicorn

from snakefold.kernel.errors import SnakefoldError
from snakefold.service.app import create_app
from snakefold.service.check import check_settings
from snakefold.service.connection import Connection, limit
from snakefold.service.kinds import KINDS, roots
from snakefold.service.logs import start_logging
from snakefold.service.opened import Opened
from snakefold.service.queue import Queues, mend
from snakefold.service.settings import ServiceSettings, hand_on
from snakefold.service.sweep import sweep
from snakefold.service.webhooks import tell_again

log = logging.getLogger(__name__)
_MEND_SECONDS = 5.0
_SWEEP_SECONDS = 3600.0
_LONGEST_PAUSE = 60.0
_GRACE = 25.0


class Workers:
    """Worker processes of this machine: each slot has one, and gets another when it dies."""

    def __init__(self, settings: ServiceSettings, module: str = "snakefold.service.work") -> None:
        self._settings = settings
        self._module = module
        self._life, self._ours = os.pipe()
        self._slots: dict[tuple[str, int], subprocess.Popen[bytes] | None] = {
            (kind, number): None
            for kind, each in KINDS.items()
            for number in range(1, getattr(settings.workers, each.workers) + 1)
        }
        self._due: dict[tuple[str, int], tuple[float, float]] = {}
        self._begun: dict[tuple[str, int], float] = {}

    def tend(self) -> None:
        """Start what does not run, later and later if it keeps dying."""
        now = time.monotonic()
        for slot, process in self._slots.items():
            if process is not None and process.poll() is None:
                continue
            due, pause = self._due.get(slot, (0.0, 1.0))
            if process is not None:
                kind, number = slot
                log.warning(
                    "a worker ended", extra={"kind": kind, "slot": number, "status": process.returncode}
                )
                self._slots[slot] = None
                pause = 1.0 if now - self._begun[slot] > _LONGEST_PAUSE else pause
                self._due[slot] = (now + pause, min(pause * 2, _LONGEST_PAUSE))
            elif now >= due:
                self._begun[slot] = now
                self._slots[slot] = self._start(*slot)

    def stop(self) -> None:
        """End them: each gives back what it does."""
        running = [
            process for process in self._slots.values() if process is not None and process.poll() is None
        ]
        for process in running:
            process.terminate()
        until = time.monotonic() + _GRACE
        for process in running:
            try:
                process.wait(max(until - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _start(self, kind: str, number: int) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            **hand_on(self._settings),
            "SNAKEFOLD_STORE": self._settings.shared_store,
            # What an answer cannot hold is put there; the job takes it into its record. One for each worker.
            "RUNPOD_VOLUME_PATH": str(_volume(self._settings, kind, number)),
        }
        environment.setdefault("MMSEQS_DB_ROOT", str(self._settings.folder / "mmseqsdb"))
        return subprocess.Popen(
            [sys.executable, "-m", self._module, kind, str(number), str(self._life)],
            env=environment,
            stdin=subprocess.DEVNULL,
            pass_fds=(self._life,),
            start_new_session=True,  # Ctrl-C is the server's to deal with
        )


def serve(settings: ServiceSettings, *, routes: bool = True, worker: str = "snakefold.service.work") -> None:
    """Run the service until a signal ends it.

    Args:
        routes: answer requests; if not, this machine has workers only.
        worker: module that a worker process runs; its command line is that of `snakefold.service.work`.

    Raises:
        SnakefoldError: the address cannot be listened on, or a setting is wrong.
    """
    check_settings(settings)
    start_logging()
    # `settings.folder` is where workers look, whatever their current folder is.
    settings = settings.model_copy(update={"folder": settings.folder.absolute()})
    settings.folder.mkdir(parents=True, exist_ok=True)
    _allow_connections(settings.limits.connections)
    workers = Workers(settings, worker)
    leaving = threading.Event()
    tender = threading.Thread(target=_tend, args=(settings, workers, leaving), daemon=True)
    try:
        if routes:
            listening = _listen(settings)
            # uvicorn ends in good order, then raises its signal again: the process would be gone.
            signal.signal(signal.SIGTERM, _leave)
            tender.start()
            with suppress(KeyboardInterrupt):
                asyncio.run(_answer(settings, listening))
        else:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: leaving.set())
            tender.start()
            leaving.wait()
    finally:
        leaving.set()
        if tender.is_alive():
            tender.join(_MEND_SECONDS)
        workers.stop()


def _leave(_number: int, _frame: Any) -> None:
    raise SystemExit(0)


def _volume(settings: ServiceSettings, kind: str, number: int) -> Path:
    place = settings.folder / "volumes" / f"{os.uname().nodename}-{kind}-{number}"
    place.mkdir(parents=True, exist_ok=True)
    return place


def _tend(settings: ServiceSettings, workers: Workers, leaving: threading.Event) -> None:
    queues, opened = Queues(settings), Opened()
    mended = swept = float("-inf")
    while not leaving.is_set():
        try:
            workers.tend()
            if time.monotonic() - mended >= _MEND_SECONDS:
                mend(queues, roots(settings), settings, opened)
                tell_again(settings.folder / KINDS["job"].folder)
                mended = time.monotonic()
            if time.monotonic() - swept >= _SWEEP_SECONDS:
                swept = time.monotonic()
                sweep(settings)
        except Exception:  # a full disk, a Redis that restarts: it may work the next time
            log.exception("could not tend the workers")
        leaving.wait(0.5)


async def _answer(settings: ServiceSettings, listening: socket.socket) -> None:
    config = config_of(create_app(settings), settings)
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    print(f"snakefold serves at http://{shown}:{port}", flush=True)
    await uvicorn.Server(config).serve(sockets=[listening])


def config_of(app: Any, settings: ServiceSettings) -> uvicorn.Config:
    """How uvicorn serves an application."""
    config = uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,  # the guard logs requests, without their queries
        reset_contextvars=True,  # a user's name in the log is that of one request
        server_header=False,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=5,
        backlog=1024,
    )
    limits = settings.limits
    limit(
        config,
        head_seconds=limits.head_seconds,
        send_seconds=limits.send_seconds,
        most_waiting=max(limits.connections // 2, 1),
    )
    return config


def _listen(settings: ServiceSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=1024)
    except OSError as error:
        raise SnakefoldError(
            f"{settings.host}:{settings.port}: cannot listen there: {error.strerror or error}. "
            "Give another port, or 0 for any free one."
        ) from error


def _allow_connections(number: int) -> None:
    """Open files for that many connections, as far as the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = number + 512
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):
            most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def workers_of(settings: ServiceSettings) -> dict[str, Any]:
    """How many workers of which kind this server starts."""
    return {kind: getattr(settings.workers, each.workers) for kind, each in KINDS.items()}
