"""What can go wrong on S3, on a real server: large entries, many entries, crashes."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from snakefold.kernel.errors import StoreError
from snakefold.kernel.paths import compiled_programs
from snakefold.kernel.store import Entry, open_store
from snakefold.kernel.store.entry import wrap
from snakefold.kernel.store.folder import FolderStore
from snakefold.kernel.store.location import S3Location, parse_location
from snakefold.kernel.store.maintenance import verify
from snakefold.kernel.store.s3 import S3Store
from tests.servers.seaweedfs import SeaweedFS, serving
from tests.storage.conftest import BUCKET, entry, prefix_of


def wait_for(condition: Callable[[], bool], seconds: float = 1200) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


def test_large_entries_go_in_parts(s3_location: str, server: SeaweedFS) -> None:
    store = open_store(s3_location)
    data = os.urandom(1 << 20) * 70
    store.put(entry(1), data)
    assert store.get(entry(1)) == data
    head = server.client().head_object(Bucket=BUCKET, Key=f"{prefix_of(store)}/{entry(1).name}")
    assert head["ContentLength"] == len(wrap(data))
    assert head["ETag"].strip('"').endswith("-3")  # made of three parts
    assert list(store.leftovers()) == []


def test_a_store_can_be_copied_with_any_tool(s3_location: str, server: SeaweedFS, tmp_path: Path) -> None:
    """Objects and files have the same names and bytes, both ways."""
    remote = open_store(s3_location)
    for number in range(5):
        remote.put(entry(number), bytes([number]) * 10)
    client, prefix = server.client(), f"{prefix_of(remote)}/"
    for item in client.list_objects_v2(Bucket=BUCKET, Prefix=prefix)["Contents"]:
        path = tmp_path / item["Key"].removeprefix(prefix)
        path.parent.mkdir(parents=True, exist_ok=True)
        client.download_file(BUCKET, item["Key"], str(path))
    folder = FolderStore(tmp_path)
    assert {each.entry for each in folder.listing()} == {each.entry for each in remote.listing()}
    assert [folder.get(entry(number)) for number in range(5)] == [bytes([number]) * 10 for number in range(5)]
    folder.put(entry(9), b"nine")
    client.upload_file(str(folder.path(entry(9))), BUCKET, prefix + entry(9).name)
    assert remote.get(entry(9)) == b"nine"


def test_stores_beside_each_other_do_not_mix(server: SeaweedFS) -> None:
    for prefix in ("twins/a", "twins/ab", "twins/a/b"):
        open_store(server.location(BUCKET, prefix)).put(entry(len(prefix)), prefix.encode())
    for prefix in ("twins/a", "twins/ab", "twins/a/b"):
        (listed,) = open_store(server.location(BUCKET, prefix)).listing()
        assert listed.entry == entry(len(prefix))


def test_a_whole_bucket_can_be_a_store(server: SeaweedFS) -> None:
    server.client().create_bucket(Bucket="whole")
    store = open_store(server.location("whole"))
    store.put(entry(1), b"data")
    assert [each.entry for each in open_store(server.location("whole", "/")).listing()] == [entry(1)]
    found = server.client().list_objects_v2(Bucket="whole")["Contents"]
    assert [item["Key"] for item in found] == [entry(1).name]


@pytest.mark.slow
def test_twenty_thousand_keys_are_listed_in_pages(s3_location: str, server: SeaweedFS) -> None:
    store = open_store(s3_location)
    keys = {f"{number * 2654435761 % 2**32:08x}" + "0" * 56 for number in range(20_000)}
    names = [f"{prefix_of(store)}/{Entry('msa', 'r', key).name}" for key in keys]
    server.fill(BUCKET, names, wrap(b"x"))
    store.put(entry(1), b"another kind")
    assert store.keys("msa", "r") == keys
    assert sum(1 for _ in store.listing()) == 20_001


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[SeaweedFS]:
    """A server that the test may kill."""
    with serving(tmp_path / "own", BUCKET) as running:
        yield running


@pytest.mark.slow
def test_a_server_that_dies_and_comes_back_costs_nothing(own_server: SeaweedFS) -> None:
    """Puts from four threads go on through a kill -9 and a restart; every entry is whole afterwards."""
    place = parse_location(own_server.location(BUCKET, "run"))
    assert isinstance(place, S3Location)
    store = S3Store(place, tries=40)  # a busy machine may take minutes to start a server
    done: list[int] = []
    failed: list[StoreError] = []
    stop = threading.Event()

    def work(first: int) -> None:
        number = first
        while not stop.is_set():
            try:
                store.put(Entry("fold", "r", f"{number:064x}"), number.to_bytes(4, "big") * 50_000)
            except StoreError as error:
                failed.append(error)
                return
            done.append(number)
            number += 4

    threads = [threading.Thread(target=work, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(done) >= 20)
    own_server.kill()
    at_kill = len(done)
    time.sleep(1)
    own_server.start()
    wait_for(lambda: len(done) >= at_kill + 40 or bool(failed))
    stop.set()
    for thread in threads:
        thread.join()
    assert failed == []
    for number in done:
        assert store.get(Entry("fold", "r", f"{number:064x}")) == number.to_bytes(4, "big") * 50_000
    assert verify(store, print).damaged == []
    assert len(store.keys("fold", "r")) == len(set(done))


_WRITER = """
import os, sys
from snakefold.kernel.store import Entry, open_store
store = open_store(sys.argv[1])
print("ready", flush=True)
while True:
    store.put(Entry("fold", "r", "0" * 64), os.urandom(1) * (40 << 20))
    print("put", flush=True)
"""


@pytest.mark.slow
def test_a_writer_that_is_killed_leaves_the_entry_whole(s3_location: str) -> None:
    store, one = open_store(s3_location), Entry("fold", "r", "0" * 64)
    for pause in (0.05, 0.2, 0.4):
        writer = subprocess.Popen(
            [sys.executable, "-c", _WRITER, s3_location], stdout=subprocess.PIPE, text=True
        )
        with contextlib.closing(writer.stdout or sys.stdin) as lines:
            assert lines.readline() == "ready\n"
            assert lines.readline() == "put\n"
            time.sleep(pause)
            writer.kill()
        writer.wait()
        data = store.get(one)
        assert data is not None
        assert len(data) == 40 << 20
        assert len(set(data)) == 1


def test_compiled_programs_stay_on_this_machine(
    s3_location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert compiled_programs(open_store(tmp_path / "store")) == tmp_path / "store" / "compiled"
    assert compiled_programs(open_store(s3_location)) == tmp_path / "cache" / "snakefold" / "compiled"
