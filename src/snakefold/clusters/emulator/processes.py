"""Workers that are processes: the SDK's own loop around a real handler, started and killed by the scaler."""

from __future__ import annotations

import asyncio
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

from snakefold.clusters.emulator.endpoint import Endpoint
from snakefold.clusters.emulator.jobs import Job
from snakefold.clusters.emulator.worker import Worker

_INHERITED = ("PATH", "LANG", "LC_ALL", "TZ", "VIRTUAL_ENV", "PYTHONPATH", "LD_LIBRARY_PATH")
_CONTAINER = Path(__file__).with_name("container.py")


class ProcessWorkers:
    """Each worker is `command`, which must end in `runpod.serverless.start`.

    Args:
        command: argument list; a single `*.py` or module name runs with this interpreter.
        env: environment besides the platform's variables and a few of this process (PATH, PYTHONPATH, …). The
            caller's own secrets are not passed on.
        folder: where workers have their home and leave `<worker>.log`; default: a temporary one, removed
            at the end.
    """

    def __init__(
        self,
        command: Sequence[str] | str | Path,
        env: Mapping[str, str] | None = None,
        folder: Path | None = None,
        ping_seconds: int = 5,
    ) -> None:
        if isinstance(command, str | Path):
            name = str(command)
            command = [sys.executable, "-u", *([name] if name.endswith(".py") else ["-m", name])]
        self.command = list(command)
        self.env = dict(env or {})
        self.ping_seconds = ping_seconds
        self.api = ""  # set by the service when it knows its port
        self.token = ""
        self._given_folder = folder
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._watchers: set[asyncio.Task[None]] = set()
        self._to_stop: dict[str, list[str]] = {}
        self._stop_waits: dict[str, asyncio.Event] = {}

    @functools.cached_property
    def folder(self) -> Path:
        """Homes and logs of the workers; a temporary one is made when it is first asked for."""
        return self._given_folder or Path(tempfile.mkdtemp(prefix="emulated-workers-"))

    def log(self, worker_id: str) -> str:
        """What a worker has printed."""
        path = self.folder / f"{worker_id}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self, endpoint: Endpoint, worker: Worker) -> None:
        self._keep(self._run(endpoint, worker))

    def stop(self, endpoint: Endpoint, worker: Worker, *, kill: bool = False) -> None:
        del endpoint
        self._stop_event(worker.id).set()
        process = self._processes.get(worker.id)
        if process is None or process.returncode is not None:
            return  # not started yet, or about to be reported by its watcher
        if kill:
            _kill(process)
        else:
            process.terminate()

    def cancel(self, endpoint: Endpoint, worker: Worker, job: Job) -> None:
        del endpoint
        self._to_stop.setdefault(worker.id, []).append(job.id)
        self._stop_event(worker.id).set()

    async def jobs_to_stop(self, worker: Worker, seconds: float) -> list[str]:
        """Ids the worker must stop; waits for the first of them for so long."""
        event = self._stop_event(worker.id)
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return []
        if not worker.stopping:
            event.clear()
        return self._to_stop.pop(worker.id, [])

    async def close(self) -> None:
        for process in self._processes.values():
            if process.returncode is None:
                _kill(process)
        await asyncio.gather(*self._watchers, return_exceptions=True)
        if self._given_folder is None and "folder" in vars(self):
            shutil.rmtree(self.folder, ignore_errors=True)

    async def _run(self, endpoint: Endpoint, worker: Worker) -> None:
        home = self.folder / worker.id
        (home / "tmp").mkdir(parents=True, exist_ok=True)
        with (self.folder / f"{worker.id}.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-I", "-S", str(_CONTAINER), *self.command,
                stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT,
                env=self._environment(endpoint, worker, home), start_new_session=True,
            )  # fmt: skip
        self._processes[worker.id] = process
        if worker.stopping or endpoint.closed:
            _kill(process)
        code = await process.wait()
        shutil.rmtree(home, ignore_errors=True)
        if worker.starting and not worker.stopping and not endpoint.closed:
            endpoint.crashed(worker, f"exited with code {code} while starting")
        else:
            endpoint.gone(worker, f"exited with code {code}")

    def _environment(self, endpoint: Endpoint, worker: Worker, home: Path) -> dict[str, str]:
        base = f"{self.api}/{endpoint.id}"
        # The SDK appends with &: every address needs a query string.
        return {
            **{name: os.environ[name] for name in _INHERITED if name in os.environ},
            "HOME": str(home),
            "TMPDIR": str(home / "tmp"),  # gone with the worker, as a container's is
            "RUNPOD_WEBHOOK_GET_JOB": f"{base}/job-take/$ID?gpu={endpoint.pool}",
            "RUNPOD_WEBHOOK_POST_OUTPUT": f"{base}/job-done/$RUNPOD_POD_ID/$ID?gpu={endpoint.pool}",
            "RUNPOD_WEBHOOK_POST_STREAM": f"{base}/job-stream/$RUNPOD_POD_ID/$ID?gpu={endpoint.pool}",
            "RUNPOD_WEBHOOK_PING": f"{base}/ping/$RUNPOD_POD_ID?gpu={endpoint.pool}",
            "RUNPOD_PING_INTERVAL": str(self.ping_seconds * 1000),
            "RUNPOD_POD_ID": worker.id,
            "RUNPOD_POD_HOSTNAME": worker.id,
            "RUNPOD_ENDPOINT_ID": endpoint.id,
            "RUNPOD_AI_API_KEY": self.token,
            "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",
            "RUNPOD_SKIP_GPU_CHECK": "true",
            **self.env,
        }

    def _stop_event(self, worker_id: str) -> asyncio.Event:
        return self._stop_waits.setdefault(worker_id, asyncio.Event())

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._watchers.add(task)
        task.add_done_callback(self._watchers.discard)


def _kill(process: asyncio.subprocess.Process) -> None:
    """The keeper kills all it started when its input ends."""
    if process.stdin is not None:
        process.stdin.close()
