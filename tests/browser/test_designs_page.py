"""The page of designs in Chromium, without a network: table, thresholds, logo and alignment, overlay."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from snakefold.report import build
from snakefold.run.designs.table import read_table
from tests.browser.conftest import Visit, eventually
from tests.designed import A, B, make_designs

pytestmark = [pytest.mark.browser, pytest.mark.needs("chromium")]

#: Half of the designs of `make_designs` pass: helix1_t0.1_1 does, helix1_t0.1_2 does not.
FIRST, BENT, OTHER = "helix1_t0.1_1", "helix1_t0.1_2", "helix2_t0.1_1"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_designs(tmp_path_factory.mktemp("designs"))
    build(folder)
    return folder


@pytest.fixture
def seen(visiting: Callable[..., Visit], results: Path) -> Visit:
    # So low that the 3D view is drawn only where somebody asks for it.
    visit = visiting(results, viewport={"width": 1280, "height": 500})
    visit.page.goto((results / "report" / "designs.html").as_uri())
    visit.page.wait_for_selector("body[data-ready]")
    return visit


def shown(visit: Visit) -> list[str]:
    found = visit.page.locator("#designs-table tbody tr[data-id]").evaluate_all(
        "rows => rows.map((row) => row.dataset.id)"
    )
    return [str(each) for each in found]


def said(visit: Visit) -> str:
    return str(visit.page.locator("#said").inner_text())


def test_the_index_leads_to_the_table_of_all_designs(visiting: Callable[..., Visit], results: Path) -> None:
    visit = visiting(results)
    visit.open()
    visit.page.click("text=Designs and their backbones")
    visit.page.wait_for_selector("body[data-ready] #designs-table tbody tr[data-id]")
    rows = read_table(results)
    assert shown(visit) == [row["id"] for row in rows]
    assert said(visit) == f"6 of 6 shown, {sum(bool(row['passes']) for row in rows)} pass"
    marks = visit.page.locator("#designs-table tbody td:nth-child(2)").all_inner_texts()
    assert [("✓" in mark) for mark in marks] == [row["passes"] for row in rows]
    for link in visit.page.locator("a[download]").all():
        assert (results / "report" / link.get_attribute("href")).is_file()
    assert visit.errors == [] and all(url.startswith(("file:", "data:", "blob:")) for url in visit.requests)


def test_thresholds_move_what_passes(seen: Visit) -> None:
    seen.page.check("#passing")
    eventually(lambda: said(seen), "3 of 6 shown, 3 pass")
    seen.page.fill("#max-rmsd", "5")
    eventually(lambda: said(seen), "6 of 6 shown, 6 pass")
    seen.page.fill("#min-plddt", "99")
    eventually(lambda: said(seen), "0 of 6 shown, 0 pass")
    seen.page.click("text=Reset")
    eventually(lambda: said(seen), "6 of 6 shown, 3 pass")
    seen.page.select_option("#of-backbone", "helix2")
    eventually(lambda: shown(seen), [f"helix2_t0.1_{number}" for number in (1, 2, 3)])
    with seen.page.expect_download() as download:
        seen.page.click("#save")
    text = Path(download.value.path()).read_text()
    assert text.count(">helix2_t0.1_") == 3 and text.count(":") == 3
    assert seen.errors == []


def test_a_column_sorts_and_the_keyboard_chooses_a_design(seen: Visit) -> None:
    head = seen.page.locator(".dt-scroll-head th", has_text="scRMSD")
    head.locator("[tabindex='0']").focus()
    seen.page.keyboard.press("Enter")
    eventually(lambda: head.get_attribute("aria-sort"), "ascending")
    rmsd = {row["id"]: row["sc_rmsd"] for row in read_table(seen.index.parents[1])}
    order = shown(seen)
    assert [rmsd[each] for each in order] == sorted(rmsd.values())
    seen.page.locator(f'tr[data-id="{OTHER}"] a.name').focus()
    seen.page.keyboard.press("Enter")
    eventually(lambda: seen.page.locator("#backbone-title").inner_text(), "Backbone helix2")
    assert seen.page.locator("tr.found").get_attribute("data-id") == OTHER
    assert seen.page.evaluate("document.activeElement.id") == "backbone-title"


def test_letters_fixed_positions_and_the_logo(seen: Visit) -> None:
    lines = {
        line.locator(".who").inner_text(): line.locator("code").inner_text()
        for line in seen.page.locator(".alignment li").all()
    }
    native = f"{A} {B}"
    assert lines["native"] == native and lines["fixed"].rstrip() == "  ▲▲▲▲"
    design = read_table(seen.index.parents[1])[0]["sequence"].replace(":", " ")
    expected = "".join("·" if a == b != " " else b for a, b in zip(native, design, strict=True))
    assert lines[FIRST] == expected and list(lines)[2] == FIRST
    # A position that all keep has its letter alone, as high as the logo: 20 letters are log2(20) bits.
    heights = seen.page.locator(".logo text").evaluate_all(
        "texts => texts.map((text) => [text.textContent, text.getBoundingClientRect()])"
    )
    assert [letter for letter, _ in heights].count("D") >= 1
    assert seen.page.locator(".logo text").nth(0).is_visible()
    seen.page.check("#whole")
    eventually(lambda: seen.page.locator(".alignment .chosen code").inner_text(), design)
    assert seen.page.locator(".stripe.fixed").count() == 1 and seen.page.locator(".stripe.other").count() == 1


def test_a_structure_lies_on_its_backbone(seen: Visit) -> None:
    viewer = seen.page.locator("#overlay-card .viewer")
    rmsd = {row["id"]: row["sc_rmsd"] for row in read_table(seen.index.parents[1])}
    for design in (FIRST, BENT):
        seen.page.click(f'tr[data-id="{design}"] a.name')
        seen.page.wait_for_selector(f'#overlay-card[data-of="{design}"] .viewer[data-state=ready]')
        assert viewer.get_attribute("data-shown") == f"{design}, backbone"
        # Atoms of a page are a fiftieth of an Å from their places.
        assert float(viewer.get_attribute("data-rmsd")) == pytest.approx(rmsd[design], abs=0.04)
    assert seen.page.locator('#overlay-card [data-metric="sc_rmsd"]').inner_text() == f"{rmsd[BENT]:.2f} Å"
    seen.page.locator("#scatter").scroll_into_view_if_needed()
    seen.page.wait_for_selector("body[data-plots=ready]")
    assert seen.page.locator("#scatter .scatterlayer .points path").count() == 6
    assert seen.errors == []
