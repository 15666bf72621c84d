"""RunPod's own figure for a run: what `GET /v2/billing/serverless` says of its endpoints and hours.

It is of endpoints and whole hours, not of jobs: starts, idle workers and whatever else ran there are in it.
Where it cannot be read there is none, and the bill says why.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from snakefold.clusters.runpod import RunpodError
from snakefold.clusters.runpod.session import Session, call, open_session
from snakefold.kernel.errors import SnakefoldError
from snakefold.run.bill.bill import RunpodFigure
from snakefold.run.bill.execution import ExecutionRecord, read_record

_HOUR = 3600.0
#: Seconds for the answer about one endpoint: no report waits for it longer.
_TIMEOUT = 10.0


def runpod_figure(
    results: Path, environment: Mapping[str, str] | None = None
) -> tuple[RunpodFigure | None, str]:
    """RunPod's figure for what the records of a results folder say that it ran, and why there is none.

    Both are empty where nothing ran on RunPod.
    """
    records = list(_records(results))
    if not records:
        return None, ""
    given = os.environ if environment is None else environment
    try:
        session = open_session(given, timeout=_TIMEOUT, patience=0.0)
        if not session.management_url:
            return None, "RUNPOD_API_BASE_URL is set and RUNPOD_MANAGEMENT_URL is not"
        return _figure(session, records), ""
    except RunpodError as error:
        return None, str(error)


def _records(results: Path) -> Iterable[ExecutionRecord]:
    for path in sorted((results / "executions").glob("*.json")):
        try:
            record = read_record(path)
        except SnakefoldError:
            continue  # the bill says so
        if record is not None and record.endpoint and record.submitted and record.ended:
            yield record


def _figure(session: Session, records: list[ExecutionRecord]) -> RunpodFigure:
    start = min(record.submitted for record in records) // _HOUR * _HOUR
    end = -(-max(record.ended for record in records) // _HOUR) * _HOUR
    window = {"bucketSize": "hour", "startTime": _iso(start), "endTime": _iso(end)}
    by_endpoint = {
        name: _dollars(session, {**window, "serverlessId": name})
        for name in sorted({record.endpoint for record in records})
    }
    return RunpodFigure(
        dollars=sum(by_endpoint.values()),
        start=window["startTime"],
        end=window["endTime"],
        by_endpoint=by_endpoint,
    )


def _dollars(session: Session, query: Mapping[str, str]) -> float:
    answer = call(session, "GET", f"{session.management_url}/billing/serverless?{urlencode(query)}")
    try:
        amount: Any = answer["metadata"]["totals"]["totalAmount"]
    except (KeyError, TypeError):
        amount = None
    if isinstance(amount, bool) or not isinstance(amount, int | float):
        raise RunpodError("GET /billing/serverless: the answer holds no metadata.totals.totalAmount.")
    return float(amount)


def _iso(moment: float) -> str:
    return datetime.datetime.fromtimestamp(moment, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
