"""The worker's side of the envelope, for stub workers: a real one, if small."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import urllib.request
from pathlib import Path
from typing import Any

from snakefold.clusters.emulator import EmulatorThread, Fault, Faults, Scaling, StubWorkers


class SmallWorker:
    """Concatenates its request and its files into every result; keeps what it has finished by digest.

    A request may say how many `seconds` it takes, with which reason to `fail`, and `until` which file is
    there to wait before its files are read.

    Args:
        seconds: of an execution that finds nothing finished; `again` of one that does.
        volume: folder that stands for the network volume's mount, or a function key → bytes.
    """

    def __init__(self, seconds: float = 0.0, again: float = 0.0, storage: Any = None) -> None:
        self.finished: dict[str, dict[str, Any]] = {}
        self.executions = 0
        self.storage = storage
        self._seconds = seconds
        self._again = again

    def seconds(self, job: dict[str, Any]) -> float:
        given = job["input"]
        if isinstance(given, dict) and given.get("digest") in self.finished:
            return self._again
        request = given.get("request") if isinstance(given, dict) else None
        return float(request.get("seconds", self._seconds)) if isinstance(request, dict) else self._seconds

    async def __call__(self, job: dict[str, Any]) -> dict[str, Any]:
        given = job["input"]
        if given["digest"] not in self.finished:
            self.executions += 1
            self.finished[given["digest"]] = await self._results(given)
        if "error" in self.finished[given["digest"]]:
            return self.finished.pop(given["digest"])
        results = {}
        for name, sink in given["results"].items():
            data = self.finished[given["digest"]]["data"]
            results[name] = await asyncio.to_thread(self._give, sink, data)
        return {
            "version": 1,
            "digest": given["digest"],
            "results": results,
            "seconds": {"total": 1.0, "start": 0.5},
            "log": "worker says: done",
            "worker": {"gpu": "NVIDIA TEST", "id": "w1"},
        }

    async def _results(self, given: dict[str, Any]) -> dict[str, Any]:
        request = given["request"]
        if isinstance(request, dict) and request.get("fail"):
            raise_with = {"reason": request["fail"], "message": "it does not work", "log": "line of a log"}
            return {"error": json.dumps(raise_with)}
        until = request.get("until") if isinstance(request, dict) else None
        while until and not Path(until).exists():
            await asyncio.sleep(0.02)
        data = json.dumps(request).encode()
        for _, part in sorted(given["files"].items()):
            data += await asyncio.to_thread(self._take, part)
        return {"data": data}

    def _take(self, part: dict[str, Any]) -> bytes:
        if "base64" in part:
            data = base64.b64decode(part["base64"])
        elif "url" in part:
            with urllib.request.urlopen(part["url"], timeout=30) as answer:  # noqa: S310
                data = answer.read()
        else:
            data = self.storage.read(part["path"])
        if len(data) != part["size"] or hashlib.sha256(data).hexdigest() != part["sha256"]:
            raise ValueError("an input is not what its size and sha256 say")
        return data

    def _give(self, sink: dict[str, Any], data: bytes) -> dict[str, Any]:
        told = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        if "url" in sink:
            request = urllib.request.Request(sink["url"], data=data, method="PUT")  # noqa: S310
            with urllib.request.urlopen(request, timeout=30):  # noqa: S310
                return {**told, "stored": True}
        if "path" in sink:
            self.storage.write(sink["path"], data)
            return {**told, "stored": True}
        return {**told, "base64": base64.b64encode(data).decode()}


def service_of(
    *faults: Fault, worker: SmallWorker | None = None, workers: int = 3, **more: Any
) -> EmulatorThread:
    """A service with an endpoint `fold` of so many small workers."""
    worker = worker or SmallWorker()
    endpoint = {
        "workers": StubWorkers(worker, worker.seconds),
        "scaling": Scaling(workers_min=workers, workers_max=workers),
    }
    return EmulatorThread({"fold": endpoint}, faults=Faults(faults), **more)


def expected(request: Any, files: list[bytes]) -> bytes:
    """What SmallWorker makes of a request and its files, in the order of their names."""
    return json.dumps(request).encode() + b"".join(files)


def write_request(folder: Path, name: str, request: Any, data: bytes = b"data of the job\n") -> None:
    (folder / f"{name}.json").write_text(json.dumps(request))
    (folder / f"{name}.bin").write_bytes(data)
