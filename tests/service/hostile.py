"""Requests of somebody who means harm, as bytes: HTTP clients would not send them."""

from __future__ import annotations

import json
import random
import re
import resource
import selectors
import socket
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

#: What every answer has, whoever gives it.
HEADERS = {
    "content-security-policy",
    "x-content-type-options",
    "x-frame-options",
    "referrer-policy",
    "cross-origin-resource-policy",
    "cache-control",
}
#: What must never be in a log.
SIGNATURE = "X-Amz-Signature=2f6bd31c7be38c70"


@dataclass(frozen=True)
class Answer:
    """What came back; status 0: the connection was closed without an answer."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


def answered(raw: bytes) -> Answer:
    """The first answer of what was received."""
    head, _, body = raw.partition(b"\r\n\r\n")
    match = re.match(rb"HTTP/1\.1 (\d{3}) ", head)
    if match is None:
        return Answer(0, {}, raw)
    lines = head.decode("latin-1").split("\r\n")[1:]
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Answer(int(match[1]), headers, body)


def talk(port: int, data: bytes, patience: float = 60.0) -> Answer:
    """Send bytes on a connection of their own and read an answer, or to the end.

    Raises:
        TimeoutError: the server neither answers nor closes.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=patience) as connection:
        received = b""
        try:
            connection.sendall(data)
            while not _whole(received) and (part := connection.recv(65536)):
                received += part
        except ConnectionError:
            pass  # it closed before it had read everything: its answer may be lost
        return answered(received)


def _whole(received: bytes) -> bool:
    answer = answered(received)
    return "content-length" in answer.headers and len(answer.body) >= int(answer.headers["content-length"])


def request(
    method: str, path: str, body: bytes = b"", *, token: str = "", host: str = "127.0.0.1", **headers: str
) -> bytes:
    """A request, with whatever is given as it is given."""
    given = {"Host": host, "Connection": "close"}
    if token:
        given["Authorization"] = f"Bearer {token}"
    if body:
        given |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items())]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def chunked(path: str, token: str, size: int) -> bytes:
    """A body that does not say how long it is."""
    head = request("POST", path, token=token, Transfer_Encoding="chunked", Content_Type="application/json")
    part = b"1000\r\n" + b" " * 0x1000 + b"\r\n"
    return head + part * (size // 0x1000) + b"0\r\n\r\n"


def paths(name: str) -> Iterator[str]:
    """Names of records that try to be paths, or anything but a name."""
    yield from (
        "..",
        "../../../../etc/passwd",
        "%2e%2e",
        "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "..%2f..%2fqueue.db",
        "..%5c..%5cqueue.db",
        "..\\..\\queue.db",
        ".open",
        "%00",
        f"{name}%00",
        f"{name}%00.json",
        f"{name}%0a",
        f"{name}%0d%0aSet-Cookie:%20a=b",
        f"{name}/../{name[::-1]}",
        f"{name.upper()}Z",
        "%ff%fe",
        "%ed%a0%80",
        "%f0%9f%a7%ac",
        "*",
        "[a-z]*",
        "~root",
        "$(id)",
        "a" * 3000,
        "%2e" * 10_000,
    )


def bodies() -> Iterator[tuple[str, bytes]]:
    """Bodies for a route that reads JSON."""
    yield "NaN", b'{"input": {"sequence": NaN}}'
    yield "infinity", b'{"input": {"sequence": -Infinity}}'
    yield "too large a number", b'{"input": {"sequence": 1e999}}'
    yield "too many digits", b'{"input": {"sequence": ' + b"9" * 10_000 + b"}}"
    yield "a key twice", b'{"input": {"sequence": "MKT", "sequence": "AAA"}}'
    yield "input twice", b'{"input": {"sequence": "MKT"}, "input": {}}'
    yield "half a character", b'{"input": {"sequence": "\\ud800"}}'
    yield "half a character as a key", b'{"input": {"\\udfff": "MKT"}}'
    yield "deep lists", b'{"input": {"sequence": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}"
    yield "deep objects", b'{"input": ' + b'{"a":' * 500 + b"1" + b"}" * 501
    yield "lists that never end", b"[" * 200_000
    yield "no JSON", b"{input: 1}"
    yield "no UTF-8", b'{"input": {"sequence": "\xff\xfe"}}'
    yield "UTF-16", '{"input": {"sequence": "MKT"}}'.encode("utf-16")
    yield "a byte order mark", b'\xef\xbb\xbf{"input": {"sequence": "MKT"}}'
    yield "NUL", b'{"input": {"sequence": "MKT"}}\0'
    yield "two values", b'{"input": {"sequence": "MKT"}} {}'
    yield "a list", b"[]"
    yield "a text", b'"input"'
    yield "null", b"null"
    yield "an input that is no object", b'{"input": [1, 2]}'
    yield "an unknown key", b'{"input": {"sequence": "MKT", "command": "rm -rf /"}}'
    yield "a type that is wrong", b'{"input": {"sequence": {"$gt": ""}}}'
    yield "a policy that is wrong", b'{"input": {"sequence": "MKT"}, "policy": {"ttl": -1}}'
    yield (
        "an address with a signature",
        json.dumps(
            {"input": {"sequence": 5, "sink": {"url": f"https://bucket.example/x?{SIGNATURE}"}}}
        ).encode(),
    )


def heads(token: str) -> Iterator[tuple[str, bytes]]:
    """Heads that are no HTTP, or smuggle something."""
    good = request("GET", "/v2/fold/health", token=token)
    yield "no HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200)
    yield "a version that is none", good.replace(b"HTTP/1.1", b"HTTP/x.y")
    yield "no host", good.replace(b"Host: 127.0.0.1\r\n", b"")
    yield "two hosts", good.replace(b"Host:", b"Host: evil.example\r\nHost:", 1)
    yield "a header without a name", good.replace(b"Host:", b": x\r\nHost:")
    yield "a header with NUL", good.replace(b"Host:", b"X: a\0b\r\nHost:")
    yield "a header of 1 MB", good.replace(b"Host:", b"X: " + b"a" * 1_000_000 + b"\r\nHost:")
    yield "20,000 headers", good.replace(b"Host:", b"X: a\r\n" * 20_000 + b"Host:")
    yield (
        "two lengths",
        request("POST", "/v2/fold/run", b"{}", token=token).replace(
            b"Content-Length: 2", b"Content-Length: 2\r\nContent-Length: 3"
        ),
    )
    yield "a negative length", request("POST", "/v2/fold/run", token=token, Content_Length="-5")
    yield "a length that is no number", request("POST", "/v2/fold/run", token=token, Content_Length="1e3")
    yield "a length beyond all", request("POST", "/v2/fold/run", token=token, Content_Length="9" * 30)
    yield (
        "chunks that are none",
        request("POST", "/v2/fold/run", token=token, Transfer_Encoding="chunked") + b"zz\r\nx\r\n0\r\n\r\n",
    )
    yield (
        "a length and chunks",
        request("POST", "/v2/fold/run", token=token, Transfer_Encoding="chunked", Content_Length="4")
        + b"5c\r\n",
    )
    yield "no path", good.replace(b"/v2/fold/health", b"*")
    yield "an address as a path", good.replace(b"/v2/fold/health", b"http://evil.example/v2/fold/health")
    yield "a method that is none", good.replace(b"GET", b"FOLD")
    yield "TRACE", good.replace(b"GET", b"TRACE")
    yield "CONNECT", good.replace(b"GET /v2/fold/health", b"CONNECT evil.example:443")


def mutations(good: list[bytes], seed: int, number: int) -> Iterator[bytes]:
    """Requests with bytes that were changed, cut, doubled or moved."""
    chance = random.Random(seed)
    pieces = [
        b"\0",
        b"\r\n",
        b"\r\n\r\n",
        b"%00",
        b"../",
        b"\xff",
        b"{",
        b"[",
        b'"',
        b":",
        b"\\ud800",
        b"1e999",
    ]
    for _ in range(number):
        data = bytearray(chance.choice(good))
        for _ in range(chance.randint(1, 6)):
            at = chance.randrange(len(data) + 1)
            what = chance.randrange(5)
            if what == 0 and data:
                data[at % len(data)] = chance.randrange(256)
            elif what == 1:
                data[at:at] = chance.choice(pieces)
            elif what == 2:
                del data[at : at + chance.randint(1, 20)]
            elif what == 3:
                data[at:at] = data[at : at + chance.randint(1, 40)]
            else:
                data[at:at] = chance.choice(pieces) * chance.randint(1, 50)
        yield bytes(data)


def closed(connections: list[socket.socket]) -> bool:
    """Wait until the server has closed all of them."""
    with selectors.DefaultSelector() as selector:
        for each in connections:
            each.setblocking(False)
            selector.register(each, selectors.EVENT_READ)
        until = time.monotonic() + 60
        while selector.get_map() and time.monotonic() < until:
            for key, _ in selector.select(1):
                try:
                    over = not key.fileobj.recv(65536)  # type: ignore[union-attr]
                except ConnectionError:
                    over = True
                if over:
                    selector.unregister(key.fileobj)
        return not selector.get_map()


def opened(port: int, number: int, data: bytes) -> list[socket.socket]:
    """Connections that say so much and no more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < number + 200:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(number + 200, hard), hard))
    made = []
    for _ in range(number):
        connection = socket.create_connection(("127.0.0.1", port), timeout=60)
        connection.sendall(data)
        made.append(connection)
    return made


def good_requests(token: str, job: str) -> list[bytes]:
    """Requests to begin from."""
    run = json.dumps({"input": {"sequence": "MKTAYIAKQRQISFVK", "db_preset": "single_sequence"}}).encode()
    return [
        request("GET", f"/v2/fold/status/{job}", token=token),
        request("GET", "/v2/fold/health", token=token),
        request("GET", "/health"),
        request("POST", "/v2/fold/run", run, token=token),
        request("POST", f"/v2/fold/cancel/{job}", token=token),
        request("GET", f"/v2/fold/stream/{job}?wait=1", token=token, Origin="http://127.0.0.1"),
    ]


def check_mutations(port: int, token: str, job: str, *, seed: int, number: int) -> dict[str, int]:
    """Send mutated requests, 30 at a time; how many were answered how.

    None may hang, and none may be answered with 5xx.
    """

    def outcome(data: bytes) -> str:
        answer = talk(port, data)
        assert answer.status < 500, (answer, data)
        if not answer.status:
            return "closed"
        assert answer.headers.keys() >= HEADERS, (answer, data)
        return f"{answer.status // 100}xx"

    with ThreadPoolExecutor(30) as pool:
        return dict(Counter(pool.map(outcome, mutations(good_requests(token, job), seed, number))))
