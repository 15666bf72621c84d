"""client/submit_job.py as people run it: a process of its own, against the emulated service."""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from snakefold.clusters.emulator import EmulatorThread, Fault, Faults, Scaling, StubWorkers
from snakefold.clusters.runpod import wait_for_job_completion

from .helpers import environment_of, part_of, tar_of

SCRIPT = Path(__file__).resolve().parents[2] / "client" / "submit_job.py"
FILES = {"t1/ranked_0.pdb": b"ATOM\n" * 1000, "t1/ranking_debug.json": b'{"order": []}'}


async def fold(job):
    """The flat AlphaFold2 contract and the MMseqs2 contract, with made-up results."""
    given = job["input"]
    if given.get("task") == "search":
        row = b"query\ttarget\tevalue\tpident\talnlen\nq\tt\t0\t100\t9\n"
        tsv = part_of(row) | {"text": row.decode()}
        del tsv["base64"]
        return {"version": 1, "tsv": tsv, "a3m": {"q": part_of(b">q\nMKV\n")}, "commands": ["mmseqs search"]}
    if given.get("sequence") == "FAILS":
        return {"error": json.dumps({"reason": "invalid_input", "message": "no protein", "log": "the log"})}
    return {"version": 1, "archive": part_of(tar_of(FILES), name="t1.tar.gz", id="t1"), "input": given}


@contextlib.contextmanager
def service(*rules, seconds=0.3, work=fold):
    scaling = Scaling(queue_delay=0.1)
    workers = StubWorkers(work, seconds=seconds)
    with EmulatorThread({"ep1": {"workers": workers, "scaling": scaling}}, faults=Faults(rules)) as emulator:
        yield emulator


def command(emulator, *arguments, **variables):
    """Arguments and keywords of a process; nothing of this one's environment but PATH."""
    environment = environment_of(emulator, RUNPOD_ENDPOINT_ID="ep1", PATH=os.environ["PATH"]) | variables
    # -S: nothing that is installed is needed.
    # Ctrl-C as in a terminal: a shell's background jobs ignore it, and so would this process.
    heeding = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    return [sys.executable, "-S", str(SCRIPT), *arguments], {"env": environment, "text": True, **heeding}


def run(emulator, *arguments, given=None, **variables):
    line, keywords = command(emulator, *arguments, **variables)
    return subprocess.run(line, capture_output=True, timeout=600, input=given, check=False, **keywords)


def everything_in(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_fasta_file_is_folded(tmp_path):
    (tmp_path / "p.fasta").write_text(">t1\nMKV\n")
    arguments = ["fold", str(tmp_path / "p.fasta"), "--out", str(tmp_path / "out"), "--poll-interval", "0.2"]
    arguments += ["--model-preset", "monomer", "--db-preset", "reduced_dbs", "--flag=--models_to_relax=none"]
    with service() as emulator:
        done = run(emulator, *arguments)
        again = run(emulator, "fetch", emulator.jobs[0].id, "--out", str(tmp_path / "again"))
        assert done.returncode == again.returncode == 0, done.stderr + again.stderr
        assert emulator.jobs[0].input == {
            "fasta": ">t1\nMKV\n",
            "model_preset": "monomer",
            "db_preset": "reduced_dbs",
            "alphafold_extra_flags": ["--models_to_relax=none"],
        }
        assert len(emulator.jobs) == 1
        assert emulator.api_key not in done.stdout + done.stderr
    assert everything_in(tmp_path / "out") == everything_in(tmp_path / "again") == ["response.json", *FILES]
    assert (tmp_path / "out/t1/ranked_0.pdb").read_bytes() == FILES["t1/ranked_0.pdb"]
    assert str(tmp_path / "out/t1/ranked_0.pdb") in done.stdout.splitlines()


def test_queries_are_searched_and_json_is_sent_as_it_is(tmp_path):
    def seconds(job):
        return 0.3 if "task" in job["input"] else 3600  # the other one is there to be cancelled

    with service(seconds=seconds) as emulator:
        done = run(
            emulator, "search", "-", "--target-db", "demo", "--a3m", "--out", str(tmp_path), given=">q\nMKV\n"
        )
        assert done.returncode == 0, done.stderr
        assert emulator.jobs[0].input["query_fasta"] == ">q\nMKV\n"
        assert emulator.jobs[0].input["return_a3m"] is True
        (tmp_path / "r.json").write_text('{"anything": [1]}')
        sent = run(emulator, "json", str(tmp_path / "r.json"), "--no-wait")
        assert sent.returncode == 0
        assert emulator.jobs[1].input == {"anything": [1]}
        assert sent.stdout.strip() == emulator.jobs[1].id
        assert run(emulator, "cancel", sent.stdout.strip()).returncode == 0
        assert "CANCELLED" in run(emulator, "status", sent.stdout.strip()).stdout
    assert (tmp_path / "tsv").read_text().startswith("query\ttarget")
    assert {"tsv", "q", "response.json"} <= set(everything_in(tmp_path))


@pytest.mark.parametrize(
    ("rule", "sequence", "code", "said"),
    [
        (Fault("corrupt"), "MKV", 1, "sha256"),
        (Fault("wrong_sha256"), "MKV", 1, "sha256"),
        (Fault("no_output"), "MKV", 1, "no output"),
        (Fault("failed", error="CUDA error"), "MKV", 1, "CUDA error"),
        (None, "FAILS", 1, "the log"),
        (Fault("reset_after", call="status", nth=1), "MKV", 0, "Trying again"),
    ],
)
def test_what_goes_wrong_is_said_and_the_exit_code_is_honest(tmp_path, rule, sequence, code, said):
    with service(*([rule] if rule else [])) as emulator:
        done = run(emulator, "fold", "--sequence", sequence, "--out", str(tmp_path / "out"))
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    if code:
        assert "t1/ranked_0.pdb" not in everything_in(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "variables", "said"),
    [
        (["fold", "--sequence", "M"], {"RUNPOD_API_KEY": ""}, "export RUNPOD_API_KEY"),
        (["fold", "--sequence", "M"], {"RUNPOD_API_KEY": "rpa_wrong"}, "RUNPOD_API_KEY"),
        (["fold", "--sequence", "M"], {"RUNPOD_ENDPOINT_ID": ""}, "RUNPOD_ENDPOINT_ID"),
        (["fold"], {}, "exactly one"),
        (["fold", "nowhere.fasta"], {}, "nowhere.fasta"),
        (["json", __file__], {}, "no JSON"),
        (["fetch", "nothing"], {}, "30 minutes"),
    ],
)
def test_what_must_be_put_right_first(arguments, variables, said):
    with service() as emulator:
        done = run(emulator, *arguments, **variables)
        assert emulator.jobs == []
    assert done.returncode == 2
    assert said in done.stderr
    assert "rpa_wrong" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("keep", [False, True])
def test_a_signal_cancels_the_job_or_keeps_it(tmp_path, number, keep):
    with service(seconds=3600) as emulator:
        line, keywords = command(emulator, "fold", "--sequence", "MKV", *(["--keep"] if keep else []))
        process = subprocess.Popen(line, stderr=subprocess.PIPE, cwd=tmp_path, **keywords)
        until(lambda: any(call.operation == "status" for call in emulator.calls))
        process.send_signal(number)
        _, errors = process.communicate(timeout=600)
        assert process.returncode == 128 + number
        assert len(emulator.live_jobs()) == keep
        assert ("fetch" in errors) == keep
        assert "Traceback" not in errors


def test_a_signal_during_the_submission_waits_for_the_job_id(tmp_path):
    answered = threading.Event()
    errors = tmp_path / "stderr"
    with service(Fault("slow", call="run", seconds=600, until=answered), seconds=3600) as emulator:
        line, keywords = command(emulator, "fold", "--sequence", "MKV")
        with errors.open("w") as stream:
            process = subprocess.Popen(line, stderr=stream, cwd=tmp_path, **keywords)
        until(lambda: emulator.jobs)
        process.send_signal(signal.SIGINT)
        until(lambda: "waiting for the answer" in errors.read_text())
        answered.set()
        assert process.wait(timeout=600) == 130
        assert len(emulator.jobs) == 1
        assert emulator.live_jobs() == []


@contextlib.contextmanager
def cancelling(tmp_path, rules, *arguments):
    """A process that waits for a job and was sent one signal, and what it says."""
    errors = tmp_path / "stderr"
    with service(*rules, seconds=3600) as emulator:
        line, keywords = command(emulator, "fold", "--sequence", "MKV", *arguments)
        with errors.open("w") as stream:
            process = subprocess.Popen(line, stderr=stream, cwd=tmp_path, **keywords)
        until(lambda: any(call.operation == "status" for call in emulator.calls))
        process.send_signal(signal.SIGINT)
        yield emulator, process, errors


def test_signals_while_cancelling_do_not_end_it(tmp_path):
    answered = threading.Event()
    rule = Fault("slow", call="cancel", seconds=600, until=answered)
    with cancelling(tmp_path, [rule], "--cancel-within", "600") as (emulator, process, errors):
        process.send_signal(signal.SIGTERM)
        # The call is there, and has no answer.
        until(lambda: process.poll() is not None or not emulator.live_jobs())

        def heard():
            process.send_signal(signal.SIGINT)
            return process.poll() is not None or "still cancelling" in errors.read_text()

        until(heard)
        assert process.poll() is None
        answered.set()
        assert process.wait(timeout=600) == 130
        assert emulator.live_jobs() == []
        assert f"job {emulator.jobs[0].id} CANCELLED" in errors.read_text()
    assert "Traceback" not in errors.read_text()


@pytest.mark.parametrize(
    "rule",
    [
        Fault("timeout_before", call="cancel", seconds=600, until=threading.Event()),
        Fault("status", call="cancel", status=503),
        Fault("unknown_state", call="cancel", error="PAUSED"),
    ],
    ids=lambda rule: rule.what,
)
def test_a_cancel_that_is_not_confirmed_ends_and_names_the_job(tmp_path, rule):
    rules = [rule, Fault("unknown_state", call="status", error="PAUSED")]
    with cancelling(tmp_path, rules, "--cancel-within", "1.5") as (emulator, process, errors):
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=600) == 130
        (job,) = emulator.jobs
        assert f"submit_job.py cancel {job.id} --endpoint ep1" in errors.read_text()
        assert "may go on" in errors.read_text()
        if rule.until:
            rule.until.set()
    assert "Traceback" not in errors.read_text()


def test_who_leaves_before_the_submission_is_answered_is_told_that_a_job_may_run(tmp_path):
    answered = threading.Event()
    errors = tmp_path / "stderr"
    with service(Fault("slow", call="run", seconds=600, until=answered), seconds=3600) as emulator:
        line, keywords = command(emulator, "fold", "--sequence", "MKV")
        with errors.open("w") as stream:
            process = subprocess.Popen(line, stderr=stream, cwd=tmp_path, **keywords)
        until(lambda: emulator.jobs)

        def left():
            process.send_signal(signal.SIGINT)
            return process.poll() is not None

        until(left)
        answered.set()
        assert process.returncode == 130
    assert "a job may be at work" in errors.read_text()
    assert "Traceback" not in errors.read_text()


def test_a_presigned_result_is_fetched_without_the_key(tmp_path):
    archive = tar_of(FILES)
    seen = []

    class Storage(BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append((self.path, dict(self.headers)))
            broken = len(seen) == 1
            if self.path.startswith("/moved"):
                self.send_response(302)
                self.send_header("Location", "http://192.0.2.1/elsewhere")
                self.end_headers()
                return
            self.send_response(503 if broken else 200)
            self.send_header("Content-Length", "0" if broken else str(len(archive)))
            self.end_headers()
            self.wfile.write(b"" if broken else archive)

        def log_message(self, *_):
            pass

    storage = ThreadingHTTPServer(("127.0.0.1", 0), Storage)
    threading.Thread(target=storage.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{storage.server_port}"

    async def work(job):
        described = part_of(archive, name="t1.tar.gz")
        del described["base64"]
        return {"archive": described | {"url": f"{base}/{job['input']['sequence']}?signature=s3cret"}}

    with service(work=work) as emulator:
        done = run(emulator, "fold", "--sequence", "ok", "--out", str(tmp_path / "out"))
        moved = run(emulator, "fold", "--sequence", "moved", "--out", str(tmp_path / "moved"))
    storage.shutdown()
    storage.server_close()
    assert done.returncode == 0, done.stderr
    assert everything_in(tmp_path / "out") == ["response.json", *FILES]
    assert all("Authorization" not in headers for _, headers in seen)
    assert moved.returncode == 1
    assert "only https" in moved.stderr
    said = done.stderr + moved.stderr + (tmp_path / "out/response.json").read_text()
    assert "s3cret" not in said


def test_help_has_examples_and_the_defaults():
    said = []
    for arguments in (["--help"], ["fold", "--help"]):
        line = [sys.executable, "-S", SCRIPT, *arguments]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        assert done.returncode == 0
        said.append(done.stdout)
    assert "submit_job.py fold proteins.fasta --out folded" in said[0]
    assert "RUNPOD_API_KEY" in said[0]
    assert "RUNPOD_ENDPOINT_ID" in said[1]
    assert re.search(r"--timeout S\s+maximum waiting time \(1800\)", said[1])
    assert re.search(r"--poll-interval S\s+time between status calls \(5\)", said[1])
    defaults = inspect.signature(wait_for_job_completion).parameters
    assert (defaults["poll_interval"].default, defaults["timeout"].default) == (5.0, 1800.0)


def test_waiting_has_an_end_and_the_job_goes_on(tmp_path):
    with service(seconds=3600) as emulator:
        done = run(emulator, "fold", "--sequence", "MKV", "--out", str(tmp_path / "x"), "--timeout", "0.5")
        assert done.returncode == 1
        assert "submit_job.py fetch" in done.stderr
        assert len(emulator.live_jobs()) == 1


def until(condition):
    for _ in range(12_000):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it never came")
