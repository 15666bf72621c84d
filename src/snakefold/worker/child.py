"""The handler's side of the warm process: started when needed, killed with all it started, never trusted."""

from __future__ import annotations

import atexit
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, cast

from snakefold.kernel.errors import Reason
from snakefold.worker.channel import END_OF_LOG, kill_session, receive, send
from snakefold.worker.failures import JobError, without_secrets

_GRACE = 5.0
_LOG_LINES = 60
#: Its answer may come before the end of its log, which is read by another thread.
_LOG_SECONDS = 2.0
#: What the process has no use for.
_NOT_PASSED_ON = ("RUNPOD_AI_API_KEY", "RUNPOD_API_KEY")
_EVENTS = Path("/sys/fs/cgroup/memory.events")

Notice = Callable[[dict[str, Any]], None]
Say = Callable[[str], None]


def show(line: str) -> None:
    """Print a line: RunPod keeps what its workers print."""
    print(line, flush=True)


class Child:
    """One process, in a session of its own; not for use by several threads at once, but for `stop`.

    Attributes:
        say: takes every line that it prints, without secrets; called from another thread.
    """

    def __init__(self, say: Say = show) -> None:
        self.say = say
        ours, theirs = socket.socketpair()
        environment = {name: value for name, value in os.environ.items() if name not in _NOT_PASSED_ON}
        life, self._life = os.pipe()
        numbers = (theirs.fileno(), life)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-u", "-m", "snakefold.worker.process", *map(str, numbers)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=numbers,
                start_new_session=True,
            )
        os.close(life)
        self._channel = ours
        self._lines: deque[str] = deque(maxlen=_LOG_LINES)
        self._log_read = threading.Event()
        self._reader = threading.Thread(target=self._read_output, daemon=True)
        self._reader.start()
        self._kills = _kills()
        self._closing = threading.Lock()
        atexit.register(self.stop, grace=0.0)

    @property
    def process_id(self) -> int:
        """Of the process, and of the session of all that it starts."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it can take another task."""
        return self._process.poll() is None

    @property
    def log(self) -> str:
        """The end of what the present task printed, without secrets."""
        return "\n".join(self._lines)

    def ask(self, given: object, notice: Notice) -> dict[str, Any]:
        """Let it do a task, and give the answer; `notice` gets what it says meanwhile.

        Raises:
            JobError: the task failed, or the process died of it.
        """
        self._lines.clear()
        self._log_read.clear()
        try:
            send(self._channel, {"input": given})
            while (message := receive(self._channel)) is not None:
                if "output" in message or "failed" in message:
                    self._log_read.wait(_LOG_SECONDS)
                if "output" in message:
                    output: dict[str, Any] = message["output"]
                    return output
                if "failed" in message:
                    raise JobError(Reason(message["failed"]["reason"]), message["failed"]["message"])
                notice(message)
        except OSError:
            pass
        raise self._died()

    def stop(self, grace: float = _GRACE) -> None:
        """End it and every process it started: asked first, then killed. Safe to call at any time, twice."""
        atexit.unregister(self.stop)
        if grace and self.alive:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(grace)
        kill_session(self._process.pid)
        self._process.wait()
        with self._closing:
            if self._life >= 0:
                os.close(self._life)
                self._life = -1
        with suppress(OSError):
            self._channel.shutdown(socket.SHUT_RDWR)
        self._channel.close()

    def _died(self) -> JobError:
        status = self._process.wait()
        self._reader.join(1.0)
        if status == -signal.SIGKILL and _kills() != self._kills:
            return JobError(Reason.OUT_OF_MEMORY, "The system killed the process: the memory ran out.")
        if status == -signal.SIGKILL and not _EVENTS.is_file():
            return JobError(Reason.OUT_OF_MEMORY, "The process was killed, most likely for memory.")
        how = f"signal {-status}" if status < 0 else f"status {status}"
        return JobError(Reason.INTERNAL, f"The process that did the work died ({how}).")

    def _read_output(self) -> None:
        with cast(IO[bytes], self._process.stdout) as stream:
            for raw in stream:
                line = without_secrets(raw.decode(errors="replace").rstrip("\n"))
                if line == END_OF_LOG:
                    self._log_read.set()
                    continue
                self._lines.append(line)
                self.say(line)


def _kills() -> int:
    """Processes of this container that the kernel has killed for memory."""
    try:
        counts: Mapping[str, str] = dict(line.split() for line in _EVENTS.read_text().splitlines())
        return int(counts.get("oom_kill", 0))
    except (OSError, ValueError):
        return 0
