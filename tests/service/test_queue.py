"""The queue, in SQLite and in a real Redis: names in order, and none that is lost for good."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from snakefold.service import records
from snakefold.service.kinds import roots
from snakefold.service.opened import Opened
from snakefold.service.queue import Queues, mend
from snakefold.service.records import State
from snakefold.service.settings import REDIS_PASSWORD, ServiceSettings
from tests.servers.processes import ends_with_parent, free_ports
from tests.service.running import wait

PASSWORD = 'p@ss:w/ord"7'  # noqa: S105


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis with a password; its address, which does not have it."""
    (port,) = free_ports(1)
    folder = tmp_path_factory.mktemp("redis")
    (folder / "redis.conf").write_text(
        f"bind 127.0.0.1\nport {port}\ndir {folder}\nrequirepass {json.dumps(PASSWORD)}\n"
    )
    process = subprocess.Popen(
        [*ends_with_parent(), "redis-server", str(folder / "redis.conf")], stdout=subprocess.DEVNULL
    )
    client = redis.Redis(port=port, password=PASSWORD)

    def answers() -> bool:
        try:
            return bool(client.ping())
        except redis.ConnectionError:
            return False

    wait(answers)
    yield f"redis://127.0.0.1:{port}/0"
    process.terminate()
    process.wait()


@pytest.fixture(
    params=["sqlite", pytest.param("redis", marks=pytest.mark.needs("redis-server"))],
)
def settings(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> ServiceSettings:
    """Settings of each of both, with nothing in the queue."""
    queue = "sqlite"
    if request.param == "redis":
        queue = request.getfixturevalue("redis_server")
        monkeypatch.setenv(REDIS_PASSWORD, PASSWORD)
    made = ServiceSettings(folder=tmp_path, queue=queue)
    Queues(made).purge("job")
    return made


def submitted(settings: ServiceSettings, **given: object) -> records.Record:
    return records.create(settings.folder / "jobs", "job", "ada", **given)  # type: ignore[arg-type]


def taken(settings: ServiceSettings) -> list[str]:
    """What workers of another process take, in their order."""
    queues = Queues(settings)
    found: list[str] = []
    queues.does = found.append
    huey = queues.of("job")
    while (task := huey.dequeue()) is not None:
        huey.execute(task)
    return [Path(place).name for place in found]


def test_the_higher_priority_goes_first_and_then_who_came_first(settings: ServiceSettings) -> None:
    queues = Queues(settings)
    made = [submitted(settings, priority=priority) for priority in (0, 5, 0, -3, 5, 100, 0)]
    for record in made:
        queues.put(record)
    expected = [each.id for each in sorted(made, key=lambda each: -each.priority)]
    assert {Path(each).name for each in queues.waiting("job")} == set(expected)
    assert taken(settings) == expected
    assert queues.waiting("job") == set()


def test_what_a_queue_forgot_is_put_back_once(settings: ServiceSettings) -> None:
    queues = Queues(settings)
    waiting, lost, running, ended = (submitted(settings) for _ in range(4))
    queues.put(waiting)
    records.claim(running.folder)
    records.end(ended.folder, State.CANCELLED)
    assert mend(queues, roots(settings), settings) == 1
    assert mend(queues, roots(settings), settings) == 0
    assert sorted(taken(settings)) == sorted([waiting.id, lost.id])


def test_after_a_queue_is_lost_everything_waits_again(settings: ServiceSettings) -> None:
    queues = Queues(settings)
    made = [submitted(settings, priority=number % 3) for number in range(20)]
    for record in made:
        queues.put(record)
    queues.purge("job")
    assert mend(queues, roots(settings), settings) == len(made)
    assert set(taken(settings)) == {each.id for each in made}


def test_a_message_is_data(settings: ServiceSettings) -> None:
    """Not a pickle: who can write into the queue cannot let a worker run code."""
    queues = Queues(settings)
    queues.put(submitted(settings))
    (raw,) = queues.of("job").storage.enqueued_items()
    assert json.loads(bytes(raw))


@pytest.mark.needs("redis-server")
def test_the_password_is_in_no_setting(redis_server: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=REDIS_PASSWORD):
        ServiceSettings(queue=redis_server.replace("//", f"//:{'x' * 8}@"))
    assert PASSWORD not in ServiceSettings(folder=tmp_path, queue=redis_server).model_dump_json()


def test_a_submission_outlives_a_queue_that_is_out_of_order(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    settings = ServiceSettings(folder=tmp_path, queue=f"redis://127.0.0.1:{port}/0")
    record = submitted(settings)
    Queues(settings).put(record)  # nobody listens there
    assert records.read(record.folder).state is State.QUEUED
    in_order = ServiceSettings(folder=tmp_path)
    assert mend(Queues(in_order), roots(in_order), in_order) == 1
    assert taken(in_order) == [record.id]


def test_the_queue_is_on_the_disk_before_a_submission_is_answered(tmp_path: Path) -> None:
    settings = ServiceSettings(folder=tmp_path)
    storage = Queues(settings).of("job").storage
    assert storage.conn.execute("pragma synchronous").fetchone()[0] >= 1
    assert isinstance(storage.conn, sqlite3.Connection)


def test_what_waits_is_read_again_only_after_it_has_changed(tmp_path: Path) -> None:
    root, opened = tmp_path / "jobs", Opened()

    def look() -> dict[str, State]:
        for folder in root.iterdir():  # changed long ago: of what changes now, times may still be equal
            if folder.name != ".open":
                at = folder.stat().st_mtime_ns - 10**10
                os.utime(folder, ns=(at, at))
        return {record.id: record.state for record in opened.of(root)}

    made = [records.create(root, "job", "ada").folder for _ in range(20)]
    first = made[0]
    assert set(look().values()) == {State.QUEUED}
    assert opened.read == 20
    before = {folder: folder.stat().st_mtime_ns for folder in made}
    for _ in range(3):
        assert len(list(opened.of(root))) == 20
    assert opened.read == 20
    number = records.claim(first)
    assert number == 1 and first.stat().st_mtime_ns != before[first]
    assert look()[first.name] is State.RUNNING
    records.release(first, number)
    assert look()[first.name] is State.QUEUED
    records.end(first, State.FAILED)
    assert first.name not in look()
    records.reopen(first)
    assert look()[first.name] is State.QUEUED


def test_a_folder_that_has_just_changed_is_not_taken_for_settled(tmp_path: Path) -> None:
    root, opened = tmp_path / "jobs", Opened()
    folder = records.create(root, "job", "ada").folder
    at = folder.stat().st_mtime_ns
    assert [record.state for record in opened.of(root)] == [State.QUEUED]
    records.claim(folder)
    os.utime(folder, ns=(at, at))  # as a clock does that has not moved on
    assert [record.state for record in opened.of(root)] == [State.RUNNING]
