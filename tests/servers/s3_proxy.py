"""A proxy before a real S3 server: it does to some requests what other services and crashes do."""

from __future__ import annotations

import hashlib
import http.client
import http.server
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from tests.servers.seaweedfs import SeaweedFS


@dataclass(frozen=True)
class Request:
    """What was asked, the sha256 of what was sent, and the answer's status; None if there was none."""

    method: str
    path: str
    sha256: str
    status: int | None


@dataclass(frozen=True)
class Reply:
    """The server's."""

    status: int
    content: bytes
    headers: dict[str, str]


class _Between(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def handle_any(self) -> None:
        proxy = self.server
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if len(body) < length:  # the client was killed
            self.close_connection = True
            return
        try:
            reply = self._ask(body)
        except (OSError, http.client.HTTPException):
            reply = None
        whole = reply is not None and not proxy.cuts(self.command, self.path)
        digest = hashlib.sha256(body).hexdigest()
        # Before the answer: whoever has it may look at what was seen.
        proxy.seen.append(Request(self.command, self.path, digest, reply.status if reply and whole else None))
        self.close_connection = self.close_connection or not whole
        if reply is None:
            return
        # The client may have hung up.
        with suppress(OSError):
            self._answer(reply, whole)

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = handle_any

    def _ask(self, body: bytes) -> Reply | None:
        """What the server answers; None if it does not."""
        proxy = self.server
        if self.command in proxy.refused:
            return Reply(403, b"<Error><Code>AccessDenied</Code></Error>", {})
        if proxy.loses(self.command, self.path):
            return Reply(200, b"", {"ETag": '"0"'})
        if proxy.stalled:
            proxy.stalled -= 1
            proxy.go_on.wait(30)  # long after the client has hung up
            return None
        connection = http.client.HTTPConnection(proxy.behind.endpoint.removeprefix("http://"), timeout=120)
        try:
            # The signature covers the Host that the client asked.
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                connection.putheader(name, value)
            if proxy.dies(self.command, self.path):
                connection.endheaders(body[: len(body) // 2])
                proxy.behind.kill()
                proxy.died.set()
                return None
            connection.endheaders(body)
            answer = connection.getresponse()
            return Reply(answer.status, answer.read(), dict(answer.headers))
        finally:
            connection.close()

    def _answer(self, reply: Reply, whole: bool) -> None:
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                self.send_header(name, value)
        size = len(reply.content)
        length = reply.headers.get("Content-Length", "0") if self.command == "HEAD" else str(size)
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.content[: size if whole else size // 2])

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class Proxy(http.server.ThreadingHTTPServer):
    """What to do to which requests is set by a test while it runs.

    `refused`: methods that are forbidden; `cut`: how many downloads break off; `stalled`: how many requests
    get no answer; `deaths`: patterns of "METHOD path": the server is killed when it has half of the first
    upload that one matches, which is then taken off. Whoever set it starts the server again. `lost`: the
    same, of uploads that are said to be done, and are not.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, behind: SeaweedFS) -> None:
        super().__init__(("127.0.0.1", 0), _Between)
        self.behind = behind
        self.refused: tuple[str, ...] = ()
        self.cut = 0
        self.stalled = 0
        self.deaths: list[str] = []
        self.lost: list[str] = []
        self.died = threading.Event()
        self.seen: list[Request] = []
        self.go_on = threading.Event()
        self._lock = threading.Lock()

    @property
    def endpoint(self) -> str:
        """Address that clients are told."""
        return f"http://127.0.0.1:{self.server_port}"

    def dies(self, method: str, path: str) -> bool:
        """Whether the server dies of this request."""
        return self._once(self.deaths, method, path)

    def loses(self, method: str, path: str) -> bool:
        """Whether this request does not reach the server, which nobody is told."""
        return self._once(self.lost, method, path)

    def _once(self, patterns: list[str], method: str, path: str) -> bool:
        with self._lock:
            for pattern in patterns:
                if re.search(pattern, f"{method} {path}"):
                    patterns.remove(pattern)
                    return True
        return False

    def cuts(self, method: str, path: str) -> bool:
        """Whether this answer breaks off."""
        if method == "GET" and "list-type" not in path and self.cut:
            self.cut -= 1
            return True
        return False


@contextmanager
def running(behind: SeaweedFS) -> Iterator[Proxy]:
    """A proxy before a server, until the block ends."""
    proxy = Proxy(behind)
    thread = threading.Thread(target=proxy.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield proxy
    finally:
        proxy.go_on.set()
        proxy.shutdown()
        thread.join()
        proxy.server_close()
