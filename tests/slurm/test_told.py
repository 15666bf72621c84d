"""What SLURM says of jobs reaches the screen, failures.tsv, the bill and `snakefold status`."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from snakefold.run import attempts
from tests.servers.slurm import Slurm
from tests.slurm.conftest import POLLING, SITE, Site, make_site, wait_for, wait_for_nodes

pytestmark = [pytest.mark.slow, pytest.mark.needs("slurmctld", "slurmd", "munged")]

SETTINGS = {
    "msa": {"tool": "single_sequence"},
    "predict": {"retries": 2},
    "weights": "rehearsal",
    "rehearsal": {"models": [1], "num_recycle": 0, "blocks": 1},
    "relax": {"models_to_relax": "none"},
    "gpu": {"classes": ["ampere_80"], "workers": {"ampere_80": 1}},
}


@dataclass
class Story:
    """One target in two runs: its partition does not exist; its node is drained, and its job is cancelled."""

    site: Site
    refused: str = ""
    refused_code: int | None = None
    refused_row: dict[str, str] | None = None
    waiting: str = ""
    cancelled: str = ""
    cancelled_row: dict[str, str] | None = None
    bill: dict[str, object] | None = None


@pytest.fixture(scope="module")
def story(slurm: Slurm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("told")
    # It brings its alignment: nothing else waits for the cluster.
    (folder / "one.a3m").write_text(">one\nMKTAYIAKQRQISFVKSHFSRQLE\n")
    gpus = {"ampere_80": {"partition": "nosuch", "model": "a100"}}
    site = make_site(slurm, folder, SETTINGS | {"slurm": SITE["slurm"] | {"gpus": gpus}})
    seen = Story(site)
    command = site.command("run", "one.a3m", "--verbose", "--profile", "./slurm", "--", *POLLING)
    process = site.start(*command)
    try:
        seen.refused_code = process.wait(3600)
        seen.refused = site.log
        (seen.refused_row,) = rows(site.results / "failures.tsv")
        (folder / "slurm" / "site.yaml").write_text(
            yaml.safe_dump(SITE | SETTINGS | {"predict": {"retries": 0}})
        )
        slurm.call("scontrol", "update", "nodename=node1", "state=drain", "reason=test")
        process = site.start(*command)
        wait_for(lambda: "queued" in status(site), site, process)
        seen.waiting = status(site)
        slurm.call("scontrol", "update", "nodename=node1", "state=resume")
        wait_for(lambda: [job["JobState"] for job in site.jobs("predict")] == ["RUNNING"], site, process)
        (job,) = site.jobs("predict")
        wait_for(lambda: site.jobs("predict")[0]["RunTime"] >= "00:00:02", site, process)
        slurm.call("scancel", job["JobId"])
        process.wait(3600)
        seen.cancelled = site.log
        (seen.cancelled_row,) = rows(site.results / "failures.tsv")
        seen.bill = json.loads((site.results / "bill.json").read_text())
        yield seen
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        wait_for_nodes(slurm)


def test_a_submission_that_cannot_succeed_is_told_and_not_repeated(story: Story) -> None:
    assert story.refused_code == 1
    assert story.refused.count("invalid partition specified: nosuch") >= 1, story.refused
    assert "Trying to restart" not in story.refused
    (line,) = re.findall(r"^predict b0001-l0024: .*$", story.refused, re.MULTILINE)
    assert line.endswith("It is not tried again.")


def test_a_refusal_has_its_reason_and_its_advice(story: Story) -> None:
    assert story.refused_row is not None
    assert story.refused_row["reason"] == "submission_refused"
    assert "invalid partition specified: nosuch" in story.refused_row["message"]
    assert "slurm.partition" in story.refused_row["advice"]


def test_a_job_that_waits_is_told_as_waiting_and_why(story: Story) -> None:
    assert re.search(r"predict 0/1, 1 queued", story.waiting), story.waiting
    assert re.search(
        r"1 job waits in SLURM, the first for \d+ s: 1 .*(DRAINED|ReqNodeNotAvail)", story.waiting
    )
    assert "running;" in story.waiting and "1 running" not in story.waiting
    assert " left" not in story.waiting
    assert re.search(
        r"1 job waits in SLURM, the first for \d+ s: 1 .*(DRAINED|ReqNodeNotAvail)", story.cancelled
    )


def test_a_cancelled_job_is_told_and_billed_for_the_time_it_had(story: Story) -> None:
    assert re.search(r"Failed: predict \S+: SLURM job \d+: CANCELLED after \d+ s on node1", story.cancelled)
    assert story.cancelled_row is not None and story.cancelled_row["reason"] == "lost"
    assert "CANCELLED" in story.cancelled_row["message"]
    (record,) = (story.site.results / "executions").glob("*.json")
    said = json.loads(record.read_text())
    assert said["billed_seconds"] >= 2 and said["gpu"] == "ampere_80" and said["executor"] == "slurm"
    assert story.bill is not None
    assert story.bill["this"]["hours"] >= 2 / 3600 and story.bill["this"]["dollars"] > 0  # type: ignore[index]
    (attempt,) = attempts.read(story.site.results, "predict", record.stem)
    assert attempt.state == "CANCELLED" and attempt.queued is not None


def status(site: Site) -> str:
    done = subprocess.run(
        site.command("status", "--once"),
        check=False,
        cwd=site.folder,
        env=site.environment,
        capture_output=True,
        text=True,
    )
    return done.stdout


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))
