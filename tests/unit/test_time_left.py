"""The time that a run still takes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakefold.run.status.time_left import Part, pace, seconds_left, with_alignments

SECONDS = st.floats(0, 1e6)
PARTS = st.lists(
    st.builds(Part, planned=SECONDS, done=st.floats(0, 1), took=st.none() | SECONDS, running=SECONDS),
    max_size=8,
)


def test_what_was_measured_corrects_what_was_planned() -> None:
    assert pace([]) == pace([Part(100)]) == 1.0
    assert pace([Part(100, 1.0, took=300), Part(100)]) == 3.0
    # Half a batch in the time that was planned for all of it.
    assert pace([Part(100, 0.5, took=100)]) == 2.0
    # Finished by an earlier run: nothing was measured.
    assert pace([Part(100, 1.0)]) == 1.0


def test_time_that_is_spent_is_subtracted() -> None:
    assert seconds_left([Part(100, running=30)]) == 70
    assert seconds_left([Part(100, running=130)]) == 0
    assert seconds_left([Part(100, 0.5, took=100, running=20)]) == pytest.approx(80)


def test_workers_share_parts_but_not_one_part() -> None:
    assert seconds_left([Part(100)] * 4, workers=2) == 200
    assert seconds_left([Part(100)], workers=8) == 100
    assert seconds_left([Part(100, 1.0, took=100)], workers=0) == 0


def test_a_batch_comes_after_its_alignments() -> None:
    assert with_alignments(100, 300, 50) == 350
    assert with_alignments(400, 300, 50) == 400
    assert with_alignments(100, 0, 50) == 100


@given(PARTS, st.integers(0, 8))
def test_no_time_is_negative_and_spent_time_never_adds_any(parts: list[Part], workers: int) -> None:
    left = seconds_left(parts, workers)
    assert left >= 0
    longer = [Part(part.planned, part.done, part.took, part.running + 60) for part in parts]
    assert seconds_left(longer, workers) <= left
