"""The report in a browser, opened from a disk as a user opens it."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest

from tests.browser.conftest import Visit
from tests.browser.make_results import HOSTILE

pytestmark = [pytest.mark.browser, pytest.mark.needs("chromium")]

PLDDT, PAE = "pLDDT of every residue", "Predicted aligned error"
BAND_COLOURS = {"very high": (0, 83, 214), "confident": (101, 203, 243), "very low": (255, 125, 69)}


def metrics(results: Path) -> list[dict[str, str]]:
    with (results / "metrics.tsv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))


def ids(visit: Visit) -> list[str]:
    return visit.page.eval_on_selector_all(
        "#targets-table tbody tr", "rows => rows.map(row => row.dataset.id)"
    )


def picture(visit: Visit, selector: str) -> np.ndarray:
    from PIL import Image

    image = Image.open(io.BytesIO(visit.page.locator(selector).screenshot()))
    return np.asarray(image.convert("RGB")).astype(int)


def grey(image: np.ndarray) -> int:
    """Pixels of a shaded grey."""
    colours = image.reshape(-1, 3)
    return int(np.count_nonzero((np.ptp(colours, axis=1) < 20) & (colours.max(axis=1) < 200)))


def test_opens_from_a_disk_without_errors_or_network(visit: Visit, results: Path) -> None:
    visit.open()
    visit.open("ubiquitin")
    assert visit.errors == []
    report = (results / "report").as_uri()
    assert all(url.startswith((report, "data:", "blob:")) for url in visit.requests), visit.requests
    assert any(url.endswith("data/ubiquitin.js") for url in visit.requests)


def test_the_overview_loads_no_target_and_no_3d_view(visit: Visit) -> None:
    visit.open()
    assert not [url for url in visit.requests if "/data/" in url or "molstar.js" in url]


def test_numbers_equal_the_table_of_metrics(visit: Visit, results: Path) -> None:
    visit.open()
    rows = metrics(results)
    assert ids(visit) == [row["id"] for row in rows]
    heads = visit.page.locator("#targets-table thead th").all_inner_texts()
    columns = [head.split("\n")[0].strip() for head in heads]
    for row in rows:
        cells = visit.page.locator(f'tr[data-id="{row["id"]}"] td').all_inner_texts()
        shown = dict(zip(columns, (cell.strip() for cell in cells), strict=True))
        assert shown["Length"] == row["length"]
        assert shown["Chains"] == row["chains"]
        assert shown["MSA"] == row["msa_depth"]
        for column, name, digits in (("pLDDT", "mean_plddt", 1), ("PAE", "mean_pae", 1), ("pTM", "ptm", 2)):
            assert float(shown[column]) == pytest.approx(float(row[name]), abs=0.51 * 10**-digits)
        assert (shown["ipTM"] == "–") == (row["iptm"] == "")
        bar = visit.page.locator(f'tr[data-id="{row["id"]}"] .bar').get_attribute("aria-label")
        assert f"very high {round(100 * float(row['fraction_very_high']))} %" in bar
    assert visit.page.locator("[data-summary=folded]").inner_text() == str(len(rows))
    assert visit.page.locator("[data-summary=residues]").inner_text() == str(
        sum(int(row["length"]) for row in rows)
    )


def test_table_sorts_by_number_and_searches(visit: Visit, results: Path) -> None:
    visit.open()
    by_length = sorted(int(row["length"]) for row in metrics(results))
    head = visit.page.locator("#targets-table thead th", has_text="Length")
    shown = (
        "() => [...document.querySelectorAll('#targets-table tbody tr')].map(row => +row.cells[1].innerText)"
    )
    for expected in (by_length, by_length[::-1]):
        head.click()
        visit.page.wait_for_function(f"expected => `${{({shown})()}}` === `${{expected}}`", arg=expected)
    visit.page.get_by_label("Search targets").fill("protein G")
    visit.page.wait_for_function("document.querySelectorAll('#targets-table tbody tr').length === 1")
    assert ids(visit) == ["gb1_dimer"]


def test_a_target_shows_its_structure_coloured_by_plddt(visit: Visit) -> None:
    visit.open()
    visit.page.locator("#targets-table a", has_text="villin_headpiece").click()
    visit.wait_for_target()
    colours = picture(visit, "#target .viewer canvas").reshape(-1, 3)
    drawn = colours[np.ptp(colours, axis=1) > 40]
    assert len(drawn) > 500
    # Shading darkens a band's colour but keeps its hue: compare directions, not lengths.
    for name, colour in BAND_COLOURS.items():
        wanted = np.array(colour)
        alike = drawn @ wanted / (np.linalg.norm(drawn, axis=1) * np.linalg.norm(wanted))
        assert np.count_nonzero(alike > 0.985) > 20, name


def test_a_target_shows_its_plots_and_files(visit: Visit, results: Path) -> None:
    visit.open("crambin_gb1")
    assert visit.page.locator("#target .js-plotly-plot").count() == 3
    assert visit.page.locator('#target [data-metric="iptm"]').inner_text() == "0.60"
    plddt = visit.page.get_by_label(PLDDT, exact=True)
    assert plddt.evaluate("plot => plot.data.map(line => line.y.length)") == [102, 102, 102]
    pae = visit.page.get_by_label(PAE, exact=True)
    assert pae.evaluate("plot => [plot.data[0].z.length, plot.data[0].z[101].length]") == [102, 102]
    edges = "plot => plot.layout.shapes.map(line => [line.x0, line.y0])"
    assert pae.evaluate(edges) == [[46.5, 0], [0, 46.5]]
    with np.load(results / "structures" / "crambin_gb1" / "pae.npz") as archive:
        expected = archive["rank_0"][3, 90] * 0.125
    assert pae.evaluate("plot => plot.data[0].z[3][90]") == expected
    links = visit.page.eval_on_selector_all("#target .list a", "links => links.map(link => link.href)")
    assert len(links) >= 10
    assert all(Path(link.removeprefix("file://")).is_file() for link in links)


def test_another_model_changes_every_picture(visit: Visit, results: Path) -> None:
    visit.open("gb1_dimer")
    before = picture(visit, "#target .viewer canvas")
    visit.page.locator("#model-2").check()
    plddt, pae = (f"document.querySelector('[aria-label=\"{label}\"]')" for label in (PLDDT, PAE))
    visit.page.wait_for_function(f"{plddt}.data.at(-1).name.includes('model_3')")
    visit.page.wait_for_selector(".viewer[data-state=ready]")
    with np.load(results / "structures" / "gb1_dimer" / "pae.npz") as archive:
        expected = float(archive["rank_2"][5, 7]) * 0.125
    visit.page.wait_for_function(f"value => {pae}.data[0].z[5][7] === value", arg=expected)
    visit.page.wait_for_timeout(500)
    assert np.any(picture(visit, "#target .viewer canvas") != before)


def test_the_superposition_adds_the_known_structure(visit: Visit, results: Path) -> None:
    visit.open("ubiquitin")
    row = next(row for row in metrics(results) if row["id"] == "ubiquitin")
    shown = visit.page.locator('[data-metric="reference_tm_score"]').inner_text()
    assert float(shown) == pytest.approx(float(row["reference_tm_score"]), abs=0.0006)
    assert visit.page.locator("#superposed").is_checked()
    visit.page.wait_for_timeout(1000)
    both = grey(picture(visit, "#target .viewer canvas"))
    visit.page.locator("#superposed").uncheck()
    visit.wait_for_target()
    visit.page.wait_for_timeout(1000)
    assert both > grey(picture(visit, "#target .viewer canvas")) + 200
    assert visit.errors == []


def test_rehearsal_cannot_be_missed(visit: Visit) -> None:
    visit.open()
    banner = visit.page.locator(".rehearsal")
    assert "random parameters: the structures mean nothing" in banner.inner_text()
    visit.page.mouse.wheel(0, 5000)
    assert banner.bounding_box()["y"] == 0
    assert "REHEARSAL" in visit.page.title()
    visit.open("crambin")
    assert banner.is_visible()
    assert visit.page.locator(".viewer + .mark").inner_text() == "REHEARSAL"


def test_hostile_text_is_only_text(visit: Visit) -> None:
    visit.open()
    names = [row for row in ids(visit) if row.startswith("hostile")]
    assert len(names) == len(HOSTILE)
    for name in names:
        visit.page.goto("about:blank")
        visit.page.goto(f"{visit.index.as_uri()}#/{name}")
        visit.page.wait_for_selector("#target .models")
    assert visit.page.evaluate("window.hacked") is None
    assert visit.errors == []
    # Nor did a policy have to stop anything: no element came out of the input.
    visit.open()
    foreign = (
        "main img, main script, main [onload], main [onerror], main [onmouseover], .records b, .targets b"
    )
    assert visit.page.locator(foreign).count() == 0
    assert "<script>window.hacked=9</script>" in visit.page.locator("#failed").inner_text()
    assert "<img src=x onerror=window.hacked=7>" in visit.page.locator("#refused").inner_text()
    assert visit.page.locator('tr[data-id="hostile1"]').inner_text().count("<script>") == 1


def test_failures_and_duplicates_are_named(visit: Visit) -> None:
    visit.open()
    failed = visit.page.locator("#failed").inner_text()
    assert "lost_one" in failed and "out_of_memory" in failed and "Ask for a larger device." in failed
    assert "not_a_protein" in visit.page.locator("#refused").inner_text()
    assert "ubiquitin_again is the same as ubiquitin" in visit.page.locator("#duplicates").inner_text()
    # From a target, the links in the head lead back to the lists.
    visit.open("crambin")
    visit.page.locator("header a", has_text="1 failed").click()
    visit.page.wait_for_selector("#failed", state="visible")


def test_keyboard_opens_a_target_and_goes_back(visit: Visit) -> None:
    visit.open()
    visit.page.locator("#targets-table a", has_text="crambin_gb1").focus()
    visit.page.keyboard.press("Enter")
    visit.wait_for_target()
    visit.page.go_back()
    visit.page.wait_for_selector("#overview", state="visible")
    assert visit.page.locator("#target").is_hidden()


@pytest.mark.parametrize("target", ["", "gb1_dimer"])
def test_a_phone_needs_no_sideways_scrolling(visit: Visit, target: str) -> None:
    visit.page.set_viewport_size({"width": 360, "height": 740})
    visit.open(target)
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 360
