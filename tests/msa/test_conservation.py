"""Conservation of columns: what is the same everywhere, and rare elsewhere, comes first."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from snakefold.msa import conservation as module
from snakefold.msa.a3m import Msa
from snakefold.msa.conservation import conservation

LETTERS = "ACDEFGHIKLMNPQRSTVWY"


def msa(*rows: str) -> Msa:
    return Msa([f"r{number}" for number in range(len(rows))], rows)


def test_one_row_says_nothing() -> None:
    assert conservation(msa("ACDEF")).tolist() == [0.0] * 5


def test_a_conserved_column_is_above_a_varied_one_and_tryptophan_above_leucine() -> None:
    spaced = "A" * 8
    rows = [f"W{spaced}L{spaced}{letter}" for letter in LETTERS]
    rows = [
        row[:1] + letter * 8 + row[9:10] + letter * 8 + row[18:]
        for row, letter in zip(rows, LETTERS, strict=True)
    ]
    found = conservation(msa(*rows))
    assert found[0] > found[9] > found[[2, 5, 14]].max()


def test_gaps_lower_it() -> None:
    full = conservation(msa(*["WWW"] * 10))
    half = conservation(msa(*["WWW"] * 5, *["W--"] * 5))
    assert (half[1:] < full[1:]).all()


def test_the_divergence_is_that_of_the_definition() -> None:
    """A column of tryptophan alone, by hand: no window, for all columns are alike."""
    background = module._BACKGROUND
    p = np.full(20, 1e-6)
    p[LETTERS.index("W")] += 1
    p /= p.sum()
    r = (p + background) / 2
    expected = ((p * np.log2(p / r)).sum() + (background * np.log2(background / r)).sum()) / 2
    assert np.allclose(conservation(msa(*["W" * 12] * 4)), expected)


def test_a_row_that_is_there_a_hundred_times_counts_little_more_than_once() -> None:
    once = conservation(msa("WAAAAAAAAW", "LCCCCCCCCW"))
    often = conservation(msa(*["WAAAAAAAAW"] * 100, "LCCCCCCCCW"))
    assert np.abs(once - often).max() < 0.02


@given(st.lists(st.text(LETTERS + "-X", min_size=9, max_size=9), min_size=2, max_size=12))
def test_it_is_between_0_and_1_whatever_the_rows(rows: list[str]) -> None:
    found = conservation(msa("ACDEFGHIK", *rows))
    assert found.shape == (9,) and np.isfinite(found).all()
    assert (found >= 0).all() and (found <= 1).all()


@given(st.integers(1, 20))
def test_short_queries_have_as_many_values_as_columns(length: int) -> None:
    found = conservation(msa("A" * length, "C" * length))
    assert found.shape == (length,) and np.allclose(found, found[::-1])
