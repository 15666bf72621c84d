"""RunPod's own figure beside quote and bill: read where the key may read it, or said to be missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from snakefold.clusters.emulator import NO_ACCESS_KEY, EmulatorThread, ManualClock, Scaling, StubWorkers
from snakefold.clusters.runpod.billing import RunpodFigure, runpod_figure
from snakefold.plan.quote import Range
from snakefold.run.bill import bill_text
from snakefold.run.bill.bill import Against, Bill, Sum

PRICE = 0.00031


def write_record(results: Path, name: str, **changed: Any) -> None:
    (results / "executions").mkdir(parents=True, exist_ok=True)
    record = {"executor": "runpod", "billed_seconds": 30.0, "endpoint": "fold", **changed}
    (results / "executions" / f"{name}.json").write_text(json.dumps(record))


def environment(service: EmulatorThread, key: str = "") -> dict[str, str]:
    return {
        "RUNPOD_API_KEY": key or service.api_key,
        "RUNPOD_API_BASE_URL": service.url,
        "RUNPOD_MANAGEMENT_URL": service.management_url,
    }


def test_the_figure_is_of_the_endpoints_and_hours_of_the_records(tmp_path: Path) -> None:
    endpoint = {"workers": StubWorkers(), "scaling": Scaling(workers_min=1, workers_max=1)}
    with EmulatorThread({"fold": endpoint, "other": dict(endpoint)}, clock=ManualClock()) as service:
        start = service.call(lambda emulator: emulator.clock.now())
        service.advance(3 * 3600)
        write_record(tmp_path, "b1", submitted=start + 10, ended=start + 20)
        write_record(tmp_path, "b2", submitted=start + 5000, ended=start + 5100)
        found, missing = runpod_figure(tmp_path, environment(service))
        assert found is not None and missing == ""
        first = start - start % 3600
        until = -(-(start + 5100) // 3600) * 3600
        # One worker that is always on, from the start of the service; whole hours.
        assert found.dollars == pytest.approx((until - max(first, start)) * PRICE)
        assert set(found.by_endpoint) == {"fold"} and found.start < found.end


def test_a_figure_that_cannot_be_read_is_absent_and_the_reason_is_said(tmp_path: Path) -> None:
    assert runpod_figure(tmp_path, {}) == (None, "")
    write_record(tmp_path, "here", executor="slurm", endpoint="")
    write_record(tmp_path, "before", submitted=0.0)  # of an earlier version
    assert runpod_figure(tmp_path, {}) == (None, "")
    write_record(tmp_path, "b1", submitted=1e9, ended=1e9 + 10)
    found, missing = runpod_figure(tmp_path, {})
    assert found is None and "RUNPOD_API_KEY is not set" in missing
    assert runpod_figure(tmp_path, {"RUNPOD_API_KEY": "k", "RUNPOD_API_BASE_URL": "http://localhost"})[1]
    with EmulatorThread({"fold": StubWorkers()}) as service:
        assert "403" in runpod_figure(tmp_path, environment(service, NO_ACCESS_KEY))[1]
        service.call(lambda emulator: emulator.account.refused.add("/billing/serverless"))
        found, missing = runpod_figure(tmp_path, environment(service))
        assert found is None and "403" in missing and service.api_key not in missing


def test_quote_bill_and_figure_stand_side_by_side() -> None:
    quoted = Range(low=1.0, expected=2.0, high=4.0)
    bill = Bill(
        this=Sum(batches=1, computed=1, hours=1.0, dollars=3.0),
        earlier=Sum(),
        dollars=Against(quoted=quoted, billed=3.0, ratio=1.5),
        runpod=RunpodFigure(
            dollars=3.5,
            start="2026-06-01T10:00:00Z",
            end="2026-06-01T12:00:00Z",
            by_endpoint={"fold": 3.5},
        ),
    )
    text = bill_text(bill)
    assert "quoted $2.00 ($1.00 to $4.00), billed here $3.00, by RunPod $3.50" in text
    assert "fold, 2026-06-01T10:00:00Z to 2026-06-01T12:00:00Z" in text
    bill = bill.model_copy(update={"runpod": None, "runpod_missing": "HTTP 403"})
    assert "its own figure cannot be read: HTTP 403" in bill_text(bill)
    assert Bill.model_validate_json(bill.model_dump_json()) == bill
    # Of an earlier version.
    old = bill.model_dump(exclude={"runpod", "runpod_missing"})
    assert Bill.model_validate(old).runpod is None
