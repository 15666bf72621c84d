"""A run on SLURM to which everything happens: a job is cancelled, a node fails, Snakemake is killed."""

from __future__ import annotations

import csv
import itertools
import os
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.servers.slurm import Slurm
from tests.slurm.conftest import Site, make_site, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.needs("slurmctld", "slurmd", "munged")]


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


def stored(site: Site) -> dict[Path, int]:
    found = (site.results / "store" / "fold").glob("*/*/[0-9a-f]*")
    return {path: path.stat().st_mtime_ns for path in found}


@pytest.fixture(scope="module")
def story(slurm: Slurm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    site = make_site(slurm, tmp_path_factory.mktemp("user"))
    seen = Story(site)

    def predictions(*states: str) -> dict[str, dict[str, str]]:
        jobs = {job["JobId"]: job for job in site.jobs("predict")}
        given = [job for job in jobs.values() if job["JobState"] == "RUNNING" and job.get("GRES")]
        seen.most_gpus = max(seen.most_gpus, len(given))
        return {name: job for name, job in jobs.items() if not states or job["JobState"] in states}

    process = site.start("one", "two", "three")
    try:
        wait_for(lambda: len(predictions("RUNNING")) == 2 and len(predictions()) == 3, site, process)
        seen.first = predictions()
        on = {job["NodeList"]: name for name, job in seen.first.items() if job["JobState"] == "RUNNING"}
        seen.cancelled, seen.requeued = on["node1"], on["node2"]
        slurm.fail_node("node2")
        slurm.call("scancel", seen.cancelled)
        # The one that waited for node1's GPU is done there, and the cancelled one is sent again.
        wait_for(lambda: stored(site) and len(predictions()) == 4, site, process)
        wait_for(lambda: predictions()[seen.requeued]["Restarts"] == "1", site, process)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        seen.stored, seen.left = stored(site), predictions("PENDING", "RUNNING")
        slurm.start_node("node2")
        process = site.start("one", "two", "three")
        while process.poll() is None:
            predictions()
            time.sleep(0.3)
        seen.returncode, seen.last = process.returncode, predictions()
        yield seen
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def test_every_alignment_and_prediction_goes_through_slurm(story: Story) -> None:
    assert story.returncode == 0, story.site.log
    assert "3 targets folded, 0 failed" in story.site.log
    (chunk,) = story.site.jobs("msa")
    assert (chunk["Partition"], chunk["JobState"]) == ("cpu", "COMPLETED")
    assert "gpu" not in chunk.get("TresPerJob", "")
    assert {job["Comment"].rpartition("_")[2] for job in story.first.values()} == batches(story.site)


def test_a_batch_gets_the_gpu_of_its_class(story: Story) -> None:
    planned = rows(story.site.results / "plan" / "batches.tsv")
    gpus = {row["batch"]: row["gpu"] for row in planned}
    assert set(gpus.values()) == {"ampere_80", "ada_48_pro"}
    for job in (*story.first.values(), *story.last.values()):
        gpu = gpus[job["Comment"].rpartition("_")[2]]
        assert job["Partition"] == "gpu"
        if gpu == "ampere_80":
            assert job["TresPerJob"] == "gres:gpu:a100:1"
        else:
            assert (job["TresPerJob"], job["Features"]) == ("gres:gpu:1", "l40s")
        if job["JobState"] == "RUNNING":
            assert job["GRES"] == ("gpu:a100:1(IDX:0)" if gpu == "ampere_80" else "gpu:l40s:1(IDX:0)")


def test_no_more_predictions_than_gpus(story: Story) -> None:
    # All three were in the queue, both GPUs in use: what was looked at was not a moment without work.
    assert story.most_gpus == 2
    states = sorted(job["JobState"] for job in story.first.values())
    assert states == ["PENDING", "RUNNING", "RUNNING"]
    for node in ("node1", "node2"):
        held = sorted(
            (job.start, job.end)
            for job in story.site.slurm.ended()
            if (job.partition, job.node) == ("gpu", node)
        )
        assert held
        assert all(end <= start for (_, end), (start, _) in itertools.pairwise(held)), held


def test_a_cancelled_job_is_sent_again_with_more_time_and_memory(story: Story) -> None:
    first = story.first[story.cancelled]
    assert story.last[story.cancelled]["JobState"] == "CANCELLED"
    later = [job for job in story.last.values() if int(job["JobId"]) > int(story.cancelled)]
    again = next(job for job in later if job["Comment"] == first["Comment"])
    assert minutes(again) == 2 * minutes(first)
    assert (first["MinMemoryNode"], again["MinMemoryNode"]) == ("2000M", "4000M")


def test_the_job_of_a_failed_node_goes_back_into_the_queue(story: Story) -> None:
    attempts = [job for job in story.site.slurm.ended() if job.id == story.requeued]
    assert (attempts[0].state, attempts[0].node) == ("NODE_FAIL", "node2")
    assert story.left[story.requeued]["JobState"] == "PENDING"


def test_jobs_of_a_killed_snakemake_are_cancelled_by_the_next(story: Story) -> None:
    # One may have ended by itself meanwhile: nobody watched it.
    left = {name for name in story.left if story.last[name]["JobState"] != "COMPLETED"}
    assert story.requeued in left
    said = re.search(r"Cancelled SLURM jobs that an earlier run left behind: (.*)", story.site.log)
    assert said
    assert set(said[1].split()) == left
    assert {story.last[name]["JobState"] for name in left} == {"CANCELLED"}


def test_nothing_is_done_twice(story: Story) -> None:
    assert story.stored
    now = stored(story.site)
    assert {path: now[path] for path in story.stored} == story.stored
    assert len(now) == 3
    assert len(story.site.jobs("msa")) == 1


def batches(site: Site) -> set[str]:
    return {row["batch"] for row in rows(site.results / "plan" / "batches.tsv")}


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


def minutes(job: dict[str, str]) -> int:
    hours, minute, _ = job["TimeLimit"].split(":")
    return 60 * int(hours) + int(minute)
