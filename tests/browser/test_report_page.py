"""The report as a whole in a browser, opened from a disk as a user opens it."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from snakefold.kernel.notes import MEANINGS, Code
from snakefold.report import build
from snakefold.report.provisional import build_provisional, close_provisional
from tests.browser.conftest import Visit, eventually
from tests.browser.make_results import HOSTILE

pytestmark = [pytest.mark.browser, pytest.mark.needs("chromium")]


def test_a_target_is_opened_without_errors_or_network(visit: Visit, results: Path) -> None:
    visit.open("ubiquitin")
    assert visit.errors == []
    report = (results / "report").as_uri()
    assert all(url.startswith((report, "data:", "blob:")) for url in visit.requests), visit.requests
    assert any(url.endswith("data/ubiquitin.js") for url in visit.requests)
    # The links in the head lead back to the lists.
    visit.page.locator("header a", has_text="1 failed").click()
    visit.page.wait_for_selector("#failed", state="visible")
    visit.page.wait_for_selector("#target", state="hidden")


def test_rehearsal_cannot_be_missed(visit: Visit) -> None:
    visit.open()
    banner = visit.page.locator(".rehearsal")
    assert "random parameters, the structures mean nothing" in banner.inner_text()
    visit.page.locator("h1").hover()  # over the table the wheel scrolls that
    visit.page.mouse.wheel(0, 5000)
    eventually(lambda: visit.page.evaluate("scrollY"), lambda scrolled: scrolled > 500)
    assert banner.bounding_box()["y"] == 0
    assert "REHEARSAL" in visit.page.title()
    visit.open("crambin")
    assert banner.is_visible()
    assert visit.page.locator(".frame .mark").inner_text() == "REHEARSAL"


def test_a_real_structure_in_a_rehearsal_is_not_called_one(
    visit: Visit, results: Path, tmp_path: Path
) -> None:
    mixed = shutil.copytree(results, tmp_path / "results")
    with (mixed / "metrics.tsv").open(newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    for row in rows:
        row["rehearsal"] = str(row["id"] != "crambin")
    with (mixed / "metrics.tsv").open("w", newline="") as stream:
        table = csv.DictWriter(stream, list(rows[0]), delimiter="\t", lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    scores = mixed / "structures" / "crambin" / "confidence.json"
    scores.write_text(json.dumps({**json.loads(scores.read_text()), "rehearsal": False}))
    visit.index = build(mixed)
    visit.open()
    banner = visit.page.locator("p.rehearsal")
    assert f"random parameters, {len(rows) - 1} of {len(rows)} structures mean nothing" in banner.inner_text()
    visit.open("crambin")
    assert not banner.is_visible()
    assert visit.page.locator(".frame .mark").count() == 0
    visit.open("ubiquitin")
    assert banner.is_visible()
    assert visit.page.locator(".frame .mark").inner_text() == "REHEARSAL"


def test_hostile_text_on_a_target_is_only_text(visit: Visit) -> None:
    for number in range(len(HOSTILE)):
        visit.page.goto("about:blank")
        visit.page.goto(f"{visit.index.as_uri()}#/hostile{number + 1}")
        visit.page.wait_for_selector("#target .models")
        # Nor did a policy have to stop anything: no element came out of the input.
        foreign = visit.page.locator("main script, main [onload], main [onerror], main [onmouseover]")
        assert foreign.count() == 0
        assert visit.page.evaluate("window.hacked") is None
    visit.wait_for_target()
    assert visit.page.evaluate("window.hacked") is None
    assert visit.errors == []


def test_a_phone_needs_no_sideways_scrolling_on_a_target(visit: Visit) -> None:
    visit.page.set_viewport_size({"width": 360, "height": 740})
    visit.open("gb1_dimer")
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 360


def test_retries_and_degradations_are_shown_with_what_to_do(visit: Visit) -> None:
    def notes(card: str) -> dict[str, str]:
        found = visit.page.get_by_role("region", name=card).locator("[data-note]")
        return {item.get_attribute("data-note"): item.inner_text() for item in found.all()}

    def on_the_index(target: str) -> str:
        return str(visit.page.locator(f'#targets-table tr[data-id="{target}"] .warning').inner_text())

    visit.open()
    assert on_the_index("villin_headpiece").startswith("limited_msa: 96 of 105 rows")
    assert "took 2 attempts.; predicted_on_cpu: planned for" in on_the_index("gb1_dimer")
    visit.open("villin_headpiece")
    worse = notes("Retries and degradations")
    assert set(worse) == {Code.LIMITED_MSA}
    meaning = MEANINGS[Code.LIMITED_MSA]
    assert "96 of 105 rows" in worse[Code.LIMITED_MSA]
    assert meaning.text in worse[Code.LIMITED_MSA] and meaning.advice in worse[Code.LIMITED_MSA]
    assert set(notes("Also noted")) == {Code.UNKNOWN_RESIDUES}
    visit.open("gb1_dimer")
    assert set(notes("Retries and degradations")) == {Code.PREDICTED_ON_CPU}
    assert (
        "took 2 attempts." in visit.page.get_by_role("region", name="Retries and degradations").inner_text()
    )
    visit.open("ubiquitin")
    assert visit.page.get_by_role("region", name="Retries and degradations").count() == 0
    assert visit.errors == []


def test_a_page_of_a_run_that_goes_on_tells_of_newer_results_and_of_the_end(
    visit: Visit, results: Path, tmp_path: Path
) -> None:
    going_on = shutil.copytree(results, tmp_path / "results")
    visit.index = build_provisional(going_on).page
    visit.open()
    notice = visit.page.locator("#provisional")
    assert "The run is going on" in notice.inner_text()
    assert visit.page.locator("#newer a").count() == 0
    build_provisional(going_on)
    visit.page.wait_for_selector("#newer a")
    visit.page.click("#newer a")
    visit.page.wait_for_selector("#newer:empty", state="attached")
    close_provisional(going_on)
    visit.page.wait_for_selector("#newer a")
    visit.page.click("#newer a")
    visit.page.wait_for_url("**/report/index.html")
    visit.page.wait_for_selector("body[data-ready]")
    # Whoever opens it later comes to the report as well.
    visit.page.goto(visit.index.as_uri())
    visit.page.wait_for_url("**/report/index.html")
    assert visit.errors == []
