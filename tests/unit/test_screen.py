"""The panel of a run: what its lines say, and the logger plugin that shows it."""

from __future__ import annotations

import base64
import dataclasses
import fcntl
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import snakemake
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from snakemake_interface_logger_plugins.common import LogEvent
from snakemake_interface_logger_plugins.registry import LoggerPluginRegistry
from snakemake_interface_logger_plugins.tests import MockOutputSettings, TestLogHandlerBase

from snakefold.cli import main
from snakefold.plan.lock import lock_file, note_log
from snakefold.plan.provenance import COMMAND
from snakefold.run.progress import Failure, ProgressFile
from snakefold.run.queued import WAITING, Queued
from snakefold.run.status import AtWork, Reader, Status, Step, line, lines
from snakefold.run.status.ending import ending

TEXT = st.text(max_size=60)
NUMBER = st.integers(0, 10**7)
SECONDS = st.none() | st.floats(0, 1e8)
STATUS = st.builds(
    Status,
    results=TEXT.filter(lambda text: "\0" not in text).map(Path),
    state=st.sampled_from(["planning", "running", "finished", "failed", "stopped"]),
    steps=st.lists(
        st.builds(
            Step,
            name=st.sampled_from(["msa", "predict", "restore", "collect", "report", "publish"]),
            total=st.integers(1, 9999),
            done=NUMBER,
            running=NUMBER,
            queued=NUMBER,
        ),
        max_size=6,
    ),
    chains=NUMBER,
    aligned=NUMBER,
    targets=NUMBER,
    done=NUMBER,
    failed=NUMBER,
    refused=NUMBER,
    failures=st.lists(st.builds(Failure, TEXT, TEXT, TEXT), max_size=4).map(tuple),
    at_work=st.lists(
        st.builds(AtWork, batch=TEXT, target=TEXT, length=NUMBER, stage=TEXT, seconds=st.floats(0, 1e8)),
        max_size=6,
    ).map(tuple),
    errors=st.lists(TEXT, max_size=3).map(tuple),
    retries=NUMBER,
    warnings=st.lists(TEXT, max_size=3).map(tuple),
    rehearsal=st.booleans(),
    elapsed=SECONDS,
    silent=SECONDS,
    remaining=SECONDS,
    planned=SECONDS,
    busy=st.none() | st.floats(0, 1),
    dollars=SECONDS,
    quoted=SECONDS,
    executor=TEXT,
    waiting=st.lists(st.builds(Queued, id=TEXT, state=st.just(WAITING), why=TEXT), max_size=3).map(tuple),
)
RUNNING = Status(
    Path("results"),
    "running",
    [Step("msa", 2, 2), Step("predict", 3, 1, 1), Step("collect", 3, 1), Step("report", 1)],
    chains=15,
    aligned=15,
    targets=14,
    done=6,
    failed=1,
    refused=1,
    failures=(Failure("T1090", "out_of_memory", "3,000 residues do not fit"),),
    at_work=(AtWork("b2", "T1104", 117, "compiling", 2, 8, 45.0),),
    retries=1,
    elapsed=240.0,
    remaining=720.0,
    planned=900.0,
    dollars=0.42,
    quoted=1.2,
)


@given(STATUS, st.integers(1, 200), st.lists(TEXT, max_size=3))
def test_no_line_is_wider_than_the_terminal(status: Status, width: int, notes: list[str]) -> None:
    for text in lines(status, width, notes):
        assert cell_len(text.plain) <= width
        assert text.plain.isprintable(), "nothing that a terminal obeys"


@given(STATUS)
def test_one_line_is_one_line(status: Status) -> None:
    assert line(status).isprintable()


def shown(status: Status, width: int = 120) -> str:
    return "\n".join(text.plain.rstrip() for text in lines(status, width))


def test_the_panel_says_what_a_person_asks() -> None:
    text = shown(RUNNING)
    assert "plan        done: 14 targets, 1 refused, about 15 min, $1.20" in text
    assert "alignments  " + "━" * 30 + "  15/15" in text
    assert "  7/14  T1104 (117 residues) compiling, 45 s, 1 failed" in text
    assert "failed      T1090: out_of_memory: 3,000 residues do not fit" in text
    assert "1 retry · 4 min so far · about 12 min left · $0.42 paid of $1.20 quoted" in text
    assert f"report      {(Path.cwd() / 'results/report/index.html').as_uri()}" in text
    assert "REHEARSAL" not in text
    assert "REHEARSAL" in shown(dataclasses.replace(RUNNING, rehearsal=True))
    assert len(shown(RUNNING).splitlines()) <= 12, "half a terminal"


def test_longer_than_planned_is_said_as_soon_as_it_is_true() -> None:
    assert "longer than planned" not in shown(RUNNING) + line(RUNNING)
    late = dataclasses.replace(RUNNING, elapsed=901.0, remaining=None)
    assert "15 min so far · longer than planned (15 min)" in shown(late)
    assert "longer than planned (15 min)" in line(late) and " left" not in line(late)


def test_only_a_full_bar_looks_full() -> None:
    nearly = dataclasses.replace(RUNNING, targets=100_000, done=99_998, failed=1, at_work=())
    (bar,) = [text for text in lines(nearly, 120) if text.plain.startswith("fold")]
    assert any(span.style == "bright_black" for span in bar.spans)


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Results of a run that is active, of one batch of two targets, both to do."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(COMMAND, raising=False)
    found = tmp_path / "results"
    (found / "plan").mkdir(parents=True)
    (found / "config.yaml").write_text("gpu:\n  workers: 1\n")
    head = "batch kind engine group gpu bucket_edges targets residues shortest longest chunks seconds dollars"
    row = "b1 predict alphafold2 monomer local  2 100 50 50  3600 0 1 900"
    table = ["\t".join([*head.split(), "memory_gb", "runtime_seconds"]), "\t".join(row.split(" "))]
    (found / "plan" / "batches.tsv").write_text("\n".join(table) + "\n")
    (found / "plan" / "targets.tsv").write_text("id\tstate\na\tto_do\nb\tto_do\n")
    (found / "plan" / "weights.json").write_text('{"rehearsal": false}')
    (found / "logs").mkdir()
    (found / "logs" / "plan.log").write_text("Quote\n  warning: the demo database\nwarning: the deadline\n")
    log = tmp_path / ".snakemake" / "log" / "2026-01-01T000000.000000.snakemake.log"
    log.parent.mkdir(parents=True)
    log.write_text("Select jobs to execute...\nTrying to restart job 3.\n")
    lock = lock_file(found)
    lock.parent.mkdir()
    handle = os.open(lock, os.O_RDWR | os.O_CREAT)
    fcntl.flock(handle, fcntl.LOCK_EX)
    note_log(found, [str(log)])
    yield found
    os.close(handle)


def test_the_job_that_runs_is_in_the_status(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = results / "predictions" / "b1.tar.zst"
    marker = base64.urlsafe_b64encode(b"results/predictions/b1.tar.zst").decode()
    (results.parent / ".snakemake" / "incomplete").mkdir()
    (results.parent / ".snakemake" / "incomplete" / marker).write_text("")
    shows = ProgressFile(output, pause=0.0)
    shows.begin(2, [])
    shows.target("a", 50)
    status = Reader(results).read()
    (work,) = status.at_work
    assert (work.batch, work.target, work.length, work.stage) == ("b1", "a", 50, "predicting")
    assert (status.retries, status.warnings) == (1, ("the demo database", "the deadline"))
    assert status.remaining == pytest.approx(3600, abs=600)
    assert main(["status", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["at_work"][0]["target"] == "a" and said["targets"] == 2 and said["quoted"] is None
    assert said["report"].endswith("results/report/index.html") and said["exit_code"] == 0


class TestHandler(TestLogHandlerBase):
    """The suite of the interface."""

    __test__ = True

    def get_log_handler_cls(self) -> type:
        return LoggerPluginRegistry().get_plugin("snakefold").log_handler  # type: ignore[no-any-return]

    def get_log_handler_settings(self) -> object:
        return LoggerPluginRegistry().get_plugin("snakefold").settings_cls(interval=0.01)


#: A process of its own, for the plugin redirects standard output: it plays the records of a real Snakemake.
PLAY = """
import json, logging, pathlib, sys
from snakemake.settings.enums import Quietness
from snakemake_interface_logger_plugins.common import LogEvent
from snakemake_interface_logger_plugins.registry import LoggerPluginRegistry
from snakemake_interface_logger_plugins.tests import MockOutputSettings
plugin = LoggerPluginRegistry().get_plugin("snakefold")
settings = MockOutputSettings()
settings.printshellcmds, settings.quiet = False, {Quietness.RULES, Quietness.HOST}
handler = plugin.log_handler(settings, plugin.settings_cls(interval=0.01))
from snakemake.logging import DefaultFormatter
handler.setFormatter(DefaultFormatter(settings.quiet))
for given in json.load(open(sys.argv[1])):
    if given.get("show"):
        handler.show(pathlib.Path("results"))
        print("a step prints this")
        continue
    record = logging.LogRecord("snakemake", given.pop("level"), "", 1, given.pop("msg"), (), None)
    for name, value in given.items():
        setattr(record, name, LogEvent(value) if name == "event" else value)
    handler.handle(record)
handler.close()
print("after the end")
"""
STARTED = {"level": logging.INFO, "msg": "Building DAG of jobs..."}
SHOW = {"show": True}
INTERRUPT = {
    "level": logging.INFO,
    "msg": "Terminating processes on user request, this might take some time.",
}


def job_error(number: int, rule: str, why: str, log: str = "") -> dict[str, object]:
    return {
        "level": logging.ERROR,
        "msg": f"Error in rule {rule}, jobid: {number}",
        "event": str(LogEvent.JOB_ERROR),
        "jobid": number,
        "rule_name": rule,
        "rule_msg": why,
        "log": [log] * bool(log),
        "aux": {},
        "input": [],
        "output": [],
        **dict.fromkeys(("conda_env", "container_img", "shellcmd", "indent")),
    }


def play(folder: Path, *records: dict[str, object], **environment: str) -> subprocess.CompletedProcess[str]:
    (folder / "records.json").write_text(json.dumps(records))
    done = subprocess.run(
        [sys.executable, "-c", PLAY, "records.json"],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


def test_snakemakes_text_is_in_the_log_and_not_on_the_screen(results: Path) -> None:
    done = play(results.parent, STARTED, SHOW, {"level": logging.INFO, "msg": "Select jobs to execute..."})
    assert done.stderr == ""
    log = (results / "logs" / "run.log").read_text()
    assert log.splitlines() == ["Building DAG of jobs...", "a step prints this", "Select jobs to execute..."]
    said = done.stdout.splitlines()
    assert said[0] == "log:     results/logs/run.log" and said[-1] == "after the end"
    assert any(text.startswith("results: ") and "0 of 2 targets" in text for text in said)
    assert "Select" not in done.stdout


def test_what_comes_before_the_run_is_printed_if_there_is_none(results: Path) -> None:
    done = play(results.parent, STARTED, {"level": logging.ERROR, "msg": "ConfigError: no such file"})
    assert done.stderr == "Building DAG of jobs...\nConfigError: no such file\n"
    assert done.stdout == "after the end\n"


def test_a_failed_job_is_told_once_and_not_if_a_retry_is_done(results: Path) -> None:
    again = {"level": logging.INFO, "msg": "Finished.", "event": str(LogEvent.JOB_FINISHED), "job_id": 1}
    besides = (
        "Exiting because a job execution failed. Look above.",
        "RuleException:\nCalledProcessError in file x, line 1:\nCommand 'y' returned non-zero exit status 2.",
        "WorkflowError:\nAt least one job did not complete successfully.",
    )
    more = [{"level": logging.ERROR, "msg": said, "event": str(LogEvent.ERROR)} for said in besides]
    done = play(results.parent, SHOW, job_error(2, "predict", "No GPU."), *more)
    assert done.stdout.count("Failed: predict: No GPU.") == 1
    assert not any(word in done.stdout for word in ("Exiting", "CalledProcessError", "WorkflowError"))
    other = {"level": logging.ERROR, "msg": "WorkflowError:\nThe DAG has a cycle."}
    assert "The DAG has a cycle." in play(results.parent, SHOW, other).stdout
    # A report of an earlier run tells nothing of this one.
    (results / "metrics.tsv").write_text("id\n")
    (results / "failures.tsv").write_text("id\tstate\n")
    os.utime(results / "metrics.tsv", (0, 0))
    assert "done:" not in play(results.parent, SHOW, job_error(2, "predict", "No GPU.")).stdout
    told = play(results.parent, SHOW, job_error(1, "predict", "No GPU."), again).stdout
    assert "done:    0 targets" in told


def test_what_an_executor_warns_of_is_told_and_what_snakemake_does_is_not(results: Path) -> None:
    own = {"level": logging.WARNING, "msg": "Of Snakemake.", "pathname": snakemake.__file__}
    theirs = {"level": logging.WARNING, "msg": "RunPod takes no job.", "pathname": "/x/executor.py"}
    waits = {"level": logging.INFO, "msg": "1 job waits in SLURM.", "for_screen": True}
    said = play(results.parent, SHOW, own, theirs, waits).stdout
    assert "RunPod takes no job." in said and "1 job waits in SLURM." in said
    assert "Of Snakemake." not in said
    assert "Of Snakemake." in (results / "logs" / "run.log").read_text()


def test_a_plan_that_fails_is_told_as_a_whole(results: Path) -> None:
    log = results / "logs" / "plan.log"
    log.write_text("Quote\nsnakefold: budget: the run costs $9.\nRaise it, or leave targets out.\n")
    said = play(results.parent, SHOW, job_error(1, "plan", "", str(log))).stdout
    assert "snakefold: budget: the run costs $9.\nRaise it, or leave targets out.\n" in said


def test_an_interrupt_says_how_to_resume(results: Path) -> None:
    said = play(
        results.parent, SHOW, INTERRUPT, job_error(1, "predict", "SIGINT"), **{COMMAND: "snakefold run x.fa"}
    ).stdout
    assert "Stopped. 0 of 2 targets done, and kept.\nresume:  snakefold run x.fa\n" in said
    assert "Failed" not in said


def test_a_run_that_was_asked_for_a_part_says_how_it_stands(results: Path) -> None:
    (said, log) = ending(results, Path("run.log"), started=time.time())
    assert "0 of 2 targets" in said and log == "log:     run.log"


def test_a_dry_run_is_snakemakes() -> None:
    handler = LoggerPluginRegistry().get_plugin("snakefold").log_handler
    settings = MockOutputSettings()
    settings.dryrun = True
    found = handler(settings, SimpleNamespace(interval=1.0))
    found.show(Path("nowhere"))
    assert not Path("nowhere").exists()
    found.close()
