"""/metrics for Prometheus: what waits, runs and has ended, by whom it is done, and what it cost.

All of it comes from records and bills, so that servers and workers need not tell each other anything.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from snakefold import __version__
from snakefold.kernel.errors import SnakefoldError
from snakefold.service import records
from snakefold.service.desk import TheAdmin
from snakefold.service.jobs import INPUT
from snakefold.service.kinds import KINDS, roots
from snakefold.service.records import Record, State
from snakefold.service.settings import ServiceSettings

router = APIRouter(tags=["Service"])
#: Seconds that the share of busy workers is of.
WINDOW = 300.0
#: Seconds without a sign of life after which a worker is not counted.
GONE = 60.0
#: Inputs that are larger are not read for the name of their engine.
_LARGEST = 1_000_000
#: Setting whose workers have the GPUs.
_GPU = "jobs"
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Requests:
    """Requests that this server has answered."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._seconds = Histogram(
            "snakefold_request_seconds",
            "Time until an answer is complete, by status.",
            ["status"],
            registry=self.registry,
            buckets=_BUCKETS,
        )

    def __call__(self, status: int, seconds: float) -> None:
        """Count one."""
        self._seconds.labels(f"{status // 100}xx" if status else "none").observe(seconds)


class Observed:
    """What the folder of a service says. Each record that has ended is read once."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._known: set[Path] = set()
        self._ended: Counter[tuple[str, str]] = Counter()
        self._seconds: Counter[tuple[str, str]] = Counter()
        self._residues: Counter[tuple[str, str]] = Counter()
        self._recent: list[tuple[float, float]] = []

    def collect(self) -> Iterator[Metric]:
        """The metrics as they are now."""
        with self._lock:
            yield from self._collect()

    def _collect(self) -> Iterator[Metric]:
        now = time.time()
        waiting: Counter[str] = Counter()
        running: Counter[str] = Counter()
        busy = 0.0
        for root in roots(self._settings):
            for record in self._new(root):
                if record.state is State.QUEUED:
                    waiting[record.kind] += 1
                elif record.state is State.RUNNING:
                    running[record.kind] += 1
                    if record.started is not None and _has_gpu(record):
                        busy += now - max(record.started, now - WINDOW)
                else:
                    self._add(record)
        self._recent = [each for each in self._recent if each[1] > now - WINDOW]
        busy += sum(ended - max(started, now - WINDOW) for started, ended in self._recent)
        workers = _workers(self._settings.folder, now)

        info = GaugeMetricFamily("snakefold_info", "The version of this server.", labels=["version"])
        info.add_metric([__version__], 1)
        yield info
        kinds = list(KINDS)
        yield _gauge("snakefold_queue_length", "Records that wait for a worker.", kinds, waiting)
        yield _gauge("snakefold_running", "Records that a worker has.", kinds, running)
        yield _gauge("snakefold_workers", "Worker processes, on all machines.", kinds, workers)
        ended = CounterMetricFamily("snakefold_ended", "Records that have ended.", labels=["kind", "state"])
        for (kind, state), number in sorted(self._ended.items()):
            ended.add_metric([kind, state.lower()], number)
        yield ended
        seconds = CounterMetricFamily(
            "snakefold_work_seconds", "Seconds of workers, by what they ran.", labels=["kind", "engine"]
        )
        for (kind, engine), number in sorted(self._seconds.items()):
            seconds.add_metric([kind, engine], number)
        yield seconds
        residues = CounterMetricFamily(
            "snakefold_residues",
            "Residues of targets to predict, of jobs and runs that have ended; of no user by name.",
            labels=["kind", "engine"],
        )
        for (kind, engine), number in sorted(self._residues.items()):
            residues.add_metric([kind, engine], number)
        yield residues
        share = GaugeMetricFamily(
            "snakefold_gpu_busy_ratio", f"Share of the last {WINDOW:g} s that workers of jobs had one."
        )
        if number := sum(count for kind, count in workers.items() if _sets_of(kind) == _GPU):
            share.add_metric([], min(busy / (WINDOW * number), 1.0))
        yield share
        yield from self._bills()

    def _new(self, root: Path) -> Iterator[Record]:
        """Records that were not yet known to have ended."""
        open_ = {each.name for each in _listed(root / ".open")}
        self._known -= {root / name for name in open_}  # what was reopened counts again
        for folder in _listed(root):
            if folder in self._known or not records.is_id(folder.name):
                continue
            try:
                record = records.read(folder)
            except (FileNotFoundError, SnakefoldError):
                continue
            if record.state.final:
                self._known.add(folder)
            yield record

    def _add(self, record: Record) -> None:
        self._ended[record.kind, record.state.value] += 1
        if record.started is None or record.ended is None:
            return
        engine = _engine(record)
        for given in (record.ending, record.facts):  # of a job its worker says it, of a run its quote
            if isinstance(number := given.get("residues"), int):
                self._residues[record.kind, engine] += number
                break
        self._seconds[record.kind, engine] += max(record.ended - record.started, 0.0)  # type: ignore[assignment]
        if _has_gpu(record):
            self._recent.append((record.started, record.ended))

    def _bills(self) -> Iterator[Metric]:
        dollars = GaugeMetricFamily(
            "snakefold_billed_dollars", "What runs that are kept were billed, by GPU class.", labels=["gpu"]
        )
        hours = GaugeMetricFamily("snakefold_billed_hours", "GPU hours of runs that are kept.")
        by_class: Counter[str] = Counter()
        total = 0.0
        for path in self._settings.folder.glob("sets/*/results/bill.json"):
            with suppress(OSError, ValueError, TypeError, AttributeError, KeyError):
                bill: dict[str, Any] = json.loads(path.read_bytes())
                for part in (bill["this"], bill["earlier"]):
                    total += float(part["hours"])
                    for gpu, amount in part["by_class"].items():
                        by_class[gpu] += float(amount)  # type: ignore[assignment]
        for gpu, amount in sorted(by_class.items()):
            dollars.add_metric([gpu], amount)
        hours.add_metric([], total)
        yield dollars
        yield hours


def _sets_of(kind: str) -> str:
    """The setting that says how many workers a kind has."""
    return KINDS[kind].workers if kind in KINDS else ""


def _has_gpu(record: Record) -> bool:
    return _sets_of(record.kind) == _GPU


def _gauge(name: str, text: str, kinds: list[str], values: Counter[str]) -> Metric:
    """A number for each kind: 0 where there is none, for a graph needs it."""
    family = GaugeMetricFamily(name, text, labels=["kind"])
    for kind in kinds:
        family.add_metric([kind], values[kind])
    return family


def _workers(folder: Path, now: float) -> Counter[str]:
    """Workers that have shown that they live: `work` touches the file of its slot."""
    found: Counter[str] = Counter()
    for path in _listed(folder / "slots"):
        with suppress(OSError):
            if now - path.stat().st_mtime <= GONE:
                found[path.name.rsplit("-", 2)[1]] += 1
    return found


def _engine(record: Record) -> str:
    """The engine of a job, or its task, as its request says; empty if it says neither."""
    for given in (record.ending, record.facts):
        if isinstance(given.get("engine"), str):
            return str(given["engine"])
    path = record.folder / INPUT
    with suppress(OSError, ValueError, AttributeError):
        if path.stat().st_size <= _LARGEST:
            asked = json.loads(path.read_bytes())
            batch = asked.get("batch")
            for each in (asked.get("engine"), batch.get("engine") if isinstance(batch, dict) else None):
                if isinstance(each, str):
                    return each[:60]
            return str(asked.get("task") or "")[:60]
    return ""


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {
            "description": "Metrics in Prometheus' text format.",
            "content": {"text/plain": {"example": 'snakefold_queue_length{kind="job"} 3.0\n'}},
        }
    },
)
def metrics(request: Request, _user: TheAdmin) -> Response:
    """What waits, runs and has ended, for those who run the service."""
    registry = CollectorRegistry()
    registry.register(request.app.state.observed)
    text = generate_latest(registry) + generate_latest(request.app.state.requests.registry)
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")
