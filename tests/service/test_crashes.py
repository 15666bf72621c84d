"""The server and its workers, killed and stopped: nothing is lost, nothing is done twice."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from snakefold.service import records
from snakefold.service.records import State
from snakefold.service.users import User, add_token
from tests.service.load import TWO_WORKERS, accounts, all_ended, kill_at_random, submit_at_once
from tests.service.running import Server, serving, wait

#: Kills of the short version; benchmarks/soak.py has the long one.
KILLS = 4


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path) as running:
        yield running


def submit(server: Server, seconds: float) -> Path:
    with server.client() as client:
        answer = client.post("/counts", json={"seconds": seconds})
    assert answer.status_code == 200
    return server.folder / "counts" / answer.json()["id"]


def begun(folder: Path) -> int:
    """How many workers began it."""
    path = folder / "begun.txt"
    return len(path.read_text().splitlines()) if path.exists() else 0


def done(folder: Path) -> int:
    """How often it was done to its end."""
    path = folder / "done.txt"
    return len(path.read_text().splitlines()) if path.exists() else 0


def state(folder: Path) -> State:
    return records.read(folder).state


def running_worker(folder: Path) -> int:
    """The process that has a record."""
    wait(lambda: begun(folder))
    return int(records.read(folder).worker.rpartition("-")[2])


def test_a_killed_worker_is_replaced_and_its_record_done_by_another(server: Server) -> None:
    folder = submit(server, 1.5)
    first = running_worker(folder)
    os.kill(first, signal.SIGKILL)
    wait(lambda: state(folder).final)
    record = records.read(folder)
    assert (record.state, record.attempts, begun(folder), done(folder)) == (State.DONE, 2, 2, 1)
    wait(lambda: len(set(server.workers()) - {first}) == 2)


def test_a_killed_server_takes_no_work_with_it(server: Server) -> None:
    running, waiting = submit(server, 2), [submit(server, 0.3) for _ in range(4)]
    running_worker(running)
    server.kill()
    server.start()
    for folder in (running, *waiting):
        wait(lambda folder=folder: state(folder).final)
        assert (state(folder), done(folder)) == (State.DONE, 1)
    assert begun(running) == 1  # its worker finished it, and a successor waited for the slot
    wait(lambda: len(server.workers()) == 2)


def test_a_stopped_server_gives_back_what_its_workers_do(server: Server) -> None:
    folder = submit(server, 600)
    running_worker(folder)
    assert server.stop() == 0
    assert server.workers() == []
    record = records.read(folder)
    assert (record.state, record.attempts) == (State.QUEUED, 0)
    server.start()
    wait(lambda: begun(folder) == 2)
    records.end(folder, State.CANCELLED)
    other = submit(server, 0)
    wait(lambda: state(other) is State.DONE)
    assert done(folder) == 0


def test_ctrl_c_ends_it_as_well(server: Server) -> None:
    assert server.stop(signal.SIGINT) == 0
    assert server.workers() == []


def test_a_cancelled_record_is_stopped_and_stays_cancelled(server: Server) -> None:
    folder = submit(server, 600)
    running_worker(folder)
    records.end(folder, State.CANCELLED)
    others = [submit(server, 0) for _ in range(3)]
    for each in others:
        wait(lambda each=each: state(each) is State.DONE)
    assert (state(folder), done(folder)) == (State.CANCELLED, 0)


def test_kills_at_random_moments(server: Server) -> None:
    """Records are done once each, whoever dies in between. benchmarks/soak.py has the long version."""
    chance = random.Random(7)
    folders = [submit(server, chance.uniform(0, 0.8)) for _ in range(40)]
    killed = kill_at_random(server, folders, kills=KILLS, seed=7)
    assert killed
    found = accounts(folders)
    assert (found["states"], found["lost"], found["twice"]) == ({"DONE": 40}, 0, 0)


def test_many_submissions_at_once(tmp_path: Path) -> None:
    """Nothing is lost and nothing is done twice; benchmarks/service_load.py has the long version."""
    tokens = [add_token(tmp_path / "tokens.yaml", User(user=f"user-{number}")) for number in range(5)]
    settings = {"tokens": str(tmp_path / "tokens.yaml"), "workers": TWO_WORKERS}
    with serving(tmp_path, settings=settings) as running:
        submitted = submit_at_once(running, tokens, 12)
        folders = [running.folder / "jobs" / job for jobs in submitted.values() for job in jobs]
        wait(lambda: all_ended(folders))
        found = accounts(folders)
        assert (found["states"], found["lost"], found["twice"]) == ({"DONE": 60}, 0, 0)
        assert found["begun"] == 60
        for number, (token, jobs) in enumerate(submitted.items()):
            other = tokens[(number + 1) % len(tokens)]
            with running.client(token) as own, running.client(other) as others:
                assert own.get(f"/v2/fold/status/{jobs[0]}").json()["status"] == "COMPLETED"
                assert others.get(f"/v2/fold/status/{jobs[0]}").status_code == 404
