"""A running MSA server for tests: the routes on loopback, and threads that work off its tickets."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from families import database, expandable_database, mmseqs, write_fasta
from fastapi import FastAPI, HTTPException, Request

from snakefold.kernel.store import open_store
from snakefold.msa.settings import MsaSettings
from snakefold.service.msa.answers import answer
from snakefold.service.msa.settings import ServedMsa
from snakefold.service.msa.tickets import State, router


def user(request: Request) -> str:
    key = request.headers.get("X-API-Key", "")
    if key == "wrong":
        raise HTTPException(401, "No such token.", {"WWW-Authenticate": "Basic"})
    return key


class Serving:
    """A server of these settings, whose store and tickets are in `folder`.

    `log` has the lines of all searches, `refusals` how often a user is told to wait, `ran` the number of
    tickets worked off. Users are who their X-API-Key says.
    """

    def __init__(self, folder: Path, served: ServedMsa) -> None:
        self.folder = folder
        self.served = served
        self.store = open_store(folder / "store")
        self.log: list[str] = []
        self.refusals: Counter[str] = Counter()
        self.url = ""
        self._pool = ThreadPoolExecutor(2)
        self._tickets: dict[str, Future[None]] = {}
        self.app = FastAPI()
        self.app.include_router(
            router(
                served,
                submit=self.submit,
                state=self.state,
                folder=self.of_ticket,
                allowed=self.allowed,
                user=user,
            )
        )

    def allowed(self, user: str) -> bool:
        self.refusals[user] -= 1
        return self.refusals[user] < 0

    @property
    def ran(self) -> int:
        return len(self._tickets)

    @property
    def searches(self) -> int:
        """Searches that mmseqs ran."""
        return sum("mmseqs search " in line for line in self.log)

    def of_ticket(self, name: str) -> Path:
        return self.folder / "tickets" / name

    def submit(self, kind: str, payload: dict[str, Any], digest: str, who: str) -> State:
        if digest not in self._tickets or self.state(digest) == "ERROR":
            # As a queue hands it to another process.
            given = json.loads(json.dumps(payload))
            self._tickets[digest] = self._pool.submit(
                answer,
                given,
                self.of_ticket(digest),
                self.served,
                self.store,
                work=self.folder / "work",
                log=self.log.append,
            )
        return self.state(digest)

    def state(self, name: str) -> State:
        found = self._tickets.get(name)
        if found is None:
            return "UNKNOWN"
        if not found.done():
            return "RUNNING" if found.running() else "PENDING"
        return "ERROR" if found.exception() else "COMPLETE"

    def ask(self, kind: str, mode: str, *sequences: str, key: str = "") -> httpx.Response:
        """Ask for a ticket as clients do."""
        text = "".join(f">{number}\n{each}\n" for number, each in enumerate(sequences, 101))
        return httpx.post(
            f"{self.url}/ticket/{kind}", data={"q": text, "mode": mode}, headers={"X-API-Key": key}
        )

    def wait(self, answered: httpx.Response) -> str:
        """The last state of a ticket."""
        name = answered.json()["id"]
        while (status := httpx.get(f"{self.url}/ticket/{name}").json()["status"]) in ("PENDING", "RUNNING"):
            time.sleep(0.02)
        return str(status)


def colabfold_databases(folder: Path) -> Path:
    """ColabFold's databases in small, by ColabFold's names, and one for pairing."""
    expandable_database(folder, "uniref30_2302_db", seed=1)
    expandable_database(folder, "colabfold_envdb_202108_db", seed=2)
    write_fasta(database(seed=3, members=20, random_sequences=50), folder / "uniprot.fasta")
    mmseqs(folder, "createdb", "uniprot.fasta", "uniprot")
    return folder


@contextmanager
def running(folder: Path, msa: MsaSettings, **limits: int) -> Iterator[Serving]:
    """A server for as long as the block runs."""
    serving = Serving(folder, ServedMsa(msa=msa, **limits))
    with listening(serving.app) as serving.url:
        yield serving


@contextmanager
def listening(app: Callable[..., Any]) -> Iterator[str]:
    """The address of an application on a free port."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()
