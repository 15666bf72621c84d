"""An MSA server on loopback: the API of MMseqs2-App as ColabFold's client uses it, with faults to script.

Tickets are named by query and mode, as there, so that an equal query is the same ticket and is answered at
once. One query is searched at a time.
"""

from __future__ import annotations

import base64
import hashlib
import http.server
import io
import json
import queue
import tarfile
import tempfile
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, unquote

from snakefold.kernel.recipes import sequence_key
from snakefold.msa import mmseqs
from snakefold.msa.databases.presets import Preset
from snakefold.msa.planned import PlannedChain
from snakefold.msa.settings import MsaSettings

UNIREF, ENVIRONMENT = "uniref.a3m", "bfd.mgnify30.metaeuk30.smag30.a3m"

#: Numbers and sequences of a query.
Records = Sequence[tuple[str, str]]
#: Files of an archive for a kind of ticket (msa, pair), a mode and a query.
Search = Callable[[str, str, Records], Mapping[str, bytes]]


def canned(kind: str, mode: str, records: Records) -> dict[str, bytes]:
    """Made-up rows: each query, a row with a gap and an insertion, and one that both databases have."""
    columns = "\t100\t0.900\t1.000E-20\t0\t9\t10\t0\t9\t10"

    def alignment(number: str, sequence: str, name: str) -> str:
        gapped = f"-{sequence[1:4]}ac{sequence[4:]}"
        rows = [(number, sequence), (f"{name}_1{columns}", gapped), (f"both{columns}", sequence[:-1] + "-")]
        return "".join(f">{name}\n{row}\n" for name, row in rows) + "\0"

    if kind == "pair":
        return {"pair.a3m": "".join(alignment(*each, "PAIR") for each in records).encode()}
    files = {UNIREF: "".join(alignment(*each, "UniRef100") for each in records).encode()}
    if "env" in mode.split("-"):
        files[ENVIRONMENT] = "".join(alignment(*each, "SRR") for each in records).encode()
    return {**files, "pdb70.m8": b""}


def searched(preset: Preset) -> Search:
    """Rows that mmseqs finds in the preset: its first database stands for UniRef30, its last for the other.

    Rows of its database for pairing are paired by species: of each species that all chains have, the best.
    """

    def search(kind: str, mode: str, records: Records) -> dict[str, bytes]:
        chains = [PlannedChain(key=sequence_key([text]), sequence=text) for _, text in records]
        settings = MsaSettings(tool="mmseqs", threads=2)
        with tempfile.TemporaryDirectory() as work:
            found = mmseqs.search(
                chains, preset, settings, Path(work), lambda _: None, pairing=kind == "pair"
            )
        texts = {
            number: [raw.text for raw in found[chain.key] if raw.pairing == (kind == "pair")]
            for chain, (number, _) in zip(chains, records, strict=True)
        }

        def file(place: int) -> bytes:
            renamed = (f">{number}\n{text.partition(chr(10))[2]}\0" for number, text in named(place))
            return "".join(renamed).encode()

        def named(place: int) -> Iterator[tuple[str, str]]:
            return ((number, own[place]) for number, own in texts.items())

        if kind == "pair":
            return {"pair.a3m": _paired_by_species(dict(named(0)))}
        files = {UNIREF: file(0), "pdb70.m8": b"", "msa.sh": b"#!/bin/sh\n"}
        return files | ({ENVIRONMENT: file(-1)} if "env" in mode.split("-") else {})

    return search


def _paired_by_species(texts: Mapping[str, str]) -> bytes:
    rows = {number: text.split("\n>") for number, text in texts.items()}
    best: dict[str, dict[str, str]] = {}
    for number, records in rows.items():
        best[number] = {}
        for record in records[1:]:
            best[number].setdefault(record.split()[0].rpartition("_")[2], record.strip("\n"))
    first, *others = best.values()
    shared = [species for species in first if all(species in own for own in others)]
    blocks = []
    for number, records in rows.items():
        query = records[0].partition("\n")[2].strip()
        paired = "".join(f">{best[number][species]}\n" for species in shared)
        blocks.append(f">{number}\n{query}\n{paired}\0")
    return "".join(blocks).encode()


@dataclass(frozen=True)
class Asked:
    """A request: method, path, form, User-Agent."""

    method: str
    path: str
    form: Mapping[str, str]
    agent: str


class MsaServer(http.server.ThreadingHTTPServer):
    """The server. `asked` are its requests, `most_at_once` how many tickets ever waited or ran together.

    `faults` are consumed one a request, by what is asked: `submit`, `status`, `download` or `template`. A
    status (`RATELIMIT`, `MAINTENANCE`, `ERROR`, `UNKNOWN`, `RUNNING`) is answered in place of the true one, a
    number is an HTTP status; `cut` ends the connection in the middle of the answer, `broken` gives half an
    archive, `slow` gives it in pieces, `html` gives a page, `moved` sends elsewhere.
    """

    daemon_threads = True

    def __init__(self, search: Search = canned, *, structures: Mapping[str, tuple[str, bytes]] | None = None):
        self.search = search
        #: Entries of pdb70: their sequence and their mmCIF file.
        self.structures = structures or {}
        self.asked: list[Asked] = []
        self.faults: dict[str, deque[str]] = defaultdict(deque)
        self.most_at_once = 0
        self.seconds = 0.0
        self._tickets: dict[str, str] = {}
        self._archives: dict[str, bytes] = {}
        self._todo: queue.Queue[tuple[str, str, str, str]] = queue.Queue()
        super().__init__(("127.0.0.1", 0), _Handler)
        for work in (lambda: self.serve_forever(poll_interval=0.02), self._work):
            threading.Thread(target=work, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def submitted(self, kind: str) -> list[Asked]:
        """Queries of a kind (`msa`, `pair`) that were sent."""
        return [each for each in self.asked if each.path == f"/ticket/{kind}"]

    def submit(self, kind: str, mode: str, query: str) -> str:
        """A ticket's name. An equal query is the same ticket."""
        digest = hashlib.sha224(f"{query}{mode}".encode()).digest()
        name = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if name not in self._tickets or self._tickets[name] == "ERROR":
            self._tickets[name] = "PENDING"
            self._todo.put((name, kind, mode, query))
        waiting = sum(status in ("PENDING", "RUNNING") for status in self._tickets.values())
        self.most_at_once = max(self.most_at_once, waiting)
        return name

    def forget(self) -> None:
        """Tickets are gone, as after a restart."""
        self._tickets.clear()

    def status(self, name: str) -> str:
        return self._tickets.get(name, "UNKNOWN")

    def archive(self, name: str) -> bytes | None:
        return self._archives.get(name)

    def templates(self, names: Sequence[str]) -> bytes:
        known = [name for name in sorted(set(names)) if name in self.structures]
        alignments, index = b"", ""
        for name in known:
            entry = f">{name}\n{self.structures[name][0]}\n".encode()
            index += f"{name}\t{len(alignments)}\t{len(entry) + 1}\n"
            alignments += entry + b"\0"
        files = {"pdb70_a3m.ffdata": alignments, "pdb70_a3m.ffindex": index.encode()}
        return packed(files | {f"{name[:4].lower()}.cif": self.structures[name][1] for name in known})

    def _work(self) -> None:
        while True:
            name, kind, mode, query = self._todo.get()
            self._tickets[name] = "RUNNING"
            time.sleep(self.seconds)
            lines = query.strip().split("\n")
            records = [(lines[at].removeprefix(">"), lines[at + 1]) for at in range(0, len(lines), 2)]
            try:
                self._archives[name] = packed(self.search(kind, mode, records))
                self._tickets[name] = "COMPLETE"
            except Exception:  # as there: whatever it was
                self._tickets[name] = "ERROR"


def packed(files: Mapping[str, bytes]) -> bytes:
    """A tar.gz."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: MsaServer

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode())
        values = {name: found[0] for name, found in form.items()}
        self._note(values)
        kind = self.path.rpartition("/")[2]
        if kind not in ("msa", "pair"):
            return self._answer(404, b"404 page not found")
        fault = self._fault("submit")
        if not self._told(fault):
            name = self.server.submit(kind, values.get("mode", ""), values.get("q", ""))
            self._status(name, self.server.status(name))
        return None

    def do_GET(self) -> None:
        self._note({})
        route, _, name = self.path.lstrip("/").rpartition("/")
        if route == "ticket":
            if not self._told(self._fault("status"), name):
                self._status(name, self.server.status(name))
        elif route == "result/download":
            self._file(self.server.archive(name), self._fault("download"))
        elif route == "template":
            self._file(self.server.templates(unquote(name).split(",")), self._fault("template"))
        else:
            self._answer(404, b"404 page not found")

    def _note(self, form: Mapping[str, str]) -> None:
        self.server.asked.append(Asked(self.command, self.path, form, self.headers.get("User-Agent", "")))

    def _fault(self, what: str) -> str:
        faults = self.server.faults[what]
        return faults.popleft() if faults else ""

    def _told(self, fault: str, name: str = "") -> bool:
        """Whether a fault was answered."""
        if not fault:
            return False
        if fault == "RATELIMIT":
            self._answer(429, json.dumps({"status": "RATELIMIT", "reason": "Be mindful."}).encode())
        elif fault == "cut":
            self._cut(b'{"id":"')
        elif fault == "html":
            self._answer(200, b"<html><h1>Welcome</h1></html>")
        elif fault == "moved":
            self._answer(307, b"", {"Location": "https://elsewhere.example/ticket"})
        elif fault.isdecimal():
            self._answer(int(fault), b"<h1>no</h1>")
        else:
            self._status(name, fault)
        return True

    def _status(self, name: str, status: str) -> None:
        self._answer(200, json.dumps({"id": name, "status": status}).encode())

    def _file(self, content: bytes | None, fault: str) -> None:
        if content is None:
            self._answer(400, b"Job is not complete")
        elif fault == "broken":
            self._answer(200, content[: len(content) // 2])
        elif fault == "slow":
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            with suppress(OSError):
                for at in range(0, len(content), 16):
                    self.wfile.write(content[at : at + 16])
                    self.wfile.flush()
                    time.sleep(0.005)
        elif fault == "cut":
            self._cut(content)
        elif not self._told(fault):
            self._answer(200, content)

    def _cut(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(2 * len(content)))
        self.end_headers()
        self.wfile.write(content)
        self.close_connection = True

    def _answer(self, status: int, content: bytes, headers: Mapping[str, str] | None = None) -> None:
        with suppress(OSError):
            self.send_response(status)
            for name, value in {**(headers or {}), "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: `asked` has it."""


@contextmanager
def msa_server(search: Search = canned, **more: Mapping[str, tuple[str, bytes]]) -> Iterator[MsaServer]:
    """A server for as long as the block runs."""
    server = MsaServer(search, **more)
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
