"""The page of a run that is going on: what is collected, what is to come, and where it leads at the end."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.browser.make_results import make_results

from snakefold.cli import main
from snakefold.plan.files import read_rows
from snakefold.report import build
from snakefold.report.provisional import build_provisional, close_provisional, watch
from snakefold.run.status.model import Status
from snakefold.run.status.read import Reader


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_results(tmp_path_factory.mktemp("run"))


@pytest.fixture
def results(whole: Path, tmp_path: Path) -> Path:
    """Results of a run that has one batch to go."""
    results = shutil.copytree(whole, tmp_path / "results")
    for name in ("metrics.tsv", "metrics.parquet", "failures.tsv"):
        (results / name).unlink()
    table(results).rename(results / "last.parquet")
    return results


def table(results: Path) -> Path:
    return results / "tables" / f"{read_rows(results / 'plan')[-1].batch}.parquet"


def test_what_is_collected_is_shown_and_the_rest_is_still_to_come(results: Path) -> None:
    made = build_provisional(results)
    assert made.page == results / "provisional" / "index.html"
    assert made.done > 0 and made.waiting > 0
    text = made.page.read_text()
    assert f"{made.waiting} of {made.done + made.waiting + 2} records are still to come" in text
    # One target of the finished batches failed; what no table has is not called lost.
    assert '<dd data-summary="failed" class="bad">1</dd>' in text
    assert "out_of_memory" in text and "lost" not in text.replace("lost_one", "")
    # Nothing that a run makes of itself is touched.
    assert not any((results / name).exists() for name in ("metrics.tsv", "failures.tsv", "report/index.html"))
    assert not list(results.glob(".provisional.*"))


def test_nothing_finished_is_a_page_as_well(results: Path) -> None:
    for path in (results / "tables").iterdir():
        path.unlink()
    made = build_provisional(results)
    assert made.done == 0
    assert "0 results" in made.page.read_text() or "0 structures" in made.page.read_text()


def test_a_watch_ends_with_the_run(results: Path, whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    states = iter(["running", "running", "running", "finished"])
    monkeypatch.setattr(Reader, "read", lambda self: Status(self.results, next(states)))
    looks = 0

    def sleep(_seconds: float) -> None:
        nonlocal looks
        looks += 1
        if looks == 2:
            (results / "last.parquet").rename(table(results))
        if looks == 3:
            for name in ("metrics.tsv", "failures.tsv"):
                shutil.copy(whole / name, results / name)
            build(results)

    lines = list(watch(results, 1.0, sleep))
    # The second look found nothing new.
    assert len(lines) == 3
    assert " to come: file://" in lines[0]
    assert ", 0 to come: " in lines[1]
    assert lines[2].endswith((results / "report" / "index.html").as_uri())
    assert "../report/index.html" in (results / "provisional" / "index.html").read_text()


@pytest.mark.parametrize(("state", "code"), [("finished", 0), ("failed", 1), ("stopped", 1)])
def test_the_exit_code_of_watching_says_how_the_run_ended(
    results: Path, state: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Reader, "read", lambda self: Status(self.results, state))
    assert main(["report", str(results), "--watch"]) == code


def test_there_is_nothing_to_close_where_nobody_watched(results: Path) -> None:
    close_provisional(results)
    assert not (results / "provisional").exists()
