"""The progress file of a prediction job."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from snakefold.kernel import stages
from snakefold.kernel.contracts import TargetOutcome
from snakefold.kernel.errors import Reason
from snakefold.run import progress as module
from snakefold.run.progress import ProgressFile, forget_progress, read_progress


def outcome(name: str, *, failed: bool = False) -> TargetOutcome:
    return TargetOutcome(
        id=name,
        key="0" * 64,
        result_key="0" * 64,
        state="failed" if failed else "done",
        reason=Reason.OUT_OF_MEMORY if failed else None,
        message="too long\x1b[2J" if failed else "",
    )


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    (tmp_path / "predictions").mkdir()
    return tmp_path / "predictions" / "b0001-l0070.tar.zst"


def test_a_job_is_followed(archive: Path) -> None:
    shown = ProgressFile(archive, pause=0.0)
    assert read_progress(archive) is None
    shown.begin(4, [outcome("a"), outcome("b", failed=True)])
    found = read_progress(archive)
    assert found is not None
    assert (found.total, found.done, found.failed, found.computed, found.stage) == (4, 1, 1, 0, "loading")
    assert [(each.id, each.reason) for each in found.failures] == [("b", "out_of_memory")]
    shown.target("c", 70)
    with stages.heard(shown.stage):
        stages.say(stages.RELAXING)
    stages.say(stages.COMPILING)  # of nobody who is heard
    found = read_progress(archive)
    assert found is not None
    assert (found.target, found.length, found.stage) == ("c", 70, "relaxing")
    assert found.started <= found.since
    shown.finish(outcome("c"))
    found = read_progress(archive)
    assert found is not None
    assert (found.target, found.done, found.computed) == ("", 2, 1)
    shown.remove()
    shown.finish(outcome("d"))
    assert not list(archive.parent.iterdir())


def test_the_disk_is_written_seldom_and_the_last_word_counts(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timers: list[threading.Timer] = []

    class Timer(threading.Timer):
        def start(self) -> None:
            timers.append(self)

    written: list[bytes] = []
    write = module.write_atomically

    def counting(path: Path, data: bytes) -> None:
        written.append(data)
        write(path, data)

    monkeypatch.setattr(module.threading, "Timer", Timer)
    monkeypatch.setattr(module, "write_atomically", counting)
    shown = ProgressFile(archive, pause=1000.0)
    shown.begin(100, [])
    for number in range(50):
        shown.target(f"t{number}", 10)
        shown.finish(outcome(f"t{number}"))
    assert len(written) == 1 and len(timers) == 1
    timers[0].function()
    found = read_progress(archive)
    assert found is not None and found.done == 50
    shown.remove()
    timers[0].function()  # it was about to run
    assert not archive.parent.joinpath(f".{archive.name}.progress.json").exists()


def test_a_folder_that_takes_nothing_ends_no_job(tmp_path: Path) -> None:
    (tmp_path / "predictions").write_text("a file")
    shown = ProgressFile(tmp_path / "predictions" / "b1.tar.zst", pause=0.0)
    shown.begin(1, [])
    shown.finish(outcome("a"))
    shown.remove()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"total": "1"}', '{"total": 1, "since": "x"}', '{"total": 1, "more": 2}']
)
def test_a_file_of_something_else_says_nothing(archive: Path, text: str) -> None:
    archive.with_name(f".{archive.name}.progress.json").write_text(text)
    assert read_progress(archive) is None


def test_a_new_run_forgets_what_a_killed_one_left(archive: Path) -> None:
    shown = ProgressFile(archive, pause=0.0)
    shown.begin(1, [])
    assert json.loads(archive.with_name(f".{archive.name}.progress.json").read_text())["total"] == 1
    forget_progress(archive.parents[1])
    assert read_progress(archive) is None
