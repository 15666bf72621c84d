"""Calls over real connections: where the key goes, what a broken answer is, what is repeated."""

from __future__ import annotations

import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from snakefold.clusters.runpod.parts import Part, fetch
from snakefold.clusters.runpod.session import (
    RejectedError,
    ResultError,
    Session,
    UnavailableError,
    call,
    persist,
)

KEY = "rpa_secret"
Answer = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def serving(answer: Answer, tls: ssl.SSLContext | None = None) -> Iterator[tuple[str, list[str]]]:
    """A server: its address, and the Authorization headers that it was sent."""
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers.get("Authorization", ""))
            answer(self)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()
        server.server_close()


def sends(body: bytes, status: int = 200, length: int | None = None, **headers: str) -> Answer:
    def answer(to: BaseHTTPRequestHandler) -> None:
        to.send_response(status)
        to.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers.items():
            to.send_header(name.replace("_", "-"), value)
        to.end_headers()
        to.wfile.write(body)

    return answer


def session(**settings: object) -> Session:
    return Session(KEY, **{"timeout": 5.0, "patience": 0.0, **settings})  # type: ignore[arg-type]


def test_a_redirection_is_refused_and_the_key_stays() -> None:
    with (
        serving(sends(b"{}")) as (elsewhere, theirs),
        serving(sends(b"", 302, Location=elsewhere)) as (url, ours),
        pytest.raises(RejectedError, match="HTTP 302"),
    ):
        call(session(), "GET", url)
    assert (ours, theirs) == ([f"Bearer {KEY}"], [])


def test_an_answer_that_repeats_the_key_is_told_without_it() -> None:
    with (
        serving(sends(f'{{"error": "not {KEY}"}}'.encode(), 400)) as (url, _),
        pytest.raises(RejectedError, match=r"HTTP 400 \(not \*\*\*\)"),
    ):
        call(session(), "GET", url)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (sends(b'{"a":', length=100), "the connection was lost"),
        (sends(b"<html>"), "is not JSON"),
        (lambda to: to.connection.close(), "the connection was lost"),
        (lambda _: threading.Event().wait(1.5), "no answer in time"),
        (sends(b"busy", 503), r"HTTP 503 \(busy\)"),
    ],
)
def test_an_answer_that_is_lost_may_have_had_its_effect(answer: Answer, told: str) -> None:
    with serving(answer) as (url, _), pytest.raises(UnavailableError, match=told) as caught:
        call(session(timeout=0.5), "GET", url)
    assert caught.value.taken


def test_no_connection_had_no_effect() -> None:
    with serving(sends(b"{}")) as (url, _):
        pass
    with pytest.raises(UnavailableError, match="no connection") as caught:
        call(session(), "GET", url)
    assert not caught.value.taken


def test_what_the_service_asks_to_wait_for_is_waited_for() -> None:
    answers = iter([sends(b"", 429, Retry_After="7"), sends(b"", 429), sends(b'{"a": 1}')])
    waits: list[float] = []
    said: list[str] = []

    def answer(to: BaseHTTPRequestHandler) -> None:
        next(answers)(to)

    with serving(answer) as (url, seen):
        patient = session(patience=60.0, sleep=waits.append, told=said.append)
        assert persist(patient, lambda: call(patient, "GET", url)) == {"a": 1}
    assert len(seen) == 3 and waits[0] == 7.0 and 0.5 < waits[1] < 2.0
    assert len(said) == 2 and all(text.endswith("Trying again.") for text in said)


def test_a_quota_that_is_spent_is_not_waited_for() -> None:
    body = b'{"detail": "Your quota is 5 of residues a day (UTC)."}'
    spent = sends(body, 429, X_Snakefold_Refused="quota", Retry_After="1")
    with (
        serving(spent) as (url, seen),
        pytest.raises(RejectedError, match=r"HTTP 429 \(Your quota is 5 of residues a day \(UTC\)"),
    ):
        patient = session(patience=60.0, sleep=lambda _: None)
        persist(patient, lambda: call(patient, "GET", url))
    assert len(seen) == 1


def test_a_certificate_that_nobody_vouches_for_is_not_tried_again(tmp_path: Path) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
         "-keyout", tmp_path / "key.pem", "-out", tmp_path / "cert.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    with serving(sends(b"{}"), tls) as (url, seen), pytest.raises(RejectedError, match="certificate"):
        call(session(), "GET", url)
    assert seen == []


def part(url: str) -> Part:
    return Part("a.bin", "url", url)


def test_a_download_is_redirected_without_the_key(tmp_path: Path) -> None:
    with (
        serving(sends(b"content")) as (elsewhere, theirs),
        serving(sends(b"", 307, Location=elsewhere)) as (url, ours),
    ):
        fetch(session(), part(url), tmp_path / "a.bin", most_bytes=100)
    assert (tmp_path / "a.bin").read_bytes() == b"content"
    assert (ours, theirs) == ([""], [""])


@pytest.mark.parametrize(
    ("answer", "error", "told"),
    [
        (sends(b"", 302, Location="http://192.0.2.1/"), ResultError, "a redirection: only https"),
        (sends(b"", 302, Location="file:///etc/passwd"), ResultError, "HTTP 302"),
        (sends(b"", 302, Location="/"), ResultError, "HTTP 302"),
        (sends(b"", 403), ResultError, "HTTP 403. Presigned addresses end"),
        (sends(b"", 500), UnavailableError, "HTTP 500"),
        (sends(b"x" * 10, length=90), UnavailableError, "was cut short"),
        (sends(b"x" * 101), ResultError, "more than 100 bytes"),
    ],
)
def test_downloads_that_fail(tmp_path: Path, answer: Answer, error: type[Exception], told: str) -> None:
    with serving(answer) as (url, _), pytest.raises(error, match=told) as caught:
        fetch(session(), part(f"{url}/x?signature=abc"), tmp_path / "a.bin", most_bytes=100)
    assert "abc" not in str(caught.value)
