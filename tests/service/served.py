"""A real `snakefold serve` on loopback, with real workers, for the tests of its routes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.worker.conftest import compiled, new_environment, parameters

__all__ = ["compiled", "environment_of", "new_environment", "parameters"]  # fixtures

SNAKEFOLD = Path(sys.executable).with_name("snakefold")
#: What a job without a network takes: an alignment of the sequence alone.
QUICK = {"task": "align", "sequence": "MKTAYIAKQRQISFVKSHF", "db_preset": "single_sequence"}


@dataclass
class Served:
    """A service that runs."""

    process: subprocess.Popen[bytes]
    url: str
    folder: Path
    token: str = ""

    def call(
        self, path: str, body: Any = None, *, token: str | None = None, method: str | None = None
    ) -> tuple[int, Any]:
        """Status and answer of a request; a body is sent as JSON."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        given = self.token if token is None else token
        headers = {
            "Content-Type": "application/json",
            **({"Authorization": f"Bearer {given}"} if given else {}),
        }
        request = urllib.request.Request(f"{self.url}{path}", data, headers, method=method)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=300) as answer:  # noqa: S310 (loopback)
                return answer.status, _read(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, _read(error.read())

    def job(self, given: dict[str, Any], **more: Any) -> str:
        """Submit a job; its id."""
        code, answer = self.call("/v2/fold/run", {"input": given, **more})
        assert code == 200, answer
        assert answer["status"] == "IN_QUEUE"
        return str(answer["id"])

    def ended(self, job: str) -> dict[str, Any]:
        """A job, once it has ended."""
        while True:
            code, answer = self.call(f"/v2/fold/status/{job}")
            assert code == 200, answer
            if answer["status"] not in ("IN_QUEUE", "IN_PROGRESS"):
                return dict(answer)
            time.sleep(0.05)

    def log(self) -> str:
        """What server and workers wrote."""
        return (self.folder / "service.log").read_text(errors="replace")

    def lines(self) -> list[dict[str, Any]]:
        """The log: all that was written but the one line of standard output."""
        lines = self.log().splitlines()
        return [json.loads(line) for line in lines if not line.startswith("snakefold serves at ")]

    def workers(self) -> list[int]:
        """Process ids of the workers of jobs."""
        found = []
        for entry in Path("/proc").iterdir():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
            except (OSError, ValueError):
                continue
            if {b"snakefold.service.work", b"job"} <= set(words) and int(stat[1]) == self.process.pid:
                found.append(int(entry.name))
        return found

    def stop(self) -> None:
        """End it."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(40)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _read(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return data


@contextmanager
def serving(folder: Path, environment: dict[str, str], **settings: Any) -> Iterator[Served]:
    """A service with its folder below one given; settings as in its file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "service.yaml").write_text(yaml.safe_dump({"folder": str(folder / "service"), **settings}))
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "HOME") if name in os.environ}
    with (folder / "service.log").open("ab") as log:
        process = subprocess.Popen(
            [str(SNAKEFOLD), "serve", "--config", "service.yaml", "--port", "0"],
            cwd=folder,
            env={**kept, **environment, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    served = Served(process, "", folder)
    try:
        while (found := re.search(r"snakefold serves at (http://\S+)", served.log())) is None:
            assert process.poll() is None, served.log()
            time.sleep(0.05)
        served.url = found[1]
        yield served
    finally:
        served.stop()


@pytest.fixture(scope="session")
def environment_of(
    new_environment: Callable[[Path], dict[str, str]], compiled: Path
) -> Callable[[Path], dict[str, str]]:
    """Environment of a service whose folders are below the one given; all share compiled programs."""

    def make(folder: Path) -> dict[str, str]:
        store = folder / "service" / "store"
        store.mkdir(parents=True)
        (store / "compiled").symlink_to(compiled)
        return new_environment(folder / "worker")

    return make
