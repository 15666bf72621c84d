"""`snakefold serve` in processes of its own, with users, for tests of sets."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import yaml

from snakefold.engines.environments import MAIN
from snakefold.service import records
from snakefold.service.records import began
from snakefold.service.users import Quota, User, add_token
from tests.servers.processes import ends_with_parent

#: Not a promise: how long a test waits for what must come, on a machine that does much else.
PATIENCE = 240.0
#: Two short chains, and settings with which they are planned and folded in seconds.
CHAIN, OTHER = "MKTAYIAKQRQISFVKSHFSRQ", "MQIFVKTLTGKTITLEVEPSDT"
REHEARSAL: dict[str, Any] = {
    "weights": "rehearsal",
    "msa": {"tool": "single_sequence"},
    "relax": {"models_to_relax": "none"},
    "rehearsal": {"models": [1], "num_recycle": 0, "blocks": 1},
}


class Served:
    """A service and its users."""

    def __init__(self, root: Path, users: Mapping[str, Quota], **settings: Any) -> None:
        self.root, self.folder, self.log = root, root / "service", root / "log.txt"
        tokens = root / "tokens.yaml"
        self.tokens = {name: add_token(tokens, User(user=name, quota=quota)) for name, quota in users.items()}
        self._given = {"folder": str(self.folder), "port": 0, "tokens": str(tokens), **settings}
        self._process: subprocess.Popen[bytes] | None = None
        self.address = ""

    def start(self) -> None:
        """Start it, on the port that it had before, and wait until it listens."""
        file = self.root / "service.yaml"
        file.write_text(yaml.safe_dump(self._given))
        with self.log.open("ab") as log:
            begin = log.tell()
            self._process = subprocess.Popen(
                [*ends_with_parent(), sys.executable, "-c", MAIN, "serve", "--config", str(file)],
                cwd=self.root,
                env={
                    **os.environ,
                    "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",
                    "SNAKEFOLD_REDIS_PASSWORD": "hidden",
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

        def line() -> re.Match[str] | None:
            text = self.log.read_text(errors="replace")[begin:]
            assert self._process is not None
            assert self._process.poll() is None, text
            return re.search(r"serves at (http://\S+):(\d+)", text)

        match = wait(line)
        self._given["port"] = int(match[2])
        self.address = f"{match[1]}:{match[2]}"

    def client(self, user: str) -> httpx.Client:
        """A client of a user."""
        headers = {"Authorization": f"Bearer {self.tokens[user]}"}
        return httpx.Client(base_url=self.address, headers=headers, timeout=60, trust_env=False)

    def kill(self) -> None:
        """End the server and nothing else, as a crash does."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def worker(self, kind: str, name: str) -> int:
        """The process that does a record now."""
        folder = self.folder / kind / name
        last = max(folder.glob("attempt-*.json"), key=lambda path: path.name)
        return int(json.loads(last.read_bytes())["process"])

    def runs(self, name: str) -> list[int]:
        """Processes of a set that live."""
        found = []
        for file in (self.folder / "sets" / name / "processes").glob("*.json"):
            with contextlib.suppress(FileNotFoundError):
                said = json.loads(file.read_bytes())
                if began(said["process"]) == said["began"]:
                    found.append(int(said["process"]))
        return found

    def stop(self) -> None:
        """End it, and what it started."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(60)
        for folder in (self.folder / "sets").glob("2*"):
            for process in self.runs(folder.name):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process, signal.SIGKILL)


@contextlib.contextmanager
def serving(root: Path, users: Mapping[str, Quota], **settings: Any) -> Iterator[Served]:
    """A service that runs."""
    served = Served(root, users, **settings)
    try:
        served.start()
        yield served
    finally:
        served.stop()


def send(client: httpx.Client, text: str, **fields: Any) -> dict[str, Any]:
    """Send a set and give its view."""
    settings = fields.pop("settings", REHEARSAL)
    answer = client.post("/api/runs", data={"text": text, "settings": json.dumps(settings), **fields})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def until(client: httpx.Client, name: str, *states: str) -> dict[str, Any]:
    """The view of a set once it is in one of these states."""

    def view() -> dict[str, Any] | None:
        found: dict[str, Any] = client.get(f"/api/runs/{name}").json()
        final = found["state"] in ("COMPLETE", "FAILED", "ERROR", "REFUSED", "CANCELLED")
        assert not final or found["state"] in states, found
        return found if found["state"] in states else None

    found: dict[str, Any] = wait(view)
    return found


def wait(what: Callable[[], Any]) -> Any:
    """What comes in the end."""
    end = time.monotonic() + PATIENCE
    while not (found := what()):
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)
    return found


def finished_jobs(folder: Path) -> list[str]:
    """Rules of jobs that Snakemake finished, in all runs of a set."""
    logs = (folder / ".snakemake" / "log").glob("*.snakemake.log")
    return [
        rule for log in logs for rule in re.findall(r"Finished jobid: \d+ \(Rule: (\w+)\)", log.read_text())
    ]


def kill_runs_at_random(served: Served, names: Sequence[str], *, kills: int, seed: int) -> Counter[str]:
    """Kill the server, the worker of a run, or a run with its processes, as long as sets are open.

    Two to twelve seconds lie between two kills: some come before a network is loaded.

    Returns:
        How often which.
    """
    chance = random.Random(seed)
    killed: Counter[str] = Counter()
    victims = ["server", "worker", "run"] * (kills // 3 + 1)
    chance.shuffle(victims)

    def open_runs() -> list[str]:
        there = [name for name in names if (served.folder / "runs" / name / "record.json").exists()]
        return [name for name in there if not records.has_ended(served.folder / "runs" / name)]

    while sum(killed.values()) < kills and open_runs():
        time.sleep(chance.uniform(2, 12))
        victim = victims[sum(killed.values())]
        at_work = [name for name in open_runs() if served.runs(name)]
        if victim == "server":
            served.kill()
            served.start()
        elif not at_work:
            continue
        elif victim == "worker":
            with contextlib.suppress(ProcessLookupError):
                os.kill(served.worker("runs", at_work[0]), signal.SIGKILL)
        else:
            for process in served.runs(at_work[0]):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process, signal.SIGKILL)
        killed[victim] += 1
    return killed
