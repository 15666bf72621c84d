"""Services that answer otherwise than S3: a proxy before a real server refuses, cuts short and counts."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.config import Config

from snakefold.errors import StoreError
from snakefold.store import open_store
from snakefold.store.location import S3Location, parse_location
from snakefold.store.s3 import S3Store
from tests.servers.seaweedfs import SeaweedFS
from tests.storage.conftest import BUCKET, entry, prefix_of


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
        if self.server.stalled:
            self.server.stalled -= 1
            self.server.go_on.wait(30)  # long after the client has hung up
            self.close_connection = True
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
    stalled: int = 0
    seen: list[tuple[str, str]]
    go_on: threading.Event

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
    between.go_on = threading.Event()
    thread = threading.Thread(target=between.serve_forever, args=(0.05,))
    thread.start()
    yield between
    between.go_on.set()
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


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients wait half a second for an answer, not a minute, and boto3 asks once: the store asks again."""

    def config(**given: Any) -> Config:
        return Config(**{**given, "read_timeout": 0.5, "retries": {"total_max_attempts": 1}})

    monkeypatch.setattr("snakefold.store.s3.Config", config)


@pytest.mark.parametrize("stalled", [1, 50])
def test_a_server_that_does_not_answer_in_time(
    stalled: int, impatient: None, proxy: _Proxy, s3_location: str
) -> None:
    store = through(proxy, s3_location, tries=3)
    store.put(entry(1), b"data")
    proxy.stalled = stalled
    if stalled == 1:
        assert store.get(entry(1)) == b"data"
    else:
        with pytest.raises(StoreError, match="does not answer in time"):
            store.get(entry(1))
    proxy.stalled = 0
    assert store.get(entry(1)) == b"data"


@pytest.mark.parametrize("region", ["auto", "EU-RO-1", "eeur"])
def test_regions_that_are_not_amazons(region: str, server: SeaweedFS, s3_location: str) -> None:
    """Cloudflare R2 calls its only one `auto`; a RunPod volume's is its datacenter, in capitals."""
    store = open_store(s3_location.replace("us-east-1", region))
    store.put(entry(1), b"data")
    assert store.get(entry(1)) == b"data"
