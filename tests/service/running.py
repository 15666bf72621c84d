"""A service in processes of its own, as `snakefold serve` runs it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.servers.processes import ends_with_parent

HOUSE = Path(__file__).resolve().parents[2]
#: Not a promise: how long a test waits for what must come, on a machine that does much else.
PATIENCE = 60.0


class Server:
    """`snakefold serve` with the kind of work that counts (`counting`).

    Attributes:
        folder: of the service.
        log: file of what it and its workers log.
    """

    def __init__(
        self,
        root: Path,
        settings: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.folder, self.log = root / "service", root / "log.txt"
        self._environment = dict(environment or {})
        self._settings = root / "service.yaml"
        self._given: dict[str, Any] = {
            "folder": str(self.folder),
            "port": 0,
            "workers": {"jobs": 0, "runs": 0, "quotes": 0, "searches": 2},  # two that count
            **(settings or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None
        self.address = ""

    def start(self) -> None:
        """Start it and wait for its line, on the port that it had before, if any."""
        self._settings.write_text(yaml.safe_dump(self._given))
        with self.log.open("ab") as log:
            begin = log.tell()
            self._process = subprocess.Popen(
                [*ends_with_parent(), sys.executable, "-m", "tests.service.counting", str(self._settings)],
                cwd=HOUSE,
                env={**os.environ, "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true", **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

        def line() -> re.Match[str] | None:
            assert self._process is not None
            text = self.log.read_text(errors="replace")[begin:]
            assert self._process.poll() is None, text
            return re.search(r"serves at (http://\S+):(\d+)", text)

        match = wait(line)
        self._given["port"] = int(match[2])
        self.address = f"{match[1]}:{match[2]}"

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._given["port"])

    def client(self, token: str = "", **given: Any) -> httpx.Client:
        """A client, with a token if there is one."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.Client(
            base_url=self.address, headers=headers, timeout=PATIENCE, trust_env=False, **given
        )

    def workers(self) -> list[int]:
        """Processes that do work."""
        found = []
        for each in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if each.name.isdigit():
                    words = (each / "cmdline").read_bytes().split(b"\0")
                    environment = (each / "environ").read_bytes()
                    ours = b"SNAKEFOLD_SERVICE=" in environment and str(self.folder).encode() in environment
                    if ours and words[2:3] == [b"tests.service.counting"] and len(words) > 5:
                        found.append(int(each.name))
        return found

    def kill(self) -> None:
        """End the server and nothing else, as a crash does."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self, how: int = signal.SIGTERM) -> int:
        """End it as its host does; its exit status."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(how)
        return self._process.wait(PATIENCE)

    def lines(self) -> list[dict[str, Any]]:
        """What it logged."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def clean(self) -> None:
        """Leave no process behind."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        for worker in self.workers():
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)


@contextlib.contextmanager
def serving(root: Path, **given: Any) -> Iterator[Server]:
    """A service that runs."""
    server = Server(root, **given)
    try:
        server.start()
        yield server
    finally:
        server.clean()


def wait(what: Callable[[], Any], patience: float = PATIENCE) -> Any:
    """What comes in the end."""
    until = time.monotonic() + patience
    while not (found := what()):
        assert time.monotonic() < until, "it did not come"
        time.sleep(0.02)
    return found
