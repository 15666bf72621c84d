"""An https server under public names, for what a worker fetches; no packet leaves this machine."""

from __future__ import annotations

import contextlib
import datetime
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from snakefold.worker.fetch import Network

HOST = "files.example.org"
PUBLIC = "93.184.215.14"


_HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"
#: What comes before a drip of bytes: in the status line, in a header, in a body.
_DRIPS = {"drip-status": b"HTTP/1.1 ", "drip-header": _HEAD + b"X-Long: ", "drip-body": _HEAD + b"\r\n"}


#: Path, Authorization and JSON of what was posted.
posted: list[tuple[str, str | None, dict[str, Any]]] = []


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    left = threading.Event()

    def do_GET(self) -> None:
        kind, _, rest = self.path.lstrip("/").partition("/")
        if kind in _DRIPS:
            self._drip(_DRIPS[kind])
            return
        status, body, headers = self._answer(kind, unquote(rest))
        self.send_response(status)
        if kind != "unsized":
            self.send_header("Content-Length", str(len(body) + (10 if kind == "cut" else 0)))
        else:
            self.send_header("Connection", "close")
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if kind == "drip":
            with contextlib.suppress(OSError):
                for letter in body:
                    self.wfile.write(bytes([letter]))
                    time.sleep(0.3)
        else:
            with contextlib.suppress(OSError):  # who asked may have seen enough
                self.wfile.write(body)
        self.close_connection = kind in ("cut", "unsized")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        posted.append((self.path, self.headers["Authorization"], body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _answer(self, kind: str, rest: str) -> tuple[int, bytes, dict[str, str]]:
        time.sleep({"slow": 3, "around": 0.15}.get(kind, 0))
        if kind in ("redirect", "around"):
            return 302, b"", {"Location": rest or "/around"}
        body = {"big": b"x" * 5000, "host": self.headers["Host"].encode()}.get(kind, b">a\nMKTAYIAK\n")
        return 404 if kind == "missing" else 200, body, {}

    def _drip(self, start: bytes) -> None:
        """A byte at a time, for a minute; `left` is set if the other side goes before the end."""
        try:
            self.wfile.write(start)
            for _ in range(1200):
                self.wfile.write(b"2")
                time.sleep(0.05)
        except OSError:
            self.left.set()
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@dataclass
class Net:
    """Names and what they lead to; every connection goes to the local server, whatever its address."""

    port: int
    context: ssl.SSLContext
    names: dict[str, list[list[str]]] = field(default_factory=dict)
    left: threading.Event = _Handler.left
    connected: list[str] = field(default_factory=list)

    def network(self, trusted: frozenset[str] = frozenset()) -> Network:
        return Network(trusted, self._resolve, self._connect, self.context)

    def _resolve(self, host: str, port: int) -> list[str]:
        """Each call takes the next answer: what rebinding does."""
        answers = self.names[host]
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def _connect(self, address: str, port: int, timeout: float) -> socket.socket:
        self.connected.append(address)
        return socket.create_connection(("127.0.0.1", self.port), timeout)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of HOST and other.example.org, and its key."""
    pytest.importorskip("cryptography", reason="needs cryptography, which runpod brings")
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName(HOST), x509.DNSName("other.example.org")]
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("certificate") / "both.pem"
    form = serialization.Encoding.PEM
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path.write_bytes(key.private_bytes(form, *plain) + built.public_bytes(form))
    return path


@pytest.fixture(scope="module")
def port(certificate: Path) -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


@pytest.fixture
def net(port: int, certificate: Path) -> Net:
    names = {HOST: [[PUBLIC]], "other.example.org": [["1.1.1.1"]]}
    return Net(port, ssl.create_default_context(cafile=str(certificate)), names)
