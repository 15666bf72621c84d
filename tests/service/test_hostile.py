"""Somebody who means harm: every request is refused, none hangs, and others are served meanwhile."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from snakefold.service import records
from snakefold.service.records import State
from snakefold.service.users import User, add_token
from tests.service import hostile
from tests.service.hostile import HEADERS, Answer, chunked, request, talk
from tests.service.running import Server, serving, wait

#: Long enough for whatever is honest on a busy machine, and short enough to wait for in a test.
LIMITS = {"head_seconds": 3, "body_seconds": 4, "send_seconds": 2, "body_mb": 1}
PASSWORD = "redis-password-5c1a"  # noqa: S105
OUTPUT_MB = 24


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile")


@pytest.fixture(scope="module")
def tokens(place: Path) -> dict[str, str]:
    path = place / "tokens.yaml"
    return {name: add_token(path, User(user=name, admin=name == "root")) for name in ("ada", "bob", "root")}


@pytest.fixture(scope="module")
def server(place: Path, tokens: dict[str, str]) -> Iterator[Server]:
    settings = {"tokens": str(place / "tokens.yaml"), "limits": LIMITS}
    with serving(place, settings=settings, environment={"SNAKEFOLD_REDIS_PASSWORD": PASSWORD}) as running:
        yield running
        log = running.log.read_text()
        assert "Traceback" not in log
        for secret in (*tokens.values(), PASSWORD, hostile.SIGNATURE):
            assert secret not in log
        assert not [line for line in running.lines() if line.get("status", 0) >= 500]


@pytest.fixture(scope="module")
def job(server: Server) -> str:
    """A job of ada's with a large output."""
    record = records.create(server.folder / "jobs", "job", "ada", facts={"endpoint": "fold"})
    (record.folder / "output.json").write_text(json.dumps({"text": "x" * (OUTPUT_MB * 1_000_000)}))
    records.end(record.folder, State.DONE)
    return record.id


def refused(answer: Answer, *codes: int) -> None:
    assert answer.status in codes if codes else 400 <= answer.status < 500, answer
    assert answer.headers.keys() >= HEADERS
    assert isinstance(json.loads(answer.body)["detail"], str)


def test_every_answer_has_the_headers(server: Server, tokens: dict[str, str], job: str) -> None:
    with server.client(tokens["ada"]) as client:
        for path in ("/health", "/openapi.json", "/v2/fold/health", f"/v2/fold/status/{job}", "/nothing"):
            assert client.get(path).headers.keys() >= HEADERS
        assert "server" not in client.get("/health").headers


@pytest.mark.parametrize("name", ["ada", "bob"])
def test_a_name_that_is_a_path_is_nothing(
    server: Server, tokens: dict[str, str], job: str, name: str
) -> None:
    for path in hostile.paths(job):
        for method, route in (("GET", "status"), ("GET", "stream"), ("POST", "cancel"), ("POST", "retry")):
            refused(talk(server.port, request(method, f"/v2/fold/{route}/{path}", token=tokens[name])))
        refused(talk(server.port, request("GET", f"/v2/{path}/health", token=tokens[name])))
        refused(talk(server.port, request("GET", f"/{path}", token=tokens[name])))
    with server.client(tokens["ada"]) as client:
        assert client.get(f"/v2/fold/status/{job}").json()["status"] == "COMPLETED"


def test_anothers_record_is_no_record(server: Server, tokens: dict[str, str], job: str) -> None:
    with server.client(tokens["ada"]) as ada, server.client(tokens["bob"]) as bob:
        count = ada.post("/counts", json={"seconds": 0}).json()["id"]
        for method, path in (
            ("GET", "/v2/fold/status/{}"),
            ("GET", "/v2/fold/stream/{}"),
            ("POST", "/v2/fold/cancel/{}"),
            ("POST", "/v2/fold/retry/{}"),
            ("GET", "/counts/{}"),
        ):
            there = bob.request(method, path.format(count if "counts" in path else job))
            not_there = bob.request(method, path.format(records.new_id()))
            assert there.status_code == 404
            assert (there.status_code, there.json()) == (not_there.status_code, not_there.json())
        assert bob.post("/v2/fold/purge-queue").json()["removed"] == 0
        assert bob.get("/v2/fold/health").json()["jobs"]["completed"] == 0
        assert ada.get("/v2/fold/health").json()["jobs"]["completed"] == 1
        # A record of one kind is none of another.
        assert ada.get(f"/v2/fold/status/{count}").status_code == 404


def test_anothers_set_is_no_set(server: Server, tokens: dict[str, str]) -> None:
    with server.client(tokens["ada"]) as ada, server.client(tokens["bob"]) as bob:
        sent = {"files": ("targets.fasta", b">one\nMKTAYIAKQRQISFVKSHFSRQ\n")}
        answer = ada.post("/api/runs", files=sent)
        assert answer.status_code == 201, answer.text
        run = answer.json()["id"]
        assert ada.get(f"/api/runs/{run}").status_code == 200
        assert ada.get(f"/ga4gh/wes/v1/runs/{run}").status_code == 200
        for method, path in (
            ("GET", ""),
            ("POST", "/accept"),
            ("POST", "/cancel"),
            ("GET", "/events"),
            ("GET", "/files"),
            ("GET", "/files/summary.tsv"),
            ("GET", "/results.zip"),
            ("GET", "/report/index.html"),
        ):
            there = bob.request(method, f"/api/runs/{run}{path}")
            not_there = bob.request(method, f"/api/runs/{run[:-4]}0000{path}")
            assert there.status_code == 404, path
            assert there.json() == not_there.json()
        for path in ("", "/status", "/tasks", "/stderr"):
            assert bob.get(f"/ga4gh/wes/v1/runs/{run}{path}").status_code in (403, 404)
        assert bob.post(f"/ga4gh/wes/v1/runs/{run}/cancel").status_code in (403, 404)
        assert bob.get("/api/runs").json()["runs"] == []
        # Files of a set are those of its results, whatever a path says.
        for path in (*hostile.paths("summary.tsv"), "%2e%2e/set.json", "..%2fset.json", "%2e%2e/queue.db"):
            for route in (f"api/runs/{run}/files", f"api/runs/{run}/report", "ui/assets", f"files/{run}"):
                refused(talk(server.port, request("GET", f"/{route}/{path}", token=tokens["ada"])))
            for route in ("result/download", "template", "ticket"):
                answer = talk(server.port, request("GET", f"/{route}/{path}", token=tokens["ada"]))
                assert answer.status < 500
                assert b"root:" not in answer.body


@pytest.mark.parametrize(("name", "body"), list(hostile.bodies()), ids=[name for name, _ in hostile.bodies()])
def test_bodies(server: Server, tokens: dict[str, str], name: str, body: bytes) -> None:
    for path in ("/v2/fold/run", "/v2/fold/runsync", "/run"):
        if path == "/run" and name == "a policy that is wrong":
            continue  # it has none
        answer = talk(server.port, request("POST", path, body, token=tokens["ada"]))
        refused(answer)
        assert hostile.SIGNATURE.encode() not in answer.body


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "image/png", "x", ","]
)
def test_other_types_are_not_read_as_json(server: Server, tokens: dict[str, str], kind: str) -> None:
    """A form of another site can send these without asking first."""
    body = json.dumps({"input": {"sequence": "MKT", "db_preset": "single_sequence"}}).encode()
    refused(talk(server.port, request("POST", "/v2/fold/run", body, token=tokens["ada"], Content_Type=kind)))


@pytest.mark.parametrize(
    "case", list(hostile.heads("TOKEN")), ids=[name for name, _ in hostile.heads("TOKEN")]
)
def test_heads(server: Server, tokens: dict[str, str], case: tuple[str, bytes]) -> None:
    name, data = case
    answer = talk(server.port, data.replace(b"TOKEN", tokens["ada"].encode()))
    # Before 1 MB is read its connection is closed: the answer may be lost on the way.
    if not (answer.status == 0 and name in ("a header of 1 MB", "20,000 headers")):
        refused(answer)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:80",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "",
        "a@localhost",
    ],
)
def test_names_of_others_are_refused(server: Server, tokens: dict[str, str], host: str) -> None:
    """A page whose name resolves to this machine must not reach it."""
    refused(talk(server.port, request("GET", "/v2/fold/health", token=tokens["ada"], host=host)), 421)
    refused(talk(server.port, request("GET", "/health", host=host)), 421)


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8000", "127.0.0.1:1", "[::1]:8000", "10.1.2.3:8000"]
)
def test_own_names_and_numbers_are_not(server: Server, host: str) -> None:
    assert talk(server.port, request("GET", "/health", host=host)).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"},
        {"Sec_Fetch_Site": "nonsense"},
        {"Origin": "http://evil.example"},
        {"Origin": "https://127.0.0.1:9"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1.evil.example"},
        {"Origin": "\\"},
        {"Origin": "http://[[127.0.0.1"},
    ],
)
def test_pages_of_other_sites_are_refused(
    server: Server, tokens: dict[str, str], headers: dict[str, str]
) -> None:
    cookie = {"Cookie": f"snakefold_token={tokens['ada']}"}
    for method, path in (("GET", "/v2/fold/health"), ("POST", "/v2/fold/purge-queue")):
        refused(talk(server.port, request(method, path, **headers, **cookie)), 403)
    own = {"Origin": "http://127.0.0.1", "Sec_Fetch_Site": "same-origin"}
    assert talk(server.port, request("POST", "/v2/fold/purge-queue", **own, **cookie)).status == 200


def test_tokens_that_are_none(server: Server, tokens: dict[str, str]) -> None:
    good = tokens["ada"]
    for value in (
        "",
        "Bearer",
        "Bearer ",
        "Bearer x",
        f"Bearer {good[:-1]}",
        f"Bearer {good}x",
        f"Bearer {good} {good}",
        f"Basic {good}",
        f"Bearer {good.upper()}",
        "Bearer " + "a" * 10_000,
        "Bearer \xff\xfe",
        good[1:],
    ):
        for method, path in (("GET", "/v2/fold/health"), ("POST", "/v2/fold/purge-queue")):
            answer = talk(server.port, request(method, path, Authorization=value))
            refused(answer, 401)
            assert answer.headers["www-authenticate"] == "Bearer"
    with server.client(good) as client:  # where a client that errs puts it
        assert client.get(f"/{good}").status_code == 404
        assert client.get("/nothing", params={"token": good}).status_code == 404


@pytest.mark.parametrize("who", ["ada", ""])
def test_large_bodies_are_refused_before_they_are_read(
    server: Server, tokens: dict[str, str], who: str
) -> None:
    token = tokens.get(who, "")
    code = 413 if who else 401
    declared = request("POST", "/v2/fold/run", token=token, Content_Length=str(10**12))
    refused(talk(server.port, declared, 60), code)
    for path in ("/v2/fold/run", "/run"):
        answer = talk(server.port, chunked(path, token, 3_000_000))
        assert answer.status in (code, 0), answer
    # Whoever is not known gets no memory: less than a body of somebody who is.
    answer = talk(server.port, chunked("/v2/fold/run", token, 200_000))
    assert answer.status in ((400, 422) if who else (401, 0))


def test_a_thousand_half_open_connections(server: Server, tokens: dict[str, str], job: str) -> None:
    """They are closed, and whoever means well is served while they are open."""
    silent = hostile.opened(server.port, 500, b"")
    halves = hostile.opened(server.port, 500, b"GET /health HTTP/1.1\r\nHost: ")
    with server.client(tokens["ada"]) as client:
        for _ in range(50):
            assert client.get("/health").status_code == 200
            assert client.post("/counts", json={"seconds": 0}).status_code == 200
    assert hostile.closed(silent + halves)
    for each in silent + halves:
        each.close()


def test_silent_connections_make_room(tmp_path: Path) -> None:
    """More of them than there may be connections keep nobody out: the oldest are closed."""
    limits = {"connections": 40, "head_seconds": 600}
    with serving(tmp_path, settings={"limits": limits}) as server:
        silent = hostile.opened(server.port, 200, b"")
        with server.client() as client:
            assert client.get("/health").status_code == 200
        assert hostile.closed(silent[:150])
        for each in silent:
            each.close()


def test_too_many_requests_at_once_are_told_so(tmp_path: Path) -> None:
    with serving(tmp_path, settings={"limits": {"connections": 40}}) as server:
        body = b'{"input": {"sequence": "MKTAYIAKQR", "db_preset": "single_sequence"}}'
        head = request("POST", "/v2/fold/runsync?wait=300000", body, Connection="keep-alive")
        waiting: list[socket.socket] = []
        for number in (10, 20, 30, 40):
            waiting += hostile.opened(server.port, 10, head)
            wait(lambda number=number: _accepted(server) == number)

        def told() -> bool:
            answer = talk(server.port, request("GET", "/health"))
            if answer.status == 503:
                assert answer.headers.keys() >= HEADERS
                assert answer.headers["retry-after"]
            return answer.status == 503

        wait(told)
        for each in waiting:
            each.close()
        wait(lambda: talk(server.port, request("GET", "/health")).status == 200)


def _accepted(server: Server) -> int:
    jobs = server.folder / "jobs"
    return len(list(jobs.glob("sync-*/record.json")))


def drip(port: int, begin: bytes, piece: bytes) -> bytes:
    """Send slowly until the server ends it; what it said."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(begin)
        until, received = time.monotonic() + 60, b""
        connection.settimeout(0.2)
        while time.monotonic() < until:
            try:
                connection.sendall(piece)
                part = connection.recv(65536)
            except TimeoutError:
                continue
            except ConnectionError:
                return received
            if not part:
                return received
            received += part
        raise AssertionError("it is still open")


def test_slow_heads_end(server: Server) -> None:
    drip(server.port, b"GET /health HTTP/1.1\r\n", b"X: a\r\n")
    # The second request of a connection, too.
    first = request("GET", "/health").replace(b"close", b"keep-alive")
    assert b"200 OK" in drip(server.port, first + b"GET /health HT", b"X")


def test_slow_bodies_end(server: Server, tokens: dict[str, str]) -> None:
    begin = request(
        "POST", "/v2/fold/run", token=tokens["ada"], Content_Length="100000", Content_Type="application/json"
    )
    refused(hostile.answered(drip(server.port, begin, b" ")), 408)
    # A body that no route reads: the answer comes at once, and the connection ends nevertheless.
    begin = request("GET", "/health", Content_Length="50000").replace(b"close", b"keep-alive")
    assert b"200 OK" in drip(server.port, begin, b" ")


def test_who_does_not_read_an_answer_is_left(server: Server, tokens: dict[str, str], job: str) -> None:
    """It would keep the answer in memory for good; somebody who reads slowly but steadily gets all of it."""
    ask = request("GET", f"/v2/fold/status/{job}", token=tokens["ada"])
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.sendall(ask)
        wait(lambda: _lost(server, reader))
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as reader:
        reader.sendall(ask)
        size = 0
        while part := reader.recv(1_000_000):
            size += len(part)
            time.sleep(0.05)
        assert size > OUTPUT_MB * 1_000_000


def _lost(server: Server, reader: socket.socket) -> bool:
    """Whether the server has let go of a connection; asked of the kernel, without reading from it."""
    ours = f"{reader.getsockname()[1]:04X}"
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        local, remote, state = line.split()[1:4]
        if local.endswith(f":{server.port:04X}") and remote.endswith(f":{ours}"):
            return state not in ("01", "08")  # ESTABLISHED, CLOSE_WAIT
    return True


def test_mutated_requests(server: Server, tokens: dict[str, str]) -> None:
    with server.client(tokens["bob"]) as client:
        body = {"input": {"sequence": "MKTAYIAKQR", "db_preset": "single_sequence"}}
        job = client.post("/v2/fold/run", json=body).json()["id"]
    found = hostile.check_mutations(server.port, tokens["bob"], job, seed=3, number=150)
    assert found["4xx"] > 50


def test_every_request_has_one_line(server: Server, tokens: dict[str, str]) -> None:
    with server.client(tokens["bob"]) as client:
        client.get("/v2/fold/health", params={"secret-of-bob": "1"})

    def line() -> list[dict[str, object]]:
        path = "/v2/fold/health"
        return [each for each in server.lines() if (each.get("user"), each.get("path")) == ("bob", path)][:1]

    (said,) = wait(line)
    assert (said["method"], said["status"]) == ("GET", 200)
    assert said.keys() >= {"time", "request", "milliseconds"}
    assert "secret-of-bob" not in server.log.read_text()
    requests = [each for each in server.lines() if each["message"] == "request"]
    assert len({each["request"] for each in requests}) == len(requests)


def test_a_good_client_is_still_served(server: Server, tokens: dict[str, str]) -> None:
    with server.client(tokens["ada"]) as client:
        record = client.post("/counts", json={"seconds": 0}).json()["id"]

        def status() -> bool:
            answer: httpx.Response = client.get(f"/counts/{record}")
            return bool(answer.json()["status"] == "DONE")

        wait(status)
