"""The HTTP API of an MSA server, as ColabFold's client speaks it: tickets, results, templates.

`POST ticket/msa` and `POST ticket/pair` take a FASTA text (`q`, records called 101, 102, …) and a `mode`, and
answer with a ticket: its id and its status. `GET ticket/<id>` tells the status later, `GET
result/download/<id>` gives a tar.gz, and `GET template/<names>` gives one of structures. The server is
MMseqs2-App (Mirdita et al., Bioinformatics 35:2856, 2019), the reference client `run_mmseqs2` of colabfold.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

import httpx

from snakefold import __version__
from snakefold.kernel import web
from snakefold.kernel.errors import SnakefoldError
from snakefold.kernel.names import shown
from snakefold.msa.bundle import Log
from snakefold.msa.server.settings import ServerSettings

Kind = Literal["msa", "pair"]

#: Number of the first record of a query.
FIRST = 101
#: Of an answer, bytes: a ticket; an archive of alignments or of structures.
_TICKET, _ARCHIVE = 1 << 20, 1 << 30
_IDENTIFIER = re.compile(r"[A-Za-z0-9_.=-]{1,200}")
_WAITING = ("PENDING", "RUNNING")
#: Seconds for a connection, and without a byte.
_TIMEOUT = 30.0


class ServerError(SnakefoldError):
    """The server cannot be asked now, or not at all. What it gave before is in the store."""


class QueryError(Exception):
    """The server took a query, and has no result for it. The text says what it said."""


@dataclass(frozen=True)
class Pace:
    """How long the client waits, in seconds; each wait is up to a third longer, by chance.

    Attributes:
        look, longest_look: between two looks at a ticket: the first, and the longest after doubling.
        pause, longest_pause: before a refused or failed request is made again; doubled likewise.
        maintenance: in all, while the server says that it is being maintained.
        failures: requests that may fail in a row, of one answer.
        resubmissions: how often a ticket that the server has forgotten is asked for again.
    """

    look: float = 1.0
    longest_look: float = 10.0
    pause: float = 5.0
    longest_pause: float = 120.0
    maintenance: float = 600.0
    failures: int = 6
    resubmissions: int = 3


#: That of every client; a test has its own.
PACE = Pace()


@dataclass(frozen=True)
class _Ticket:
    status: str
    id: str = ""
    reason: str = ""
    retry_after: float = 0.0


class _LimitedError(Exception):
    def __init__(self, ticket: _Ticket) -> None:
        self.ticket = ticket
        super().__init__(ticket.reason)


@dataclass
class Client:
    """One conversation with a server, a request at a time; `open_client` makes it.

    `sleep` and `clock` are those of `time`, unless a test has its own.
    """

    settings: ServerSettings
    http: httpx.Client
    log: Log
    pace: Pace
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic

    def ask(self, kind: Kind, mode: str, sequences: Sequence[str]) -> bytes:
        """The archive (tar.gz) of a query; the n-th sequence is called 101 + n.

        Raises:
            QueryError: the server has no result for these sequences.
            ServerError: the server cannot be reached, is being maintained, refuses, or takes too long.
        """
        text = "".join(f">{number}\n{each}\n" for number, each in enumerate(sequences, FIRST))
        wait = _Wait(self)
        for _ in range(self.pace.resubmissions + 1):
            ticket = self._submit(kind, {"q": text, "mode": mode}, wait)
            found = self._result(ticket, wait)
            if found is not None:
                return found
            self.log(f"{self.settings.url}: has forgotten ticket {ticket.id}: it is asked for again")
            wait.pause("it forgets tickets")
        raise ServerError(
            f"{self.settings.url}: forgot a ticket {self.pace.resubmissions + 1} times. {_LATER}"
        )

    def templates(self, names: Sequence[str]) -> bytes:
        """The archive (tar.gz) of these entries of pdb70, `<pdb id>_<chain>`, and their structures.

        Raises:
            QueryError, ServerError: as `ask`.
        """
        content = self._file(f"template/{quote(','.join(names))}", _Wait(self))
        if content is None:
            raise QueryError("the server does not have these templates")
        return content

    def _submit(self, kind: Kind, form: dict[str, str], wait: _Wait) -> _Ticket:
        """A ticket that the server has taken."""
        while True:
            ticket = self._ticket("POST", f"ticket/{kind}", wait, form)
            if ticket is None:
                raise ServerError(
                    f"{self.settings.url}/ticket/{kind}: there is no such page. Is msa.server.url the "
                    "address of an MSA server with ColabFold's API?"
                )
            if ticket.status in ("RATELIMIT", "UNKNOWN"):
                wait.pause(ticket.reason or ticket.status, ticket.retry_after)
            elif ticket.status == "MAINTENANCE":
                wait.maintained(ticket.retry_after)
            else:
                break
        if ticket.status == "ERROR":
            raise QueryError(_said(ticket))
        if ticket.status not in (*_WAITING, "COMPLETE"):
            raise self._odd(ticket.status)
        if not _IDENTIFIER.fullmatch(ticket.id):
            raise self._odd(f"a ticket called {ticket.id!r:.60}")
        return ticket

    def _result(self, ticket: _Ticket, wait: _Wait) -> bytes | None:
        """The archive of a ticket, once it is complete; None if the server has forgotten the ticket."""
        wait.begin()
        said = ""
        while ticket.status != "COMPLETE":
            if ticket.status != said:
                self.log(f"{self.settings.url}: ticket {ticket.id}: {ticket.status}")
                said = ticket.status
            wait.look()
            now = self._ticket("GET", f"ticket/{ticket.id}", wait)
            if now is None or now.status == "UNKNOWN":
                return None
            if now.status == "ERROR":
                raise QueryError(_said(now))
            if now.status == "RATELIMIT":
                wait.pause(now.reason or now.status, now.retry_after)
            elif now.status == "MAINTENANCE":
                wait.maintained(now.retry_after)
            elif now.status in (*_WAITING, "COMPLETE"):
                ticket = _Ticket(now.status, ticket.id)
            else:
                raise self._odd(now.status)
        return self._file(f"result/download/{ticket.id}", wait)

    def _ticket(
        self, method: str, path: str, wait: _Wait, form: dict[str, str] | None = None
    ) -> _Ticket | None:
        """What the server says of a ticket; None if it knows nothing of it."""
        try:
            content = self._read(method, path, wait, form, most=_TICKET)
        except _LimitedError as error:
            return error.ticket
        return None if content is None else self._parsed(content)

    def _file(self, path: str, wait: _Wait) -> bytes | None:
        """An archive; None if the server has none."""
        while True:
            try:
                return self._read("GET", path, wait, most=_ARCHIVE)
            except _LimitedError as error:
                wait.pause(error.ticket.reason or error.ticket.status, error.ticket.retry_after)

    def _parsed(self, content: bytes) -> _Ticket:
        try:
            values: Any = httpx.Response(200, content=content).json()
            return _Ticket(str(values["status"]), str(values.get("id", "")), str(values.get("reason", "")))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise self._odd(shown(content.decode("utf-8", "replace"), 120) or "nothing") from None

    def _odd(self, said: str) -> ServerError:
        return ServerError(
            f"{self.settings.url}: answered {shown(said, 160)!r}, which an MSA server does not. Is "
            "msa.server.url the address of one with ColabFold's API?"
        )

    def _read(
        self, method: str, path: str, wait: _Wait, form: dict[str, str] | None = None, *, most: int
    ) -> bytes | None:
        """What the server answers, in the end; None if it has nothing there.

        Raises:
            _LimitedError: it wants to be asked less often.
        """
        url = f"{self.settings.url}/{path}"
        while True:
            try:
                status, headers, content = self._request(method, url, form, wait, most)
            except httpx.HTTPError as error:
                wait.failed(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
                continue
            after = _seconds(headers.get("Retry-After"))
            if status == httpx.codes.TOO_MANY_REQUESTS:
                raise _LimitedError(_Ticket("RATELIMIT", reason=_reason(content), retry_after=after))
            if status >= httpx.codes.INTERNAL_SERVER_ERROR:
                wait.failed(f"HTTP status {status}", after)
            elif status == httpx.codes.OK:
                return content
            elif status in (httpx.codes.NOT_FOUND, httpx.codes.GONE) or (
                status == httpx.codes.BAD_REQUEST and method == "GET"
            ):
                return None
            else:
                self._refuse(status, headers, content)

    def _refuse(self, status: int, headers: httpx.Headers, content: bytes) -> None:
        text = shown(content.decode("utf-8", "replace").strip(), 160)
        place = headers.get("Location")
        if place:
            raise ServerError(
                f"{self.settings.url}: sends to another address, {shown(place, 160)} (HTTP status {status}), "
                "which is not followed. If that is the server you mean, set msa.server.url."
            )
        if status == httpx.codes.BAD_REQUEST:
            raise QueryError(f"it refused the query: {text}")
        raise ServerError(
            f"{self.settings.url}: refused the request with HTTP status {status} ({text}). ColabFold's "
            "server refuses addresses that ask too much. Write to its operator, or set msa.server.url."
        )

    def _request(
        self, method: str, url: str, form: dict[str, str] | None, wait: _Wait, most: int
    ) -> tuple[int, httpx.Headers, bytes]:
        """One request: its status, headers and content, of at most so many bytes.

        Raises:
            httpx.HTTPError: it failed, or broke off.
        """
        with self.http.stream(method, url, data=form) as response:
            content = bytearray()
            for block in response.iter_raw():
                content += block
                if len(content) > most:
                    raise ServerError(
                        f"{url}: the answer has more than {most / 1e6:,.0f} MB, and was not read to its end. "
                        "Set msa.server.chains_per_query to a smaller number."
                    )
                wait.check()
            return response.status_code, response.headers, bytes(content)


_LATER = "Run again later: what it gave is in the store, and is not asked for again."


class _Wait:
    """What is left of the time for one answer, and how long the next wait is."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._started = client.clock()
        self._until = self._started + 60.0 * client.settings.wait_minutes
        self._maintained = 0.0
        self._failures = 0
        self._next_pause = client.pace.pause
        self._next_look = client.pace.look

    def begin(self) -> None:
        """A ticket was taken: it is looked at often at first."""
        self._next_look = self._client.pace.look
        self._next_pause = self._client.pace.pause
        self._failures = 0

    def look(self) -> None:
        """Before the next look at a ticket."""
        self._failures = 0
        self._sleep(self._next_look)
        self._next_look = min(2 * self._next_look, self._client.pace.longest_look)

    def pause(self, why: str, at_least: float = 0.0) -> None:
        """The server took no query, and says why."""
        seconds = max(self._next_pause, min(at_least, self._client.pace.longest_pause))
        self._client.log(f"{self._url}: {shown(why, 120)}: asked again in {seconds:.0f} s")
        self._sleep(seconds)
        self._next_pause = min(2 * self._next_pause, self._client.pace.longest_pause)

    def maintained(self, at_least: float = 0.0) -> None:
        """The server is being maintained."""
        if self._maintained >= self._client.pace.maintenance:
            raise ServerError(f"{self._url}: is under maintenance. {_LATER}")
        before = self._client.clock()
        self.pause("MAINTENANCE", max(at_least, self._client.pace.longest_look))
        self._maintained += max(self._client.clock() - before, self._client.pace.pause)

    def failed(self, why: str, at_least: float = 0.0) -> None:
        """A request got no answer."""
        self._failures += 1
        if self._failures > self._client.pace.failures:
            raise ServerError(
                f"{self._url}: {self._failures} requests in a row got no answer ({shown(why, 200)}). Check "
                f"the network of the machine that rule msa runs on, and msa.server.url. {_LATER}"
            )
        self.pause(f"no answer ({shown(why, 100)})", at_least)

    def check(self) -> None:
        """Raises ServerError if the time is over."""
        if self._client.clock() >= self._until:
            raise ServerError(
                f"{self._url}: no result within {self._client.settings.wait_minutes} minutes "
                f"(msa.server.wait_minutes). {_LATER}"
            )

    @property
    def _url(self) -> str:
        return self._client.settings.url

    def _sleep(self, seconds: float) -> None:
        self.check()
        left = self._until - self._client.clock()
        self._client.sleep(min(left, seconds * random.uniform(1.0, 4 / 3)))  # noqa: S311


@contextmanager
def open_client(settings: ServerSettings, log: Log) -> Iterator[Client]:
    """A client of the server that the settings name; requests say who sends them."""
    with web.client(_TIMEOUT) as http:
        http.headers["User-Agent"] = f"snakefold/{__version__} {settings.contact}".strip()
        yield Client(settings, http, log, PACE)


def _said(ticket: _Ticket) -> str:
    return f"the server answered ERROR{f' ({shown(ticket.reason, 160)})' if ticket.reason else ''}"


def _reason(content: bytes) -> str:
    """Of `{"status": "RATELIMIT", "reason": …}`, why."""
    try:
        values = httpx.Response(200, content=content).json()
        return str(values.get("reason") or "")
    except (ValueError, AttributeError, RecursionError):
        return ""


def _seconds(header: str | None) -> float:
    return float(header) if header and header.isdecimal() and len(header) < 9 else 0.0
