"""Buckets, batches and chunks: every target in one of them, and none larger or dearer than it need be."""

from __future__ import annotations

import re
from bisect import bisect_left
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakefold.plan.batches import cut_batches, cut_chunks
from snakefold.plan.buckets import (
    A100_SECONDS,
    COMPILE_SECONDS,
    bucket_edges,
    padded_length,
    predict_seconds,
)

lengths_of_sets = st.lists(st.integers(1, 3000), max_size=60)


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


@given(lengths_of_sets, st.data())
def test_every_target_is_in_one_batch_within_the_limits(lengths: list[int], data: st.DataObject) -> None:
    edges = bucket_edges(lengths)
    padded = [data.draw(st.sampled_from([None, padded_length(length, edges)])) for length in lengths]
    complexes = [edge is None and data.draw(st.booleans()) for edge in padded]
    max_targets, max_residues = data.draw(st.integers(1, 10)), data.draw(st.integers(1, 5000))
    batches = cut_batches(lengths, padded, complexes, max_targets=max_targets, max_residues=max_residues)
    assert sorted(member for batch in batches for member in batch.members) == list(range(len(lengths)))
    assert len({batch.name for batch in batches}) == len(batches)
    for batch in batches:
        sizes = [padded[member] or lengths[member] for member in batch.members]
        assert len(batch.members) <= max_targets
        assert sum(sizes) <= max_residues or len(sizes) == 1
        assert {padded[member] for member in batch.members} == {batch.padded_length}
        assert len({complexes[member] for member in batch.members}) == 1
        assert [lengths[member] for member in batch.members] == sorted(
            lengths[member] for member in batch.members
        )
        # The pattern of contracts.FoldRequest.batch.
        assert re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,63}", batch.name)
        longest = batch.padded_length or max(lengths[member] for member in batch.members)
        assert batch.name.endswith(f"-l{longest:04d}")
    unpadded = [batch.padded_length is None for batch in batches]
    assert unpadded == sorted(unpadded)
    edges_in_order = [batch.padded_length for batch in batches if batch.padded_length is not None]
    assert edges_in_order == sorted(edges_in_order)


def test_batches_are_as_full_as_the_limits_allow() -> None:
    batches = cut_batches([20] * 7, [20] * 7, [False] * 7, max_targets=3, max_residues=1000)
    assert [len(batch.members) for batch in batches] == [3, 3, 1]
    batches = cut_batches([20] * 7, [25] * 7, [False] * 7, max_targets=100, max_residues=60)
    assert [len(batch.members) for batch in batches] == [2, 2, 2, 1]
    assert [batch.name for batch in batches] == [f"b000{number}-l0025" for number in (1, 2, 3, 4)]


@given(st.lists(st.text("AC", min_size=1, max_size=3), max_size=40), st.integers(1, 7))
def test_every_chain_is_in_one_chunk_in_the_order_of_need(chains: list[str], size: int) -> None:
    chunks = cut_chunks(chains, size)
    flat = [chain for chunk in chunks for chain in chunk]
    assert flat == sorted(set(chains), key=chains.index)
    assert all(len(chunk) == size for chunk in chunks[:-1])
    assert all(1 <= len(chunk) <= size for chunk in chunks)
