"""The simulation against closed forms, and what must hold whatever is simulated."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snakefold.plan.simulate.cluster import Cluster, Job, LocalSteps, Pool, Workload
from snakefold.plan.simulate.model import simulate
from snakefold.plan.simulate.result import Record, Result, paid_seconds, summarise

PRICE = 0.00031


def job(name: str, *seconds: float, load: float = 0.0, compile: float = 0.0, searches=(), gpu="gpu") -> Job:
    """A padded batch: one shape, `seconds` to predict each target."""
    count = len(seconds)
    return Job(
        name,
        gpu,
        load,
        np.full(count, 100),
        np.full(count, compile),
        np.array(seconds, dtype=float),
        np.zeros(count),
        tuple(searches),
    )


def workload(jobs: list[Job], searches=()) -> Workload:
    targets = sum(len(each.shapes) for each in jobs)
    return Workload(jobs, np.array(searches, dtype=float), targets, 100 * targets)


def cluster(workers: int = 1, **values) -> Cluster:
    endpoint = Pool(
        workers,
        values.pop("start", 0.0),
        PRICE,
        queue_delay=values.pop("queue_delay", 0.0),
        idle_timeout=values.pop("idle_timeout", 10.0),
    )
    return Cluster({"gpu": endpoint}, **{"in_flight": 1e6, **values})


def run(work: Workload, on: Cluster, **values) -> tuple[Record, Result]:
    record = simulate(work, on, **values)
    return record, summarise(record, work, on)


def test_one_worker_takes_start_plus_the_sum_of_all_jobs():
    jobs = [job(f"b{i}", 10.0, 20.5, load=3.0, compile=7.0) for i in range(5)]
    _, result = run(workload(jobs), cluster(start=30.0, queue_delay=4.0))
    assert result.wall_seconds == pytest.approx(4 + 30 + 5 * (3 + 7 + 30.5))
    assert result.paid_seconds == math.ceil(30 + 5 * 40.5 + 10)  # nobody pays for the queue
    assert result.dollars == pytest.approx(PRICE * 243)
    assert result.idle_dollars == pytest.approx(PRICE * 10)
    assert result.start_dollars == pytest.approx(PRICE * 30)
    assert result.shares["predict"] == pytest.approx(5 * 30.5 / 243)


@pytest.mark.parametrize(("jobs", "workers"), [(7, 3), (9, 3), (1, 4), (20, 1)])
def test_equal_jobs_on_several_workers_take_whole_rounds(jobs, workers):
    _, result = run(workload([job(f"b{i}", 12.0) for i in range(jobs)]), cluster(workers))
    assert result.wall_seconds == pytest.approx(math.ceil(jobs / workers) * 12)
    assert result.classes["gpu"].started == min(jobs, workers)


def test_a_worker_that_waits_less_than_the_idle_timeout_is_kept_and_paid():
    jobs = [job("b1", 10.0, searches=[0]), job("b2", 10.0, searches=[1])]
    # One core: the second MSA comes 25 s after the first.
    for timeout, started, idle in ((20.0, 1, 10.0 + 20.0), (8.0, 2, 8.0 + 8.0)):
        on = cluster(start=5.0, idle_timeout=timeout, cores=1, msa_threads=1)
        _, result = run(workload(jobs, [3.0, 25.0]), on)
        assert result.classes["gpu"].started == started
        assert result.seconds["idle"] == pytest.approx(idle)
        assert result.seconds["start"] == pytest.approx(5.0 * started)


def test_every_second_that_has_begun_is_paid():
    _, result = run(workload([job("b1", 10.2)]), cluster(idle_timeout=0.5))
    assert result.paid_seconds == 11  # 10.7 lived
    assert result.seconds["rounding"] == pytest.approx(0.3)
    _, result = run(workload([job("b1", 10.5)]), cluster(idle_timeout=0.5))
    assert result.paid_seconds == 11
    assert result.seconds["rounding"] == pytest.approx(0.0)


def poisson_jobs(count: int, gap: float, service: np.ndarray, random: np.random.Generator) -> Workload:
    """One core that searches for exponential times is a Poisson source of batches."""
    gaps = random.exponential(gap, count)
    return workload([job(f"b{i}", service[i], searches=[i]) for i in range(count)], gaps)


@pytest.mark.parametrize("law", ["deterministic", "exponential"])
def test_waiting_times_are_those_of_the_queue_theory(law):
    random = np.random.default_rng(5)
    count, gap, mean = 20_000, 20.0, 10.0
    service = np.full(count, mean) if law == "deterministic" else random.exponential(mean, count)
    work = poisson_jobs(count, gap, service, random)
    record, result = run(work, cluster(idle_timeout=1e7, cores=1, msa_threads=1))
    load = mean / gap
    # Pollaczek and Khinchine: the squared coefficient of variation is 0 or 1.
    expected = load * mean / (1 - load) * (1 if law == "exponential" else 0.5)
    assert result.queue_seconds["mean"] == pytest.approx(expected, rel=0.07)
    # Lindley's recursion gives every single wait.
    waits, wait = [], 0.0
    for number in range(count):
        waits.append(wait)
        if number + 1 < count:
            wait = max(0.0, wait + service[number] - work.searches[number + 1])
    simulated = [attempt.began - attempt.queued for attempt in record.attempts]
    assert np.allclose(simulated, waits, atol=1e-5)


def test_searches_share_the_cores_and_a_batch_waits_for_all_of_its_own():
    jobs = [job("b1", 1.0, searches=[0, 1]), job("b2", 1.0, searches=[2])]
    record, result = run(workload(jobs, [8.0, 20.0, 8.0]), cluster(2, cores=4, msa_threads=2))
    assert record.searches == [(0, 4), (0, 10), (4, 8)]
    begun = {attempt.job: attempt.began for attempt in record.attempts}
    assert begun == {"b1": 10, "b2": 8}
    assert result.wall_seconds == 11


def test_local_steps_take_their_time():
    steps = LocalSteps(plan=2.0, request=1.0, collect=3.0, report=5.0)
    _, result = run(workload([job("b1", 10.0)]), cluster(steps=steps))
    assert result.wall_seconds == pytest.approx(2 + 1 + 10 + 3 + 5)


def test_this_machine_shares_its_cores_between_search_and_prediction():
    here = Pool(1, threads=2, queue_delay=0.0, idle_timeout=0.0)
    on = Cluster({"gpu": here}, cores=2, msa_threads=2)
    jobs = [job("b1", 10.0, searches=[0]), job("b2", 10.0, searches=[1])]
    _, result = run(workload(jobs, [6.0, 8.0]), on)
    assert result.wall_seconds == pytest.approx(3 + 4 + 20)
    assert result.dollars == 0


def test_no_more_jobs_are_in_flight_than_allowed():
    record, _ = run(workload([job(f"b{i}", 10.0) for i in range(30)]), cluster(2, in_flight=3.0))
    moments = [attempt.queued + 1e-9 for attempt in record.attempts]
    in_flight = [sum(each.queued < at < each.ended for each in record.attempts) for at in moments]
    assert max(in_flight) == 6


def test_workers_start_only_for_jobs_that_have_waited():
    # The first worker is back before the second job has waited long enough for one of its own.
    jobs = [job("b1", 1.0, searches=[0]), job("b2", 1.0, searches=[1])]
    on = cluster(2, queue_delay=4.0, cores=1, msa_threads=1)
    _, result = run(workload(jobs, [1.0, 4.5]), on)
    assert result.classes["gpu"].started == 1


def test_a_lost_job_goes_on_where_it_was():
    batch = job("b1", *[10.0] * 6, load=5.0, compile=5.0)
    record, result = run(workload([batch]), cluster(execution_timeout=35.0, retries=3))
    assert [attempt.outcome for attempt in record.attempts] == ["timed_out", "timed_out", "done"]
    assert [attempt.finished for attempt in record.attempts] == [2, 2, 2]
    assert result.seconds["lost"] == pytest.approx(10.0)  # at most one target an attempt
    assert result.seconds["load"] == 15
    assert result.seconds["compile"] == 15
    assert result.lost_targets == 0


def test_a_job_that_outlives_its_retries_loses_its_unfinished_targets():
    batch = job("b1", 10.0, 50.0, 10.0)
    _, result = run(workload([batch]), cluster(execution_timeout=30.0, retries=2))
    assert result.outcomes == {"timed_out": 3}
    assert result.lost_targets == 2
    assert result.wall_seconds == pytest.approx(90)


def test_preemptions_come_at_their_rate_and_cost_at_most_a_target_each():
    jobs = [job(f"b{i}", *[30.0] * 100, load=20.0, compile=30.0) for i in range(400)]
    _, result = run(
        workload(jobs), cluster(20, preemptions_per_hour=0.5, retries=1000, idle_timeout=1.0), seed=3
    )
    lived = result.paid_seconds - result.seconds["rounding"]
    assert result.outcomes["preempted"] == pytest.approx(0.5 * lived / 3600, rel=0.15)
    assert result.lost_targets == 0
    assert result.seconds["predict"] == pytest.approx(400 * 3000)
    assert result.seconds["lost"] < 30 * result.outcomes["preempted"]


def test_failures_come_at_their_rate():
    jobs = [job(f"b{i}", 30.0) for i in range(4000)]
    _, result = run(workload(jobs), cluster(50, failure_rate=0.2, retries=100), seed=1)
    attempts = sum(result.outcomes.values())
    assert result.outcomes["done"] == 4000
    assert result.outcomes["failed"] / attempts == pytest.approx(0.2, rel=0.1)


def test_the_bottleneck_is_named_with_what_would_balance_it():
    jobs = [job(f"b{i}", 100.0, searches=[i]) for i in range(40)]
    _, result = run(workload(jobs, [1000.0] * 40), cluster(10, cores=8, msa_threads=2))
    assert result.bottleneck.stage == "msa"
    assert result.bottleneck.msa_seconds == pytest.approx(5000)
    assert result.bottleneck.gpu_seconds == pytest.approx(400)
    assert result.bottleneck.balanced_cores == 100
    assert result.bottleneck.balanced_workers == 1
    _, balanced = run(workload(jobs, [1000.0] * 40), cluster(10, cores=100, msa_threads=2))
    assert balanced.wall_seconds < 0.2 * result.wall_seconds


def test_factors_stretch_their_part_alone():
    batch = job("b1", 10.0, load=5.0, compile=5.0, searches=[0])
    on = cluster(cores=1, msa_threads=1, start=7.0)
    _, result = run(workload([batch], [3.0]), on, factors={"predict": 2.0, "msa": 3.0})
    assert result.wall_seconds == pytest.approx(9 + 7 + 5 + 5 + 20)


def test_a_class_without_workers_is_refused():
    with pytest.raises(ValueError, match="no workers of class other"):
        simulate(workload([job("b1", 1.0, gpu="other")]), cluster())


@pytest.mark.parametrize(
    "values", [{"in_flight": 0.5}, {"failure_rate": 1.5}, {"failure_rate": math.nan}, {"cores": 0}]
)
def test_a_cluster_that_cannot_work_is_refused(values):
    with pytest.raises(ValueError, match=r"must be|share"):
        cluster(**values)


seconds = st.floats(0.5, 200)
batches = st.lists(
    st.tuples(st.lists(seconds, min_size=1, max_size=4), st.integers(0, 5)), min_size=1, max_size=12
)
troubles = st.fixed_dictionaries(
    {
        "preemptions_per_hour": st.sampled_from([0.0, 5.0, 60.0]),
        "failure_rate": st.sampled_from([0.0, 0.3]),
        "execution_timeout": st.sampled_from([None, 150.0]),
        "jitter": st.sampled_from([0.0, 0.5]),
        "idle_timeout": st.sampled_from([0.0, 5.0, 100.0]),
        "queue_delay": st.sampled_from([0.0, 4.0]),
        "in_flight": st.sampled_from([1.0, 3.0]),
        "retries": st.integers(0, 3),
        "cores": st.integers(1, 6),
        "start": st.sampled_from([0.0, 30.0]),
    }
)


def made(drawn) -> Workload:
    jobs = [
        job(f"b{i}", *targets, load=4.0, compile=6.0, searches={search} if search < 5 else ())
        for i, (targets, search) in enumerate(drawn)
    ]
    return workload(jobs, [20.0, 3.0, 90.0, 1.0, 40.0])


@settings(max_examples=150, deadline=None)
@given(drawn=batches, trouble=troubles, workers=st.integers(1, 5), seed=st.integers(0, 3))
def test_nothing_is_lost_between_the_books(drawn, trouble, workers, seed):
    work, on = made(drawn), cluster(workers, **trouble)
    record, result = run(work, on, seed=seed)
    # Every job is done once or given up after all its retries, and every target is accounted for.
    for each in work.jobs:
        attempts = [attempt for attempt in record.attempts if attempt.job == each.name]
        assert 1 <= len(attempts) <= on.retries + 1
        assert [attempt.outcome for attempt in attempts].count("done") == (attempts[-1].outcome == "done")
        assert all(attempt.outcome != "done" for attempt in attempts[:-1])
        if attempts[-1].outcome != "done":
            assert len(attempts) == on.retries + 1
    finished = sum(attempt.finished for attempt in record.attempts)
    assert finished + result.lost_targets == result.targets
    # A worker's life has no gaps, and what is paid is what it was spent on.
    for life in record.lives:
        edges = [life.begin, *(end for _, _, end in life.spans)]
        assert all(begin == edge for (_, begin, _), edge in zip(life.spans, edges, strict=False))
        assert edges[-1] == pytest.approx(life.end, abs=1e-6)
        assert paid_seconds(life, on.pools["gpu"]) >= life.end - life.begin - 1e-6
    assert sum(result.seconds.values()) == pytest.approx(result.paid_seconds, abs=1e-3)
    # Never more workers than allowed, nor two lives in one slot at a time, nor more cores than there are.
    for slot in range(workers):
        lives = sorted((life.begin, life.end) for life in record.lives if life.slot == slot)
        assert all(first[1] <= second[0] for first, second in itertools.pairwise(lives))
    assert all(life.slot < workers for life in record.lives)
    assert len(record.searches) == len(work.searches)
    threads = min(on.msa_threads, on.cores)
    for begin, _ in record.searches:
        assert sum(start <= begin < end for start, end in record.searches) * threads <= on.cores
    # No job runs before its MSAs exist.
    for attempt in record.attempts:
        for search in work.jobs[int(attempt.job[1:])].searches:
            assert attempt.began >= record.searches[search][1]


@settings(max_examples=40, deadline=None)
@given(drawn=batches, trouble=troubles, workers=st.integers(1, 4), seed=st.integers(0, 3))
def test_the_same_seed_gives_the_same_run(drawn, trouble, workers, seed):
    work, on = made(drawn), cluster(workers, **trouble)
    assert simulate(work, on, seed=seed) == simulate(work, on, seed=seed)


@settings(max_examples=150, deadline=None)
@given(drawn=batches, workers=st.integers(1, 5), delay=st.sampled_from([0.0, 4.0]))
def test_more_workers_never_slow_a_run_down(drawn, workers, delay):
    calm = {"idle_timeout": 1e6, "queue_delay": delay, "cores": 2}
    work = made(drawn)
    fewer = simulate(work, cluster(workers, **calm)).wall
    more = simulate(work, cluster(workers + 1, **calm)).wall
    assert more <= fewer + delay + 1e-6


@settings(max_examples=150, deadline=None)
@given(drawn=batches, workers=st.integers(1, 5), idle=st.sampled_from([0.0, 10.0]))
def test_cold_starts_bound_what_more_workers_can_cost(drawn, workers, idle):
    # A worker that is let go must be started again; no list schedule is slower by more than Graham's bound.
    work, on = made(drawn), {"idle_timeout": idle, "queue_delay": 4.0, "start": 30.0, "cores": 2}
    fewer = simulate(work, cluster(workers, **on)).wall
    more = simulate(work, cluster(workers + 1, **on)).wall
    assert more <= 2 * fewer


def test_seeds_differ_and_jitter_keeps_the_median():
    jobs = [job(f"b{i}", 10.0) for i in range(2001)]
    on = cluster(1, jitter=0.3, idle_timeout=1.0)
    record = simulate(workload(jobs), on, seed=1)
    lengths = [attempt.ended - attempt.began for attempt in record.attempts]
    assert np.median(lengths) == pytest.approx(10, rel=0.05)
    assert np.std(np.log(lengths)) == pytest.approx(0.3, rel=0.05)
    assert simulate(workload(jobs), on, seed=2).wall != record.wall
