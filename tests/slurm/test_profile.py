"""What the profile asks for, with and without slurmdbd, and what is cancelled of an earlier run's jobs."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
import yte

from snakefold.config import load_config
from snakefold.cost.gpus import load_classes
from snakefold.errors import ConfigError, SnakefoldError
from snakefold.plan.limits import msa_minutes, predict_mb
from snakefold.slurm import cancel_left_behind
from tests.servers.slurm import Slurm, running
from tests.slurm.conftest import NODES, SITE, Site, make_site, wait_for

HOUSE = Path(__file__).resolve().parents[2]
PROFILE = HOUSE / "profiles" / "slurm"

on_a_cluster = pytest.mark.needs("slurmctld", "slurmd", "munged")


def profile() -> dict[str, object]:
    """The profile as Snakemake reads it."""
    return dict(yte.process_yaml((PROFILE / "config.v9+.yaml").read_text(), require_use_yte=True))


def use(slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in slurm.environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def accounted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    with running(tmp_path_factory.mktemp("slurmdbd") / "cluster", NODES, accounting=True) as slurm:
        yield slurm


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
    # What scontrol says on such a cluster: the answer of this one with another number.
    said = re.sub(r"(MinJobAge\s*= )\d+", r"\g<1>30", slurm.call("scontrol", "show", "config"))
    (tmp_path / "said").write_text(said)
    (tmp_path / "scontrol").write_text(f"#!/bin/sh\n/bin/cat {tmp_path / 'said'}\n")
    (tmp_path / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    # With three times as many seconds the plugin would turn to sacct, which answers nothing here.
    assert profile()["slurm-init-seconds-before-status-checks"] == 10
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


def start_small(site: Site, shell: str) -> subprocess.Popen[bytes]:
    """A workflow of one job under the profile."""
    (site.folder / "Snakefile").write_text(
        f"""rule msa:
    output: "done"
    resources: slurm_account=config["slurm"].get("account"), slurm_partition=config["slurm"]["partition"]
    shell: "{shell}"
"""
    )
    polling = ("--slurm-init-seconds-before-status-checks", "1", "--default-resources", "mem_mb=500")
    with (site.folder / "run.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "snakemake", "--workflow-profile", "slurm", *polling],
            cwd=site.folder,
            env=site.environment,
            stdout=log,
            stderr=log,
        )


@pytest.mark.slow
@on_a_cluster
def test_an_interrupted_run_cancels_its_jobs(slurm: Slurm, tmp_path: Path) -> None:
    site = make_site(slurm, tmp_path)

    def states() -> list[str]:
        return [job["JobState"] for job in site.jobs("msa")]

    process = start_small(site, "sleep 600")
    try:
        wait_for(lambda: states() == ["RUNNING"] and "submitted with SLURM" in site.log, site, process)
        time.sleep(1)  # Snakemake takes note of a job a moment after SLURM has it.
        process.send_signal(signal.SIGINT)
        assert process.wait(300) != 0
        deadline = time.monotonic() + 60
        while states() == ["COMPLETING"] and time.monotonic() < deadline:
            time.sleep(0.2)
        assert states() == ["CANCELLED"], site.log
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
@pytest.mark.needs("slurmctld", "slurmd", "munged", "slurmdbd", "mariadbd")
def test_with_slurmdbd_sacct_is_asked_and_the_account_is_charged(
    accounted: Slurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(accounted, monkeypatch)
    assert profile()["slurm-status-command"] == "sacct"
    site = make_site(accounted, tmp_path, {"slurm": SITE["slurm"] | {"account": "lab"}})
    process = start_small(site, "touch {output}")
    assert process.wait(600) == 0, site.log
    (line,) = accounted.call("sacct", "-X", "-n", "-P", "--format=Account,State,Partition").splitlines()
    assert line == "lab|COMPLETED|cpu"
