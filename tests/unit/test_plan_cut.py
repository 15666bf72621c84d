"""Buckets, batches and chunks: every target in one of them, and none larger or dearer than it need be."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from snakefold.engines.alphafold2.cost import A100_SECONDS, a100_seconds
from snakefold.engines.alphafold2.cost import AlphaFold2Work as Work
from snakefold.kernel.padding import padded_length, padded_lengths
from snakefold.msa.settings import MsaSettings
from snakefold.plan.alignments import chunk_sizes
from snakefold.plan.assignment.assign import Assignment, Bucket
from snakefold.plan.assignment.types import Sizes
from snakefold.plan.batches import FETCHED_RESIDUES, Batch, coarsened, cut_batches, cut_fetched
from snakefold.plan.cost.gpus import GpuClass
from snakefold.plan.cost.model import CostModel
from snakefold.plan.files import Kind
from snakefold.plan.join import Piece, cut_bucket, join, target_seconds


def test_seconds_are_alphafolds_at_its_lengths() -> None:
    assert a100_seconds(list(A100_SECONDS)) == pytest.approx(list(A100_SECONDS.values()))
    assert a100_seconds(450) == pytest.approx(23.5)
    assert a100_seconds(50) == pytest.approx(3.5)
    assert a100_seconds(5500) == pytest.approx(18824 + 6349)


@given(st.integers(1, 9000))
def test_seconds_grow_with_the_length(length: int) -> None:
    assert 0 < a100_seconds(length) < a100_seconds(length + 1)


@given(st.integers(1, 100), st.lists(st.integers(1, 100), unique=True).map(sorted))
def test_a_length_is_padded_to_the_next_edge_or_not_at_all(length: int, edges: list[int]) -> None:
    padded = padded_length(length, edges)
    assert padded >= length
    if any(edge >= length for edge in edges):
        assert padded == min(edge for edge in edges if edge >= length)
    else:
        assert padded == length


def bucket(count: int, shortest: int, longest: int, **values: Any) -> Bucket:
    given = {"group": 0, "padded_length": longest, "gpu": "local", "batch_targets": 1000, **values}
    return Bucket(count=count, shortest=shortest, longest=longest, **given)


def cut(
    lengths: list[int],
    buckets: Sequence[Bucket],
    *,
    targets: int = 1000,
    residues: int = 100_000,
    seconds: float | None = None,
) -> list[Batch]:
    """Batches; with `seconds` given neighbouring buckets share them, at 1 s a target and 2 s a shape."""
    return cut_batches(
        np.array(lengths),
        np.zeros(len(lengths), dtype=np.int64),
        np.arange(len(lengths)),
        buckets,
        Sizes(targets, residues, math.inf if seconds is None else seconds),
        measure=None if seconds is None else one_and_two,
    )


def one_and_two(
    bucket: Bucket, lengths: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Seconds of a target, and of its shape."""
    return np.full(len(lengths), 1.0), np.full(len(lengths), 2.0)


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
                            group=int(several),
                            padded_length=None if several else inside[-1],
                            shortest=part[0],
                            longest=part[-1],
                            count=len(part),
                            gpu=gpu,
                            batch_targets=draw(st.integers(1, 10)),
                        )
                    )
    return lengths, complexes, buckets


@given(sets_in_buckets(), st.integers(1, 10), st.integers(1, 5000), st.one_of(st.none(), st.integers(1, 30)))
def test_every_target_is_in_one_batch_within_the_limits(
    given_set: tuple[list[int], list[bool], list[Bucket]],
    max_targets: int,
    max_residues: int,
    seconds: int | None,
) -> None:
    lengths, complexes, buckets = given_set
    # Numbers that are targets of the store, between those to cut, must not get in.
    members = np.arange(len(lengths)) * 2
    all_lengths, all_complexes = np.repeat(np.array(lengths, dtype=np.int64), 2), np.repeat(complexes, 2)
    batches = cut_batches(
        all_lengths,
        all_complexes.astype(np.int64),
        members,
        buckets,
        Sizes(max_targets, max_residues, seconds or math.inf),
        measure=None if seconds is None else one_and_two,
    )
    assert sorted(member for batch in batches for member in batch.members) == members.tolist()
    assert len({batch.name for batch in batches}) == len(batches)
    for batch in batches:
        own = [int(all_lengths[member]) for member in batch.members]
        sizes = [padded_length(length, batch.bucket_edges) for length in own]
        assert len(sizes) <= max_targets
        assert sum(sizes) <= max_residues or len(sizes) == 1
        pieces = set(sizes) if batch.bucket_edges else {0}
        assert not batch.bucket_edges or pieces == set(batch.bucket_edges)
        if seconds is None:
            assert len(pieces) == 1
        elif len(pieces) > 1:
            assert len(own) + 2 * len(pieces) <= seconds
        edges = {each.padded_length for each in buckets if each.gpu == batch.gpu}
        assert set(batch.bucket_edges) <= edges
        (several,) = {bool(all_complexes[member]) for member in batch.members}
        assert own == sorted(own)
        # The pattern of contracts.FoldRequest.batch, and of the workflow's rules.
        assert re.fullmatch(r"[bc][0-9]{4,}-l[0-9]{4,}", batch.name)
        assert batch.name.startswith("c" if several else "b")
        assert batch.name.endswith(f"-l{max(sizes):04d}")
    counts = Counter(dict.fromkeys("ab", 0))
    for batch in batches:
        counts[batch.gpu] += len(batch.members)
    for each in buckets:
        counts[each.gpu] -= each.count
    assert set(counts.values()) == {0}
    largest = [batch.bucket_edges[-1] for batch in batches if batch.bucket_edges]
    assert largest == sorted(largest)


def test_batches_are_as_full_as_the_limits_allow_and_equal() -> None:
    batches = cut([20] * 7, [bucket(7, 20, 20)], targets=3)
    assert [len(batch.members) for batch in batches] == [3, 3, 1]
    batches = cut([20] * 10, [bucket(10, 20, 20)], targets=7)
    assert [len(batch.members) for batch in batches] == [5, 5]
    batches = cut([20] * 7, [bucket(7, 20, 20, padded_length=25)], residues=60)
    assert [len(batch.members) for batch in batches] == [2, 2, 2, 1]
    assert [batch.name for batch in batches] == [f"b000{number}-l0025" for number in (1, 2, 3, 4)]


def test_large_sets_have_large_batches_and_small_sets_keep_theirs() -> None:
    buckets = (bucket(100, 20, 20, batch_targets=3), bucket(1000, 30, 30, batch_targets=10))
    plan = Assignment(buckets, {}, 0.0, 0.0, 0.0, 0.0, Sizes(1000, 100_000, 10.0))
    assert coarsened(plan, 134) == plan
    lengths = [20] * 100 + [30] * 1000
    coarse = coarsened(plan, 40)
    assert coarse.sizes == Sizes(1000, 100_000, 40.0)
    assert len(cut(lengths, coarse.buckets)) <= 40
    limited = cut(lengths, coarse.buckets, targets=20)
    assert max(len(batch.members) for batch in limited) <= 20


def test_sizes_chosen_for_a_deadline_stay() -> None:
    plan = Assignment((bucket(100, 20, 20, batch_targets=3),), {}, 0.0, 0.0, 0.0, 0.0, None)
    assert coarsened(plan, 2) == plan


def test_small_neighbours_share_a_batch_and_full_buckets_stay_as_they_are() -> None:
    lengths = [10, 20, 20, *[30] * 20, 40, 50, 60]
    buckets = [
        bucket(1, 10, 10),
        bucket(2, 20, 20),
        bucket(20, 30, 30, batch_targets=10),
        bucket(1, 40, 40),
        bucket(1, 50, 50, gpu="other"),
        bucket(1, 60, 60),
    ]
    batches = cut(lengths, buckets, seconds=12)
    assert [(batch.name, batch.bucket_edges, len(batch.members)) for batch in batches] == [
        ("b0001-l0020", (10, 20), 3),
        ("b0002-l0030", (30,), 10),
        ("b0003-l0030", (30,), 10),
        ("b0004-l0050", (50,), 1),
        ("b0005-l0060", (40, 60), 2),
    ]
    assert {batch.gpu for batch in batches} == {"local", "other"}


def test_targets_at_their_own_length_share_batches_too() -> None:
    lengths = [10, 10, 20, 30]
    buckets = [bucket(2, 10, 10, padded_length=None), bucket(2, 20, 30, padded_length=None)]
    (batch,) = cut(lengths, buckets, seconds=4 + 3 * 2)
    assert (batch.name, batch.bucket_edges, batch.members) == ("c0001-l0030", (), (0, 1, 2, 3))
    assert len(cut(lengths, buckets, seconds=9)) == 2


@given(
    st.lists(st.tuples(st.integers(1, 5), st.integers(1, 9), st.sampled_from("ab")), max_size=9),
    st.integers(1, 12),
    st.integers(1, 30),
)
def test_no_way_to_join_neighbours_makes_fewer_batches(
    parts: list[tuple[int, int, str]], targets: int, seconds: int
) -> None:
    pieces = [
        Piece(bucket(count, 10, 10 + place, gpu=gpu), 0, count, 10, float(taken))
        for place, (count, taken, gpu) in enumerate(parts)
    ]
    joined = join(pieces, Sizes(targets, 10_000, seconds))
    assert sorted(id(piece) for batch in joined for piece in batch) == sorted(map(id, pieces))
    for gpu in "ab":
        own = [piece for piece in pieces if piece.bucket.gpu == gpu]
        fewest = min((len(cuts) + 1 for cuts in ways(own, targets, seconds)), default=0)
        assert sum(batch[0].bucket.gpu == gpu for batch in joined) == fewest


def ways(pieces: Sequence[Piece], targets: int, seconds: float) -> Iterator[tuple[int, ...]]:
    """All places to cut a row of pieces at, so that what shares a batch fits one."""
    for number in range(len(pieces)):
        for cuts in combinations(range(1, len(pieces)), number):
            batches = [pieces[low:high] for low, high in zip((0, *cuts), (*cuts, len(pieces)), strict=True)]
            if all(
                len(batch) == 1
                or (
                    sum(each.stop for each in batch) <= targets
                    and sum(each.seconds for each in batch) <= seconds
                )
                for batch in batches
            ):
                yield cuts


@pytest.mark.parametrize("pads", [True, False])
def test_seconds_of_a_piece_are_the_models(pads: bool) -> None:
    lengths = np.array([100, 120, 120, 150, 150])
    one = bucket(5, 100, 150, padded_length=160 if pads else None, batch_targets=3)
    model, work = CostModel(), Work()
    gpu = GpuClass(
        name="local", title="", memory_gb=None, dollars_per_second=0.0, speed=0.5, speed_source="test"
    )
    pieces = cut_bucket(
        one, lengths, Sizes(100, 10_000, 1.0), lambda *given: target_seconds(*given, work, gpu, model)
    )
    assert [(piece.start, piece.stop) for piece in pieces] == [(0, 3), (3, 5)]
    for piece in pieces:
        own = lengths[piece.start : piece.stop]
        shapes = padded_lengths(own, [160] if pads else [])
        assert piece.residues == shapes.sum()
        expected = model.predict_seconds(shapes, work, gpu).sum() + model.relax_seconds(own, work, gpu).sum()
        expected += model.compile_seconds(np.unique(shapes), work, gpu).sum()
        assert piece.seconds == pytest.approx(expected)


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
    before = cut_fetched(Kind.RESTORE, [range(len(lengths))], np.array(lengths, dtype=np.int64))
    longer = lengths + [100] * more
    after = cut_fetched(Kind.RESTORE, [range(len(longer))], np.array(longer, dtype=np.int64))
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
