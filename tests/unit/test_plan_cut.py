"""Buckets, batches and chunks: every target in one of them, and none larger or dearer than it need be."""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections import Counter
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakefold.config import MsaSettings
from snakefold.plan.alignments import chunk_sizes
from snakefold.plan.assign import Bucket
from snakefold.plan.batches import FETCHED_RESIDUES, Batch, coarsened, cut_batches, cut_fetched
from snakefold.plan.buckets import (
    A100_SECONDS,
    COMPILE_SECONDS,
    bucket_edges,
    padded_length,
    predict_seconds,
)


def cost(lengths: list[int], edges: list[int], compile_seconds: float) -> float:
    """Seconds of a whole set, computed one target at a time."""
    padded = [edges[bisect_left(edges, length)] for length in lengths]
    return sum(float(predict_seconds(edge)) for edge in padded) + compile_seconds * len(edges)


def test_seconds_are_alphafolds_at_its_lengths() -> None:
    assert predict_seconds(list(A100_SECONDS)) == pytest.approx(list(A100_SECONDS.values()))
    assert predict_seconds(450) == pytest.approx(23.5)
    assert predict_seconds(50) == pytest.approx(3.5)
    assert predict_seconds(5500) == pytest.approx(18824 + 6349)


@given(st.integers(1, 9000))
def test_seconds_grow_with_the_length(length: int) -> None:
    assert 0 < predict_seconds(length) < predict_seconds(length + 1)


@given(st.lists(st.integers(1, 3000), min_size=1, max_size=7), st.sampled_from([0.0, 0.5, 30.0, 1000.0]))
def test_edges_are_the_cheapest_of_all(lengths: list[int], compile_seconds: float) -> None:
    edges = bucket_edges(lengths, compile_seconds=compile_seconds)
    distinct = sorted(set(lengths))
    assert set(edges) <= set(distinct)
    assert edges == sorted(edges)
    assert edges[-1] == distinct[-1]
    best = min(
        cost(lengths, [*inner, distinct[-1]], compile_seconds)
        for size in range(len(distinct))
        for inner in combinations(distinct[:-1], size)
    )
    assert cost(lengths, edges, compile_seconds) == pytest.approx(best)


def test_free_compilation_pads_nothing_and_dear_compilation_pads_all() -> None:
    assert bucket_edges([30, 20, 20, 50], compile_seconds=0) == [20, 30, 50]
    assert bucket_edges([30, 20, 20, 50], compile_seconds=1e9) == [50]
    assert bucket_edges([]) == []


def test_more_predictions_a_target_make_more_buckets() -> None:
    lengths = list(range(20, 800, 7))
    assert len(bucket_edges(lengths, predictions=5)) > len(bucket_edges(lengths, predictions=0.1))


def test_five_thousand_lengths() -> None:
    lengths = np.random.default_rng(0).integers(16, 5016, 100_000).tolist()
    edges = bucket_edges(lengths, predictions=5)
    assert edges[-1] == max(lengths)
    assert cost(lengths, edges, COMPILE_SECONDS) < cost(lengths, sorted(set(lengths)), 5 * COMPILE_SECONDS)


@given(st.integers(1, 100), st.lists(st.integers(1, 100), unique=True).map(sorted))
def test_a_length_is_padded_to_the_next_edge_or_not_at_all(length: int, edges: list[int]) -> None:
    padded = padded_length(length, edges)
    assert padded >= length
    if any(edge >= length for edge in edges):
        assert padded == min(edge for edge in edges if edge >= length)
    else:
        assert padded == length


def bucket(count: int, shortest: int, longest: int, **values: Any) -> Bucket:
    given = {"complexes": False, "padded_length": longest, "gpu": "local", "batch_targets": 1000, **values}
    return Bucket(count=count, shortest=shortest, longest=longest, **given)


def cut(lengths: list[int], buckets: list[Bucket], **limits: int) -> list[Batch]:
    return cut_batches(
        np.array(lengths),
        np.zeros(len(lengths), dtype=bool),
        np.arange(len(lengths)),
        buckets,
        **{"max_targets": 1000, "max_residues": 100_000, **limits},
    )


@st.composite
def sets_in_buckets(draw: st.DrawFn) -> tuple[list[int], list[bool], list[Bucket]]:
    """Lengths, which of them are complexes, and buckets: edges split over two classes, in any order."""
    lengths = draw(st.lists(st.integers(1, 3000), max_size=60))
    complexes = [draw(st.booleans()) for _ in lengths]
    buckets: list[Bucket] = []
    for several in (False, True):
        own = sorted(length for length, yes in zip(lengths, complexes, strict=True) if yes == several)
        while own:
            size = draw(st.integers(1, len(own)))
            # Equal lengths have one edge.
            inside = [length for length in own if length <= own[size - 1]]
            own = own[len(inside) :]
            split = draw(st.integers(0, len(inside)))
            for gpu, part in (("a", inside[:split]), ("b", inside[split:])):
                if part:
                    buckets.append(
                        Bucket(
                            complexes=several,
                            padded_length=None if several else inside[-1],
                            shortest=part[0],
                            longest=part[-1],
                            count=len(part),
                            gpu=gpu,
                            batch_targets=draw(st.integers(1, 10)),
                        )
                    )
    return lengths, complexes, buckets


@given(sets_in_buckets(), st.integers(1, 10), st.integers(1, 5000))
def test_every_target_is_in_one_batch_within_the_limits(
    given_set: tuple[list[int], list[bool], list[Bucket]], max_targets: int, max_residues: int
) -> None:
    lengths, complexes, buckets = given_set
    # Numbers that are targets of the store, between those to cut, must not get in.
    members = np.arange(len(lengths)) * 2
    all_lengths, all_complexes = np.repeat(np.array(lengths, dtype=np.int64), 2), np.repeat(complexes, 2)
    batches = cut_batches(
        all_lengths,
        all_complexes.astype(bool),
        members,
        buckets,
        max_targets=max_targets,
        max_residues=max_residues,
    )
    assert sorted(member for batch in batches for member in batch.members) == members.tolist()
    assert len({batch.name for batch in batches}) == len(batches)
    for batch in batches:
        own = [int(all_lengths[member]) for member in batch.members]
        sizes = [batch.padded_length or length for length in own]
        assert len(sizes) <= max_targets
        assert sum(sizes) <= max_residues or len(sizes) == 1
        assert max(own) <= (batch.padded_length or max(own))
        (several,) = {bool(all_complexes[member]) for member in batch.members}
        assert own == sorted(own)
        # The pattern of contracts.FoldRequest.batch, and of the workflow's rules.
        assert re.fullmatch(r"[bc][0-9]{4,}-l[0-9]{4,}", batch.name)
        assert batch.name.startswith("c" if several else "b")
        assert batch.name.endswith(f"-l{batch.padded_length or max(own):04d}")
    counts = Counter(dict.fromkeys("ab", 0))
    for batch in batches:
        counts[batch.gpu] += len(batch.members)
    for each in buckets:
        counts[each.gpu] -= each.count
    assert set(counts.values()) == {0}
    edges_in_order = [batch.padded_length for batch in batches if batch.padded_length is not None]
    assert edges_in_order == sorted(edges_in_order)


def test_batches_are_as_full_as_the_limits_allow_and_equal() -> None:
    batches = cut([20] * 7, [bucket(7, 20, 20)], max_targets=3)
    assert [len(batch.members) for batch in batches] == [3, 3, 1]
    batches = cut([20] * 10, [bucket(10, 20, 20)], max_targets=7)
    assert [len(batch.members) for batch in batches] == [5, 5]
    batches = cut([20] * 7, [bucket(7, 20, 20, padded_length=25)], max_residues=60)
    assert [len(batch.members) for batch in batches] == [2, 2, 2, 1]
    assert [batch.name for batch in batches] == [f"b000{number}-l0025" for number in (1, 2, 3, 4)]


def test_large_sets_have_large_batches_and_small_sets_keep_theirs() -> None:
    buckets = [bucket(100, 20, 20, batch_targets=3), bucket(1000, 30, 30, batch_targets=10)]
    assert coarsened(buckets, 134) == buckets
    lengths = [20] * 100 + [30] * 1000
    assert len(cut(lengths, coarsened(buckets, 40))) <= 40
    limited = cut(lengths, coarsened(buckets, 40), max_targets=20)
    assert max(len(batch.members) for batch in limited) <= 20


def test_targets_fill_the_buckets_of_an_edge_in_their_order() -> None:
    split = [bucket(2, 10, 20, gpu="small", padded_length=40), bucket(1, 40, 40, gpu="large")]
    batches = cut([40, 20, 10], split)
    assert [(batch.gpu, batch.members) for batch in batches] == [("small", (2, 1)), ("large", (0,))]


@pytest.mark.parametrize(
    "buckets",
    [
        [bucket(2, 10, 40)],
        [bucket(4, 10, 40)],
        [bucket(3, 10, 30)],
        [bucket(3, 10, 40, padded_length=30)],
    ],
    ids=["too few", "too many", "too long for the bucket", "too long for the edge"],
)
def test_buckets_of_other_targets_are_refused(buckets: list[Bucket]) -> None:
    with pytest.raises(ValueError, match=r"bucket|planned"):
        cut([40, 20, 10], buckets)


@given(st.lists(st.integers(1, 60_000), max_size=30), st.integers(0, 30))
def test_fetched_results_stay_where_they_are_when_others_are_added(lengths: list[int], more: int) -> None:
    before = cut_fetched("s", [range(len(lengths))], np.array(lengths, dtype=np.int64))
    longer = lengths + [100] * more
    after = cut_fetched("s", [range(len(longer))], np.array(longer, dtype=np.int64))
    assert [index for batch in after for index in batch.members] == list(range(len(longer)))
    assert after[: max(0, len(before) - 1)] == before[:-1]
    for batch in after:
        assert re.fullmatch(r"s[0-9]{4,}", batch.name)
        size = sum(longer[index] for index in batch.members)
        assert len(batch.members) == 1 or size <= FETCHED_RESIDUES


@given(
    st.lists(st.floats(0, 9000, allow_nan=False), max_size=40),
    st.integers(1, 7),
    st.floats(0.01, 3, allow_nan=False),
)
def test_chunks_keep_to_both_limits_and_are_as_large_as_these_allow(
    seconds: list[float], chains: int, hours: float
) -> None:
    sizes = chunk_sizes(np.array(seconds), MsaSettings(chunk_size=chains, chunk_cpu_hours=hours))
    ends = np.cumsum([0, *sizes]).tolist()
    assert ends[-1] == len(seconds)
    for start, end in pairwise(ends):
        assert 1 <= end - start <= chains
        assert end - start == 1 or math.fsum(seconds[start:end]) <= hours * 3600 * (1 + 1e-9)
        full = end - start == chains or sum(seconds[start : end + 1]) > hours * 3600 * (1 - 1e-9)
        assert full or end == len(seconds)
