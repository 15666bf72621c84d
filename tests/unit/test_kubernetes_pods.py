"""What the API of Kubernetes says of pods that wait and of pods that have ended, in its own words."""

from __future__ import annotations

from typing import Any

import pytest

from snakefold.clusters.kubernetes_pods import ended, queued
from snakefold.kernel.errors import Reason
from snakefold.run.queued import RUNNING, WAITING

CREATED = "2026-11-29T10:00:00Z"
START, END = "2026-11-29T10:00:30+00:00", "2026-11-29T10:02:30Z"


def pod(status: dict[str, Any], state: dict[str, Any] | None = None) -> dict[str, Any]:
    containers = [{"name": "sidecar", "state": {"running": {}}}, {"name": "snakemake", "state": state}]
    return {
        "metadata": {"name": "snakejob-1-x7k2p", "labels": {"job-name": "j1"}, "creationTimestamp": CREATED},
        "spec": {
            "nodeName": "node-7",
            "containers": [{"name": "snakemake", "resources": {"limits": {"memory": "4000M"}}}],
        },
        "status": status | ({"containerStatuses": containers} if state is not None else {}),
    }


def terminated(reason: str, code: int) -> dict[str, Any]:
    return {"terminated": {"reason": reason, "exitCode": code, "startedAt": START, "finishedAt": END}}


UNSCHEDULABLE = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "Unschedulable",
    "message": "0/5 nodes are available: 1 Insufficient nvidia.com/gpu, 4 node(s) didn't match Pod's node "
    "affinity/selector. preemption: 0/5 nodes are available: 5 Preemption is not helpful for scheduling.",
}


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (
            pod({"phase": "Pending", "conditions": [UNSCHEDULABLE]}),
            "Unschedulable: 0/5 nodes are available: 1 Insufficient nvidia.com/gpu",
        ),
        (
            pod(
                {"phase": "Pending"},
                {"waiting": {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "x:1"'}},
            ),
            'ImagePullBackOff: Back-off pulling image "x:1"',
        ),
        (pod({"phase": "Pending"}, {"waiting": {"reason": "ContainerCreating"}}), "ContainerCreating"),
        (pod({"phase": "Pending"}), ""),
    ],
)
def test_a_pod_that_waits_says_why_and_since_when(found: dict[str, Any], why: str) -> None:
    job = queued("j1", found)
    assert job is not None and job.state == WAITING and job.since == 1795946400.0
    assert job.why.startswith(why)
    assert ended("j1", found, "predict") is None


def test_a_pod_that_runs() -> None:
    job = queued("j1", pod({"phase": "Running"}, {"running": {"startedAt": START}}))
    assert job is not None and (job.state, job.why, job.since) == (RUNNING, "", 1795946430.0)


@pytest.mark.parametrize("rule", ["predict", "msa"])
def test_a_pod_over_its_memory(rule: str) -> None:
    found = pod({"phase": "Running"}, terminated("OOMKilled", 137))
    end = ended("j1", found, rule)
    assert end is not None and queued("j1", found) is None
    assert (end.state, end.reason, end.seconds, end.queued) == (
        "OOMKilled",
        Reason.OUT_OF_MEMORY,
        120.0,
        30.0,
    )
    assert end.message == "Pod of job j1: OOMKilled after 2 min on node-7 (its limit was 4000M)."
    assert f"{rule}.mem_mb" in end.advice


@pytest.mark.parametrize(
    ("status", "reason", "says"),
    [
        (
            {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."},
            Reason.OUT_OF_MEMORY,
            "low on resource: memory",
        ),
        (
            {
                "phase": "Failed",
                "reason": "Evicted",
                "message": "The node was low on resource: ephemeral-storage.",
            },
            Reason.LOST,
            "ephemeral-storage",
        ),
        (
            {
                "phase": "Failed",
                "reason": "DeadlineExceeded",
                "message": "Pod was active on the node longer than the specified deadline",
            },
            Reason.TIMEOUT,
            "longer than the specified deadline",
        ),
        ({"phase": "Failed", "reason": "NodeLost", "message": "Node went away."}, Reason.LOST, "NodeLost"),
    ],
)
def test_a_pod_that_the_cluster_ended(status: dict[str, Any], reason: Reason, says: str) -> None:
    end = ended("j1", pod(status), "predict")
    assert end is not None and end.reason is reason and says in end.message and end.advice
    assert end.seconds is None, "nobody knows, so it is not nothing"


def test_a_pod_that_was_done_or_failed_by_itself() -> None:
    done = ended("j1", pod({"phase": "Succeeded"}, terminated("Completed", 0)), "predict")
    assert done is not None and (done.state, done.message, done.seconds) == ("COMPLETED", "", 120.0)
    failed = ended("j1", pod({"phase": "Failed"}, terminated("Error", 2)), "predict")
    assert failed is not None and failed.reason is None
    assert failed.message == "Pod of job j1: Error after 2 min on node-7, exit code 2."
    killed = ended("j1", pod({"phase": "Failed"}, terminated("Error", 137)), "predict")
    assert killed is not None and killed.reason is Reason.LOST and "signal 9" in killed.message
