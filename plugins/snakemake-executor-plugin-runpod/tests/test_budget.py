"""Money: nothing is submitted that could pass the budget, wherever it was set."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest
from running import command, environment, prepare, result, run
from snakemake_interface_common.exceptions import WorkflowError
from workers import service_of

from snakemake_executor_plugin_runpod.budget import Budget
from snakemake_executor_plugin_runpod.errors import JobError
from snakemake_executor_plugin_runpod.payload import Task
from snakemake_executor_plugin_runpod.settings import ExecutorSettings, Limit, configure


@pytest.mark.parametrize(
    ("setting", "config", "dollars"),
    [
        (None, {}, 0.0),
        (None, {"budget": None}, 0.0),
        (None, {"budget": 20}, 20.0),
        (None, {"budget": 0.5}, 0.5),
        (3.0, {"budget": 20}, 3.0),
        (0.0, {"budget": 20}, 0.0),
        (0.0, {"budget": {"of": "another kind"}}, 0.0),
    ],
)
def test_the_setting_holds_against_the_workflows_config(
    setting: float | None, config: dict[str, Any], dollars: float
) -> None:
    settings = ExecutorSettings(endpoints=["fold=abc"], budget=setting)
    assert configure(settings, {"RUNPOD_API_KEY": "k"}, config).budget.dollars == dollars


@pytest.mark.parametrize("given", ["20", -1, True, float("nan"), float("inf"), {"of": "another kind"}])
def test_a_budget_that_is_no_number_of_dollars_is_not_passed_over(given: Any) -> None:
    with pytest.raises(WorkflowError, match="`budget` in the workflow's config"):
        configure(ExecutorSettings(endpoints=["fold=abc"]), {"RUNPOD_API_KEY": "k"}, {"budget": given})


def test_a_job_that_is_tried_again_is_left_out_once_or_not_at_all() -> None:
    spent = [1.0]
    budget = Budget(Limit(1.0), lambda: spent[0])

    async def tried(name: str, times: int) -> None:
        for _ in range(times):
            with contextlib.suppress(JobError):
                await budget.admit(name, 0.5, lambda: None)

    asyncio.run(tried("a", 3))
    asyncio.run(tried("b", 1))
    assert list(budget.left_out) == ["a", "b"] and budget.in_flight == 0
    spent[0] = 0.2  # a bill was lower than what had been put by
    asyncio.run(tried("a", 1))
    assert list(budget.left_out) == ["b"] and budget.in_flight == 1


def test_a_budget_stops_submissions_and_lists_what_was_left_out(tmp_path: Path) -> None:
    with service_of(workers=1) as service:
        # A job is put by for with 2 minutes at $0.001 a second: $0.12; one runs for about a second: $0.0015.
        prepare(tmp_path, 6, 1.0)
        (tmp_path / "config.yaml").write_text("budget: 0.123\n")
        arguments = command(tmp_path, service.url, 6, "--keep-going", "--configfile", "config.yaml")
        code, text = run(tmp_path, arguments, environment(tmp_path))
        assert code == 1 and "left out for the budget of $0.12" in text and "workflow's config" in text, text
        paid = sum(round(job.finished - job.started, 3) for job in service.jobs)
        made = len(list((tmp_path / "out").glob("*.bin")))
        assert 0 < made < 6 and len(service.jobs) == made
        left_out = text.partition("left out for the budget")[2]
        assert sum(f"fold (job {i})" in left_out for i in range(1, 20)) == 6 - made
        # Seconds that the worker told as its start are in the bill as well: half a second each.
        assert (paid + 0.5 * made) * 0.001 <= 0.123
        # The next run goes on with the account that was not closed; the setting holds against the config.
        code, text = run(tmp_path, [*arguments, "--runpod-budget", "1"], environment(tmp_path))
        assert code == 0, text
        assert len(service.jobs) == 6
    assert (tmp_path / "out/5.bin").read_bytes() == result(5, 1.0)


@pytest.mark.parametrize(
    ("price", "expected", "dollars"),
    [(None, 3.0, None), (0.5, None, 50.0), (0.5, 3.0, 1.5), (0.5, 300.0, 50.0), (0.5, 0.0, 50.0)],
)
def test_what_is_put_by(price: float | None, expected: float | None, dollars: float | None) -> None:
    task = Task(*("fold", 1, 1, "fold", {}, {}), dollars_per_second=price, expected_seconds=expected or None)
    assert task.reserved(100.0) == dollars


def test_a_budget_below_the_worst_case_is_enough_for_what_is_expected(tmp_path: Path) -> None:
    with service_of(workers=1) as service:
        prepare(tmp_path, 2, 0.2)
        arguments = command(tmp_path, service.url, 2, "--runpod-budget", "0.02")
        code, text = run(tmp_path, arguments, environment(tmp_path))
        assert code == 1 and "left out for the budget" in text, text
        snakefile = tmp_path / "Snakefile"
        snakefile.write_text(snakefile.read_text().replace('"0.001"', '"0.001", expected_seconds=2'))
        code, text = run(tmp_path, arguments, environment(tmp_path))
        assert code == 0, text
        assert len(service.jobs) == 2


def test_only_what_runpod_does_not_bill_may_cost_nothing() -> None:
    free = Task(*("fold", 1, 1, "fold", {}, {}), dollars_per_second=0.0).reserved(100.0)

    async def admitted(dollars: float | None, *, billed: bool) -> int:
        budget = Budget(Limit(1.0), lambda: 0.0, billed=billed)
        await budget.admit("a", dollars, lambda: None)
        return budget.in_flight

    assert asyncio.run(admitted(free, billed=False)) == 1
    for dollars, billed in ((free, True), (None, True), (None, False)):
        with pytest.raises(JobError, match="not what the rule costs"):
            asyncio.run(admitted(dollars, billed=billed))


@pytest.mark.parametrize("given", ["0.001", "None"])
def test_a_budget_needs_prices_and_core_rounds_numbers_away(tmp_path: Path, given: str) -> None:
    with service_of() as service:
        prepare(tmp_path, 1)
        snakefile = tmp_path / "Snakefile"
        snakefile.write_text(snakefile.read_text().replace('"0.001"', given))
        code, text = run(
            tmp_path, command(tmp_path, service.url, 1, "--runpod-budget", "1"), environment(tmp_path)
        )
    assert code == 1 and "dollars_per_second" in text, text
