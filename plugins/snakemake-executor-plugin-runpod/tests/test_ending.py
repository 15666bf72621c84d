"""The end of a run: within a deadline, with every second that was at work in ledger, budget and records."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

import pytest
from flying import flying, wait
from workers import SmallWorker

from snakefold.clusters.emulator import Fault, Scaling
from snakemake_executor_plugin_runpod.ending import Left, allowed, how_to_end
from snakemake_executor_plugin_runpod.errors import UnavailableError
from snakemake_executor_plugin_runpod.interrupts import BURST, Interrupts
from snakemake_executor_plugin_runpod.queue import Queue


def test_a_burst_of_signals_is_one_interrupt_and_none_while_the_run_is_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr("snakemake_executor_plugin_runpod.interrupts.time.monotonic", lambda: now[0])
    interrupts = Interrupts()
    with pytest.raises(KeyboardInterrupt):
        interrupts.receive(signal.SIGTERM, None)
    now[0] += 0.3
    interrupts.receive(signal.SIGTERM, None)
    now[0] += BURST
    with interrupts.held():
        interrupts.receive(signal.SIGINT, None)
        now[0] += 60
    interrupts.receive(signal.SIGINT, None)
    assert interrupts.ignored == 3
    now[0] += BURST
    with pytest.raises(KeyboardInterrupt):
        interrupts.receive(signal.SIGINT, None)


def test_signals_that_are_ignored_on_purpose_stay_so() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # nohup
        interrupts = Interrupts()
        interrupts.install()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) == signal.getsignal(signal.SIGINT) == interrupts.receive
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_the_list_of_what_is_left_has_every_id_and_the_command() -> None:
    left = [Left("fold", "a-1", "HTTP 503"), Left("fold", "a-2"), Left("mmseqs", "b-1")]
    text = how_to_end(left, "https://api.runpod.ai/v2")
    assert "a-1 of endpoint fold: HTTP 503" in text
    assert "for job in a-1 a-2; do" in text and "https://api.runpod.ai/v2/fold/cancel/$job" in text
    assert "for job in b-1; do" in text and "console.runpod.io" in text
    assert allowed(90, 60.0) == 70.0


@pytest.mark.parametrize(
    "fault",
    [
        Fault("status", call="cancel", status=503),
        Fault("slow", call="cancel", seconds=600),
        Fault("timeout_before", call="*", seconds=600),
    ],
    ids=["refused", "slow", "away"],
)
def test_a_service_that_is_away_does_not_keep_a_run_from_its_end(tmp_path: Path, fault: Fault) -> None:
    with flying(tmp_path, worker=SmallWorker(seconds=600), cancel_timeout=0.3) as found:
        for i in range(4):
            found.engine.carry(found.task(i))
        wait(lambda: len(found.engine.call(found.engine.left())) == 4)
        found.service.add_faults(fault)
        done, left = found.engine.call(found.engine.cancel_all())
        # What is slow to answer may have had its effect: it is listed all the same.
        assert done == 0 and {item.job for item in left} == {job.id for job in found.service.jobs}
        found.service.call(lambda emulator: emulator.faults.clear())


def test_a_cancel_that_was_answered_and_had_no_effect_is_no_cancel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snakemake_executor_plugin_runpod.queue._BETWEEN", 0.01)

    class Deaf:
        async def cancel(self, *_: str) -> dict[str, Any]:
            return {"status": "CANCELLED"}

        async def status(self, *_: str) -> dict[str, Any]:
            return {"status": "IN_PROGRESS"}

    queue = Queue(
        *("fold", Deaf(), None),  # type: ignore[arg-type]
        **{"interval": 1.0, "most": 1, "queue_timeout": 1.0, "overtime": 1.0},
        warn=print,
        fatal=print,
    )
    with pytest.raises(UnavailableError, match="still calls it IN_PROGRESS"):
        asyncio.run(queue.cancel("a-1"))


def test_what_an_interrupt_cancels_is_billed_with_the_time_it_was_at_work(tmp_path: Path) -> None:
    worker = SmallWorker(seconds=600)
    with flying(tmp_path, worker=worker, scaling=Scaling(workers_min=1, workers_max=1)) as found:
        for i in range(3):
            found.engine.carry(found.task(i))
        book = found.engine._ledger
        wait(lambda: sorted(row.state for row in book.live()) == ["IN_PROGRESS", "IN_QUEUE", "IN_QUEUE"])
        # In flight: each with what was put by for it, a minute at $0.001 a second.
        assert book.dollars() == pytest.approx(3 * 0.06)
        done, left = found.engine.call(found.engine.cancel_all())
        assert (done, left) == (3, [])
        paid = found.service.execution_seconds("fold")
        (first,) = [job.input["request"]["i"] for job in found.service.jobs if job.attempts]
        # The service's word, which counts to the cancel; its worker gives the job up a moment later.
        assert 0 < book.dollars() == pytest.approx(paid * 0.001, abs=1e-4)
        record = json.loads((tmp_path / f"record/{first}.json").read_text())
        assert record["billed_seconds"] == pytest.approx(paid, abs=0.1) and record["attempts"] == 1
        # What never started left no record, for nothing is to be paid.
        assert len(list((tmp_path / "record").iterdir())) == 1


def test_what_vanished_from_the_queue_uses_up_no_budget(tmp_path: Path) -> None:
    with flying(tmp_path, Fault("stuck"), Fault("lost", seconds=0.2)) as found:
        (trip,) = found.carry(found.task())
        assert trip.error is not None and trip.error.reason == "lost"
        assert found.engine._ledger.dollars() == 0.0


def test_a_doubt_does_not_keep_an_interrupted_run_from_its_end(tmp_path: Path) -> None:
    with flying(tmp_path, Fault("timeout_after", call="run", seconds=0.1), patience=600) as found:
        found.engine.carry(found.task(request={"i": 0, "seconds": 600}))
        wait(lambda: any(row.job is None for row in found.engine._ledger.live()))
        wait(lambda: len(found.engine._queues["fold"].doubts) == 1)
        found.engine.call(found.engine.cancel_all())
        assert found.engine.call(found.engine.in_doubt()) == 1
