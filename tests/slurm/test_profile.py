"""What the profile asks for, with and without slurmdbd, and what is cancelled of an earlier run's jobs."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
import yaml
from snakemake_executor_plugin_slurm.job_status_query import query_job_status_squeue

from snakefold.clusters.slurm import cancel_left_behind
from snakefold.config import load_config
from snakefold.kernel.errors import ConfigError, SnakefoldError
from snakefold.plan.cost.gpus import load_classes
from snakefold.plan.executors import msa_minutes, predict_mb
from tests.servers.slurm import Slurm, running
from tests.slurm.conftest import (
    NODES,
    PROFILE,
    SITE,
    Site,
    forgetful,
    make_site,
    profile,
    start_small,
    wait_for,
    wait_for_nodes,
)

on_a_cluster = pytest.mark.needs("slurmctld", "slurmd", "munged")


def use(slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in slurm.environment.items():
        monkeypatch.setenv(name, value)


def test_the_site_as_it_comes_is_a_valid_configuration() -> None:
    config = load_config(yaml.safe_load((PROFILE / "site.yaml").read_text()))
    assert set(config.gpu.classes) <= set(config.slurm.gpus)


def test_a_class_that_nobody_can_ask_for_is_refused() -> None:
    values = SITE | {"gpu": {"classes": ["ampere_80", "ampere_24"]}}
    with pytest.raises(ConfigError, match=r"how to ask for ampere_24 of gpu\.classes"):
        load_config(values)


def test_limits_grow_with_the_work_and_with_every_attempt(tmp_path: Path) -> None:
    def minutes(chains: int, attempt: int = 1) -> int:
        chain = {"key": "0" * 64, "sequence": "M" * 300}
        chunk = {"chunk": "m1", "recipe": "x", "chains": [chain] * chains}
        (tmp_path / "chunks").mkdir(exist_ok=True)
        (tmp_path / "chunks" / "m1.json").write_text(json.dumps(chunk))
        return msa_minutes(tmp_path, "m1", config, attempt)

    config = load_config({"msa": {"tool": "jackhmmer", "db_preset": "full_dbs", "db_root": str(tmp_path)}})
    assert minutes(1) >= 30
    assert minutes(64) > 2 * minutes(8)
    assert minutes(8, attempt=3) == 3 * minutes(8)
    gpu, cpu = load_classes(["ampere_80", "local"])
    assert predict_mb(20.0, gpu, config) == config.predict.mem_mb
    assert predict_mb(20.0, cpu, config, 2) == 2 * (config.predict.mem_mb + 20_000)


@on_a_cluster
def test_status_comes_from_squeue_without_slurmdbd(slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    use(slurm, monkeypatch)
    assert profile()["slurm-status-command"] == "squeue"


@on_a_cluster
def test_a_cluster_that_forgets_jobs_too_soon_is_named(
    slurm: Slurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use(slurm, monkeypatch)
    assert profile()["slurm-init-seconds-before-status-checks"] == 20
    assert "MinJobAge" not in capsys.readouterr().err
    monkeypatch.setenv("PATH", forgetful(slurm, tmp_path, 30)["PATH"])
    asked = profile()
    assert asked["slurm-status-command"] == "squeue"
    # With three times as many seconds the plugin would turn to sacct, which answers nothing here.
    assert asked["slurm-init-seconds-before-status-checks"] == 10
    assert "forgets a job 30 seconds after its end (MinJobAge)" in capsys.readouterr().err


def test_the_profile_can_be_read_where_there_is_no_slurm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert profile()["slurm-status-command"] == "squeue"
    with pytest.raises(SnakefoldError, match="login node"):
        cancel_left_behind(tmp_path, "results")


@on_a_cluster
def test_only_jobs_of_these_results_are_cancelled(
    slurm: Slurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(slurm, monkeypatch)
    monkeypatch.chdir(tmp_path)

    def submit(comment: str, script: str, folder: Path = tmp_path) -> str:
        options = ("--parsable", "--partition=cpu", "--output=/dev/null", f"--comment={comment}")
        return slurm.call("sbatch", *options, f"--chdir={folder}", f"--wrap=sleep 600 # {script}").strip()

    (tmp_path / "else where|x").mkdir()
    ours = [
        submit("rule_predict_wildcards_b0001-l0100", "'out/requests/b0001-l0100/request.json'"),
        submit("rule_msa_wildcards_m0001", "'out/plan/chunks/m0001.json'"),
    ]
    theirs = [
        submit("rule_predict_wildcards_b0001-l0100", "'out2/requests/b0001-l0100/request.json'"),
        submit("rule_align_wildcards_x", "'out/plan/chunks/m0001.json'"),
        submit("", "snakefold run my.fasta --profile slurm"),
        submit("rule_msa_wildcards_m0001", "'out/plan/chunks/m0001.json'", folder=tmp_path / "else where|x"),
    ]
    try:
        assert sorted(cancel_left_behind(tmp_path, "out")) == sorted(ours)
        states = {job["JobId"]: job["JobState"] for job in slurm.jobs()}
        assert {states[job] for job in ours} == {"CANCELLED"}
        assert {states[job] for job in theirs} <= {"RUNNING", "PENDING"}
        assert cancel_left_behind(tmp_path, "out") == []
    finally:
        slurm.call("scancel", *theirs)


def states(site: Site) -> list[str]:
    return [job["JobState"] for job in site.jobs("msa")]


@on_a_cluster
@pytest.mark.needs("root", "setpriv")
def test_jobs_in_a_hidden_partition_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    # Hidden from all but root: SLURM's commands are called as somebody else, who has to find them.
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        folder.chmod(0o755)
        tools = folder / "tools"
        tools.mkdir()
        for name in ("sbatch", "squeue", "scontrol", "scancel"):
            nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups"
            (tools / name).write_text(f'#!/bin/sh\nexec {nobody} {shutil.which(name)} "$@"\n')
            (tools / name).chmod(0o755)
        with running(folder / "cluster", NODES) as slurm:
            use(slurm, monkeypatch)
            monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
            monkeypatch.delenv("SQUEUE_ALL", raising=False)

            def submit(script: str) -> str:
                command = (
                    "sbatch",
                    "--parsable",
                    "--partition=hidden",
                    "--job-name=run",
                    "--output=/dev/null",
                )
                wrap = f"--wrap=sleep 600 # {script}"
                said = subprocess.run(
                    [*command, "--comment=rule_msa_wildcards_m1", wrap],
                    cwd=folder,
                    check=True,
                    capture_output=True,
                    text=True,
                )
                return said.stdout.strip()

            ours, other = submit("'out/plan/chunks/m1.json'"), submit("'other/plan/chunks/m1.json'")
            assert cancel_left_behind(folder, "out") == [ours]
            look = shlex.split(query_job_status_squeue("run"))
            assert subprocess.run(look, check=True, capture_output=True).stdout == b""
            profile()
            said = subprocess.run(look, check=True, capture_output=True, text=True).stdout.split()
            assert {line.partition("|")[0] for line in said} == {ours, other}


@pytest.mark.slow
@on_a_cluster
def test_an_interrupted_run_cancels_its_jobs(slurm: Slurm, tmp_path: Path) -> None:
    site = make_site(slurm, tmp_path)
    process = start_small(site, "sleep 600", "--verbose")
    try:
        # While Snakemake looks at the queue it has no jobs that it could cancel. It has just looked.
        wait_for(lambda: "Checking 1 active jobs with external IDs" in site.log, site, process)
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        assert process.wait(3600) != 0
        deadline = time.monotonic() + 600
        while states(site) == ["COMPLETING"] and time.monotonic() < deadline:
            time.sleep(0.2)
        assert states(site) == ["CANCELLED"], site.log
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
@on_a_cluster
def test_without_slurmdbd_a_job_survives_its_cancellation_and_its_node(slurm: Slurm, tmp_path: Path) -> None:
    site = make_site(slurm, tmp_path)
    process = start_small(site, "until [ -e go ]; do sleep 0.2; done; touch {output}")
    try:
        wait_for(lambda: states(site) == ["RUNNING"], site, process)
        slurm.call("scancel", site.jobs("msa")[0]["JobId"])
        wait_for(lambda: states(site) == ["CANCELLED", "RUNNING"], site, process)
        node = site.jobs("msa")[1]["NodeList"]
        slurm.fail_node(node)
        wait_for(lambda: site.jobs("msa")[1]["Restarts"] == "1", site, process)
        # SLURM would keep it back for two minutes.
        slurm.call("scontrol", "update", f"JobId={site.jobs('msa')[1]['JobId']}", "StartTime=now")
        (tmp_path / "go").touch()
        assert process.wait(3600) == 0, site.log
        assert states(site) == ["CANCELLED", "COMPLETED"]
        assert (tmp_path / "done").exists()
        slurm.start_node(node)
        wait_for_nodes(slurm)
    finally:
        process.kill()
        process.wait()
