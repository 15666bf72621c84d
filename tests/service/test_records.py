"""Records: what several processes write at once, and what is cut off in the middle."""

from __future__ import annotations

import json
import multiprocessing
import os
import string
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from snakefold.kernel.errors import SnakefoldError
from snakefold.service import records
from snakefold.service.records import ATTEMPTS, LEASE, State

TOGETHER = multiprocessing.get_context("fork")


def one(root: Path, **given: object) -> Path:
    return records.create(root, "job", "ada", **given).folder  # type: ignore[arg-type]


def dead_attempt(folder: Path, number: int) -> None:
    """An attempt of a process that is gone."""
    code = "import pathlib, sys, snakefold.service.records as r; print(r.claim(pathlib.Path(sys.argv[1])))"
    command = [sys.executable, "-c", code, str(folder)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert said.strip() == str(number)


def test_a_record_is_read_as_it_was_made(tmp_path: Path) -> None:
    facts = {"text": "Zoë", "number": 1.5, "list": [1, None]}
    made = records.create(tmp_path, "job", "ada", name="a-name-of-its-own", priority=7, facts=facts)
    assert records.find(tmp_path, "a-name-of-its-own") == made
    assert (made.kind, made.user, made.priority, made.facts) == ("job", "ada", 7, facts)
    assert (made.state, made.attempts, made.started, made.ended) == (State.QUEUED, 0, None, None)


def test_a_name_is_given_once(tmp_path: Path) -> None:
    one(tmp_path, name="a-name-of-its-own")
    with pytest.raises(FileExistsError):
        one(tmp_path, name="a-name-of-its-own")


@given(
    st.text(max_size=80) | st.text(alphabet=string.ascii_lowercase + string.digits + "-./\\%\0", max_size=80)
)
def test_what_is_no_name_is_never_a_path(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    root = tmp_path_factory.getbasetemp() / "names"
    found = records.find(root, text)
    assert found is None
    if records.is_id(text):
        assert (root / text).parent == root
        assert text == text.lower()
        assert not text.startswith((".", "-"))


def _claims(folder: Path, begin: threading.Barrier, said: multiprocessing.Queue[int | None]) -> None:
    begin.wait()
    said.put(records.claim(folder))
    begin.wait()  # an attempt of a process that is gone could be taken over


@pytest.mark.parametrize("dead", [0, 1])
def test_of_workers_that_claim_at_once_one_has_it(tmp_path: Path, dead: int) -> None:
    for _ in range(10):
        folder = one(tmp_path)
        if dead:
            dead_attempt(folder, 1)
        begin, said = TOGETHER.Barrier(6), TOGETHER.Queue()
        workers = [TOGETHER.Process(target=_claims, args=(folder, begin, said)) for _ in range(6)]
        for worker in workers:
            worker.start()
        answers = [said.get(timeout=60) for _ in workers]
        for worker in workers:
            worker.join()
        assert sorted(answers, key=str) == sorted([1 + dead, *[None] * 5], key=str)
        assert records.attempts_of(folder) == 1 + dead


def test_an_end_is_decided_once(tmp_path: Path) -> None:
    states = [State.DONE, State.CANCELLED, State.FAILED, State.TIMED_OUT] * 4
    for _ in range(20):
        folder = one(tmp_path)
        begin = threading.Barrier(len(states))

        def end(state: State, folder: Path = folder, begin: threading.Barrier = begin) -> bool:
            begin.wait()
            return records.end(folder, state, facts={"by": state.value})

        with ThreadPoolExecutor(len(states)) as pool:
            first = list(pool.map(end, states))
        assert sum(first) == 1
        record = records.read(folder)
        assert record.state is states[first.index(True)]
        assert record.ending == {"by": record.state.value}
        assert list(records.still_open(tmp_path)) == []


def test_what_has_ended_is_claimed_by_nobody(tmp_path: Path) -> None:
    folder = one(tmp_path)
    records.end(folder, State.CANCELLED)
    assert records.claim(folder) is None
    assert records.claim(tmp_path / "no-such-record") is None


def test_a_dead_workers_record_is_taken_over_and_a_living_ones_is_not(tmp_path: Path) -> None:
    folder = one(tmp_path)
    dead_attempt(folder, 1)
    assert records.is_dead(folder, 1)
    assert records.claim(folder) == 2
    assert not records.is_dead(folder, 2)
    assert records.claim(folder) is None
    assert records.read(folder).state is State.RUNNING


def test_a_process_with_the_number_of_a_dead_one_is_not_taken_for_it(tmp_path: Path) -> None:
    folder = one(tmp_path)
    assert records.claim(folder) == 1
    path = folder / "attempt-1.json"
    said = json.loads(path.read_text())
    path.write_text(json.dumps({**said, "began": "12345"}))
    assert records.is_dead(folder, 1)


def test_a_worker_elsewhere_is_dead_once_its_pulse_stops(tmp_path: Path) -> None:
    folder = one(tmp_path)
    records.claim(folder)
    path = folder / "attempt-1.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "machine": "elsewhere", "process": 1}))
    assert not records.is_dead(folder, 1)
    long_ago = time.time() - LEASE - 1
    os.utime(path, (long_ago, long_ago))
    assert records.is_dead(folder, 1)
    records.beat(folder, 1)
    assert not records.is_dead(folder, 1)


def test_a_record_that_workers_die_of_fails(tmp_path: Path) -> None:
    folder = one(tmp_path)
    for number in range(1, ATTEMPTS + 1):
        dead_attempt(folder, number)
    assert records.claim(folder) is None
    record = records.read(folder)
    assert record.state is State.FAILED
    assert "3 workers died of it" in record.error


def test_what_is_given_back_does_not_count(tmp_path: Path) -> None:
    folder = one(tmp_path)
    for _ in range(2 * ATTEMPTS):
        assert records.claim(folder) == 1
        records.release(folder, 1)
        assert records.read(folder).state is State.QUEUED


def test_a_worker_that_was_taken_for_dead_holds_nothing(tmp_path: Path) -> None:
    folder = one(tmp_path)
    records.claim(folder)
    assert records.holds(folder, 1)
    path = folder / "attempt-1.json"
    (folder / "attempt-2.json").write_text(path.read_text())
    assert not records.holds(folder, 1)
    assert records.holds(folder, 2)
    records.end(folder, State.FAILED)
    records.reopen(folder)
    assert not records.holds(folder, 2)


def test_a_reopened_record_waits_as_if_it_were_new(tmp_path: Path) -> None:
    folder = one(tmp_path)
    dead_attempt(folder, 1)
    dead_attempt(folder, 2)
    records.end(folder, State.FAILED, error="out of memory")
    records.reopen(folder)
    record = records.read(folder)
    assert (record.state, record.attempts, record.error) == (State.QUEUED, 0, "")
    assert [each.id for each in records.still_open(tmp_path)] == [folder.name]
    assert records.claim(folder) == 1
    assert records.end(folder, State.DONE)


@pytest.mark.parametrize("after", range(4))
def test_reopening_that_is_cut_off_leaves_a_record_that_can_be_reopened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """Never one that counts as the work of a worker that does something else by now."""
    folder = one(tmp_path)
    dead_attempt(folder, 1)
    records.claim(folder)  # this process, which lives on
    records.end(folder, State.FAILED)
    left = after

    def replace(path: Path, target: Path) -> Path:
        nonlocal left
        if left == 0:
            raise InterruptedError
        left -= 1
        path.rename(target)
        return target

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        if after < 3:
            with pytest.raises(InterruptedError):
                records.reopen(folder)
            assert records.read(folder).state is State.FAILED
    records.reopen(folder)
    assert records.read(folder).state is State.QUEUED
    assert records.claim(folder) == 1


def test_a_mark_without_a_record_and_one_that_has_ended_are_passed(tmp_path: Path) -> None:
    folder = one(tmp_path)
    (tmp_path / ".open" / "mark-without-record").touch()
    ended = one(tmp_path)
    records.end(ended, State.DONE)
    (tmp_path / ".open" / ended.name).touch()  # as if the worker had died before it took the mark away
    assert [each.folder for each in records.still_open(tmp_path)] == [folder]
    assert not (tmp_path / ".open" / ended.name).exists()


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    folder = one(tmp_path)
    (folder / "end.json").write_text('{"state": "DO')
    with pytest.raises(SnakefoldError, match=r"end\.json: is damaged"):
        records.read(folder)


class Lives(RuleBasedStateMachine):
    """Whatever happens to a record in whatever order: it is in one state, and a final one stays."""

    @initialize(base=st.uuids())
    def begin(self, base: object) -> None:
        import tempfile

        self.keeper = tempfile.TemporaryDirectory()
        self.root = Path(self.keeper.name)
        self.folder = one(self.root)
        self.ended: State | None = None
        self.number: int | None = None

    @rule()
    def claim(self) -> None:
        number = records.claim(self.folder)
        if self.ended or self.number:
            assert number is None
        else:
            assert number == 1
            self.number = number

    @precondition(lambda self: self.number)
    @rule()
    def give_back(self) -> None:
        assert self.number
        records.release(self.folder, self.number)
        self.number = None

    @rule(state=st.sampled_from([State.DONE, State.FAILED, State.CANCELLED, State.TIMED_OUT]))
    def end(self, state: State) -> None:
        assert records.end(self.folder, state) == (self.ended is None)
        self.ended = self.ended or state

    @precondition(lambda self: self.ended in (State.FAILED, State.TIMED_OUT))
    @rule()
    def reopen(self) -> None:
        records.reopen(self.folder)
        self.ended = self.number = None

    @rule()
    def look(self) -> None:
        record = records.read(self.folder)
        expected = self.ended or (State.RUNNING if self.number else State.QUEUED)
        assert record.state is expected
        assert [each.id for each in records.still_open(self.root)] == ([] if self.ended else [record.id])

    def teardown(self) -> None:
        if hasattr(self, "keeper"):
            self.keeper.cleanup()


TestLives = Lives.TestCase
