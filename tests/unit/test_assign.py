"""Assignment: every target in one bucket that its GPU can hold, the least cost of all, limits kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snakefold.engines.alphafold2.cost import AlphaFold2Work as Work
from snakefold.plan.assignment.assign import Assignment, Bucket, Demand, InfeasibleError, Limits, assign
from snakefold.plan.assignment.infeasible import without_longest
from snakefold.plan.assignment.problem import SECOND, SHARED_SECONDS
from snakefold.plan.assignment.spread import batch_seconds, longest_first
from snakefold.plan.assignment.types import Sizes
from snakefold.plan.batches import Batch, cut_batches
from snakefold.plan.cost.gpus import GpuClass
from snakefold.plan.cost.model import CostModel
from snakefold.plan.join import measure_with

MODEL = CostModel()
#: Of a run's total: what the solver's gap and the batches of split buckets may make of a relaxed limit.
TOLERANCE = 1.02


def gpu(name: str, memory: float | None, price: float, speed: float) -> GpuClass:
    return GpuClass(
        name=name,
        title=name,
        memory_gb=memory,
        dollars_per_second=price,
        speed=speed,
        speed_source="test",
    )


SMALL = gpu("small", 16, 0.0002, 0.4)
MIDDLE = gpu("middle", 24, 0.0004, 0.7)
LARGE = gpu("large", 80, 0.0010, 1.2)
CLASSES = [SMALL, MIDDLE, LARGE]


def demand(lengths: Sequence[int], *, complexes: bool = False) -> Demand:
    distinct, counts = np.unique(np.array(lengths, dtype=np.int64), return_counts=True)
    return Demand(int(complexes), not complexes, Work(multimer=complexes), distinct, counts)


def limits(workers: int = 3, **others: float) -> Limits:
    return Limits({item.name: workers for item in CLASSES}, **others)


def spread(number: int, seed: int = 0) -> list[int]:
    drawn = np.random.default_rng(seed).lognormal(5.7, 0.6, number)
    return np.clip(drawn, 30, 2000).astype(int).tolist()


def filled(buckets: Sequence[Bucket], lengths: Sequence[int]) -> list[tuple[Bucket, list[int]]]:
    """Targets of each bucket, given out one by one as the buckets' docstring says."""
    rest = sorted(lengths)
    result = []
    for bucket in buckets:
        mine = [length for length in rest if bucket.shortest <= length <= bucket.longest][: bucket.count]
        assert len(mine) == bucket.count
        for length in mine:
            rest.remove(length)
        result.append((bucket, mine))
    assert not rest
    return result


def seconds_of(bucket: Bucket, lengths: Sequence[int], work: Work, one: GpuClass) -> float:
    """Worker seconds of a bucket without start-ups and loads; one target at a time."""
    total = 0.0
    for length in lengths:
        shape = bucket.padded_length or length
        total += float(MODEL.predict_seconds([shape], work, one)[0])
        total += float(MODEL.relax_seconds([length], work, one)[0])
    shapes = [bucket.padded_length] if bucket.padded_length else sorted(set(lengths))
    return total + sum(float(MODEL.compile_seconds([shape], work, one)[0]) for shape in shapes)


def cut(plan: Assignment, demands: Sequence[Demand]) -> list[Batch]:
    """The batches that a run would make of the plan."""
    lengths = np.concatenate([np.repeat(one.lengths, one.counts) for one in demands])
    complexes = np.repeat([one.group for one in demands], [one.counts.sum() for one in demands])
    measure = measure_with(CLASSES, {one.group: one.work for one in demands}, MODEL)
    return cut_batches(
        lengths,
        complexes,
        np.arange(len(lengths)),
        plan.buckets,
        plan.sizes or Sizes(100, 50_000, np.inf),
        measure=measure if plan.sizes else None,
    )


def checked(plan: Assignment, demands: Sequence[Demand], allowed: Limits) -> None:
    """Everything that must hold for a plan, counted independently; batches as a run cuts them."""
    seconds = dict.fromkeys(allowed.workers, 0.0)
    named = {item.name: item for item in CLASSES}
    for one in demands:
        mine = [bucket for bucket in plan.buckets if bucket.group == one.group]
        lengths = np.repeat(one.lengths, one.counts).tolist()
        for bucket, members in filled(mine, lengths):
            shape = bucket.padded_length or max(members)
            assert max(members) <= shape
            memory = named[bucket.gpu].memory_gb
            assert memory is None or float(MODEL.memory_gb([shape], one.work)[0]) <= memory
            seconds[bucket.gpu] += seconds_of(bucket, members, one.work, named[bucket.gpu])
    batches = Counter(batch.gpu for batch in cut(plan, demands))
    for name, one in named.items():
        if name in seconds:
            # The parameters of monomers and of complexes are equally long to load here.
            seconds[name] += batches[name] * MODEL.load_seconds(demands[0].work, one)
            seconds[name] += MODEL.start_seconds(one) * min(batches[name], allowed.workers[name])
            assert plan.seconds.get(name, 0.0) == pytest.approx(seconds[name])
            assert seconds[name] <= allowed.workers[name] * plan.wall_seconds * (1 + 1e-9)
    dollars = sum(seconds[name] * named[name].dollars_per_second for name in seconds)
    assert plan.dollars == pytest.approx(dollars)
    if allowed.deadline is not None:
        assert plan.wall_seconds <= allowed.deadline * (1 + 1e-6)
    if allowed.budget is not None:
        assert plan.dollars <= allowed.budget * (1 + 1e-6)
    assert plan.bound <= plan.objective * (1 + 1e-6)


sets = st.lists(st.integers(16, 1500), min_size=1, max_size=40)


@settings(max_examples=25, deadline=None)
@given(sets, st.lists(st.integers(16, 1200), max_size=6), st.integers(1, 5))
def test_every_target_once_and_where_it_fits(monomers: list[int], complexes: list[int], workers: int) -> None:
    demands = [demand(monomers)] + ([demand(complexes, complexes=True)] if complexes else [])
    checked(assign(demands, CLASSES, MODEL, limits(workers)), demands, limits(workers))


@settings(max_examples=8, deadline=None)
@given(sets, st.floats(0.3, 0.95), st.integers(1, 4))
def test_limits_are_kept_and_relaxing_them_never_costs_more(
    lengths: list[int], share: float, workers: int
) -> None:
    demands = [demand(lengths)]
    free = assign(demands, CLASSES, MODEL, limits(workers))
    tight = limits(workers, deadline=free.wall_seconds * share)
    try:
        plan = assign(demands, CLASSES, MODEL, tight)
    except InfeasibleError:
        return
    checked(plan, demands, tight)
    assert free.objective <= plan.objective * TOLERANCE
    looser = assign(demands, CLASSES, MODEL, limits(workers, deadline=free.wall_seconds * (share + 1) / 2))
    assert looser.objective <= plan.objective * TOLERANCE
    # More workers may mean more start-ups, and nothing else.
    more = assign(demands, CLASSES, MODEL, limits(workers + 1, deadline=tight.deadline or 0))
    starts = sum(MODEL.start_seconds(one) * one.dollars_per_second for one in CLASSES)
    assert more.objective <= plan.objective * TOLERANCE + starts


@settings(max_examples=15, deadline=None)
@given(sets)
def test_another_class_never_costs_more(lengths: list[int]) -> None:
    demands = [demand(lengths)]
    one = assign(demands, [LARGE], MODEL, limits())
    two = assign(demands, [SMALL, LARGE], MODEL, limits())
    starts = 3 * MODEL.start_seconds(SMALL) * SMALL.dollars_per_second
    # What a second counts beside dollars follows the cheapest class: compare dollars.
    assert two.dollars <= one.dollars * (1 + 2e-4) + starts


def cuts(lengths: Sequence[int]) -> Iterator[list[tuple[int, int]]]:
    """All ways to cut a list into intervals."""
    inner = range(1, len(lengths))
    for size in range(len(lengths)):
        for chosen in combinations(inner, size):
            yield list(zip((0, *chosen), (*chosen, len(lengths)), strict=True))


def best_of_all(one: Demand, classes: Sequence[GpuClass]) -> float:
    """Least cost of all intervals and classes, each interval with its share of the batches' loads."""
    best = np.inf
    costs: dict[tuple[int, int, str], float] = {}
    cheapest = min(item.dollars_per_second for item in classes)
    for low, high in combinations(range(len(one.lengths) + 1), 2):
        edge = int(one.lengths[high - 1])
        members = np.repeat(one.lengths[low:high], one.counts[low:high]).tolist()
        for item in classes:
            if float(MODEL.memory_gb([edge], one.work)[0]) > (item.memory_gb or np.inf):
                continue
            seconds = seconds_of(
                Bucket(False, edge, members[0], edge, len(members), item.name, 1), members, one.work, item
            )
            batches = len(members) * min(
                1.0, MODEL.predict_seconds([edge], one.work, item)[0] / SHARED_SECONDS
            )
            seconds += batches * MODEL.load_seconds(one.work, item)
            costs[low, high, item.name] = seconds * (item.dollars_per_second + SECOND * cheapest)
    for intervals in cuts(one.lengths.tolist()):
        for chosen in product(classes, repeat=len(intervals)):
            keys = [(*cut, item.name) for cut, item in zip(intervals, chosen, strict=True)]
            best = min(best, sum(costs.get(key, np.inf) for key in keys))
    return float(best)


@settings(max_examples=25, deadline=None)
@given(
    st.dictionaries(st.integers(16, 1300), st.integers(1, 60), min_size=1, max_size=5),
    st.integers(1, 3),
    st.integers(1, 4),
)
def test_no_other_buckets_or_classes_are_cheaper(counts: dict[int, int], number: int, workers: int) -> None:
    lengths = [length for length, times in counts.items() for _ in range(times)]
    classes = CLASSES[-number:]
    demands = [demand(lengths)]
    plan = assign(demands, classes, MODEL, limits(workers))
    assert plan.bound == pytest.approx(best_of_all(demands[0], classes))
    # What batches are not full, and start-ups: the only parts that the choice does not see as a whole.
    dearest = max(item.dollars_per_second for item in classes) * (1 + SECOND)
    batches = len(cut(plan, demands))
    slack = batches * MODEL.load_seconds(Work(), LARGE) + number * workers * MODEL.start_seconds(LARGE)
    assert plan.bound * (1 - 1e-6) <= plan.objective <= plan.bound + slack * dearest


@pytest.mark.parametrize("number", [90, 1000])
@pytest.mark.parametrize("gpu_class", [MIDDLE, LARGE], ids=lambda item: item.name)
def test_sorting_and_padding_by_ten_is_no_cheaper_on_one_class(gpu_class: GpuClass, number: int) -> None:
    lengths = [length for length in spread(number) if length <= 1400]
    ordered, shapes = sorted(lengths), [0]
    for length in ordered:
        shapes.append(shapes[-1] if length <= shapes[-1] else length + 10)
    work, batches = Work(), -(-len(lengths) // 100)
    seconds = MODEL.predict_seconds(shapes[1:], work, gpu_class).sum()
    seconds += MODEL.relax_seconds(ordered, work, gpu_class).sum()
    seconds += MODEL.compile_seconds(sorted(set(shapes[1:])), work, gpu_class).sum()
    seconds += batches * MODEL.load_seconds(work, gpu_class)
    seconds += min(batches, 20) * MODEL.start_seconds(gpu_class)
    plan = assign([demand(lengths)], [gpu_class], MODEL, limits(20))
    assert plan.dollars < seconds * gpu_class.dollars_per_second


def test_a_price_of_nothing_saves_seconds() -> None:
    slow, fast = gpu("small", None, 0, 0.02), gpu("large", None, 0, 0.05)
    plan = assign([demand(spread(20))], [slow, fast], MODEL, limits())
    assert {bucket.gpu for bucket in plan.buckets} == {"large"}
    assert plan.objective == pytest.approx(sum(plan.seconds.values()))
    assert plan.dollars == 0


def test_the_fastest_plan_is_faster_and_keeps_to_the_budget() -> None:
    demands = [demand(spread(300))]
    cheap = assign(demands, CLASSES, MODEL, limits())
    allowed = limits(budget=cheap.dollars * 1.3)
    fast = assign(demands, CLASSES, MODEL, allowed, objective="time")
    checked(fast, demands, allowed)
    assert fast.wall_seconds < 0.8 * cheap.wall_seconds
    fastest = assign(demands, CLASSES, MODEL, limits(), objective="time")
    assert fastest.wall_seconds <= fast.wall_seconds * TOLERANCE


def test_given_edges_are_kept_and_longer_targets_keep_their_length() -> None:
    plan = assign([demand([50, 90, 110, 250, 400])], CLASSES, MODEL, limits(), bucket_edges=[120, 300])
    shapes = [(bucket.padded_length, bucket.count) for bucket in plan.buckets]
    assert shapes == [(120, 3), (300, 1), (400, 1)]


def test_batches_keep_to_targets_and_residues() -> None:
    plan = assign(
        [demand([200] * 50 + [400] * 50)], CLASSES, MODEL, limits(), max_targets=7, max_residues=2000
    )
    for bucket in plan.buckets:
        assert bucket.batch_targets <= 7
        assert bucket.batch_targets * (bucket.padded_length or 0) <= 2000


def test_a_deadline_shorter_than_a_batch() -> None:
    demands = [demand(spread(150))]
    classes = [MIDDLE, LARGE]
    fastest = assign(demands, classes, MODEL, limits(60), objective="time")
    asked = limits(60, deadline=1.1 * fastest.wall_seconds)
    assert (asked.deadline or 0) < 1800
    checked(assign(demands, classes, MODEL, asked), demands, asked)


def test_nothing_to_do() -> None:
    plan = assign([], CLASSES, MODEL, limits())
    assert (plan.buckets, plan.dollars, plan.wall_seconds) == ((), 0.0, 0.0)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("memory", {"classes": [SMALL]}),
        ("deadline", {"deadline": 0.25}),
        ("budget", {"budget": 0.9}),
        ("budget", {"deadline": 0.7, "budget": 1.0}),
    ],
)
def test_what_an_error_proposes_is_possible(name: str, change: dict[str, float]) -> None:
    demands = (demand([*spread(60), 1900]),)
    free = assign(demands, CLASSES, MODEL, limits())
    asked = limits()
    if "deadline" in change:
        asked = replace(asked, deadline=free.wall_seconds * change["deadline"])
    if "budget" in change:
        asked = replace(asked, budget=free.dollars * change["budget"])
    classes = change.get("classes", CLASSES)
    with pytest.raises(InfeasibleError) as caught:
        assign(demands, classes, MODEL, asked)
    error = caught.value
    assert error.limit == name
    assert error.remedies
    for remedy in error.remedies:
        assert remedy.text in str(error)
        if "with a class" in remedy.text:
            assign(demands, [*classes, LARGE], MODEL, remedy.limits)
            continue
        left = without_longest(demands, remedy.left_out) if remedy.left_out else demands
        plan = assign(left, classes, MODEL, remedy.limits)
        checked(plan, left, remedy.limits)


def test_ten_thousand_targets_come_near_the_bound() -> None:
    demands = [demand(spread(10_000))]
    free = assign(demands, CLASSES, MODEL, limits(20))
    assert free.objective <= free.bound * 1.01
    asked = limits(20, deadline=0.7 * free.wall_seconds)
    plan = assign(demands, CLASSES, MODEL, asked)
    checked_totals(plan, demands[0])
    assert plan.objective <= plan.bound * 1.01
    assert plan.wall_seconds <= (asked.deadline or 0)


def checked_totals(plan: Assignment, one: Demand) -> None:
    assert sum(bucket.count for bucket in plan.buckets) == int(one.counts.sum())


def test_without_longest_takes_ties_once() -> None:
    left = without_longest((demand([10, 20, 20]), demand([20, 30], complexes=True)), 2)
    assert [one.lengths.tolist() for one in left] == [[10, 20], [20]]
    assert [one.counts.tolist() for one in left] == [[1, 1], [1]]


FREE = gpu("free", 80, 0.0, 1.2)


def ends(plan: Assignment, wanted: Demand, workers: int) -> float:
    """When the last worker ends, as a share of what no plan can undercut."""
    work = MODEL.predict_seconds(wanted.lengths, wanted.work, FREE)
    work = work + MODEL.relax_seconds(wanted.lengths, wanted.work, FREE)
    bound = max(float((work * wanted.counts).sum()) / workers, float(work.max()))
    return longest_first(batch_seconds(plan, [wanted], [FREE], MODEL)["free"], workers) / bound


@pytest.mark.parametrize("workers", [2, 4, 8])
@pytest.mark.parametrize("number", [24, 200, 1000])
def test_no_worker_of_a_machine_is_left_without_work(number: int, workers: int) -> None:
    """What passes the bound is loading and compiling, which more batches do more often."""
    wanted = demand(spread(number))
    alone = assign([wanted], [FREE], MODEL, Limits({"free": 1}))
    plan = assign([wanted], [FREE], MODEL, Limits({"free": workers}))
    batches = len(batch_seconds(plan, [wanted], [FREE], MODEL)["free"])
    assert batches >= workers
    assert sum(bucket.count for bucket in plan.buckets) == number
    assert ends(plan, wanted, workers) <= ends(alone, wanted, workers) * 1.05
    assert ends(plan, wanted, workers) < {24: 1.8, 200: 1.25, 1000: 1.1}[number]


def test_workers_that_may_differ_get_more_batches() -> None:
    """Or the last of them waits for the slowest."""
    wanted = demand(spread(60))
    alike, others = (
        assign([wanted], [FREE], MODEL, Limits({"free": 4}, alike=alike)) for alike in (True, False)
    )
    few, many = (len(batch_seconds(plan, [wanted], [FREE], MODEL)["free"]) for plan in (alike, others))
    assert many > few
    assert ends(others, wanted, 4) <= 1.25 * ends(alike, wanted, 4)


def test_workers_that_are_paid_for_are_not_multiplied() -> None:
    wanted = demand(spread(60))
    plans = [assign([wanted], [LARGE], MODEL, Limits({"large": workers})) for workers in (1, 8)]
    assert plans[0].buckets == plans[1].buckets
    assert plans[0].sizes == plans[1].sizes


@given(st.lists(st.floats(0.1, 100), min_size=1, max_size=40), st.integers(1, 8))
def test_the_longest_first_keeps_to_its_bound(seconds: list[float], workers: int) -> None:
    """Graham 1969: 4/3 - 1/(3m) of the least; the least is no less than the mean, and than the longest."""
    end = longest_first(seconds, workers)
    least = max(sum(seconds) / workers, *seconds)
    assert least <= end * (1 + 1e-9)
    assert end <= sum(seconds) / workers + (1 - 1 / workers) * max(seconds) + 1e-6
