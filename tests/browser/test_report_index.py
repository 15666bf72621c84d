"""The index of the report in a browser: its table, its plots, what a run cost, and who can use it."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snakefold.report import build
from tests.browser.conftest import Visit, eventually
from tests.browser.make_many import multiply
from tests.browser.make_results import HOSTILE, make_results

pytestmark = [pytest.mark.browser, pytest.mark.needs("chromium")]

ROWS = "#targets-table tbody tr[data-id]"
MANY = 10_000
#: Where on the screen a point of a plot is, and whose it is.
POINT = """(plot, place) => {
  const {xaxis, yaxis, _size} = plot._fullLayout, {x, y, text} = plot.data[0];
  const box = plot.getBoundingClientRect();
  const data = xaxis.type === "log" ? Math.log10(x[place]) : x[place];
  return {x: box.x + _size.l + xaxis.l2p(data), y: box.y + _size.t + yaxis.l2p(y[place]), id: text[place]};
}"""


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))


def ids(visit: Visit) -> list[str]:
    return visit.page.eval_on_selector_all(ROWS, "rows => rows.map(row => row.dataset.id)")


def column(visit: Visit, title: str) -> list[str]:
    """Texts of a column, of the rows in the document."""
    heads = [text.strip() for text in visit.page.locator(".dt-scroll-head th").all_inner_texts()]
    place = heads.index(title)
    return visit.page.eval_on_selector_all(
        ROWS, "(rows, place) => rows.map(row => row.cells[place].innerText.trim())", place
    )


def head(visit: Visit, title: str) -> Any:
    return visit.page.locator(".dt-scroll-head th", has_text=title)


def wait_for_rows(visit: Visit, *wanted: str) -> None:
    """Wait until the table shows these and no others, in any order."""
    eventually(lambda: sorted(ids(visit)), sorted(wanted))


def draw_plots(visit: Visit) -> None:
    """Wait until the plots are those of the table's rows."""
    visit.page.locator("#plots").scroll_into_view_if_needed()
    visit.page.wait_for_selector("body[data-plots=ready]")


def focused(visit: Visit, what: str) -> str:
    """A property of the element that has the focus."""
    return str(visit.page.evaluate(f"document.activeElement.{what}"))


def click_point(visit: Visit, plot: str, place: int) -> str:
    """Click a point with the mouse; returns its id."""
    found = visit.page.locator(plot).evaluate(POINT, place)
    visit.page.mouse.move(found["x"], found["y"])
    visit.page.mouse.click(found["x"], found["y"])
    return str(found["id"])


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of 10,000 rows, whose targets have no pages."""
    results = make_results(tmp_path_factory.mktemp("many"))
    sources = [row["id"] for row in table(results / "metrics.tsv")]
    multiply(results, [f"t{number:05}" for number in range(MANY)], sources)
    build(results)
    return results


@pytest.fixture
def visit_many(visiting: Callable[..., Visit], many: Path) -> Visit:
    return visiting(many)


def test_the_index_opens_from_a_disk_and_loads_nothing_more(visit: Visit, results: Path) -> None:
    visit.page.set_viewport_size({"width": 1280, "height": 600})
    visit.open()
    assert visit.errors == []
    report = (results / "report").as_uri()
    assert all(url.startswith((report, "data:")) for url in visit.requests), visit.requests
    assert not [url for url in visit.requests if "/data/" in url or "molstar.js" in url or "plotly" in url]


def test_numbers_equal_the_table_of_metrics(visit: Visit, results: Path) -> None:
    visit.open()
    rows = {row["id"]: row for row in table(results / "metrics.tsv")}
    shown_ids = ids(visit)
    assert [name for name in shown_ids if name in rows] == list(rows)
    columns = {
        name: dict(zip(shown_ids, column(visit, title), strict=True))
        for title, name in (
            ("Length", "length"), ("pLDDT", "mean_plddt"), ("pTM", "ptm"), ("ipTM", "iptm"),
            ("PAE", "mean_pae"), ("MSA", "msa_depth"), ("Neff", "neff"), ("Chains", "chains"),
        )
    }  # fmt: skip
    digits = {"ptm": 2, "iptm": 2, "mean_plddt": 1, "mean_pae": 1, "neff": 1}
    for target, row in rows.items():
        for name, shown in columns.items():
            if row[name] == "":
                assert shown[target] == "–", name
            else:
                assert float(shown[target]) == pytest.approx(
                    float(row[name]), abs=0.51 * 10.0 ** -digits.get(name, 0)
                )
        bar = visit.page.locator(f'tr[data-id="{target}"] .bar').get_attribute("aria-label")
        assert f"very high {round(100 * float(row['fraction_very_high']))} %" in bar
    failed = {row["id"] for row in table(results / "failures.tsv")}
    assert set(shown_ids) == set(rows) | failed
    summary = {
        name: visit.page.locator(f"[data-summary={name}]").inner_text() for name in ("folded", "residues")
    }
    assert summary == {
        "folded": str(len(rows)),
        "residues": str(sum(int(row["length"]) for row in rows.values())),
    }


def test_a_sparkline_is_as_high_as_its_plddt(visit: Visit, results: Path) -> None:
    visit.open()
    drawn = visit.page.locator('tr[data-id="crambin"] .bar').evaluate(
        """svg => [...svg.querySelectorAll("path")].flatMap(path =>
             [...path.getAttribute("d").matchAll(/M(\\d+) 100V([\\d.]+)/g)]
               .map(([, place, top]) => [+place, 100 - top, path.className.baseVal]))"""
    )
    from snakefold.kernel.contracts import Confidence

    path = results / "structures" / "crambin" / "confidence.json"
    plddt = Confidence.model_validate_json(path.read_bytes()).models[0].plddt
    assert [place for place, _, _ in sorted(drawn)] == list(range(len(plddt)))
    assert [value for _, value, _ in sorted(drawn)] == pytest.approx(plddt, abs=0.3)
    bands = {"very-high": (90, 101), "confident": (70, 90), "low": (50, 70), "very-low": (0, 50)}
    for _, value, name in drawn:
        low, high = bands[name]
        assert low <= value < high


def test_the_table_sorts_and_searches(visit: Visit, results: Path) -> None:
    visit.open()
    lengths = sorted((int(row["length"]) for row in table(results / "metrics.tsv")), reverse=True)
    lengths.insert(sum(length >= 56 for length in lengths), 56)  # of the one that failed
    for expected in ([*map(str, lengths), "–"], ["–", *map(str, lengths[::-1])]):
        head(visit, "Length").click()
        eventually(lambda: column(visit, "Length"), expected)
    visit.page.get_by_label("Search targets").fill("two copies")
    wait_for_rows(visit, "gb1_dimer")


def test_filters_narrow_the_table_and_can_be_taken_back(visit: Visit, results: Path) -> None:
    visit.open()
    everything = ids(visit)
    visit.page.get_by_label("State", exact=True).select_option("failed")
    wait_for_rows(visit, "lost_one")
    assert column(visit, "State") == ["failed\nout_of_memory"]
    visit.page.locator("#filters [type=reset]").click()
    wait_for_rows(visit, *everything)
    visit.page.get_by_label("Length, from").fill("76")
    visit.page.get_by_label("Length, to").fill("102")
    wait_for_rows(visit, "ubiquitin", "ubiquitin_again", "crambin_gb1")
    status = visit.page.locator("#filters [role=status]")
    eventually(status.inner_text, f"3 of {len(everything)}")
    visit.page.get_by_label("State", exact=True).select_option("duplicate")
    wait_for_rows(visit, "ubiquitin_again")
    visit.page.get_by_role("button", name="Show all").click()
    wait_for_rows(visit, *everything)
    eventually(status.inner_text, "")
    visit.page.get_by_label("with warnings").check()
    wait_for_rows(
        visit, "crambin", "villin_headpiece", "gb1_dimer", "crambin_gb1", "lost_one", "not_a_protein"
    )


def test_a_click_on_a_point_finds_its_row_and_on_a_bar_filters(visit: Visit) -> None:
    visit.open()
    everything = ids(visit)
    search = visit.page.get_by_label("Search targets")
    search.fill("crambin")
    wait_for_rows(visit, "crambin", "crambin_gb1")
    draw_plots(visit)
    assert visit.page.locator("#by-length").evaluate("plot => plot.data[0].x.length") == 2
    found = click_point(visit, "#by-length", 1)
    visit.page.wait_for_selector(f'tr.found[data-id="{found}"]')
    eventually(lambda: focused(visit, "textContent"), found)
    search.fill("")
    wait_for_rows(visit, *everything)
    draw_plots(visit)
    assert focused(visit, "id") == "search"
    bar = visit.page.locator("#histogram .point path").nth(28)  # 70 to 72.5
    box = bar.bounding_box()
    visit.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    eventually(visit.page.get_by_label("pLDDT, from").input_value, "70")
    shown = eventually(lambda: column(visit, "pLDDT"), lambda shown: len(shown) < len(everything))
    assert shown and all(70 <= float(value) <= 72.5 for value in shown)
    assert visit.errors == []


def test_ten_thousand_rows_are_a_few_in_the_document(visit_many: Visit, many: Path) -> None:
    visit = visit_many
    visit.open()
    assert 10 < len(ids(visit)) < 100
    assert visit.page.locator("#targets-table").get_attribute("aria-rowcount") == str(MANY + 1)
    body = visit.page.locator(".dt-scroll-body")
    body.evaluate("body => body.scrollTo(0, body.scrollHeight)")
    visit.page.wait_for_selector(f'tr[data-id="t09999"][aria-rowindex="{MANY + 1}"]')
    assert len(ids(visit)) < 100
    head(visit, "pLDDT").click()
    best = max(float(row["mean_plddt"]) for row in table(many / "metrics.tsv"))
    eventually(lambda: column(visit, "pLDDT")[:1], [f"{best:.1f}"])
    visit.page.get_by_label("Search targets").fill("t0123")
    wait_for_rows(visit, *(f"t0123{digit}" for digit in range(10)))


def test_a_point_among_ten_thousand_finds_its_row(visit_many: Visit) -> None:
    visit = visit_many
    visit.open()
    draw_plots(visit)
    # The one with the deepest MSA: no other is drawn over it.
    place = visit.page.locator("#by-depth").evaluate(
        "plot => plot.data[0].x.indexOf(plot.data[0].x.reduce((a, b) => Math.max(a, b)))"
    )
    assert visit.page.locator("#by-depth").evaluate("plot => plot.data[0].x.length") == MANY
    found = click_point(visit, "#by-depth", place)
    row = visit.page.wait_for_selector(f'tr.found[data-id="{found}"]')
    assert row.bounding_box()["y"] > 0
    assert visit.errors == []


def test_hostile_text_is_only_text(visit: Visit) -> None:
    visit.open()
    names = [row for row in ids(visit) if row.startswith("hostile")]
    assert len(names) == len(HOSTILE)
    draw_plots(visit)
    for place in range(3):
        point = visit.page.locator("#by-length").evaluate(POINT, place)
        visit.page.mouse.move(point["x"], point["y"])
    visit.page.locator("details").evaluate_all("all => all.forEach(each => { each.open = true; })")
    visit.page.emulate_media(media="print")
    eventually(visit.page.locator("#printed tbody tr").count, lambda count: count > len(names))
    assert visit.page.evaluate("window.hacked") is None
    assert visit.errors == []
    # Nor did a policy have to stop anything: no element came out of the input.
    foreign = "main img, footer img, body script:not([src]), [onload], [onerror], .records b, .targets b"
    assert visit.page.locator(foreign).count() == 0
    visit.page.emulate_media(media="screen")
    assert "<script>window.hacked=9</script>" in visit.page.locator("#failed").inner_text()
    assert "<img src=x onerror=window.hacked=7>" in visit.page.locator("#refused").inner_text()
    assert visit.page.locator('tr[data-id="hostile1"]').inner_text().count("<script>") == 1
    assert "<script>window.hacked=10</script>" in visit.page.locator(".fingerprints").inner_text()


def test_failures_and_duplicates_are_named(visit: Visit) -> None:
    visit.open()
    failed = visit.page.locator("#failed").inner_text()
    assert "lost_one" in failed and "out_of_memory" in failed and "Ask for a larger device." in failed
    assert "not_a_protein" in visit.page.locator("#refused").inner_text()
    assert "ubiquitin_again is the same as ubiquitin" in visit.page.locator("#duplicates").inner_text()


def test_costs_are_those_of_the_bill(visit: Visit, results: Path) -> None:
    visit.open()
    lines = table(results / "bill.tsv")
    batches = [line for line in lines if line["level"] == "batch"]
    seconds, predicting = (sum(float(line[name]) for line in batches) for name in ("seconds", "predict"))
    assert visit.page.locator("[data-summary=busy]").inner_text() == f"{100 * predicting / seconds:.0f} %"
    dollars = sum(float(line["dollars"]) for line in batches)
    assert f"${dollars:.4f}" in visit.page.locator('[data-cost="Dollars"]').inner_text()
    assert f"{seconds / 60:.0f} min" in visit.page.locator('[data-cost="Worker time"]').inner_text()
    of_targets = {line["id"]: float(line["dollars"]) for line in lines if line["level"] == "target"}
    shown = dict(zip(ids(visit), column(visit, "$"), strict=True))
    for name, cost in of_targets.items():
        assert float(shown[name]) == pytest.approx(cost, abs=0.00006)
    steps = visit.page.locator("[data-step]").evaluate_all("rows => rows.map(row => row.dataset.step)")
    assert set(steps) == {"predict", "msa", "plan"}


def test_keyboard_alone_sorts_opens_and_goes_back(visit: Visit) -> None:
    visit.open()
    visit.page.keyboard.press("Tab")
    eventually(lambda: focused(visit, "className"), "skip")
    visit.page.keyboard.press("Enter")
    eventually(lambda: focused(visit, "id"), "targets-title")
    before = ids(visit)
    head(visit, "Length").locator("[tabindex='0']").focus()
    visit.page.keyboard.press("Enter")
    visit.page.wait_for_selector(".dt-scroll-head th[aria-sort=descending]")
    eventually(lambda: ids(visit), lambda shown: shown != before)
    visit.page.locator("#targets-table a", has_text="crambin_gb1").focus()
    visit.page.keyboard.press("Enter")
    visit.wait_for_target()
    visit.page.go_back()
    visit.page.wait_for_selector("#overview", state="visible")
    visit.page.wait_for_selector("#target", state="hidden")


def test_everything_that_can_be_used_has_a_name(visit: Visit) -> None:
    visit.open()
    draw_plots(visit)
    session = visit.page.context.new_cdp_session(visit.page)
    roles = {
        "button",
        "link",
        "searchbox",
        "combobox",
        "checkbox",
        "spinbutton",
        "img",
        "image",
        "columnheader",
    }
    found: dict[str, list[str]] = {}
    for item in session.send("Accessibility.getFullAXTree")["nodes"]:
        role = item.get("role", {}).get("value")
        if role in roles and not item.get("ignored"):
            found.setdefault(role, []).append(item.get("name", {}).get("value", ""))
    assert {"link", "searchbox", "combobox", "checkbox", "spinbutton", "columnheader"} <= set(found)
    unnamed = {role: names for role, names in found.items() if not all(name.strip() for name in names)}
    assert unnamed == {}


def test_theme_and_colours_are_remembered_and_followed(visit: Visit) -> None:
    visit.open()
    draw_plots(visit)
    root = "getComputedStyle(document.documentElement)"
    paper, band = f"{root}.getPropertyValue('--paper')", f"{root}.getPropertyValue('--confident')"
    light, alphafold = visit.page.evaluate(paper), visit.page.evaluate(band)
    visit.page.get_by_label("Theme").select_option("dark")
    visit.page.get_by_label("pLDDT colours").select_option("safe")
    eventually(lambda: visit.page.evaluate(paper), lambda shown: shown != light)
    safe = eventually(lambda: visit.page.evaluate(band), lambda shown: shown != alphafold)
    points = "document.getElementById('by-length').data[0].marker.color"
    eventually(lambda: visit.page.evaluate(points), lambda colours: safe in colours)
    visit.page.reload()
    visit.page.wait_for_selector("body[data-ready]")
    assert visit.page.get_by_label("Theme").input_value() == "dark"
    assert visit.page.evaluate(band) == safe
    visit.page.get_by_label("Theme").select_option("auto")
    visit.page.emulate_media(color_scheme="light")
    eventually(lambda: visit.page.evaluate(paper), light)
    visit.page.emulate_media(color_scheme="dark")
    eventually(lambda: visit.page.evaluate(paper), lambda shown: shown != light)


def test_paper_has_the_rows_that_the_table_shows(visit: Visit) -> None:
    visit.open()
    names = ["ubiquitin", "gb1_dimer", "crambin_gb1", "ubiquitin_again"]
    visit.page.get_by_label("Length, from").fill("76")
    wait_for_rows(visit, *names)
    visit.page.emulate_media(media="print")
    eventually(visit.page.locator("#printed tbody tr .name").all_inner_texts, names)
    visit.page.wait_for_selector(".holder", state="hidden")
    visit.page.emulate_media(media="screen")
    visit.page.wait_for_selector("#printed", state="hidden")


def test_a_phone_needs_no_sideways_scrolling(visit: Visit) -> None:
    visit.page.set_viewport_size({"width": 360, "height": 740})
    visit.open()
    draw_plots(visit)
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 360
    # The table scrolls within its frame, and the names stay.
    visit.page.locator(".dt-scroll-body").evaluate("body => body.scrollTo(400, 0)")
    name = visit.page.locator('tr[data-id="crambin"] td').first
    eventually(lambda: name.bounding_box()["x"], pytest.approx(16, abs=2))
    assert np.isfinite(visit.page.evaluate("performance.getEntriesByName('ready')[0].startTime"))
