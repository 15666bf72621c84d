"""What SLURM 22.05 said of jobs, read: squeue, scontrol and sacct as recorded, one job for each end."""

from __future__ import annotations

import time

import pytest

from snakefold.clusters.slurm import (
    Slurm,
    SlurmJob,
    describe,
    parse_sacct,
    parse_scontrol,
    parse_squeue,
    refusal,
)
from snakefold.kernel.errors import Reason
from snakefold.run.queued import RUNNING, WAITING

SQUEUE = """\
11|CANCELLED|2026-11-29T21:43:03|2026-11-29T21:43:04|None
7|PENDING|2026-11-29T21:43:03|N/A|PartitionConfig
12|PENDING|2026-11-29T21:40:27|2027-11-29T21:40:28|Nodes required for job are DOWN, DRAINED or reserved for \
jobs in higher priority partitions
20|PENDING|2026-11-29T21:43:06|N/A|ReqNodeNotAvail, UnavailableNodes:node2
15|PENDING|2026-11-29T21:43:03|2027-11-29T21:43:05|Resources
1|RUNNING|2026-11-29T21:43:03|2026-11-29T21:43:04|None
"""
_REST = (
    " Scheduler=Main Partition=gpu AllocNode:Sid=localhost:6082 ReqNodeList=(null) ExcNodeList=(null) {node} "
    "NumNodes=1 NumCPUs=1 MinCPUsNode=1 MinMemoryNode=100M MinTmpDiskNode=0 Features=(null) Network=(null) "
    "Command=(null) WorkDir=/home/user/a folder Comment=rule_predict_wildcards_b0001-l0070  StdErr=/dev/null "
)
SCONTROL = {
    10: "JobId=10 JobName=wrap UserId=root(0) Priority=4294901752 JobState=TIMEOUT Reason=TimeLimit "
    "Requeue=1 Restarts=0 ExitCode=0:15 RunTime=00:01:28 TimeLimit=00:01:00 SubmitTime=2026-11-29T21:43:01 "
    "EligibleTime=2026-11-29T21:43:01 StartTime=2026-11-29T21:43:04 EndTime=2026-11-29T21:44:32",
    11: "JobId=11 JobName=wrap UserId=root(0) Priority=4294901751 JobState=CANCELLED Reason=None "
    "Requeue=1 Restarts=0 ExitCode=0:15 RunTime=00:00:02 TimeLimit=365-00:00:00 "
    "SubmitTime=2026-11-29T21:43:03 StartTime=2026-11-29T21:43:04 EndTime=2026-11-29T21:43:06",
    12: "JobId=12 JobName=wrap UserId=root(0) JobState=FAILED Reason=NonZeroExitCode Requeue=1 Restarts=0 "
    "ExitCode=137:0 RunTime=00:00:01 TimeLimit=365-00:00:00 SubmitTime=2026-11-29T21:43:03 "
    "StartTime=2026-11-29T21:43:04 EndTime=2026-11-29T21:43:05",
    13: "JobId=13 JobName=wrap JobState=FAILED Reason=JobLaunchFailure Requeue=1 Restarts=0 ExitCode=0:9 "
    "RunTime=00:00:01 TimeLimit=UNLIMITED SubmitTime=2026-11-29T21:43:03 StartTime=2026-11-29T21:43:04",
    16: "JobId=16 JobName=wrap JobState=PENDING Reason=BeginTime Requeue=1 Restarts=1 ExitCode=0:0 "
    "RunTime=00:00:00 TimeLimit=365-00:00:00 SubmitTime=2026-11-29T21:43:46 StartTime=2026-11-29T21:45:47",
    3: "JobId=3 JobName=wrap JobState=FAILED Reason=BadConstraints Requeue=1 Restarts=0 ExitCode=1:0 "
    "RunTime=00:00:00 TimeLimit=UNLIMITED SubmitTime=2026-11-29T21:43:03 StartTime=2026-11-29T21:43:03",
    9: "JobId=9 JobName=wrap JobState=FAILED Reason=NonZeroExitCode Requeue=1 Restarts=0 ExitCode=3:0 "
    "RunTime=00:00:00 TimeLimit=365-00:00:00 SubmitTime=2026-11-29T21:43:03 StartTime=2026-11-29T21:43:04",
}
SACCT = """\
10|TIMEOUT|0:0|2026-11-29T21:41:10|2026-11-29T21:41:13|60|1|node1|100M
"""
CANCELLED = "11|CANCELLED by 0|0:0|2026-11-29T21:41:13|2026-11-29T21:41:13|3|525600|node2|100M\n"
REQUEUED = """\
16|NODE_FAIL|0:0|2026-11-29T21:41:13|2026-11-29T21:41:13|43|525600|node2|100M
16|COMPLETED|0:0|2026-11-29T21:41:56|2026-11-29T21:43:57|20|525600|node1|100M
"""


def job(number: int, node: str = "node1") -> SlurmJob:
    found = parse_scontrol(SCONTROL[number] + _REST.format(node=f"NodeList={node}") + "\n")
    assert found is not None
    return found


def test_the_queue_says_who_waits_and_why_and_since_when() -> None:
    found = parse_squeue(SQUEUE)
    assert {name for name, each in found.items() if each.state == WAITING} == {"7", "12", "20", "15"}
    assert found["1"].state == RUNNING and found["1"].why == ""
    assert found["20"].why == "ReqNodeNotAvail, UnavailableNodes:node2"
    assert "DRAINED" in found["12"].why
    assert found["20"].since == time.mktime((2026, 11, 29, 21, 43, 6, 0, 0, -1))
    assert found["1"].since == time.mktime((2026, 11, 29, 21, 43, 4, 0, 0, -1))
    assert "11" not in found, "one that is over neither waits nor runs"


def test_a_time_limit() -> None:
    end = describe([job(10)], "predict")
    assert (end.state, end.reason, end.seconds, end.queued) == ("TIMEOUT", Reason.TIMEOUT, 88.0, 3.0)
    assert end.message == "SLURM job 10: TIMEOUT after 88 s on node1 (the limit was 60 s)."
    assert "predict:runtime=MINUTES" in end.advice and "batch.max_targets" in end.advice
    assert "msa.chunk_size" in describe([job(10)], "msa").advice
    (accounted,) = parse_sacct(SACCT)
    assert describe([accounted], "predict").message == (
        "SLURM job 10: TIMEOUT after 60 s on node1 (the limit was 60 s)."
    )


@pytest.mark.parametrize("rule", ["predict", "msa"])
def test_memory(rule: str) -> None:
    end = describe([SlurmJob("5", "OUT_OF_MEMORY", seconds=7.0, started=1.0, memory="4000M")], rule)
    assert end.reason is Reason.OUT_OF_MEMORY and "it had 4000M" in end.message
    assert f"{rule}.mem_mb" in end.advice


@pytest.mark.parametrize("number", [12, 13])
def test_a_kill_by_signal_9_is_told_as_one(number: int) -> None:
    end = describe([job(number)], "predict")
    assert end.reason is Reason.LOST and "signal 9" in end.message and "predict.mem_mb" in end.advice


def test_a_cancelled_job_has_the_time_that_it_had() -> None:
    end = describe([job(11)], "predict")
    assert (end.state, end.reason, end.seconds) == ("CANCELLED", Reason.LOST, 2.0)
    assert describe(parse_sacct(CANCELLED), "predict").state == "CANCELLED"


def test_a_node_that_fails() -> None:
    (lost, _) = parse_sacct(REQUEUED)
    assert describe([lost], "predict").reason is Reason.LOST
    assert "NODE_FAIL after 43 s on node2" in describe([lost], "predict").message


def test_a_job_that_no_node_can_take() -> None:
    end = describe([job(3, "")], "predict")
    assert end.reason is Reason.SUBMISSION_REFUSED and "BadConstraints" in end.message


def test_a_program_that_failed_is_left_to_its_log() -> None:
    end = describe([job(9)], "predict")
    assert end.reason is None and end.message.endswith("FAILED on node1, exit code 3.")


def test_all_runs_of_a_job_that_went_back_into_the_queue_count() -> None:
    end = describe(parse_sacct(REQUEUED), "predict")
    assert (end.state, end.seconds, end.whole, end.message) == ("COMPLETED", 63.0, True, "")
    assert end.queued == 121.0
    # The controller knows the last of them only.
    assert not describe([SlurmJob("16", "COMPLETED", seconds=20.0, restarts=1)], "predict").whole


def test_accounts_are_asked_where_the_controller_does_not_know_all(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"scontrol": SCONTROL[16], "sacct": REQUEUED}
    monkeypatch.setattr("snakefold.clusters.slurm._said", lambda *command: said.get(command[0], ""))
    end = Slurm().ended("16", "predict")
    assert end is not None and end.seconds == 63.0
    said["sacct"] = ""
    assert Slurm().ended("16", "predict") is None, "it waits again"
    said["scontrol"] = ""
    assert Slurm().ended("99999", "predict") is None


def plugin(words: str) -> str:
    told = f"SLURM sbatch failed. The error message was '{words}'."
    return f"{told}\n    sbatch call:\n        sbatch -p x --wrap='a'\n"


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (
            "sbatch: error: invalid partition specified: nosuch\nsbatch: error: Batch job submission failed: "
            "Invalid partition name specified",
            "slurm.partition",
        ),
        (
            "sbatch: error: Batch job submission failed: Invalid account or account/partition combination "
            "specified",
            "slurm.account",
        ),
        ("sbatch: error: Batch job submission failed: Invalid qos specification", "slurm-qos"),
        ("sbatch: error: Invalid generic resource (gres) specification", "`model`"),
        ("sbatch: error: Batch job submission failed: Invalid feature specification", "`constraint`"),
        (
            "sbatch: error: Memory specification can not be satisfied\nsbatch: error: Batch job submission "
            "failed: Requested node configuration is not available",
            "mem_mb",
        ),
        ("sbatch: error: Batch job submission failed: Requested node configuration is not available", "%G"),
        ("sbatch: error: Batch job submission failed: Requested reservation is invalid", "reservation"),
        ("sbatch: error: Invalid --time specification", "runtime"),
    ],
)
def test_a_refusal_for_good_names_the_setting(words: str, advice: str) -> None:
    end = refusal(plugin(words))
    assert end is not None and end.reason is Reason.SUBMISSION_REFUSED
    assert words.partition("error: ")[2].partition("\n")[0] in end.message
    assert "sbatch call" not in end.message
    assert advice in end.advice


def test_an_account_that_the_plugin_refuses() -> None:
    said = (
        "Job submission failed with exception: The given account lap appears to be invalid. Available "
        "accounts:\nlab, root"
    )
    end = refusal(said)
    assert end is not None and end.reason is Reason.SUBMISSION_REFUSED
    assert "lab, root" in end.message and "slurm.account" in end.advice


@pytest.mark.parametrize(
    "words",
    [
        "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation",
        "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)",
        "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit, "
        "user's size and/or time limits)",
    ],
)
def test_what_may_be_taken_later_is_tried_again(words: str) -> None:
    end = refusal(plugin(words))
    assert end is not None and end.reason is None and "did not take" in end.message


def test_other_errors_are_no_refusals() -> None:
    assert refusal("SLURM-job '12' failed, SLURM status is: 'FAILED'.") is None
