"""With slurmdbd: the demo and all that can happen to it, and what the accounts say."""

from __future__ import annotations

import csv
import itertools
import json
import os
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from snakefold.kernel.paths import resource
from tests.servers.slurm import Slurm
from tests.slurm.accounts import Attempt, attempts
from tests.slurm.conftest import POLLING, SITE, Site, forgetful, make_site, profile, start_small, wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.needs("slurmctld", "slurmd", "munged", "slurmdbd", "mariadbd"),
]

#: The demo's own settings, but for whom to ask and the smallest network: what is tested is the cluster.
#: Three batches for one GPU, and one for the other.
SETTINGS = {
    "slurm": SITE["slurm"] | {"account": "lab"},
    "objective": "time",
    "weights": "rehearsal",
    "rehearsal": {"models": [1], "num_recycle": 0},
    "batch": {"max_targets": 4},
}

DEMO = "resources/demo/proteins.fasta"
REFUSED, TWIN, SECOND_TWIN = "melittin_numbered", "ubiquitin", "ubiquitin_again"


@dataclass
class Story:
    """What was seen. Jobs are scontrol's words of the moment, by id."""

    site: Site
    first: dict[str, dict[str, str]] = field(default_factory=dict)
    cancelled: str = ""
    requeued: str = ""
    stored: dict[Path, int] = field(default_factory=dict)
    left: dict[str, dict[str, str]] = field(default_factory=dict)
    last: dict[str, dict[str, str]] = field(default_factory=dict)
    most_gpus: int = 0
    returncode: int | None = None
    attempts: list[Attempt] = field(default_factory=list)


@pytest.fixture(scope="module")
def story(accounted: Slurm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    site = make_site(accounted, tmp_path_factory.mktemp("user"), SETTINGS)
    command = site.command("run", "--verbose", "--profile", "./slurm", "--", *POLLING)
    seen = Story(site)

    def predictions(*states: str) -> dict[str, dict[str, str]]:
        jobs = {job["JobId"]: job for job in site.jobs("predict")}
        given = [job for job in jobs.values() if job["JobState"] == "RUNNING" and job.get("GRES")]
        seen.most_gpus = max(seen.most_gpus, len(given))
        return {name: job for name, job in jobs.items() if not states or job["JobState"] in states}

    def both_nodes_predict() -> bool:
        seen.first = predictions("RUNNING")
        return {job["NodeList"] for job in seen.first.values()} == {"node1", "node2"}

    def everything_is_noticed() -> bool:
        jobs = predictions()
        again = [job for job in jobs.values() if job["Comment"] == jobs[seen.cancelled]["Comment"]]
        return len(again) == 2 and jobs[seen.requeued]["Restarts"] == "1" and bool(stored(site))

    process = site.start(*command)
    try:
        wait_for(both_nodes_predict, site, process)
        on = {job["NodeList"]: name for name, job in seen.first.items()}
        seen.cancelled, seen.requeued = on["node1"], on["node2"]
        accounted.call("scancel", seen.cancelled)
        accounted.fail_node("node2")
        # Node1 goes on meanwhile, with what waited for its GPU.
        wait_for(everything_is_noticed, site, process)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        seen.stored, seen.left = stored(site), predictions("PENDING", "RUNNING")
        accounted.start_node("node2")
        process = site.start(*command)
        while process.poll() is None:
            predictions()
            time.sleep(0.3)
        seen.returncode, seen.last = process.returncode, predictions()
        seen.attempts = attempts(accounted)
        yield seen
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def test_ends_as_the_demo_does_everywhere(story: Story) -> None:
    # A refused record is no failure: it is told, and the code is that of a run which did all it could.
    assert story.returncode == 0, story.site.log
    assert "done:    15 targets\nfailed:  0 targets\nrefused: 1 record\n" in story.site.log
    assert re.search(rf"^ +\S*{DEMO}:32 {REFUSED}", story.site.log, re.MULTILINE)
    page = (story.site.results / "report" / "index.html").read_text()
    assert "<title>REHEARSAL" in page
    assert REFUSED in page


def test_every_record_has_a_structure_but_the_refused_one(story: Story) -> None:
    records = set(re.findall(r"^>(\S+)", resource(DEMO).read_text(), re.MULTILINE))
    assert {row["id"] for row in rows(story.site.results / "metrics.tsv")} == records - {REFUSED}
    for target in records - {REFUSED}:
        folder = story.site.results / "structures" / target
        assert "REHEARSAL" in (folder / "ranked_0.pdb").read_text()
        assert "REHEARSAL" in (folder / "ranked_0.cif").read_text()
    (row,) = rows(story.site.results / "failures.tsv")
    assert (row["id"], row["state"], row["reason"]) == (REFUSED, "refused", "invalid_input")
    assert not (story.site.results / "structures" / REFUSED).exists()


def test_the_duplicate_is_folded_once(story: Story) -> None:
    requests = (story.site.results / "requests").glob("*/request.json")
    sent = [target["id"] for path in requests for target in json.loads(path.read_text())["targets"]]
    assert len(sent) == len(set(sent)) == 14
    assert TWIN in sent
    assert SECOND_TWIN not in sent
    atoms = [
        re.findall(r"^ATOM.*", (story.site.results / "structures" / name / "ranked_0.pdb").read_text(), re.M)
        for name in (TWIN, SECOND_TWIN)
    ]
    assert atoms[0] == atoms[1] != []


def test_the_best_models_are_relaxed(story: Story) -> None:
    metrics = rows(story.site.results / "metrics.tsv")
    assert {row["relaxed"] for row in metrics} == {"True"}


def test_alignments_are_searched_on_the_nodes(story: Story) -> None:
    jobs = story.site.jobs("msa")
    assert sorted(wildcard(job) for job in jobs) == sorted(chunks(story.site))
    for job in jobs:
        assert (job["Partition"], job["JobState"]) == ("cpu", "COMPLETED")
        assert "gpu" not in job.get("TresPerJob", "")
    (haemoglobin,) = (row for row in rows(story.site.results / "metrics.tsv") if "haemoglobin" in row["id"])
    assert int(haemoglobin["msa_depth"]) > 100
    (chain, *_) = json.loads((story.site.results / "structures" / TWIN / "msa.json").read_text())
    assert chain["tool"] == "jackhmmer"


def test_every_batch_is_predicted_on_the_gpu_of_its_class(story: Story) -> None:
    gpus = {row["batch"]: row["gpu"] for row in rows(story.site.results / "plan" / "batches.tsv")}
    assert sorted(gpus.values()) == ["ada_48_pro"] + ["ampere_80"] * 3
    # One that has written its output may be cancelled, as left behind by a killed run, before it has ended.
    ended = {name for name, job in story.last.items() if job["JobState"] == "COMPLETED"} | set(story.left)
    ran = {wildcard(story.last[name]) for name in ended if story.last[name]["NodeList"].startswith("node")}
    assert ran == set(gpus)
    for job in (*story.first.values(), *story.last.values()):
        gpu = gpus[wildcard(job)]
        assert job["Partition"] == "gpu"
        if gpu == "ampere_80":
            assert job["TresPerJob"] == "gres:gpu:a100:1"
        else:
            assert (job["TresPerJob"], job["Features"]) == ("gres:gpu:1", "l40s")
        if job["JobState"] == "RUNNING":
            assert job["GRES"] == ("gpu:a100:1(IDX:0)" if gpu == "ampere_80" else "gpu:l40s:1(IDX:0)")
        if job["JobState"] == "COMPLETED":
            assert job["NodeList"] == ("node1" if gpu == "ampere_80" else "node2")


def test_no_more_predictions_than_gpus(story: Story) -> None:
    # Both GPUs were in use: what was looked at was not a moment without work.
    assert story.most_gpus == 2
    assert any(job["JobState"] == "PENDING" for job in story.left.values())
    for node in ("node1", "node2"):
        held = sorted((each.start, each.end) for each in story.attempts if each.gpus and each.node == node)
        assert len(held) > 1
        assert all(end <= start for (_, end), (start, _) in itertools.pairwise(held)), held


def test_the_accounts_agree_with_the_controller(story: Story) -> None:
    last = {attempt.id: attempt for attempt in story.attempts}
    for job in (*story.last.values(), *story.site.jobs("msa")):
        attempt = last[job["JobId"]]
        assert (attempt.account, attempt.partition) == ("lab", job["Partition"])
        assert attempt.state == job["JobState"]
        if attempt.state == "COMPLETED":
            assert attempt.node == job["NodeList"]
            assert attempt.gpus == (1 if job["Partition"] == "gpu" else 0)


def test_a_cancelled_job_is_sent_again_with_more_time_and_memory(story: Story) -> None:
    first = story.first[story.cancelled]
    assert story.last[story.cancelled]["JobState"] == "CANCELLED"
    later = [job for job in story.last.values() if int(job["JobId"]) > int(story.cancelled)]
    again = next(job for job in later if job["Comment"] == first["Comment"])
    assert minutes(again) == 2 * minutes(first)
    assert (first["MinMemoryNode"], again["MinMemoryNode"]) == ("4000M", "8000M")


def test_the_job_of_a_failed_node_goes_back_into_the_queue(story: Story) -> None:
    first, *_ = (attempt for attempt in story.attempts if attempt.id == story.requeued)
    assert (first.state, first.node) == ("NODE_FAIL", "node2")
    assert story.left[story.requeued]["JobState"] == "PENDING"


def test_jobs_of_a_killed_snakemake_are_cancelled_by_the_next(story: Story) -> None:
    said = re.search(r"Cancelled SLURM jobs that an earlier run left behind: (.*)", story.site.log)
    assert said
    # One may have ended by itself meanwhile: nobody watched it.
    cancelled = {name for name in story.left if story.last[name]["JobState"] == "CANCELLED"}
    assert story.requeued in cancelled
    assert cancelled <= set(said[1].split()) <= set(story.left)
    assert {story.last[name]["JobState"] for name in story.left} <= {"CANCELLED", "COMPLETED"}


def test_every_attempt_is_billed_with_the_time_it_had(story: Story) -> None:
    for name in {wildcard(job) for job in story.last.values()}:
        ids = {number for number, job in story.last.items() if wildcard(job) == name}
        ran = [each.end - each.start for each in story.attempts if each.id in ids and each.start]
        record = json.loads((story.site.results / "executions" / f"{name}.json").read_text())
        # The controller may round otherwise than the accounts.
        assert abs(record["billed_seconds"] - sum(ran)) <= len(ran), (name, record, ran)
        assert record["attempts"] == len(ids)
    bill = json.loads((story.site.results / "bill.json").read_text())
    # One that was cancelled in the queue has an end and no start.
    accounted = sum(each.end - each.start for each in story.attempts if each.gpus and each.start)
    assert bill["this"]["hours"] * 3600 == pytest.approx(accounted, abs=len(story.attempts))
    assert set(bill["this"]["by_class"]) == {"ampere_80", "ada_48_pro"}


def test_nothing_is_done_twice(story: Story) -> None:
    assert story.stored
    now = stored(story.site)
    assert {path: now[path] for path in story.stored} == story.stored
    assert len(now) == 14


def test_accounts_are_asked_where_the_queue_forgets_too_soon(
    accounted: Slurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    site = make_site(accounted, tmp_path, SETTINGS)
    environment = os.environ | forgetful(accounted, tmp_path, 60)
    process = start_small(site, "touch {output}", environment=environment)
    assert process.wait(3600) == 0, site.log
    (job,) = site.jobs("msa")
    (attempt,) = (each for each in attempts(accounted) if each.id == job["JobId"])
    assert (attempt.account, attempt.state, attempt.partition) == ("lab", "COMPLETED", "cpu")
    for name, value in accounted.environment.items():
        monkeypatch.setenv(name, value)
    assert profile()["slurm-status-command"] == "squeue"
    assert "MinJobAge" not in capsys.readouterr().err
    monkeypatch.setenv("PATH", environment["PATH"])
    assert profile()["slurm-status-command"] == "sacct"
    assert "a job that somebody cancels is waited for for ever" in capsys.readouterr().err


def stored(site: Site) -> dict[Path, int]:
    """Predictions in the store, and when each was written."""
    found = (site.results / "store" / "fold").glob("*/*/[0-9a-f]*")
    return {path: path.stat().st_mtime_ns for path in found}


def chunks(site: Site) -> set[str]:
    """Chunks of the plan."""
    batches = rows(site.results / "plan" / "batches.tsv")
    return {name for row in batches for name in row["chunks"].split(",")}


def wildcard(job: dict[str, str]) -> str:
    """The batch or the chunk of a job."""
    return job["Comment"].rpartition("_")[2]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


def minutes(job: dict[str, str]) -> int:
    hours, minute, _ = job["TimeLimit"].split(":")
    return 60 * int(hours) + int(minute)
