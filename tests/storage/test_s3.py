"""What can go wrong on S3, on a real server: keys, buckets, crashes, and services that refuse things."""

from __future__ import annotations

import contextlib
import http.server
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from snakefold import cli
from snakefold.errors import StoreError
from snakefold.paths import compiled_programs
from snakefold.store import Entry, open_store
from snakefold.store.entry import wrap
from snakefold.store.folder import FolderStore
from snakefold.store.location import S3Location, parse_location
from snakefold.store.maintenance import verify
from snakefold.store.s3 import S3Store
from tests.servers.seaweedfs import READER, WRITER, Keys, SeaweedFS
from tests.storage.conftest import BUCKET, entry, prefix_of

Choose = Callable[[Keys | None], None]


def test_wrong_secret(server: SeaweedFS, s3_location: str, only_these_keys: Choose) -> None:
    only_these_keys(Keys(WRITER.access, "no-such-secret"))
    with pytest.raises(StoreError, match="does not accept the keys") as error:
        open_store(s3_location)
    assert f"s3://{BUCKET}/team/" in str(error.value)
    assert "no-such-secret" not in str(error.value)


def test_unknown_key(s3_location: str, only_these_keys: Choose) -> None:
    only_these_keys(Keys("nobody-here", "x"))
    with pytest.raises(StoreError, match="does not accept the keys") as error:
        open_store(s3_location)
    assert "nobody-here" not in str(error.value)


def test_no_keys(s3_location: str, only_these_keys: Choose) -> None:
    only_these_keys(None)
    with pytest.raises(StoreError, match=r"There are no keys\. Set AWS_ACCESS_KEY_ID"):
        open_store(s3_location)


def test_half_the_keys(s3_location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(StoreError, match="One of the two keys is missing"):
        open_store(s3_location)


def test_no_such_profile(s3_location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(StoreError, match="AWS_PROFILE names a profile"):
        open_store(s3_location)


def test_keys_from_a_profile(s3_location: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "credentials"
    path.write_text(f"[lab]\naws_access_key_id = {WRITER.access}\naws_secret_access_key = {WRITER.secret}\n")
    for name in WRITER.environment():
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
    monkeypatch.setenv("AWS_PROFILE", "lab")
    store = open_store(s3_location)
    store.put(entry(1), b"data")
    assert store.get(entry(1)) == b"data"


def test_missing_bucket(server: SeaweedFS) -> None:
    with pytest.raises(StoreError, match=r"s3://no-such-bucket/x/: There is no such bucket. Create it"):
        open_store(server.location("no-such-bucket", "x"))


def test_bucket_removed_while_in_use(server: SeaweedFS) -> None:
    server.client().create_bucket(Bucket="short-lived")
    store = open_store(server.location("short-lived"))
    store.put(entry(1), b"data")
    store.remove(entry(1))
    server.client().delete_bucket(Bucket="short-lived")
    for act in (lambda: store.put(entry(1), b"x"), lambda: store.keys("a", "b")):
        with pytest.raises(StoreError, match="There is no such bucket"):
            act()


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:1", "http://no-such-host.invalid"])
def test_server_out_of_reach(endpoint: str) -> None:
    with pytest.raises(StoreError, match=r"cannot be reached\. Check endpoint_url"):
        open_store(f"s3://{BUCKET}?endpoint_url={endpoint}")


def test_not_a_secure_server(server: SeaweedFS) -> None:
    with pytest.raises(StoreError, match="No secure connection"):
        open_store(server.location(BUCKET).replace("http:", "https:"))


def test_wrong_clock(s3_location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The request is signed an hour ago; the server's own answer is what is explained."""
    import datetime

    from botocore import auth

    hour_ago = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)
    monkeypatch.setattr(auth, "get_current_datetime", lambda *_, **__: hour_ago.replace(tzinfo=None))
    with pytest.raises(StoreError, match="clock is wrong"):
        open_store(s3_location)


def test_keys_that_may_only_read(s3_location: str, only_these_keys: Choose, server: SeaweedFS) -> None:
    writer = open_store(s3_location)
    writer.put(entry(1), b"data")
    name = f"{prefix_of(writer)}/{entry(2).name}"
    server.client().put_object(Bucket=BUCKET, Key=name, Body=b"damaged")
    only_these_keys(READER)
    store = open_store(s3_location)
    assert store.get(entry(1)) == b"data"
    assert store.keys("fold", "0123456789abcdef") == {entry(1).key, entry(2).key}
    for _ in range(2):  # it cannot be moved aside, and is absent all the same
        assert store.get(entry(2)) is None
        assert verify(store, print).damaged == [entry(2)]
    for act in (lambda: store.put(entry(1), b"x"), lambda: store.remove(entry(1))):
        with pytest.raises(StoreError, match="The keys may not do this") as error:
            act()
        assert entry(1).name in str(error.value)
    assert writer.get(entry(1)) == b"data"


def test_secrets_appear_nowhere(
    s3_location: str,
    only_these_keys: Choose,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """Not in the log at its most talkative: boto's own is quiet about keys, ours must be too."""
    caplog.set_level(logging.DEBUG, "snakefold")
    store = open_store(s3_location)
    store.put(entry(1), b"data")
    said = [repr(store), str(store), store.location, repr(vars(store))]
    for action in (["stats"], ["verify"], ["export", str(tmp_path / "x.tar")]):
        cli.main(["store", *action, "--store", s3_location])
    only_these_keys(READER)
    for keys in (READER, Keys(WRITER.access, "wrong-secret-55e1")):
        only_these_keys(keys)
        assert cli.main(["store", "gc", "--keep", "0s", "--store", s3_location]) == 2
    out = capsys.readouterr()
    text = "\n".join([*said, out.out, out.err, caplog.text, (tmp_path / "x.tar").read_text(errors="replace")])
    assert entry(1).name in text
    for secret in (WRITER.secret, READER.secret, "wrong-secret-55e1"):
        assert secret not in text


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
    running = SeaweedFS(tmp_path / "own")
    running.start()
    try:
        running.client().create_bucket(Bucket=BUCKET)
        yield running
    finally:
        running.stop()


@pytest.mark.slow
def test_a_server_that_dies_and_comes_back_costs_nothing(own_server: SeaweedFS) -> None:
    """Puts from four threads go on through a kill -9 and a restart; every entry is whole afterwards."""
    store = open_store(own_server.location(BUCKET, "run"))
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
from snakefold.store import Entry, open_store
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


def wait_for(condition: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


class _Between(http.server.BaseHTTPRequestHandler):
    """Passes requests on to the real server, and does to some of them what other services do."""

    protocol_version = "HTTP/1.1"
    server: _Proxy

    def handle_any(self) -> None:
        import http.client

        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.server.refuses(self.command, self.path):
            self.answer(403, b"<Error><Code>AccessDenied</Code></Error>", {})
            return
        connection = http.client.HTTPConnection(self.server.behind, timeout=30)
        # The signature covers the Host that the client asked.
        connection.request(self.command, self.path, body, dict(self.headers))
        reply = connection.getresponse()
        content = reply.read()
        connection.close()
        if self.server.cuts(self.command, self.path):
            self.send_response(reply.status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
            return
        self.answer(reply.status, content, dict(reply.headers))

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = handle_any

    def answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                self.send_header(name, value)
        length = headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(content))
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass


class _Proxy(http.server.ThreadingHTTPServer):
    daemon_threads = True
    behind = ""
    refused: tuple[str, ...] = ()
    cut: int = 0
    seen: list[tuple[str, str]]

    def refuses(self, method: str, path: str) -> bool:
        self.seen.append((method, path))
        return method in self.refused

    def cuts(self, method: str, path: str) -> bool:
        if method == "GET" and "list-type" not in path and self.cut:
            self.cut -= 1
            return True
        return False


@pytest.fixture
def proxy(server: SeaweedFS) -> Iterator[_Proxy]:
    between = _Proxy(("127.0.0.1", 0), _Between)
    between.behind = server.endpoint.removeprefix("http://")
    between.seen = []
    thread = threading.Thread(target=between.serve_forever, args=(0.05,))
    thread.start()
    yield between
    between.shutdown()
    thread.join()
    between.server_close()


def through(proxy: _Proxy, s3_location: str, tries: int = 8) -> S3Store:
    place = parse_location(s3_location)
    assert isinstance(place, S3Location)
    there = S3Location(place.bucket, place.prefix, f"http://127.0.0.1:{proxy.server_port}", "us-east-1")
    return S3Store(there, tries=tries)


def test_a_service_that_refuses_deletes(proxy: _Proxy, s3_location: str, server: SeaweedFS) -> None:
    store = through(proxy, s3_location)
    proxy.refused = ("DELETE",)
    name = f"{prefix_of(open_store(s3_location))}/{entry(1).name}"
    server.client().put_object(Bucket=BUCKET, Key=name, Body=b"damaged")
    assert store.get(entry(1)) is None
    store.put(entry(1), b"again")
    assert store.get(entry(1)) == b"again"
    with pytest.raises(StoreError, match="The keys may not do this"):
        store.remove(entry(1))


def test_only_the_plainest_requests_are_made(proxy: _Proxy, s3_location: str) -> None:
    """No batch delete, no copy, no versions: services that imitate S3 lack them."""
    store = through(proxy, s3_location)
    store.put(entry(1), b"data")
    store.get(entry(1))
    store.has(entry(1))
    list(store.listing())
    store.remove(entry(1))
    assert {method for method, _ in proxy.seen} == {"GET", "PUT", "HEAD", "DELETE"}


@pytest.mark.parametrize(("cut", "whole"), [(1, True), (50, False)])
def test_an_answer_that_breaks_off_is_asked_for_again(
    cut: int, whole: bool, proxy: _Proxy, s3_location: str
) -> None:
    store = through(proxy, s3_location, tries=3)
    store.put(entry(1), b"data" * 100_000)
    proxy.cut = cut
    if whole:
        assert store.get(entry(1)) == b"data" * 100_000
    else:
        with pytest.raises(StoreError, match=entry(1).name):
            store.get(entry(1))


def test_compiled_programs_stay_on_this_machine(
    s3_location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert compiled_programs(open_store(tmp_path / "store")) == tmp_path / "store" / "compiled"
    assert compiled_programs(open_store(s3_location)) == tmp_path / "cache" / "snakefold" / "compiled"
