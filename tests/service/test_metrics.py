"""/metrics: what Prometheus reads, and the dashboard that shows it."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from snakefold.service import records
from snakefold.service.app import create_app
from snakefold.service.metrics import GONE, WINDOW
from snakefold.service.records import State
from snakefold.service.settings import ServiceSettings
from snakefold.service.users import User, add_token
from tests.service.running import HOUSE

DASHBOARD = HOUSE / "profiles" / "service" / "grafana.json"


class Site:
    """A service without workers, and what its /metrics say."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "service"
        tokens = folder / "tokens.yaml"
        self.token = add_token(tokens, User(user="root", admin=True))
        self.other = add_token(tokens, User(user="ada"))
        self.client = TestClient(create_app(ServiceSettings(folder=self.folder, tokens=tokens)))

    def job(
        self,
        asked: dict[str, Any],
        seconds: float | None = None,
        state: State = State.DONE,
        facts: dict[str, Any] | None = None,
    ) -> Path:
        """A job that waits, or that took so many seconds; facts of its end."""
        record = records.create(self.folder / "jobs", "job", "ada")
        (record.folder / "input.json").write_text(json.dumps(asked))
        if seconds is not None:
            records.claim(record.folder)
            path = record.folder / "attempt-1.json"
            said = json.loads(path.read_text())
            path.write_text(json.dumps({**said, "started": time.time() - seconds}))
            records.end(record.folder, state, facts=facts)
        return record.folder

    def slot(self, name: str, age: float = 0) -> None:
        """A worker that showed that it lives so many seconds ago."""
        path = self.folder / "slots" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.utime(path, (time.time() - age, time.time() - age))

    def samples(self) -> dict[tuple[str, ...], float]:
        """By name and values of labels."""
        answer = self.client.get("/metrics", headers={"Authorization": f"Bearer {self.token}"})
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        return {
            (sample.name, *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
        }


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    yield Site(tmp_path)


def test_it_is_for_those_who_run_the_service(site: Site) -> None:
    assert site.client.get("/metrics").status_code == 401
    other = site.client.get("/metrics", headers={"Authorization": f"Bearer {site.other}"})
    assert other.status_code == 403
    assert "snakefold_" not in other.text


def test_records_are_counted_where_they_stand(site: Site) -> None:
    site.job({})
    running = site.job({})
    records.claim(running)
    site.job({"engine": "boltz2"}, 5)
    failed = site.job({"task": "search"}, 3, State.FAILED)
    site.slot("node-1-job-1")
    for _ in range(2):  # what has ended is counted once
        found = site.samples()
        assert found["snakefold_queue_length", "job"] == 1
        assert found["snakefold_running", "job"] == 1
        assert found["snakefold_ended_total", "job", "done"] == 1
        assert found["snakefold_ended_total", "job", "failed"] == 1
        assert found["snakefold_work_seconds_total", "boltz2", "job"] == pytest.approx(5, abs=1)
        assert found["snakefold_work_seconds_total", "search", "job"] == pytest.approx(3, abs=1)
    records.reopen(failed)
    assert site.samples()["snakefold_queue_length", "job"] == 2
    records.end(failed, State.CANCELLED)
    assert site.samples()["snakefold_ended_total", "job", "cancelled"] == 1


def test_busy_is_a_share_of_what_there_is(site: Site) -> None:
    assert ("snakefold_gpu_busy_ratio",) not in site.samples()  # of no workers there is no share
    site.slot("node-1-job-1")
    site.slot("node-2-job-1")
    site.slot("node-3-job-1", age=GONE + 1)
    site.slot("node-1-run-1")
    site.job({}, WINDOW / 2)
    site.job({}, 2 * WINDOW)  # only what lies in the window
    found = site.samples()
    assert found["snakefold_workers", "job"] == 2
    assert found["snakefold_gpu_busy_ratio",] == pytest.approx(0.75, abs=0.02)


def test_bills_are_added_up_and_damaged_ones_are_passed(site: Site) -> None:
    def bill(name: str, text: str) -> None:
        path = site.folder / "sets" / name / "results" / "bill.json"
        path.parent.mkdir(parents=True)
        path.write_text(text)

    part = {"hours": 0.5, "by_class": {"ada_24": 1.25}}
    bill("first", json.dumps({"this": part, "earlier": part}))
    bill("second", json.dumps({"this": part, "earlier": {"hours": 0, "by_class": {}}}))
    bill("damaged", '{"this": ')
    bill("of-another-release", "[]")
    found = site.samples()
    assert found["snakefold_billed_dollars", "ada_24"] == 3.75
    assert found["snakefold_billed_hours",] == 1.5


def test_a_damaged_record_hides_no_other(site: Site) -> None:
    (site.job({}) / "record.json").write_text("{")
    site.job({})
    assert site.samples()["snakefold_queue_length", "job"] == 1


def test_residues_are_those_of_jobs_and_of_runs(site: Site) -> None:
    site.job({"engine": "boltz2"}, 5, facts={"residues": 70})
    site.job({"engine": "boltz2"}, 5, State.FAILED, facts={"residues": 30})
    site.job({"task": "search"}, 5)  # predicts nothing
    run = records.create(site.folder / "runs", "run", "ada", facts={"residues": 4000, "dollars": 1.0})
    records.claim(run.folder)
    assert ("snakefold_residues_total", "", "run") not in site.samples()  # it may be cancelled yet
    records.end(run.folder, State.DONE)
    found = site.samples()
    assert found["snakefold_residues_total", "boltz2", "job"] == 100
    assert found["snakefold_residues_total", "", "run"] == 4000
    assert ("snakefold_residues_total", "search", "job") not in found


def test_no_label_is_a_user(site: Site) -> None:
    site.job({}, 1, facts={"residues": 7})
    assert "ada" not in {value for key in site.samples() for value in key}


def test_every_query_of_the_dashboard_is_answered(site: Site) -> None:
    site.job({"engine": "boltz2"}, 5, facts={"residues": 7})
    site.slot("node-1-job-1")
    path = site.folder / "sets" / "one" / "results" / "bill.json"
    path.parent.mkdir(parents=True)
    part = {"hours": 0.5, "by_class": {"ada_24": 1.25}}
    path.write_text(json.dumps({"this": part, "earlier": part}))
    site.client.get("/health")
    text = site.client.get("/metrics", headers={"Authorization": f"Bearer {site.token}"}).text
    labels: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    shown = set()
    for panel in panels:
        for target in panel["targets"]:
            names = re.findall(r"\bsnakefold_\w+", target["expr"])
            assert names, target
            assert set(names) <= labels.keys()
            shown |= set(names)
            wanted = {
                label.strip()
                for listed in re.findall(r"by \(([^)]*)\)", target["expr"])
                for label in listed.split(",")
            } | set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            assert wanted <= set().union(*(labels[name] for name in names))
    gauges = {name for name in labels if not name.endswith(("_bucket", "_sum", "_count", "_created"))}
    assert gauges <= shown
