"""Failed jobs on the screen, under `quiet: rules` as in all profiles, beside a real Snakemake."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from snakemake.scheduling import job_scheduler

from snakefold.clusters.job_errors import UNEXPLAINED, JobErrors, seldom

HOUSE = Path(__file__).resolve().parents[2]
WORKFLOW = """
from snakemake.logging import logger
from snakefold.clusters.job_errors import show_job_errors

onstart:
    show_job_errors(logger, workflow.output_settings.quiet)
    show_job_errors(logger, workflow.output_settings.quiet)

rule all:
    input: "results/predictions/b0001", "fine"

rule predict:
    output: "results/predictions/{name}"
    log: "results/logs/predict/{name}.log"
    shell: "(echo long ago; echo 'snakefold: the weights are damaged.'; exit 3) > {log} 2>&1"

rule fine:
    output: "fine"
    shell: "touch {output}"
"""


def run(folder: Path, *quiet: str) -> str:
    (folder / "Snakefile").write_text(WORKFLOW)
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--keep-going", "--quiet", *quiet]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    return done.stdout + done.stderr


def quietness() -> list[str]:
    """What all profiles are quiet about."""
    profiles = (HOUSE / "profiles").glob("*/config*.yaml")
    lines = [re.findall(r"^quiet: .*", path.read_text(), re.MULTILINE) for path in profiles]
    assert len(lines) == 5 and all(line == lines[0] for line in lines)
    return list(yaml.safe_load(lines[0][0])["quiet"])


def test_errors_of_jobs_are_told_in_two_lines(tmp_path: Path) -> None:
    said = run(tmp_path, *quietness())
    assert (
        "Failed: predict b0001: snakefold: the weights are damaged.\n  log: results/logs/predict/b0001.log\n"
    ) in said
    # What jobs do is not told, and an error is told once.
    assert "rule fine" not in said and "Error in rule" not in said and said.count("Failed:") == 1
    (log,) = (tmp_path / ".snakemake" / "log").glob("*.log")
    assert "Error in rule predict:" in log.read_text()


def test_who_asks_for_silence_has_it(tmp_path: Path) -> None:
    assert "Failed" not in run(tmp_path, "all")


def record(name: str, said: str | None, log: str = "") -> logging.LogRecord:
    found = logging.LogRecord(
        "snakemake", logging.ERROR, "", 1, f"Error in rule predict, jobid: {name}", (), None
    )
    found.event = SimpleNamespace(name="JOB_ERROR")
    found.rule_name, found.rule_msg, found.log = "predict", said, [log] * bool(log)
    return found


def test_what_an_executor_says_is_told_without_what_all_of_them_add(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tail = "For further error details see the cluster/cloud log and the log files of the involved rule(s)."
    JobErrors().handle(record("1", f"RunPod: no capacity. {tail}", str(tmp_path / "predict" / "b7.log")))
    said = capsys.readouterr().err
    assert said.startswith("Failed: predict b7: RunPod: no capacity.\n") and "cluster/cloud" not in said


def test_the_log_is_quoted_where_nobody_else_knows_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "predict" / "b7.log"
    log.parent.mkdir()
    log.write_text("snakefold: the weights are damaged.\n")
    found = record("1", "SLURM job 1: FAILED, exit code 1. ", str(log))
    JobErrors().handle(found)
    assert "damaged" not in capsys.readouterr().err
    found.aux = {UNEXPLAINED: True}
    JobErrors().handle(found)
    assert (
        "SLURM job 1: FAILED, exit code 1. snakefold: the weights are damaged.\n" in capsys.readouterr().err
    )


def test_what_an_interrupt_ends_is_not_told_as_failed(capsys: pytest.CaptureFixture[str]) -> None:
    handler = JobErrors()
    said = "Terminating processes on user request, this might take some time."
    assert said in (Path(job_scheduler.__file__)).read_text(), "Snakemake says it in other words now"
    handler.handle(logging.LogRecord("snakemake", logging.INFO, "", 1, said, (), None))
    handler.handle(record("1", "died with SIGINT"))
    assert capsys.readouterr().err == ""


def test_what_is_the_same_for_all_jobs_is_told_three_times(capsys: pytest.CaptureFixture[str]) -> None:
    handler = JobErrors()
    for number in range(20):
        handler.handle(record(str(number), f"SLURM job {number}: TIMEOUT after {number} s."))
    said = capsys.readouterr().err
    assert said.count("Failed") == 3 and said.count("further failures of this kind are in failures.tsv") == 1
    told: list[str] = []
    say = seldom(told.append)
    for number in range(20):
        say(f"predict b{number}: SLURM refused the job. It is not tried again.")
    say("predict b1: another reason")
    assert len(told) == 4


def test_a_message_is_bounded(capsys: pytest.CaptureFixture[str]) -> None:
    JobErrors().handle(record("1", "x" * 100_000))
    assert len(capsys.readouterr().err) < 1200
