"""Ids of jobs at RunPod, where programs look for them."""

from __future__ import annotations

import json
from pathlib import Path

from snakefold.run.job_ids import FILE, write_job_ids


def record(results: Path, batch: str, **more: object) -> None:
    folder = results / "executions"
    folder.mkdir(parents=True, exist_ok=True)
    content = {"executor": "runpod", "billed_seconds": 1.0, "endpoint": "abc", **more}
    (folder / f"{batch}.json").write_text(json.dumps(content))


def test_a_stage_of_one_job_has_its_id_at_the_top(tmp_path: Path) -> None:
    record(tmp_path, "c0001-l0100", jobs=["first", "second"])
    write_job_ids(tmp_path)
    found = json.loads((tmp_path / FILE).read_text())
    assert (found["job_id"], found["endpoint_id"]) == ("second", "abc")
    assert found["jobs"][0]["earlier_job_ids"] == ["first"]


def test_a_stage_of_several_jobs_has_a_list(tmp_path: Path) -> None:
    record(tmp_path, "b0001-l0100", jobs=["one"])
    record(tmp_path, "b0002-l0100", jobs=["two"])
    write_job_ids(tmp_path)
    found = json.loads((tmp_path / FILE).read_text())
    assert "job_id" not in found
    assert [(each["batch"], each["job_id"]) for each in found["jobs"]] == [
        ("b0001-l0100", "one"),
        ("b0002-l0100", "two"),
    ]


def test_jobs_of_this_machine_have_none(tmp_path: Path) -> None:
    record(tmp_path, "b0001-l0100", executor="local", jobs=["x"])
    record(tmp_path, "b0002-l0100")  # of a release that wrote none
    write_job_ids(tmp_path)
    assert not (tmp_path / FILE).exists()
