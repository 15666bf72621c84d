"""The client of an MSA server: what it sends, how it waits, and when it gives up."""

from __future__ import annotations

import io
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.servers.msa_server import MsaServer, msa_server

import snakefold
from snakefold.msa.server.client import Client, Pace, QueryError, ServerError, open_client
from snakefold.msa.server.settings import ServerSettings
from snakefold.msa.server.stream import lock_file, one_stream

SEQUENCES = ["MKTAYIAKQRQISFVKSHFSRQ", "GSWTWENGKWTWKGSW"]


@dataclass
class Clock:
    """Time that passes only where somebody sleeps, or asks what it is."""

    now: float = 0.0
    tick: float = 0.0
    slept: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept.append(seconds)
        # A search goes on meanwhile.
        threading.Event().wait(0.01)

    def time(self) -> float:
        self.now += self.tick
        return self.now


@pytest.fixture
def server() -> Iterator[MsaServer]:
    with msa_server() as running:
        yield running


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def client(server: MsaServer, clock: Clock, lines: list[str]) -> Iterator[Client]:
    settings = ServerSettings(url=f"{server.url}/", contact="me@lab.example", wait_minutes=60)
    with open_client(settings, lines.append) as made:
        made.sleep, made.clock = clock.sleep, clock.time
        yield made


def names(data: bytes) -> set[str]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return set(archive.getnames())


def test_a_query_is_a_fasta_text_and_a_mode_and_says_who_asks(client: Client, server: MsaServer) -> None:
    data = client.ask("msa", "env", SEQUENCES)
    assert names(data) == {"uniref.a3m", "bfd.mgnify30.metaeuk30.smag30.a3m", "pdb70.m8"}
    [query] = server.submitted("msa")
    assert query.form == {"q": f">101\n{SEQUENCES[0]}\n>102\n{SEQUENCES[1]}\n", "mode": "env"}
    assert {each.agent for each in server.asked} == {f"snakefold/{snakefold.__version__} me@lab.example"}


def test_looks_become_rarer(client: Client, server: MsaServer, clock: Clock) -> None:
    server.faults["status"].extend(["RUNNING"] * 8)
    client.ask("msa", "env", SEQUENCES)
    assert len(server.submitted("msa")) == 1
    waits = clock.slept[:8]
    assert waits[0] < 2
    assert all(wait <= 10 * 4 / 3 for wait in waits)
    assert min(waits[4:]) >= 10


@pytest.mark.parametrize("fault", ["RATELIMIT", "UNKNOWN", "500", "502", "cut"])
def test_what_may_pass_is_waited_for_longer_and_longer(
    client: Client, server: MsaServer, clock: Clock, fault: str
) -> None:
    server.faults["submit"].extend([fault] * 3)
    assert names(client.ask("pair", "pairgreedy", SEQUENCES)) == {"pair.a3m"}
    assert len(server.submitted("pair")) == 4
    assert [clock.slept[n] >= seconds for n, seconds in enumerate((5, 10, 20))] == [True] * 3


def test_a_rate_limit_is_told_with_its_reason(client: Client, server: MsaServer, lines: list[str]) -> None:
    server.faults["submit"].append("RATELIMIT")
    client.ask("msa", "env", SEQUENCES)
    assert any("Be mindful." in line for line in lines)


def test_waiting_for_a_rate_limit_has_an_end(client: Client, server: MsaServer, clock: Clock) -> None:
    server.faults["submit"].extend(["RATELIMIT"] * 1000)
    with pytest.raises(ServerError, match=r"no result within 60 minutes .*wait_minutes.*Run again later"):
        client.ask("msa", "env", SEQUENCES)
    assert clock.now == pytest.approx(3600, abs=1)
    # Two minutes apart in the end: few requests for an hour of waiting.
    assert len(server.asked) < 45


def test_a_server_without_answers_is_left_alone(client: Client, server: MsaServer, clock: Clock) -> None:
    server.faults["submit"].extend(["500"] * 1000)
    with pytest.raises(ServerError, match=r"7 requests in a row got no answer \(HTTP status 500\)"):
        client.ask("msa", "env", SEQUENCES)
    assert len(server.asked) == 7
    assert clock.now < 900


def test_maintenance_is_waited_for_a_while(client: Client, server: MsaServer, clock: Clock) -> None:
    server.faults["submit"].extend(["MAINTENANCE"] * 2)
    client.ask("msa", "env", SEQUENCES)
    server.faults["submit"].extend(["MAINTENANCE"] * 1000)
    begun = clock.now
    with pytest.raises(ServerError, match=r"under maintenance\. Run again later"):
        client.ask("msa", "env", [SEQUENCES[0]])
    assert 600 <= clock.now - begun < 900


@pytest.mark.parametrize("when", ["submit", "status"])
def test_an_error_is_the_querys(client: Client, server: MsaServer, when: str) -> None:
    server.faults[when].append("ERROR")
    with pytest.raises(QueryError, match="the server answered ERROR"):
        client.ask("msa", "env", SEQUENCES)
    assert len(server.submitted("msa")) == 1


def test_a_forgotten_ticket_is_asked_for_again(client: Client, server: MsaServer) -> None:
    server.faults["status"].extend(["RUNNING", "UNKNOWN"])
    server.seconds = 0.05
    assert client.ask("msa", "env", SEQUENCES)
    assert len(server.submitted("msa")) == 2


def test_a_server_that_forgets_everything_is_left_alone(client: Client, server: MsaServer) -> None:
    server.seconds = 0.05
    server.faults["status"].extend(["UNKNOWN"] * 1000)
    server.faults["submit"].extend(["PENDING"] * 1000)
    with pytest.raises(ServerError):
        client.ask("msa", "env", SEQUENCES)


@pytest.mark.parametrize("fault", ["cut", "500", "RATELIMIT"])
def test_a_download_that_breaks_off_is_begun_again(client: Client, server: MsaServer, fault: str) -> None:
    server.faults["download"].append(fault)
    assert "uniref.a3m" in names(client.ask("msa", "env", SEQUENCES))
    assert sum("/result/download/" in each.path for each in server.asked) == 2
    assert len(server.submitted("msa")) == 1


def test_an_answer_in_small_pieces_has_an_end(client: Client, server: MsaServer, clock: Clock) -> None:
    client.ask("msa", "env", SEQUENCES)
    server.faults["download"].append("slow")
    clock.tick = 600
    with pytest.raises(ServerError, match="no result within 60 minutes"):
        client.ask("msa", "env", SEQUENCES)


def test_an_address_of_something_else_is_told(client: Client, server: MsaServer) -> None:
    server.faults["submit"].append("html")
    with pytest.raises(ServerError, match=r"answered '<html>.*Is msa\.server\.url the address"):
        client.ask("msa", "env", SEQUENCES)
    server.faults["submit"].append("404")
    with pytest.raises(ServerError, match=r"there is no such page\. Is msa\.server\.url"):
        client.ask("msa", "env", SEQUENCES)
    server.faults["submit"].append("HELLO")
    with pytest.raises(ServerError, match="answered 'HELLO'"):
        client.ask("msa", "env", SEQUENCES)


def test_a_refusal_is_final_and_nothing_is_followed(client: Client, server: MsaServer) -> None:
    server.faults["submit"].extend(["403", "moved", "400"])
    with pytest.raises(ServerError, match=r"HTTP status 403.*refuses addresses that ask too much"):
        client.ask("msa", "env", SEQUENCES)
    with pytest.raises(ServerError, match=r"sends to another address, https://elsewhere\.example/ticket"):
        client.ask("msa", "env", SEQUENCES)
    with pytest.raises(QueryError, match="refused the query"):
        client.ask("msa", "env", SEQUENCES)
    assert len(server.asked) == 3


def test_a_server_that_is_not_there_is_told(clock: Clock, lines: list[str]) -> None:
    with msa_server() as gone:
        url = gone.url
    with open_client(ServerSettings(url=url), lines.append) as client:
        client.sleep, client.clock, client.pace = clock.sleep, clock.time, Pace(failures=2)
        with pytest.raises(ServerError, match=r"3 requests in a row got no answer \(ConnectError"):
            client.ask("msa", "env", SEQUENCES)


def test_an_answer_may_not_be_endless(
    client: Client, server: MsaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("snakefold.msa.server.client._ARCHIVE", 100)
    with pytest.raises(ServerError, match="the answer has more than"):
        client.ask("msa", "env", SEQUENCES)


def test_processes_wait_for_each_other(
    server: MsaServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: list[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    settings = ServerSettings(url=server.url)
    server.seconds = 0.2

    def ask(sequence: str) -> None:
        with one_stream(settings, lines.append) as client:
            client.pace = Pace(look=0.05)
            client.ask("msa", "env", [sequence])

    # Locks of the kernel belong to open files: two threads wait for each other as two processes do.
    threads = [threading.Thread(target=ask, args=(sequence,)) for sequence in SEQUENCES]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.submitted("msa")) == 2
    assert server.most_at_once == 1
    assert sum("another process asks it: waiting" in line for line in lines) == 1
    assert lock_file(settings).parent == tmp_path / "snakefold"


def test_a_folder_without_locks_is_told(
    server: MsaServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: list[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with one_stream(ServerSettings(url=server.url), lines.append) as client:
        client.pace = Pace(look=0.05)
        assert client.ask("msa", "env", SEQUENCES)
    assert "another process may ask the server too" in lines[0]


@pytest.mark.parametrize(
    "url",
    [
        "api.colabfold.com",
        "ftp://a.example",
        "https://",
        "https://u:p@a.example",
        "http://a b",
        "http://a:x/",
    ],
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"address"):
        ServerSettings(url=url)


@pytest.mark.parametrize("contact", ["me", "me@lab.example\r\nX: y", "a b@c", "@"])
def test_a_contact_that_is_none_is_refused(contact: str) -> None:
    with pytest.raises(ValueError, match="contact"):
        ServerSettings(contact=contact)
