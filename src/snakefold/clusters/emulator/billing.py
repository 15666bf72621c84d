"""GET /billing/serverless and the log streams of workers: what the management API tells of money and of ends.

Paths, parameters and fields are documented (API reference v2); that a record is there at once, that fees and
disk are 0, and that a stream ends after its last line, is assumed.
"""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from snakefold.clusters.emulator.management_models import iso
from snakefold.clusters.emulator.worker import POOLS

if TYPE_CHECKING:
    from snakefold.clusters.emulator.endpoint import Endpoint

SIZES = ("hour", "day", "week", "month", "year")
AMOUNTS = ("totalAmount", "gpuAmount", "cpuAmount", "diskAmount", "feeAmount")


def billing(endpoints: Mapping[str, Endpoint], query: Mapping[str, str], now: float) -> dict[str, Any]:
    """Records of the window that a query asks for.

    Raises:
        ValueError: the query is not as documented.
    """
    size = query.get("bucketSize", "day")
    if size not in SIZES:
        raise ValueError(f"bucketSize must be one of {', '.join(SIZES)}")
    start, end = _window(query, size, now)
    wanted = query.get("serverlessId")
    records = [
        _record(endpoint, first, following)
        for first, following in _buckets(start, end, size)
        for endpoint in endpoints.values()
        if wanted in (None, endpoint.id)
    ]
    records = [record for record in records if record["totalAmount"]]
    return {
        "records": records,
        "metadata": {
            "query": {
                "startTime": iso(start),
                "endTime": iso(end),
                "bucketSize": size,
                "serverlessId": wanted,
            },
            "recordCount": len(records),
            "uniqueServerlessCount": len({record["serverlessId"] for record in records}),
            "totals": {name: sum(record[name] for record in records) for name in AMOUNTS},
        },
    }


def log_stream(text: str, tail: int, now: float) -> str:
    """Server-sent events of the last lines of a worker's log."""
    lines = text.splitlines()[-tail:] if tail else []
    events = [
        f"id: {iso(now)}/{number:012}\ndata: "
        + json.dumps({"ts": iso(now), "source": "container", "line": line})
        + "\n\n"
        for number, line in enumerate(lines)
    ]
    return "".join(events)


def _record(endpoint: Endpoint, start: float, end: float) -> dict[str, Any]:
    seconds = 0.0
    for worker in endpoint.workers.values():
        if worker.started is not None:
            whole = worker.started + worker.billed_seconds(endpoint.clock.now())
            seconds += max(0.0, min(whole, end) - max(worker.started, start))
    price = POOLS[endpoint.pool][0] if endpoint.pool in POOLS else 0.0
    amount = round(seconds * price, 6)
    return {
        "startTime": iso(start),
        "endTime": iso(end),
        "serverlessId": endpoint.id,
        **dict.fromkeys(AMOUNTS, 0.0),
        "totalAmount": amount,
        "gpuAmount": amount,
    }


def _window(query: Mapping[str, str], size: str, now: float) -> tuple[float, float]:
    if "lastN" in query:
        if "startTime" in query or "endTime" in query:
            raise ValueError("lastN and startTime/endTime exclude each other")
        start = now
        for _ in range(int(query["lastN"]) - 1):
            start = _floor(start, size) - 1
        return _floor(start, size), _next(_floor(now, size), size)
    start = _read(query["startTime"]) if "startTime" in query else now - 30 * 86_400.0
    end = _read(query["endTime"]) if "endTime" in query else now
    first = _floor(end, size)
    return _floor(start, size), first if first == end else _next(first, size)


def _buckets(start: float, end: float, size: str) -> Iterator[tuple[float, float]]:
    while start < end:
        following = _next(start, size)
        yield start, following
        start = following


def _read(text: str) -> float:
    return datetime.datetime.fromisoformat(text).timestamp()


def _floor(moment: float, size: str) -> float:
    when = datetime.datetime.fromtimestamp(math.floor(moment), datetime.UTC)
    when = when.replace(minute=0, second=0)
    if size != "hour":
        when = when.replace(hour=0)
    if size == "week":
        when -= datetime.timedelta(days=when.weekday())
    if size in ("month", "year"):
        when = when.replace(day=1)
    return (when.replace(month=1) if size == "year" else when).timestamp()


def _next(start: float, size: str) -> float:
    if size in ("hour", "day", "week"):
        return start + {"hour": 3600.0, "day": 86_400.0, "week": 7 * 86_400.0}[size]
    # Somewhere in the following month or year, and from there back to its start.
    return _floor(start + (32 if size == "month" else 367) * 86_400.0, size)
