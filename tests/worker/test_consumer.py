"""Jobs from a queue: a real Redis, workers that are killed, jobs that fail, come twice or are cancelled."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from snakefold.kernel.errors import Reason, SnakefoldError
from snakefold.worker.consumer import Consumer, QueueSettings, read_queue_settings
from snakefold.worker.failures import JobError, failure
from tests.servers.processes import ends_with_parent, free_ports
from tests.worker.conftest import envelope, fold_request

pytestmark = pytest.mark.needs("redis-server")

PASSWORD = "never-shown-9d2c"  # noqa: S105
SNAKEFOLD = Path(sys.executable).parent / "snakefold"


class Server:
    """A Redis that can be stopped and started; what it has stays."""

    def __init__(self, folder: Path) -> None:
        (self._port,) = free_ports(1)
        self._conf = folder / "redis.conf"
        self._conf.write_text(
            f"bind 127.0.0.1\nport {self._port}\ndir {folder}\nappendonly yes\nrequirepass {PASSWORD}\n"
        )
        self.url = f"redis://:{PASSWORD}@127.0.0.1:{self._port}/0"
        self.client = redis.Redis.from_url(self.url, decode_responses=True)

    def start(self) -> None:
        command = [*ends_with_parent(), "redis-server", str(self._conf)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        wait_until(self._answers)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False


def wait_until(true: Callable[[], Any], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "nothing came of it"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def server(running: Server) -> Server:
    running.client.flushall()
    return running


class Worker:
    """A consumer in a thread, whose jobs are done by a function."""

    def __init__(self, server: Server, do: Callable[[Any], dict[str, Any]], **changed: Any) -> None:
        self.settings = QueueSettings(server.url, **{"patience": 0.4, "grace": 0.2, **changed})
        self.lines: list[str] = []
        self.asked: list[Any] = []
        self._do = do
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()
        self._started.wait()

    async def _run(self) -> None:
        from redis.asyncio import Redis

        server = Redis.from_url(self.settings.url, decode_responses=True)
        self._loop = asyncio.get_running_loop()
        self._consumer = Consumer(server, self.settings, self._answer, self.lines.append)
        self._started.set()
        await self._consumer.run()
        await server.aclose()

    async def _answer(self, given: Any, *, progress: Callable[[int, int], None]) -> dict[str, Any]:
        self.asked.append(given)
        await asyncio.to_thread(progress, 1, 2)
        done = self._do(given)
        if seconds := done.pop("seconds", 0):
            await asyncio.sleep(seconds)
        return done

    def leave(self) -> None:
        self._loop.call_soon_threadsafe(self._consumer.leave)
        self._thread.join(20)
        assert not self._thread.is_alive()


def send(server: Server, name: str, given: Any = None) -> str:
    job = {"id": name, "input": given if given is not None else {"name": name}}
    return str(server.client.xadd("snakefold:jobs", {"job": json.dumps(job)}))


def result(server: Server, name: str, seconds: float = 60.0) -> dict[str, Any]:
    wait_until(lambda: server.client.exists(f"snakefold:jobs:result:{name}"), seconds)
    found: dict[str, Any] = json.loads(str(server.client.get(f"snakefold:jobs:result:{name}")))
    return found


def dead(server: Server) -> list[dict[str, str]]:
    return [fields for _, fields in server.client.xrange("snakefold:jobs:dead")]


def is_empty(server: Server) -> bool:
    return not server.client.xlen("snakefold:jobs")


def test_a_job_is_done_and_said_to_be(server: Server) -> None:
    worker = Worker(server, lambda given: {"output": given["name"]})
    entry = send(server, "one")
    found = result(server, "one")
    assert (found["state"], found["output"]) == ("done", {"output": "one"})
    wait_until(lambda: is_empty(server))
    ((_, news),) = server.client.xrange("snakefold:jobs:ended")
    assert news == {"id": "one", "state": "done", "entry": entry}
    assert 0 < server.client.ttl("snakefold:jobs:result:one") <= 24 * 3600
    worker.leave()


def test_a_job_that_comes_twice_is_done_once(server: Server) -> None:
    worker = Worker(server, lambda given: {"output": given["name"]})
    send(server, "one")
    result(server, "one")
    send(server, "one")
    send(server, "one", {"name": "another input"})
    wait_until(lambda: is_empty(server))
    assert worker.asked == [{"name": "one"}]
    (aside,) = dead(server)
    assert aside["reason"].startswith("invalid_input: Another job with this id is done.")
    assert result(server, "one")["output"] == {"output": "one"}
    worker.leave()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "the field `job` is no JSON"),
        ("[1]", "expected {"),
        ('{"id": "a"}', "expected {"),
        ('{"id": "", "input": {}}', "id: expected 1 to 200 printable characters"),
        ('{"id": "a\\u0007", "input": {}}', "id: expected 1 to 200 printable characters"),
    ],
)
def test_what_is_no_job_is_set_aside_at_once(server: Server, text: str, why: str) -> None:
    worker = Worker(server, lambda given: {"output": 1})
    server.client.xadd("snakefold:jobs", {"job": text})
    wait_until(lambda: dead(server) and is_empty(server))
    (aside,) = dead(server)
    assert aside["job"] == text and aside["reason"].startswith(f"invalid_input: {why}")
    assert worker.asked == []
    worker.leave()


def test_a_job_that_fails_is_tried_again_and_its_own_fault_is_not(server: Server) -> None:
    tries = {"bad": 0, "weak": 0}

    def do(given: Any) -> dict[str, Any]:
        tries[given["name"]] += 1
        if given["name"] == "bad":
            return failure(JobError(Reason.INVALID_INPUT, "no such protein"))
        if tries["weak"] < 3:
            return failure(JobError(Reason.OUT_OF_MEMORY, "too small"))
        return {"output": "well"}

    worker = Worker(server, do)
    send(server, "bad")
    send(server, "weak")
    assert result(server, "bad")["state"] == "failed"
    assert result(server, "weak")["output"] == {"output": "well"}
    assert tries == {"bad": 1, "weak": 3}
    assert dead(server) == [] and not server.client.exists("snakefold:jobs:reasons")
    worker.leave()


def test_a_poisoned_job_is_set_aside_with_its_reason(server: Server) -> None:
    worker = Worker(server, lambda given: failure(JobError(Reason.INTERNAL, "the process died")), tries=2)
    send(server, "poison")
    send(server, "next", {"name": "next"})
    found = result(server, "poison")
    assert found["state"] == "dead" and json.loads(found["output"]["error"])["message"] == "the process died"
    assert len([given for given in worker.asked if given["name"] == "poison"]) == 2
    aside = next(each for each in dead(server) if json.loads(each["job"])["id"] == "poison")
    assert (aside["reason"], aside["tries"]) == ("internal: the process died", "2")
    worker.leave()


def test_a_cancelled_job_ends_and_the_next_one_comes(server: Server) -> None:
    def do(given: Any) -> dict[str, Any]:
        return {"seconds": 60} if given["name"] == "long" else {"output": "next"}

    worker = Worker(server, do)
    send(server, "long")
    send(server, "next")
    wait_until(lambda: worker.asked)
    wait_until(lambda: server.client.get("snakefold:jobs:progress:long"))
    server.client.set("snakefold:jobs:cancel:long", 1)
    assert result(server, "long")["state"] == "cancelled"
    assert result(server, "next")["state"] == "done"
    worker.leave()


def test_a_worker_that_leaves_gives_its_job_back(server: Server) -> None:
    first = Worker(server, lambda given: {"seconds": 60}, patience=30.0)
    send(server, "one")
    wait_until(lambda: first.asked)
    first.leave()
    # At once, although a silent worker would have half a minute; and it was no try.
    second = Worker(server, lambda given: {"output": "second"}, patience=30.0)
    wait_until(lambda: second.asked, 10)
    assert result(server, "one")["output"] == {"output": "second"}
    assert second.lines[0] == "one: try 1 of 3"
    second.leave()


def test_a_server_that_goes_away_costs_no_result(server: Server) -> None:
    worker = Worker(server, lambda given: {"seconds": 1.0, "output": "kept"}, patience=5.0)
    send(server, "one")
    wait_until(lambda: worker.asked)
    server.stop()
    time.sleep(1.5)
    server.start()
    assert result(server, "one")["output"] == {"output": "kept"}
    assert len(worker.asked) == 1
    send(server, "two")
    assert result(server, "two")["state"] == "done"
    worker.leave()
    assert PASSWORD not in "".join(worker.lines)


@pytest.mark.slow
def test_the_job_of_a_killed_worker_is_done_by_another(
    server: Server, tmp_path: Path, new_environment: Callable[[Path], dict[str, str]]
) -> None:
    environment = {**os.environ, **new_environment(tmp_path), "SNAKEFOLD_QUEUE_URL": server.url}
    logs = []

    def start() -> subprocess.Popen[bytes]:
        logs.append(tmp_path / f"{len(logs)}.log")
        return subprocess.Popen(
            [str(SNAKEFOLD), "worker", "--adapter", "queue", "--patience", "3"],
            env=environment,
            cwd=tmp_path,
            stdout=logs[-1].open("wb"),
            stderr=subprocess.STDOUT,
        )

    first = start()
    # A worker loads its libraries for seconds before it can refuse what is no request.
    send(server, "bad", {"sequences": ["not a protein!"]})
    assert json.loads(result(server, "bad", 600)["output"]["error"])["reason"] == "invalid_input"
    send(server, "fold", envelope(fold_request(("a", "b"))))
    wait_until(lambda: server.client.xpending("snakefold:jobs", "workers")["pending"])
    time.sleep(1.0)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    second = start()
    found = result(server, "fold", 600)
    assert found["state"] == "done", found
    assert "fold: try 2 of 3" in logs[1].read_text()
    assert PASSWORD not in logs[0].read_text() + logs[1].read_text()
    second.send_signal(signal.SIGTERM)
    assert second.wait(60) == 0


def test_the_address_is_asked_for_and_never_shown() -> None:
    with pytest.raises(SnakefoldError, match="SNAKEFOLD_QUEUE_URL is not set"):
        read_queue_settings(environment={})
    with pytest.raises(SnakefoldError, match="is no address of Redis") as error:
        read_queue_settings(environment={"SNAKEFOLD_QUEUE_URL": f"http://:{PASSWORD}@host"})
    assert PASSWORD not in str(error.value)
    settings = read_queue_settings(environment={"SNAKEFOLD_QUEUE_URL": f"redis://:{PASSWORD}@host/0"})
    assert PASSWORD not in repr(settings)
