"""Many submissions at once, and servers and workers that are killed while they are worked off."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from snakefold.service import records
from snakefold.service.records import State
from tests.service.running import Server, wait

BODY = json.dumps({"input": {"sequence": "MKTAYIAKQRQISFVK", "db_preset": "single_sequence"}})
#: For settings: no workers but two for jobs, which `counting` answers.
TWO_WORKERS = {"jobs": 2, "runs": 0, "quotes": 0, "searches": 0}


class Caller:
    """One connection that is kept, so that what is measured is the answer."""

    def __init__(self, port: int, token: str = "") -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def call(self, method: str, path: str, body: str | None = None) -> tuple[int, bytes]:
        """Status and body of an answer; once more, if the server had closed the connection meanwhile."""
        headers = {**self._headers, **({"Content-Type": "application/json"} if body else {})}
        for left in (1, 0):
            try:
                self._connection.request(method, path, body, headers)
                answer = self._connection.getresponse()
                return answer.status, answer.read()
            except (http.client.RemoteDisconnected, ConnectionError):
                self._connection.close()
                if not left:
                    raise
        raise AssertionError

    def seconds(self, path: str) -> float:
        """How long a GET takes that is answered 200."""
        begun = time.perf_counter()
        status, _ = self.call("GET", path)
        taken = time.perf_counter() - begun
        assert status == 200, (path, status)
        return taken


def submit_at_once(server: Server, tokens: Sequence[str], each: int) -> dict[str, list[str]]:
    """Every user submits so many jobs, all at the same moment; their ids by token."""
    begin = threading.Barrier(len(tokens) * each)

    def one(token: str) -> tuple[str, str]:
        begin.wait()
        status, body = Caller(server.port, token).call("POST", "/v2/fold/run", BODY)
        assert status == 200, body
        return token, json.loads(body)["id"]

    with ThreadPoolExecutor(len(tokens) * each) as pool:
        pairs = list(pool.map(one, [token for token in tokens for _ in range(each)]))
    found: dict[str, list[str]] = {token: [] for token in tokens}
    for token, job in pairs:
        found[token].append(job)
    return found


def all_ended(folders: Sequence[Path]) -> bool:
    return all((folder / "end.json").exists() for folder in folders)


def lines(path: Path) -> int:
    """How often something was done."""
    return len(path.read_text().splitlines()) if path.exists() else 0


def accounts(folders: Sequence[Path]) -> dict[str, Any]:
    """What became of records: by state, and how often each was done to its end."""
    states = Counter(records.read(folder).state.value for folder in folders)
    done = [lines(folder / "done.txt") for folder in folders]
    return {
        "states": dict(states),
        "lost": sum(number == 0 for number in done),
        "twice": sum(number > 1 for number in done),
        "begun": sum(lines(folder / "begun.txt") for folder in folders),
    }


def kill_at_random(server: Server, folders: Sequence[Path], *, kills: int, seed: int) -> Counter[str]:
    """Kill the server or a worker at random moments, as long as there is work; how often which."""
    chance = random.Random(seed)
    killed: Counter[str] = Counter()
    victims = ["server", "worker"] * (kills // 2)
    chance.shuffle(victims)
    for victim in victims:
        if all_ended(folders):
            break
        time.sleep(chance.uniform(0.05, 1.5))
        if victim == "server":
            server.kill()
            server.start()
        else:
            os.kill(chance.choice(wait(server.workers)), signal.SIGKILL)
        killed[victim] += 1
    for folder in folders:
        wait(lambda folder=folder: records.read(folder).state.final, 300)
    assert all(records.read(folder).state is State.DONE for folder in folders)
    return killed
