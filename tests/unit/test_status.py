"""`snakefold status` beside a real Snakemake: a small workflow with a plan's files, held open by gates."""

from __future__ import annotations

import base64
import dataclasses
import fcntl
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from snakefold.cli import main
from snakefold.kernel.errors import SnakefoldError
from snakefold.plan.lock import lock_file, note_log, noted_log
from snakefold.run.queued import RUNNING, WAITING, Queue, Queued, write_queue
from snakefold.run.status import Reader, Status, Step, line
from snakefold.run.status.folder import INTERRUPTED, TERMINATED, read_run_folder
from snakemake_executor_plugin_runpod.ledger import Ledger

BATCHES = {"b0001-l0070": 2, "c0002-l0112": 1, "s0001": 1}
#: Every job waits for its gate; one whose gate says so fails.
SNAKEFILE = """
BATCHES = {batches}
def gate(name):
    return f"while [ ! -e gates/{{name}} ]; do sleep 0.05; done; grep -q open gates/{{name}} && "
rule all:
    input: "results/report/index.html"
rule msa:
    output: "results/msa/m0001.json"
    shell: gate("msa") + "touch {{output}}"
rule request:
    input: "results/msa/m0001.json"
    output: "results/requests/{{batch}}/request.json"
    shell: "touch {{output}}"
rule predict:
    input: "results/requests/{{batch}}/request.json"
    output: "results/predictions/{{batch}}.tar.zst"
    benchmark: "results/benchmarks/predict/{{batch}}.tsv"
    wildcard_constraints: batch="[bc].*"
    shell: gate("{{wildcards.batch}}") + "touch {{output}}"
rule restore:
    output: "results/predictions/{{batch}}.tar.zst"
    wildcard_constraints: batch="s.*"
    shell: "touch {{output}}"
rule collect:
    input: "results/predictions/{{batch}}.tar.zst"
    output: "results/tables/{{batch}}.parquet"
    shell: "cp prepared/{{wildcards.batch}}.parquet {{output}}"
rule report:
    input: expand("results/tables/{{batch}}.parquet", batch=BATCHES)
    output: "results/report/index.html", "results/metrics.tsv", "results/failures.tsv"
    shell: "touch {{output}}; cp prepared/failures.tsv {{output[2]}}"
"""
STATUS = "from snakefold.cli import main; raise SystemExit(main())"
HOLD = """
import os, pathlib, sys
from snakefold.plan.lock import hold_results
hold_results(pathlib.Path('results'))
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a plan of four targets in three batches, one record refused."""
    for name in ("gates", "prepared", "results/plan"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "Snakefile").write_text(SNAKEFILE.format(batches=list(BATCHES)))
    plan = tmp_path / "results" / "plan"
    (tmp_path / "results" / "config.yaml").write_text("gpu:\n  workers: 2\n")
    head = "batch kind engine group gpu bucket_edges targets residues shortest longest chunks seconds dollars"
    rows = ["\t".join([*head.split(), "memory_gb", "runtime_seconds"])]
    for name, count in BATCHES.items():
        kind, chunks, seconds = ("restore", "", 0) if name.startswith("s") else ("predict", "m0001", 3600)
        rows.append(
            f"{name}\t{kind}\talphafold2\tmonomer\tlocal\t\t{count}\t100\t50\t50\t{chunks}\t{seconds}\t0\t1\t900"
        )
        states = ["done"] * (count - 1) + ["failed" if name.startswith("c") else "done"]
        pd.DataFrame({"id": range(count), "state": states}).to_parquet(
            tmp_path / "prepared" / f"{name}.parquet"
        )
    (plan / "batches.tsv").write_text("\n".join(rows) + "\n")
    targets = ["id\tstate", "a\tto_do", "b\tto_do", "c\tto_do", "d\tstored", "e\trefused"]
    (plan / "targets.tsv").write_text("\n".join(targets) + "\n")
    (tmp_path / "prepared" / "failures.tsv").write_text("id\tstate\nc\tfailed\ne\trefused\n")
    (plan / "weights.json").write_text(json.dumps({"folder": "", "rehearsal": True}))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def start(folder: Path) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Starts Snakemake in a process group of its own; what still runs at the end is killed."""
    started: list[subprocess.Popen[bytes]] = []

    def begin() -> subprocess.Popen[bytes]:
        snakemake = [sys.executable, "-m", "snakemake", "--cores=4", "--keep-going", "--nolock"]
        # As `snakefold run` does: the lock is held by what becomes Snakemake.
        command = [sys.executable, "-c", HOLD, *snakemake, "--rerun-incomplete"]
        with (folder / "run.log").open("ab") as log:
            started.append(
                subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, start_new_session=True)
            )
        return started[-1]

    yield begin
    for process in started:
        kill(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait(folder: Path, reached: Callable[[Status], bool]) -> Status:
    """The first status that `reached`; whatever it takes, for the machine may be busy."""
    reader = Reader(folder / "results")
    while True:
        status = reader.read()
        if reached(status):
            return status
        time.sleep(0.05)


def steps(status: Status) -> dict[str, tuple[int, int, int]]:
    return {step.name: (step.done, step.running, step.waiting) for step in status.steps}


@pytest.mark.slow
def test_a_run_is_followed_to_its_end(
    folder: Path, start: Callable[[], subprocess.Popen[bytes]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert Reader(folder / "results").read().state == "stopped"
    process = start()
    status = wait(folder, lambda found: steps(found)["msa"][1] == 1)
    assert status.state == "running"
    assert steps(status)["predict"] == (0, 0, 2)
    (folder / "gates" / "msa").write_text("open")
    status = wait(folder, lambda found: steps(found)["predict"][1] == 2 and found.done == 1)
    assert steps(status)["msa"] == (1, 0, 0)
    assert steps(status)["request"] == (2, 0, 0)
    assert steps(status)["collect"] == (1, 0, 2)
    # Two batches of an hour on two workers.
    assert status.remaining is not None and 3000 < status.remaining < 3600
    assert (status.targets, status.done, status.failed, status.refused) == (4, 1, 0, 1)
    assert main(["status", "results", "--once"]) == 0
    said = capsys.readouterr().out
    assert re.fullmatch(
        r"REHEARSAL; results: running; predict 0/2, 2 running; collect 1/3; metrics 0/1; report 0/1; "
        r"1 of 4 targets, 0 failed, 1 refused; \S+ \S+ so far; about \d+ min left\n",
        said,
    )
    (folder / "gates" / "b0001-l0070").write_text("open")
    status = wait(folder, lambda found: found.done == 3)
    assert steps(status)["predict"] == (1, 1, 0)
    # The first took seconds instead of an hour: the other should take no longer.
    assert (status.remaining or 0.0) < 1800

    # Killed: what was running is neither done nor running, and nobody is fooled by what it left.
    kill(process)
    status = Reader(folder / "results").read()
    assert status.state == "stopped"
    assert steps(status)["predict"] == (1, 0, 1)
    assert main(["status", "--once"]) == 1
    assert "last sign of life" in capsys.readouterr().out

    # A job that fails ends the next run badly.
    (folder / "gates" / "c0002-l0112").write_text("closed")
    assert start().wait() != 0
    status = Reader(folder / "results").read()
    assert (status.state, status.exit_code, set(status.errors)) == ("failed", 1, {"predict"})
    assert "jobs that failed: predict" in line(status)

    # The last run ends well, but for one target.
    (folder / "gates" / "c0002-l0112").write_text("open")
    assert start().wait() == 0
    status = Reader(folder / "results").read()
    assert (status.done, status.failed, status.state, status.exit_code) == (3, 1, "failed", 1)
    assert all(step.waiting == step.running == 0 for step in status.steps)
    assert status.remaining is status.elapsed is None


def test_a_terminal_shows_a_run_until_it_ends(
    folder: Path, start: Callable[[], subprocess.Popen[bytes]]
) -> None:
    pd.DataFrame({"state": ["done"]}).to_parquet(folder / "prepared" / "c0002-l0112.parquet")
    (folder / "prepared" / "failures.tsv").write_text("id\tstate\ne\trefused\n")
    (folder / "gates" / "msa").write_text("open")
    process = start()
    wait(folder, lambda found: steps(found)["predict"][1] == 2)
    master, terminal = pty.openpty()
    shown = subprocess.Popen(
        [sys.executable, "-c", STATUS, "status", "results", "--interval", "0.1"],
        cwd=folder,
        stdout=terminal,
        stderr=terminal,
        env={**os.environ, "COLUMNS": "100", "LINES": "30", "TERM": "xterm"},
    )
    os.close(terminal)
    text = b""
    while b"running" not in text or b"2 running" not in text:
        text += os.read(master, 4096)
    for name in ("b0001-l0070", "c0002-l0112"):
        (folder / "gates" / name).write_text("open")
    while shown.poll() is None or select.select([master], [], [], 0)[0]:
        if select.select([master], [], [], 0.1)[0]:
            try:
                text += os.read(master, 65536)
            except OSError:  # the terminal is closed
                break
    os.close(master)
    assert shown.wait() == 0
    assert process.wait() == 0
    for words in (b"REHEARSAL", b"fold", b"running", b"finished", b"4/4"):
        assert words in text


def test_a_folder_without_a_run_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a run of the current folder may have just ended
    with pytest.raises(SnakefoldError, match="not the results folder of a run"):
        Reader(tmp_path).read()
    assert main(["status", str(tmp_path)]) == 2
    assert "Give one" in capsys.readouterr().err


def test_a_plan_of_another_version_is_an_error(folder: Path) -> None:
    path = folder / "results" / "plan" / "batches.tsv"
    path.write_text(path.read_text().replace("gpu", "device", 1))
    with pytest.raises(SnakefoldError, match=r"batches.tsv: is damaged, or of another version"):
        Reader(folder / "results").read()


def test_results_without_a_log_are_told_by_their_files(folder: Path) -> None:
    results = folder / "results"
    requests = [f"requests/{name}/request.json" for name in BATCHES]
    archives = [f"predictions/{name}.tar.zst" for name in BATCHES]
    for step in ("msa/m0001.json", *requests, *archives, "report/index.html", "metrics.tsv"):
        (results / step).parent.mkdir(exist_ok=True, parents=True)
        (results / step).touch()
    (results / "tables").mkdir()
    for name in BATCHES:
        (folder / "prepared" / f"{name}.parquet").rename(results / "tables" / f"{name}.parquet")
    (results / "failures.tsv").write_text("id\tstate\ne\trefused\n")
    status = Reader(results).read()
    assert (status.state, status.done, status.failed, status.exit_code) == ("finished", 3, 0, 0)
    (results / "config.yaml").write_text("publish: s3://lab/results/first\n")
    status = Reader(results).read()
    assert (status.state, status.steps[-1]) == ("failed", Step("publish", total=1))
    (results / "published.txt").touch()
    assert Reader(results).read().state == "finished"
    (results / "failures.tsv").write_text("id\tstate\ne\trefused\nc\tfailed\n")
    status = Reader(results).read()
    assert (status.state, status.done, status.failed, status.exit_code) == ("failed", 3, 1, 1)
    (results / "tables" / "c0002-l0112.parquet").unlink()
    status = Reader(results).read()
    assert (status.state, status.done, status.failed, status.exit_code) == ("failed", 3, 1, 1)


def test_a_log_that_grows_elsewhere_is_a_sign_of_life(folder: Path) -> None:
    log = folder / ".snakemake" / "log" / "2026-01-01T000000.000000.snakemake.log"
    log.parent.mkdir(parents=True)
    log.write_text("Select jobs to execute...\n")
    assert Reader(folder / "results").read().state == "running"
    os.utime(log, (time.time() - 600,) * 2)
    assert Reader(folder / "results").read().state == "stopped"
    # Plain Snakemake, here, in a job of hours that says nothing.
    with log.open() as opened, subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=opened):
        opened.close()
        assert Reader(folder / "results").read().state == "running"


FAILED = """Select jobs to execute...
Error in rule summary:
    message: None
    input: {0}/metrics.tsv
    output: {0}/summary.txt
    log: {0}/logs/summary.log (check log file(s) for error details)
Complete log(s): x
"""


def write_log(folder: Path, stamp: str, text: str) -> Path:
    log = folder / ".snakemake" / "log" / f"{stamp}.snakemake.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text(text)
    return log


def hold(results: Path, log: Path | None = None) -> int:
    """Hold results as another process would, and note the run's log."""
    lock = lock_file(results)
    lock.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(lock, os.O_RDWR | os.O_CREAT)
    fcntl.flock(handle, fcntl.LOCK_EX)
    note_log(results, [str(log)] if log else [])
    return handle


@pytest.mark.parametrize("absolute", [False, True])
def test_failures_are_of_the_results_that_a_log_names(folder: Path, absolute: bool) -> None:
    (folder / "results2").mkdir()

    def named(name: str) -> str:
        return FAILED.format(folder / name if absolute else name)

    write_log(folder, "2026-01-02T000000.000000", named("results2"))
    assert read_run_folder(Path("results")).errors == ()
    assert read_run_folder(Path("results2")).errors == ("summary",)
    assert read_run_folder(folder / "results2").errors == ("summary",)
    # An older log of these results counts, with a newer one of others beside it.
    write_log(folder, "2026-01-01T000000.000000", named("results").replace("summary", "report"))
    assert read_run_folder(Path("results")).errors == ("report",)
    status = Reader(folder / "results").read()
    assert (status.state, status.errors) == ("failed", ("report",))


@pytest.mark.parametrize("how", [INTERRUPTED, TERMINATED])
def test_jobs_that_an_interrupt_ended_have_not_failed(folder: Path, how: str) -> None:
    text = FAILED.format("results")
    write_log(folder, "2026-01-01T000000.000000", f"{how}, this might take some time.\n{text}")
    assert read_run_folder(Path("results")).errors == ()
    write_log(folder, "2026-01-02T000000.000000", f"{text}{how}, this might take some time.\n")
    assert read_run_folder(Path("results")).errors == ("summary",)


def test_a_line_names_the_engines_of_a_rehearsal() -> None:
    status = Status(Path("results"), "running", rehearsal=True)
    assert line(status).startswith("REHEARSAL; results: running")
    assert line(dataclasses.replace(status, rehearsals=("a", "b"))).startswith(
        "REHEARSAL of a and b; results: running"
    )


def test_failures_that_a_log_does_not_place_are_told_of_the_run_that_noted_it(folder: Path) -> None:
    other = folder / "results2"
    log = write_log(folder, "2026-01-02T000000.000000", "WorkflowError:\nComplete log(s): x\n")
    os.close(hold(other, log))
    assert read_run_folder(Path("results")).errors == ()
    assert read_run_folder(other).errors == ("snakemake",)
    # One that works elsewhere (--directory) is found by its note.
    away = write_log(folder / "away", "2026-01-03T000000.000000", FAILED.format("../results"))
    os.close(hold(folder / "results", away))
    assert read_run_folder(Path("results")).errors == ("summary",)
    # Without its log, nothing is known.
    away.unlink()
    assert read_run_folder(Path("results")).errors == ()


def test_a_run_of_other_results_is_no_sign_of_life(folder: Path) -> None:
    other = folder / "results2"
    log = write_log(folder, "2026-01-02T000000.000000", "Select jobs to execute...\n")
    handle = hold(other, log)
    assert Reader(folder / "results").read().state == "stopped"
    assert Reader(other).read().state == "planning"
    with pytest.raises(SnakefoldError, match="not the results folder of a run"):
        Reader(folder / "typo").read()
    note_log(other, [])
    lock_file(other).write_text("")
    with log.open():  # it is not noted yet, but its process holds the other results
        assert Reader(folder / "results").read().state == "stopped"
    os.close(handle)


def test_a_run_is_seen_before_it_has_a_log(folder: Path) -> None:
    write_log(folder, "2026-01-01T000000.000000", FAILED.format("results"))
    assert Reader(folder / "results").read().errors == ("summary",)
    handle = hold(folder / "results")
    status = Reader(folder / "results").read()
    assert (status.state, status.errors) == ("running", ())
    os.close(handle)
    handle = hold(folder / "new")
    assert Reader(folder / "new").read().state == "planning"
    os.close(handle)


def test_a_run_that_begins_forgets_the_log_of_the_last(folder: Path) -> None:
    log = write_log(folder, "2026-01-01T000000.000000", FAILED.format("results"))
    os.close(hold(folder / "results", log))
    assert noted_log(lock_file(folder / "results")) == log
    script = (
        "import pathlib; from snakefold.plan.lock import hold_results; hold_results(pathlib.Path('results'))"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    assert noted_log(lock_file(folder / "results")) is None


def test_what_the_executor_recorded_is_told(folder: Path) -> None:
    (folder / "results" / "executions").mkdir()
    record = {"billed_seconds": 100, "idle_seconds": 25, "dollars_per_second": 0.01, "gpu": "l4"}
    (folder / "results" / "executions" / "b0001-l0070.json").write_text(json.dumps(record))
    (folder / "results" / "executions" / "c0002-l0112.json").write_text("damaged")
    status = Reader(folder / "results").read()
    assert status.busy == pytest.approx(0.75)
    assert status.dollars == pytest.approx(1.0)
    assert "$1.00 paid; workers busy 75 % of the time paid for" in line(status)


def test_jobs_that_wait_in_a_queue_are_not_told_as_running(folder: Path) -> None:
    log = folder / ".snakemake" / "log" / "2026-01-01T000000.000000.snakemake.log"
    log.parent.mkdir(parents=True)
    log.write_text("Select jobs to execute...\n")
    results, now = folder / "results", time.time()
    output = base64.urlsafe_b64encode(b"results/predictions/b0001-l0070.tar.zst").decode()
    (folder / ".snakemake" / "incomplete").mkdir()
    (folder / ".snakemake" / "incomplete" / output).write_text("{}")
    assert "predict 0/2, 1 running" in line(Reader(results).read()), (
        "without a queue, Snakemake's word counts"
    )

    def look(*jobs: Queued) -> Status:
        write_queue(results, Queue("SLURM", now, jobs))
        return Reader(results).read()

    assert steps(look())["predict"] == (0, 0, 2), "submitted, and not seen yet"
    drained = "ReqNodeNotAvail, UnavailableNodes:node2"
    waits = Queued("7", WAITING, drained, now - 720, "predict", "b0001-l0070")
    status = look(waits)
    assert steps(status)["predict"] == (0, 0, 2) and status.remaining is None
    assert "predict 0/2, 1 queued" in line(status) and " left" not in line(status)
    assert f"1 job waits in SLURM, the first for 12 min: 1 {drained}" in line(status)
    one = look(waits, Queued("8", RUNNING, "", now, "predict", "c0002-l0112"))
    assert "predict 0/2, 1 running, 1 queued" in line(one)
    # Two workers were planned, and one is had.
    assert one.remaining == pytest.approx(7200) and "about 2.0 h left" in line(one)
    write_queue(results, Queue("SLURM", time.mktime((2025, 1, 1, 0, 0, 0, 0, 0, -1)), [waits]))
    assert "waits" not in line(Reader(results).read()), "that was another run"


def test_jobs_in_runpods_queue_are_not_told_as_running(folder: Path) -> None:
    log = folder / ".snakemake" / "log" / "2026-01-01T000000.000000.snakemake.log"
    log.parent.mkdir(parents=True)
    log.write_text("Select jobs to execute...\n")
    ledger = Ledger(folder / ".snakemake" / "runpod" / "ledger.sqlite")
    for number, state in ((1, "IN_QUEUE"), (2, "IN_PROGRESS"), (3, "COMPLETED")):
        output = folder / "results" / "predictions" / f"b000{number}-l0070.tar.zst"
        row = ledger.prepare(
            digest=str(number),
            outputs=[str(output)],
            rule="predict",
            endpoint="fold",
            dollars_per_second=0.001,
            reserved=1.0,
        )
        ledger.accepted(row, f"job-{number}", state)
    ledger.at_work(2, "IN_PROGRESS", time.time() - 100, 0.0)
    ledger.progress(2, 1, 3)
    status = Reader(folder / "results").read()
    assert "predict 0/2, 1 running, 1 queued" in line(status)
    assert re.search(r"1 job waits in RunPod, the first for \d+ s: 1 IN_QUEUE", line(status))
    assert [job.name for job in status.waiting] == ["b0001-l0070"]
    assert [(work.batch, work.done, work.total) for work in status.at_work] == [("b0002-l0070", 1, 3)]
    assert "b0002-l0070: 1 of 3 targets" in line(status)
    assert status.dollars == pytest.approx(0.1, rel=0.5), "what runs has cost something by now"
    assert status.done == 1
    ledger.close()
    # A run on this machine, later, in the same folder.
    os.utime(folder / ".snakemake" / "runpod" / "ledger.sqlite", (0, 0))
    assert Reader(folder / "results").read().executor == ""
    (folder / ".snakemake" / "runpod" / "ledger.sqlite").write_bytes(b"damaged")
    assert "waits" not in line(Reader(folder / "results").read())


def test_an_old_look_at_the_queue_says_so() -> None:
    waits = (Queued("7", WAITING, "Priority", time.time() - 3600),)
    status = Status(Path("r"), "running", [Step("predict", 2)], executor="SLURM", waiting=waits)
    assert "ago" not in line(status)
    assert "(10 min ago)" in line(dataclasses.replace(status, looked=time.time() - 600))


def test_an_executor_that_does_not_know_of_idle_workers_is_told_no_share(folder: Path) -> None:
    (folder / "results" / "executions").mkdir()
    record = {"executor": "SLURM", "billed_seconds": 100, "dollars_per_second": 0.01, "gpu": "l4"}
    (folder / "results" / "executions" / "b0001-l0070.json").write_text(json.dumps(record))
    status = Reader(folder / "results").read()
    assert (status.busy, status.dollars) == (None, pytest.approx(1.0))


def test_long_names_of_running_outputs_are_put_together(folder: Path) -> None:
    (folder / ".snakemake" / "log").mkdir(parents=True)
    (folder / ".snakemake" / "log" / "2026-01-01T000000.000000.snakemake.log").write_text("")
    output = "results/" + "long/" * 60 + "m0001.json"
    name = base64.urlsafe_b64encode(output.encode()).decode()
    parts = [name[at : at + 254] for at in range(0, len(name), 254)]
    path = folder.joinpath(".snakemake", "incomplete", *(f"@{part}" for part in parts[:-1]), parts[-1])
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    (folder / ".snakemake" / "incomplete" / "not base64!").write_text("{}")
    found = read_run_folder(folder / "results")
    assert set(found.unfinished) == {folder.resolve() / output}
    assert found.started is not None
