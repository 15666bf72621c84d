"""The workflow under the profile: what is asked of the cluster, and that the pods' commands do their work."""

from __future__ import annotations

import csv
import json
import re
from typing import Any

import pytest

from snakefold.kernel.errors import Reason
from snakefold.run import attempts
from tests.kubernetes.cluster import Pod, validate
from tests.kubernetes.conftest import IMAGE, Run
from tests.servers.seaweedfs import WRITER

pytestmark = pytest.mark.slow


def requested(pod: Pod) -> dict[str, Any]:
    """Requests, without the room on the node's disk."""
    requests = dict(pod.container["resources"]["requests"])
    assert requests.pop("ephemeral-storage") == "20000M"
    return requests


def test_a_target_is_folded_although_a_pod_was_killed(run: Run) -> None:
    assert run.returncode == 0, run.log
    with (run.folder / "results" / "metrics.tsv").open() as stream:
        assert [row["id"] for row in csv.DictReader(stream, delimiter="\t")] == ["one"]
    assert (run.folder / "results" / "structures" / "one" / "ranked_0.pdb").is_file()
    assert [pod.exit_code for pod in run.pods("msa")] == [0]
    assert [pod.exit_code for pod in run.pods("predict")] == [137, 0]
    # Nothing but alignments and predictions needs a pod.
    assert {pod.rule for pod in run.cluster.history} == {"msa", "predict"}


def test_why_a_pod_was_killed_is_told_and_its_time_is_billed(run: Run) -> None:
    (said,) = re.findall(r"^Failed: predict (\S+): (.*)$", run.log, re.MULTILINE)
    assert re.search(
        r"Pod of job snakejob-\S+: OOMKilled.* on g5\.2xlarge \(its limit was 4000M\)\.", said[1]
    )
    assert "Raise predict.mem_mb" in said[1]
    first, second = attempts.read(run.folder / "results", "predict", said[0])
    assert (first.reason, second.state) == (Reason.OUT_OF_MEMORY, "COMPLETED")
    assert first.seconds is not None and second.seconds is not None and second.seconds > 0
    record = json.loads((run.folder / "results" / "executions" / f"{said[0]}.json").read_text())
    assert record["billed_seconds"] == first.seconds + second.seconds
    assert (record["attempts"], record["gpu"], record["executor"]) == (2, "a10g_24", "kubernetes")
    assert record["dollars_per_second"] > 0
    assert [each.state for each in attempts.read(run.folder / "results", "msa", "m0001")] == ["COMPLETED"]


def test_alignments_ask_for_cpus_of_their_nodes(run: Run) -> None:
    (pod,) = run.pods("msa")
    assert requested(pod) == {"cpu": "3600m", "memory": "3000M"}
    assert pod.container["resources"]["limits"]["memory"] == "3000M"
    assert pod.spec["nodeSelector"] == {"node.kubernetes.io/instance-type": "c6i.4xlarge"}
    assert "tolerations" not in pod.spec
    assert pod.node is not None and pod.node.machine_type == "c6i.4xlarge"


def test_predictions_ask_for_a_gpu_of_the_class_of_the_plan(run: Run) -> None:
    for pod, memory in zip(run.pods("predict"), ("4000M", "8000M"), strict=True):
        assert requested(pod) == {"cpu": "1800m", "memory": memory, "nvidia.com/gpu": "1"}
        limits = pod.container["resources"]["limits"]
        assert (limits["nvidia.com/gpu"], limits["memory"]) == ("1", memory)
        assert pod.spec["nodeSelector"] == {"node.kubernetes.io/instance-type": "g5.2xlarge"}
        # The other GPU was free, and its node has no taint.
        assert pod.node is not None and pod.node.machine_type == "g5.2xlarge"


def test_every_pod_has_the_image_the_volume_and_an_account_without_rights(run: Run) -> None:
    for pod in run.cluster.history:
        validate(pod.job)
        assert pod.container["image"] == IMAGE
        assert pod.container["workingDir"] == "/workdir"
        assert {"name": "snakefold-data", "mountPath": "/data"} in pod.container["volumeMounts"]
        claim = {"name": "snakefold-data", "persistentVolumeClaim": {"claimName": "snakefold-data"}}
        assert claim in pod.spec["volumes"]
        assert pod.spec["serviceAccountName"] == "snakefold-job"
        assert pod.job["spec"]["backoffLimit"] == 0


def test_the_role_permits_what_is_needed_and_no_more(run: Run) -> None:
    # The log of the killed pod's previous container is all that was refused.
    assert [said for said in run.cluster.refused if "previous terminated container" not in said] == []
    assert run.cluster.asked == run.cluster.allowed()


def test_nothing_is_left_on_the_cluster(run: Run) -> None:
    assert run.cluster.pods == {}
    assert run.cluster.secrets == {}


def test_keys_are_in_no_manifest_and_no_log(run: Run) -> None:
    for pod in run.cluster.history:
        names = {each["name"] for each in pod.container["env"]}
        assert {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} <= names
        assert WRITER.secret not in str(pod.job)
        assert WRITER.secret not in (run.cluster.folder / pod.name / "log").read_text(errors="replace")
    assert WRITER.secret not in run.log
