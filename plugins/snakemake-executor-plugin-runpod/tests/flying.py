"""The engine against the emulated service, without Snakemake: one thread here, one in the service."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workers import SmallWorker, expected

from snakefold.clusters.emulator import Clock, EmulatorThread, Fault, Faults, Scaling, StubWorkers
from snakemake_executor_plugin_runpod.engine import Engine
from snakemake_executor_plugin_runpod.errors import RunpodError
from snakemake_executor_plugin_runpod.ledger import Ledger
from snakemake_executor_plugin_runpod.payload import Task
from snakemake_executor_plugin_runpod.settings import Configuration
from snakemake_executor_plugin_runpod.storage import Storage
from snakemake_executor_plugin_runpod.transfer import Transfer
from snakemake_executor_plugin_runpod.trip import Trip


class Flying:
    """An engine, the service it talks to, and the folder of its files."""

    def __init__(self, folder: Path, engine: Engine, service: EmulatorThread, worker: SmallWorker) -> None:
        self.folder = folder
        self.engine = engine
        self.service = service
        self.worker = worker
        self.warnings: list[str] = []
        self.fatal: list[RunpodError] = []

    def task(self, i: int = 0, request: Any = None, data: bytes = b"data", **more: Any) -> Task:
        """A job's files and its description."""
        (self.folder / f"{i}.json").write_text(json.dumps({"i": i} if request is None else request))
        (self.folder / f"{i}.bin").write_bytes(data)
        given: dict[str, Any] = {
            "rule": "fold",
            "jobid": i,
            "attempt": 1,
            "endpoint": "fold",
            "inputs": {"request": self.folder / f"{i}.json", "data": self.folder / f"{i}.bin"},
            "outputs": {"archive": self.folder / f"out/{i}.bin"},
            "runtime": 1.0,
            "dollars_per_second": 0.001,
            "logs": (self.folder / f"logs/{i}.log",),
            "execution_record": self.folder / f"record/{i}.json",
        }
        return Task(**{**given, **more})

    def carry(self, *tasks: Task) -> list[Trip]:
        """Hand jobs over and wait for their ends."""
        trips = [self.engine.carry(task) for task in tasks]
        wait(lambda: all(trip.finished for trip in trips))
        return trips

    def good(self, i: int = 0, data: bytes = b"data") -> bool:
        """Whether the output of a job of `task` is what it must be."""
        return (self.folder / f"out/{i}.bin").read_bytes() == expected({"i": i}, [data])


def wait(ready: Any, timeout: float = 1200.0) -> None:
    # Hangs end; machines may be slow.
    until = time.monotonic() + timeout
    while not ready():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.01)


@contextlib.contextmanager
def flying(
    folder: Path,
    *faults: Fault,
    worker: SmallWorker | None = None,
    scaling: Scaling | None = None,
    clock: Clock | None = None,
    key: str | None = None,
    storages: dict[str, Storage] | None = None,
    service: EmulatorThread | None = None,
    **settings: Any,
) -> Iterator[Flying]:
    """An engine and a service with these faults; both are gone afterwards."""
    worker = worker or SmallWorker()
    with contextlib.ExitStack() as stack:
        if service is None:
            endpoint = {
                "workers": StubWorkers(worker, worker.seconds),
                "scaling": scaling or Scaling(workers_min=2),
            }
            service = stack.enter_context(
                EmulatorThread({"fold": endpoint}, faults=Faults(faults), clock=clock)
            )
        given: dict[str, Any] = {
            "api_key": key or service.api_key,
            "endpoints": {"fold": "fold"},
            "base_url": service.url,
            "management_url": service.management_url,
            "poll_interval": 0.05,
            "patience": 120.0,
        }
        configuration = Configuration(**{**given, **settings})
        warnings: list[str] = []
        fatal: list[RunpodError] = []
        ledger = Ledger(folder / "ledger.sqlite")
        engine = Engine(
            configuration,
            ledger,
            Transfer(configuration, storages or {}, ledger),
            warn=warnings.append,
            fatal=fatal.append,
        )
        stack.callback(engine.close)
        found = Flying(folder, engine, service, worker)
        found.warnings, found.fatal = warnings, fatal
        yield found
