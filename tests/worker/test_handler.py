"""The warm process: what ends it, what ends with it, and what a caller is told."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from snakefold.kernel import archive
from snakefold.kernel.errors import Reason
from snakefold.kernel.store import Entry, open_store
from snakefold.worker import jobs
from snakefold.worker.channel import kill_session, members
from snakefold.worker.child import Child
from snakefold.worker.failures import JobError, failure
from tests.worker.conftest import data_of, envelope, fold_request, told

Worker = Callable[..., dict[str, Any]]
SEARCH = {"task": "search", "target_db": "none", "query_fasta": ">q\nMKTAYIAK\n"}


def long_envelope(recipe: str) -> dict[str, Any]:
    """Takes minutes; nobody waits for its end."""
    request = fold_request(("a",), bucket_edges=[200], num_recycle=48, num_seeds=50, recipe=recipe)
    return envelope(request)


def child() -> Child:
    """The warm process of this test's worker."""
    found = jobs._warm.child
    assert found is not None
    return found


def test_the_process_stays_for_the_next_job(worker: Worker) -> None:
    assert told(worker(**SEARCH))["reason"] == "database_missing"
    first = child().process_id
    assert told(worker(**SEARCH))["reason"] == "database_missing"
    assert child().process_id == first


def test_a_process_that_dies_is_a_typed_failure_and_is_replaced(worker: Worker) -> None:
    worker(**SEARCH)
    first = child().process_id
    answers: list[dict[str, Any]] = []
    recipe = "3" * 16
    thread = threading.Thread(target=lambda: answers.append(worker(**long_envelope(recipe))))
    thread.start()
    attempt = Entry("attempt", recipe, fold_request().targets[0].result_key)
    store = open_store(os.environ["SNAKEFOLD_STORE"])
    wait_until(lambda: store.has(attempt))
    os.kill(first, signal.SIGKILL)
    thread.join(600)
    failed = told(answers[0])
    assert failed["reason"] in ("internal", "out_of_memory")
    assert "1 target, 1 to predict" in failed["log"]
    # It was no one's wish: the target's attempt counts.
    assert store.get(attempt) == b'{"count": 1}'
    assert told(worker(**SEARCH))["reason"] == "database_missing"
    assert child().process_id != first


@pytest.mark.slow
def test_a_job_that_takes_too_long_is_stopped(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    worker(**SEARCH)
    first = child().process_id
    monkeypatch.setenv("SNAKEFOLD_JOB_TIMEOUT", "8")
    recipe = "4" * 16
    failed = told(worker(**long_envelope(recipe)))
    assert (failed["reason"], "after 8 seconds" in failed["message"]) == ("timeout", True)
    assert members(first) == []
    store = open_store(os.environ["SNAKEFOLD_STORE"])
    assert not store.has(Entry("attempt", recipe, fold_request().targets[0].result_key))


@pytest.mark.slow
def test_equal_jobs_at_once_do_no_harm(worker: Worker, new_environment: Any) -> None:
    """Two workers with one store, as when the platform runs a job twice."""
    given = envelope(fold_request(("b",), recipe="5" * 16))
    script = (
        "import asyncio, json, sys; from snakefold.worker.handler import handler\n"
        "answer = asyncio.run(handler({'id': 'x', 'input': json.load(sys.stdin)}))\n"
        "print('ANSWER', json.dumps(answer))"
    )
    twins = [
        subprocess.Popen(
            [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    outs: list[str] = ["", ""]

    def talk(number: int) -> None:
        outs[number] = twins[number].communicate(json.dumps(given))[0]

    threads = [threading.Thread(target=talk, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answers = [json.loads(out.rpartition("ANSWER ")[2]) for out in outs]
    keys = [sorted(archive.unpack(data_of(each["results"]["archive"]))) for each in answers]
    assert keys[0] == keys[1]
    third = worker(**given)
    assert data_of(third["results"]["archive"]) in [data_of(each["results"]["archive"]) for each in answers]


def test_killing_a_session_reaches_groups_of_their_own() -> None:
    script = "setsid -w true; set -m; sleep 1000 & (sleep 1001 & sleep 1002) & wait"
    leader = subprocess.Popen(["bash", "-c", script], start_new_session=True)
    wait_until(lambda: len(members(leader.pid)) >= 4)
    assert len({os.getpgid(process) for process in members(leader.pid)}) > 1
    kill_session(leader.pid)
    leader.wait(600)
    assert members(leader.pid) == []


def test_the_process_ends_with_its_handler(tmp_path: Path) -> None:
    script = (
        "from snakefold.worker.child import Child; import time\n"
        "print(Child().process_id, flush=True); time.sleep(1000)"
    )
    environment = {**os.environ, "SNAKEFOLD_STORE": str(tmp_path)}
    holder = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env=environment)
    assert holder.stdout is not None
    process = int(holder.stdout.readline())
    assert members(process) == [process]
    time.sleep(2)  # until it listens
    holder.kill()
    holder.wait()
    holder.stdout.close()
    wait_until(lambda: not members(process))


def test_an_invalid_job_starts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs._warm, "get", lambda: pytest.fail("a process was started"))
    for given in (None, {}, {"sequence": "MK", "fasta": "x"}, [], {"task": "x"}):
        answer = asyncio.run(jobs.handler({"id": "x", "input": given}))
        assert told(answer)["reason"] == "invalid_input"
    assert told(asyncio.run(jobs.handler({"id": "x"})))["reason"] == "invalid_input"


def test_the_worker_starts_anew_after_an_out_of_memory_only() -> None:
    assert failure(JobError(Reason.OUT_OF_MEMORY, "x"))["refresh_worker"] is True
    for reason in (Reason.INTERNAL, Reason.INVALID_INPUT, Reason.TIMEOUT):
        assert "refresh_worker" not in failure(JobError(reason, "x"))


def wait_until(true: Callable[[], Any], seconds: float = 600) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "nothing came of it"
        time.sleep(0.05)
