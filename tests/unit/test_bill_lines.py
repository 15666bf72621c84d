"""Lines of a bill: targets add up to their batch, and it is said whether the quote held."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snakefold.kernel.contracts import FoldResponse, TargetOutcome
from snakefold.kernel.errors import Reason
from snakefold.run.bill import Bill, bill_line
from snakefold.run.bill.execution import Execution, ExecutionRecord
from snakefold.run.bill.lines import Line, lines_of, read_lines, write_lines

PRICE = 0.00076
outcomes = st.lists(
    st.tuples(st.sampled_from(["done", "failed", "stored"]), st.floats(0, 1e5)), min_size=1, max_size=12
)
records = st.builds(
    ExecutionRecord,
    gpu=st.just("ampere_80"),
    dollars_per_second=st.floats(0, 0.01),
    billed_seconds=st.floats(0, 1e6),
    start_seconds=st.floats(0, 100),
    idle_seconds=st.floats(0, 100),
)


@settings(deadline=None)
@given(outcomes, st.none() | records, st.floats(0, 1e6), st.sampled_from(["ampere_80", ""]), st.data())
def test_targets_add_up_to_their_batch(
    items: list[tuple[str, float]],
    paid: ExecutionRecord | None,
    total: float,
    gpu: str,
    data: st.DataObject,
) -> None:
    response = FoldResponse(
        batch="b0001",
        engine="alphafold2",
        engine_version="1",
        recipe="0" * 16,
        rehearsal=False,
        outcomes=[
            TargetOutcome(
                id=f"t{number}",
                key="k",
                result_key="k",
                state="failed" if state == "failed" else "done",
                stored=state == "stored",
                reason=Reason.INTERNAL if state == "failed" else None,
                seconds=0.0 if state == "stored" else seconds,
            )
            for number, (state, seconds) in enumerate(items)
        ],
        seconds={"total": total},
    )
    timings = {
        f"t{number}": {"compile": data.draw(st.floats(0, 1e5)), "relax": data.draw(st.floats(0, 1e5))}
        for number, (state, _) in enumerate(items)
        if state == "done"
    }
    batch, *targets = lines_of(Execution(response, "0", paid, None, timings), gpu, PRICE, run="this")
    assert len(targets) == len(items)
    assert sum(line.dollars for line in targets) == pytest.approx(batch.dollars, rel=1e-9, abs=1e-12)
    assert sum(line.seconds for line in targets) == pytest.approx(batch.seconds, rel=1e-9, abs=1e-9)
    for line in (batch, *targets):
        values = (line.seconds, line.dollars, line.load, line.compile, line.predict, line.relax, line.other)
        assert min(values) >= 0
    if not gpu:
        assert batch.dollars == batch.seconds == 0
    elif paid is not None:
        assert batch.dollars == pytest.approx(paid.billed_seconds * paid.dollars_per_second)
    if gpu and any(state != "stored" and seconds for state, seconds in items):
        assert all(line.dollars == 0 for line in targets if line.state == "stored")


def test_lines_come_back_as_they_were_written(tmp_path: Path) -> None:
    line = Line("batch", "this", "b0001", "abc", "", "done", "ampere_80", 12.5, dollars=0.0095, attempts=2)
    write_lines(tmp_path / "bill.tsv", [line])
    assert read_lines(tmp_path / "bill.tsv") == [line]


def test_the_line_of_a_bill_says_whether_the_quote_held() -> None:
    values = {"this": {"dollars": 12.0}, "earlier": {}}
    quoted = {"expected": 10.0, "low": 8.0, "high": 11.0}
    bill = Bill.model_validate({**values, "dollars": {"quoted": quoted, "billed": 12.0, "ratio": 1.2}})
    assert (
        bill_line(bill) == "Quoted $10.00 ($8.00 to $11.00), billed $12.00 (1.2 times it, above its range)."
    )
    within = Bill.model_validate({**values, "dollars": {"quoted": quoted, "billed": 9.0, "ratio": 0.9}})
    assert "range" not in bill_line(within)


def test_nothing_billed_is_compared_with_nothing() -> None:
    quoted = {"expected": 10.0, "low": 8.0, "high": 11.0}
    bill = Bill.model_validate(
        {"this": {}, "earlier": {}, "dollars": {"quoted": quoted, "billed": 0.0, "ratio": 0.0}}
    )
    assert "times it" not in bill_line(bill)
