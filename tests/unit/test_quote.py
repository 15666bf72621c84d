"""The quote: sums that add up, ranges that hold what is expected, and wall time of a two-stage pipeline."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snakefold.config import Config, load_config
from snakefold.engines.alphafold2.cost import AlphaFold2Work as Work
from snakefold.kernel.errors import DiskError
from snakefold.plan.cost.gpus import GpuClass, load_classes
from snakefold.plan.cost.model import CostModel
from snakefold.plan.executors import Executor
from snakefold.plan.files import BatchRow
from snakefold.plan.quote import (
    BudgetError,
    DeadlineError,
    Quote,
    Range,
    Search,
    check_limits,
    make_quote,
    may_submit,
    quote_text,
)
from snakefold.plan.quote.timing import Step, finish, job
from snakefold.plan.run import aligns_on

CLASSES = {gpu.name: gpu for gpu in load_classes(["local", "ampere_24", "ampere_80"])}
TODAY = date(2026, 7, 1)


def batch(number: int, gpu: str = "ampere_80", *, targets: int = 10, **changed: Any) -> BatchRow:
    seconds = changed.pop("seconds", 1000.0)
    values = {
        "batch": f"b{number:04d}",
        "engine": "alphafold2",
        "gpu": gpu,
        "kind": "predict",
        "group": "monomer",
        "bucket_edges": "200",
        "targets": targets,
        "residues": targets * 190,
        "shortest": 180,
        "longest": 200,
        "chunks": f"m{number:04d}",
        "seconds": seconds,
        "dollars": seconds * CLASSES[gpu].dollars_per_second if gpu else 0.0,
        "memory_gb": 3.0,
        **changed,
    }
    return BatchRow(**values)


def quote(
    batches: list[BatchRow],
    searches: list[Search] | None = None,
    today: date = TODAY,
    aligns_on: GpuClass | None = None,
    **setting: Any,
) -> Quote:
    gpus = [CLASSES[name] for name in sorted({row.gpu for row in batches if row.gpu})]
    return make_quote(
        batches,
        {"to_do": sum(row.targets for row in batches if row.gpu)},
        searches or [],
        config=Config(**setting),
        classes=gpus,
        model=CostModel(),
        rehearsals=[],
        aligns_on=aligns_on,
        cores=4,
        today=today,
    )


def test_alignments_on_rented_gpus_are_priced() -> None:
    rented = next(gpu for gpu in CLASSES.values() if gpu.dollars_per_second)
    searches = [Search("m0001", 5, 900, 300.0), Search("m0002", 5, 900, 100.0)]
    without = quote([], searches, msa={"threads": 4})
    made = quote([], searches, aligns_on=rented, msa={"threads": 4})
    assert made.msa_dollars.expected == pytest.approx(100 * rented.dollars_per_second)
    assert made.msa_dollars.low < made.msa_dollars.expected < made.msa_dollars.high
    assert made.dollars.expected - without.dollars.expected == pytest.approx(made.msa_dollars.expected)
    assert (made.msa_gpu, without.msa_gpu) == (rented.name, "")
    assert f" on {rented.name}, reckoned at the speed of the CPUs" in quote_text(made)
    assert "none: nothing is rented" in quote_text(without) and "nothing is rented" not in quote_text(made)
    # Nothing is left to search.
    assert quote([], [], aligns_on=rented).msa_gpu == ""


@pytest.mark.parametrize(
    ("executor", "priced"), [("slurm", True), ("kubernetes", True), ("runpod", False), ("", False)]
)
def test_gpus_of_alignments_are_rented_where_their_jobs_are_sent(executor: str, priced: bool) -> None:
    config = load_config(
        {"msa": {"tool": "mmseqs", "mmseqs": {"gpu": True}}, "gpu": {"classes": ["ampere_80"]}}
    )
    found = aligns_on(config, Executor(executor))
    assert (found is not None and found.name == "ampere_80") == priced
    assert aligns_on(load_config({"gpu": {"classes": ["ampere_80"]}}), Executor(executor)) is None


rows = st.lists(
    st.builds(
        batch,
        st.integers(1, 99),
        st.sampled_from([*CLASSES, ""]),
        targets=st.integers(1, 200),
        seconds=st.floats(0, 1e6),
        group=st.sampled_from(["monomer", "complex"]),
        bucket_edges=st.sampled_from(["190,200", ""]),
    ),
    max_size=12,
)


@settings(deadline=None, max_examples=40)
@given(rows, st.integers(1, 20))
def test_ranges_hold_what_is_expected_and_sums_add_up(batches: list[BatchRow], workers: int) -> None:
    made = quote(batches, [Search("m0001", 5, 900, 300.0)], gpu={"workers": workers})
    paid = [row for row in batches if row.gpu]
    idle = {item.gpu: item.idle_hours.expected * 3600 for item in made.classes}
    idle_dollars = sum(seconds * CLASSES[gpu].dollars_per_second for gpu, seconds in idle.items())
    assert made.dollars.expected - idle_dollars == pytest.approx(sum(row.dollars for row in paid), abs=1e-9)
    assert made.hours.expected * 3600 - sum(idle.values()) == pytest.approx(
        sum(row.seconds for row in paid), abs=1e-6
    )
    for item in made.classes:
        timeout = CostModel().idle_seconds(CLASSES[item.gpu])
        assert min(workers, item.batches) * timeout <= idle[item.gpu] + 1e-9 <= item.batches * timeout + 1e-6
    assert sum(item.dollars.expected for item in made.classes) == pytest.approx(made.dollars.expected)
    assert made.batches == len(paid) == sum(item.batches for item in made.classes)
    for amount in (made.dollars, made.hours, made.wall_hours, made.msa_cpu_hours, made.disk.total):
        assert 0 <= amount.low <= amount.expected <= amount.high
    assert made.wall_hours.expected >= made.msa_wall_hours.expected
    assert 0 <= made.overhead <= 1
    assert Quote.model_validate_json(made.model_dump_json()) == made
    assert quote_text(made)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 40))
def test_more_batches_make_the_range_no_narrower(number: int) -> None:
    """The class's speed is wrong for all of them together: no square root of their number."""
    one, many = quote([batch(1)]), quote([batch(index) for index in range(number)])
    # Idle time, a hundredth of each of these jobs, has a range of its own.
    assert many.dollars.high / many.dollars.expected >= 0.99 * one.dollars.high / one.dollars.expected
    assert many.dollars.low / many.dollars.expected <= 1.01 * one.dollars.low / one.dollars.expected
    assert one.dollars.high > 1.2 * one.dollars.expected


def test_a_set_that_is_stored_costs_nothing() -> None:
    made = quote([batch(1, "", batch="s0001"), batch(2, "", batch="r0001")])
    assert made.dollars == made.hours == made.wall_hours == Range()
    assert made.disk.total == Range()
    assert (made.batches, made.classes, made.chains) == (0, [], 0)
    assert "nothing to predict" in quote_text(made)


def test_predictions_wait_for_their_own_alignments_only() -> None:
    """Two searches of 10 s one after the other; the second batch could start at 20 s, its worker at 15 s."""
    steps = [Step("a", 5.0, ("m1",)), Step("a", 5.0, ("m2",)), Step("b", 30.0)]
    chunks = [("m1", 10.0), ("m2", 10.0)]
    made = finish(chunks, steps, searches=1, workers={"a": 1, "b": 1}, idle_timeout={"a": 3.0})
    assert (made.alignments, made.by_class, made.wall) == (20.0, {"a": 25.0, "b": 30.0}, 30.0)
    assert made.idle == {"a": 6.0, "b": 0.0}  # 3 of the 5 s until the second batch, and 3 at the end
    both = finish(chunks, steps, searches=2, workers={"a": 1, "b": 1}, idle_timeout={"a": 3.0})
    assert (both.alignments, both.by_class["a"]) == (10.0, 20.0)
    assert both.idle["a"] == 3.0


@given(
    st.lists(st.floats(0, 1e4), max_size=8),
    st.lists(st.tuples(st.floats(0, 1e4), st.integers(0, 7)), max_size=20),
    st.integers(1, 4),
    st.integers(1, 6),
    st.floats(0, 100),
)
def test_wall_time_is_between_its_bounds(
    searches: list[float], jobs: list[tuple[float, int]], at_once: int, workers: int, timeout: float
) -> None:
    chunks = [(str(number), seconds) for number, seconds in enumerate(searches)]
    steps = [Step("a", seconds, (str(chunk),)) for seconds, chunk in jobs]
    made = finish(chunks, steps, searches=at_once, workers={"a": workers}, idle_timeout={"a": timeout})
    assert made.idle.get("a", 0.0) <= len(jobs) * timeout + 1e-6
    work = [seconds for seconds, _ in jobs]
    assert made.wall >= max(sum(searches) / at_once, sum(work) / workers, *searches, *work, 0.0) - 1e-6
    assert made.wall <= sum(searches) + sum(work) + 1e-6


def test_this_machine_cannot_align_and_predict_with_the_same_cores() -> None:
    searches = [Search("m0001", 10, 2000, 4000.0)]
    local = quote([batch(1, "local", seconds=1000.0, chunks="")], searches)
    rented = quote([batch(1, "ampere_80", seconds=1000.0, chunks="")], searches)
    # 4 cores, two for each search: 2000 s of wall time, during which two cores are left.
    assert rented.wall_hours.expected == pytest.approx(2000 / 3600)
    assert local.wall_hours.expected == pytest.approx(2000 / 3600)
    busy = quote(
        [batch(n, "local", seconds=1000.0, chunks="") for n in range(4)], searches, gpu={"workers": 4}
    )
    assert busy.wall_hours.expected >= (4000 + 4 * 1000 * 2) / 4 / 3600 - 1e-9


@pytest.mark.parametrize(("days", "warned"), [(90, False), (91, True)])
def test_old_prices_are_named(days: int, warned: bool) -> None:
    priced = CLASSES["ampere_80"].priced_on
    assert priced is not None
    made = quote([batch(1), batch(2, "local")], today=priced + timedelta(days=days))
    assert any("price of ampere_80 is 91 days old" in text for text in made.warnings) is warned
    assert not any("local" in text for text in made.warnings)


def test_says_what_it_rests_on_and_what_is_skipped() -> None:
    made = quote([batch(1)])
    assert made.rests_on[0].startswith("published figures, never calibrated for ampere_80")
    text = quote_text(made.model_copy(update={"targets": {"to_do": 10, "stored": 3, "refused": 2}}))
    assert "3 in the store" in text
    assert "2 refused" in text
    assert "REHEARSAL" not in text
    assert "REHEARSAL" in quote_text(made.model_copy(update={"rehearsal": True}))


def test_a_disk_without_room_is_a_warning_or_the_end() -> None:
    rows_that_fill = [batch(n, targets=10**6, residues=10**6 * 190) for n in range(40)]
    assert any("are free at" in text for text in quote(rows_that_fill).warnings)
    with pytest.raises(DiskError, match=r"results: there is no room for the results.* GB are needed"):
        check_limits(quote(rows_that_fill), Config())
    assert not any("are free at" in text for text in quote([batch(1, targets=1, residues=190)]).warnings)


@dataclass(frozen=True)
class Target:
    id: str
    length: int
    seconds: float
    dollars: float


TARGETS = [Target(f"t{n}", 100 * n, 100.0 * n, 0.1 * n) for n in range(1, 11)]


def test_over_budget_says_by_how_much_and_what_would_fit() -> None:
    made = quote([batch(1, "ampere_80", seconds=10_000.0)], budget=1.0)
    assert made.dollars.expected == pytest.approx(7.6076)  # 10,000 s, and 10 s until the worker is given back
    with pytest.raises(BudgetError) as caught:
        check_limits(made, Config(budget=1.0), TARGETS)
    text = str(caught.value)
    assert caught.value.exit_code == 2
    assert "$6.61 too much" in text
    assert "nothing has been spent" in text
    assert "the 4 cheapest of the 10 targets" in text  # 0.1 + 0.2 + 0.3 + 0.4 dollars
    assert "t10 (1000 residues, $1.00), t9" in text
    assert "t5 " not in text
    assert "gpu.classes: [" in text  # a class of the table does the same for less


def test_too_late_names_the_workers_that_would_do() -> None:
    rows = [batch(n, seconds=3600.0, chunks="") for n in range(8)]
    made = quote(rows, deadline=2.5, gpu={"workers": 2})
    assert made.wall_hours.expected == pytest.approx(4.0)
    assert made.faster is not None
    assert made.faster.setting == "gpu.workers={ampere_80: 4}"
    with pytest.raises(DeadlineError, match=r"90 min too long(.|\n)*t10") as caught:
        check_limits(made, Config(deadline=2.5), TARGETS)
    assert "gpu.workers: {ampere_80: 4}, 2 times as many: about 2.0 h" in str(caught.value)


def test_alignments_that_take_too_long_are_not_helped_by_workers() -> None:
    made = quote([batch(1, seconds=100.0)], [Search("m0001", 10, 2000, 40_000.0)], deadline=1.0)
    assert made.faster is None
    with pytest.raises(DeadlineError, match="the alignments alone take"):
        check_limits(made, Config(deadline=1.0))


def test_only_the_expected_value_decides() -> None:
    made = quote([batch(1)])
    high, expected = made.dollars.high, made.dollars.expected
    assert check_limits(made, Config(budget=high)) == []
    (warning,) = check_limits(made, Config(budget=(high + expected) / 2))
    assert "may not" in warning
    (warning,) = check_limits(made, Config(deadline=made.wall_hours.expected))
    assert "may not" in warning


@given(st.floats(0, 100), st.floats(0, 100), st.floats(0, 100), st.floats(0.01, 100))
def test_no_submission_passes_the_budget(spent: float, flying: float, job: float, budget: float) -> None:
    assert may_submit(spent, flying, job, None)
    assert may_submit(spent, flying, 0.0, budget)
    if may_submit(spent, flying, job, budget) and job:
        assert spent + flying + job <= budget
        assert may_submit(spent, flying, job, budget * 2)


def test_free_classes_have_no_price_in_the_text() -> None:
    assert "nothing is rented" in quote_text(quote([batch(1, "local")]))
    free: GpuClass = CLASSES["local"]
    assert free.dollars_per_second == 0


@pytest.mark.parametrize("group", ["monomer", "complex"])
@pytest.mark.parametrize("edges", ["", "190,200"])
def test_a_batch_is_priced_as_what_it_holds(group: str, edges: str) -> None:
    works = {("alphafold2", name): Work(multimer=name == "complex") for name in ("monomer", "complex")}
    row = batch(1, seconds=1e6, group=group, bucket_edges=edges, shortest=190, longest=190)
    found = job(row, CLASSES["ampere_80"], CostModel(), works)
    assert found.work == works["alphafold2", group]
    model, gpu = CostModel(), CLASSES["ampere_80"]
    # As many shapes as edges; without any as many as lengths.
    shapes = [190, 200] if edges else [190]
    known = model.start_seconds(gpu) + model.load_seconds(works["alphafold2", group], gpu)
    assert found.overhead == pytest.approx(
        known + model.compile_seconds(shapes, works["alphafold2", group], gpu).sum(), rel=1e-3
    )
