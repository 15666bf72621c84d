"""A receiver of callbacks: it checks the secret, and answers what a test wants it to."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECRET = "callback-secret-4f1d"  # noqa: S105 (made up)

#: What a receiver of the older programs takes (its own schema, in JSON Schema).
SCHEMA = {
    "type": "object",
    "required": ["idx", "status", "idempotency_key"],
    "properties": {
        "idx": {"type": "integer", "minimum": 0},
        "status": {"enum": ["done", "failed"]},
        "idempotency_key": {"type": "string", "minLength": 1},
        "output_key": {"type": "string", "minLength": 1},
        "preview_key": {"type": "string", "minLength": 1},
        "error": {"type": "string", "minLength": 1},
    },
}


@dataclass(frozen=True)
class Received:
    """A call: its path, headers by lower-case name, body, and what it was answered."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    status: int


class Receiver(ThreadingHTTPServer):
    """Answers 200 to whoever knows the secret; `answers` come first, `delay` before each.

    Attributes:
        seen: every call.
        kept: bodies by idempotency key, of calls that were answered 200: a receiver takes each once.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[int] = []
        self.delay = 0.0
        self.seen: list[Received] = []
        self.kept: dict[str, dict[str, Any]] = {}
        self.lock = threading.Lock()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    @property
    def url(self) -> str:
        return f"http://{self.host}/jobs/job_123/callback?token=in-the-address"

    def clear(self) -> None:
        self.answers, self.delay, self.seen, self.kept = [], 0.0, [], {}


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        # Of the test that was called, though the next one may have begun when it is answered.
        seen, kept, answers = server.seen, server.kept, server.answers
        time.sleep(server.delay)
        with server.lock:
            status = 200 if self.headers["Authorization"] == f"Bearer {SECRET}" else 401
            if status == 200 and answers:
                status = answers.pop(0)
            headers = {name.lower(): value for name, value in self.headers.items()}
            seen.append(Received(self.path, headers, body, status))
            if status == 200:
                kept.setdefault(body["idempotency_key"], body)
        self.send_response(status)
        if 300 <= status < 400:
            self.send_header("Location", f"http://{server.host}/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver that runs."""
    server = Receiver()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
