"""The page of one target in a browser: models, plots and files, and how they follow each other."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.browser.conftest import Visit, eventually
from tests.browser.target_page import (
    BOTH,
    COLUMNS,
    PAE,
    PLDDT,
    ROWS,
    at,
    coloured,
    legend,
    like,
    painted,
    pixels,
    plot,
    said,
    select,
    stored_pae,
)

pytestmark = [pytest.mark.browser, pytest.mark.needs("chromium")]

BAND_COLOURS = {"very high": (0, 83, 214), "confident": (101, 203, 243), "very low": (255, 125, 69)}


#: In one task: Mol* loses a click if a frame comes between the mouse's move and it, as on busy machines.
CLICK = """(canvas, [clientX, clientY]) => {
  for (const type of ["mousemove", "mousedown", "mouseup"]) {
    const buttons = type === "mousedown" ? 1 : 0;
    canvas.dispatchEvent(new MouseEvent(type, { bubbles: true, clientX, clientY, button: 0, buttons }));
  }
}"""


def changed(visit: Visit, before: NDArray[np.int64]) -> float:
    """Share of the 3D view that the structure has come to or gone from."""
    return float(np.mean(coloured(pixels(visit)) != coloured(before)))


def crossing(visit: Visit) -> list[list[float]]:
    """Lines over the PAE."""
    return list(plot(visit, PAE).evaluate("plot => plot.layout.shapes.map(line => [line.x0, line.y0])"))


def test_the_structure_is_coloured_by_plddt_and_turns(visit: Visit) -> None:
    visit.open()
    visit.page.locator("#targets-table a", has_text="villin_headpiece").click()
    visit.wait_for_target()
    first = pixels(visit)
    assert coloured(first).sum() > 500
    for name, colour in BAND_COLOURS.items():
        assert like(first, colour) > 20, name
    box = visit.page.locator("#target .viewer canvas").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 3
    visit.page.mouse.move(x, y)
    visit.page.mouse.down()
    visit.page.mouse.move(x + 120, y + 60, steps=6)
    visit.page.mouse.up()
    eventually(lambda: changed(visit, first), lambda share: share > 0.01)
    turned = pixels(visit)
    visit.page.locator(".viewer").focus()
    visit.page.keyboard.press("ArrowRight")
    eventually(lambda: changed(visit, turned), lambda share: share > 0.01)
    visit.page.get_by_role("button", name="Reset view").click()
    eventually(lambda: changed(visit, first), lambda share: share < 0.002)
    assert visit.errors == []


def test_plots_show_the_files(visit: Visit, results: Path) -> None:
    visit.open("crambin_gb1")
    folder = results / "structures" / "crambin_gb1"
    scores = json.loads((folder / "confidence.json").read_text())
    lines = plot(visit, PLDDT).evaluate("plot => plot.data.map(line => [line.name, Array.from(line.y)])")
    assert dict(lines) == {f"rank {rank}": model["plddt"] for rank, model in enumerate(scores["models"])}
    assert lines[-1][0] == "rank 0"
    stored = stored_pae(folder)
    drawn = np.array(plot(visit, PAE).evaluate("plot => plot.data[0].z"))
    # A small target's picture is without loss.
    assert visit.page.locator("#target p", has_text="Drawn:").inner_text() == "Drawn: 8 bits, as in the file."
    assert np.array_equal(drawn, stored)
    edges = [line["x0"] for line in plot(visit, PAE).evaluate("plot => plot.layout.shapes")]
    assert edges == [46.5, 0]
    links = visit.page.eval_on_selector_all("#target .list a", "links => links.map(link => link.href)")
    assert {Path(link.removeprefix("file://")).name for link in links} == {
        path.name for path in folder.iterdir()
    }
    assert all(Path(link.removeprefix("file://")).is_file() for link in links)


def test_another_model_changes_every_picture_and_all_can_be_seen(visit: Visit, results: Path) -> None:
    visit.open("gb1_dimer")
    viewer = visit.page.locator("#target .viewer")
    assert viewer.get_attribute("data-shown") == "rank 0"
    before = pixels(visit)
    visit.page.locator("#model-2").check()
    visit.page.wait_for_selector(".viewer[data-state=ready][data-shown='rank 2']")
    visit.page.wait_for_selector(".plot[data-drawn='2']")
    stored = stored_pae(results / "structures" / "gb1_dimer", 2)
    drawn = np.array(plot(visit, PAE).evaluate("plot => plot.data[0].z"))
    assert np.abs(drawn - stored).max() < 3
    eventually(lambda: plot(visit, PLDDT).evaluate("plot => plot.data.at(-1).name"), "rank 2")
    assert np.any(pixels(visit) != before)
    visit.page.locator("#show-all").click()
    visit.page.wait_for_selector(".viewer[data-state=ready][data-shown='rank 0, rank 1, rank 2']")
    painted(visit, lambda: visit.page.locator("#colour-by").select_option("model"))
    eventually(lambda: legend(visit), ["rank 0", "rank 1", "rank 2"])
    visit.page.locator("#show-0").uncheck()
    visit.page.wait_for_selector(".viewer[data-state=ready][data-shown='rank 1, rank 2']")
    visit.page.locator("#show-one").click()
    visit.page.wait_for_selector(".viewer[data-state=ready][data-shown='rank 2']")
    assert visit.errors == []


def test_a_rectangle_on_the_pae_selects_residues_in_3d(visit: Visit, results: Path) -> None:
    visit.open("gb1_dimer")
    painted(visit, lambda: select(visit, (70.6, 10.4), (90.4, 30.6)))
    text = eventually(lambda: said(visit), lambda text: "Mean PAE" in text)
    assert text.startswith("Aligned on A 11–30, scored B 15–34.")
    stored = stored_pae(results / "structures" / "gb1_dimer")[10:30, 70:90].mean()
    assert float(text.split("Mean PAE ")[1].split()[0]) == pytest.approx(stored, abs=0.35)
    seen = pixels(visit)
    assert like(seen, ROWS) > 50 and like(seen, COLUMNS) > 50 and like(seen, BOTH) == 0
    eventually(lambda: legend(visit), ["aligned on", "scored", "both"])
    # Twenty of 56 residues of each chain: what is not selected is grey.
    marks = (
        "plot => plot.layout.shapes.filter(shape => shape.y1 === 0.035).map(shape => [shape.x0, shape.x1])"
    )
    eventually(lambda: plot(visit, PLDDT).evaluate(marks), [[10.5, 30.5], [70.5, 90.5]])
    painted(visit, lambda: select(visit, (20.6, 10.4), (40.4, 30.6)))
    seen = pixels(visit)
    assert min(like(seen, colour) for colour in (ROWS, COLUMNS, BOTH)) > 20
    painted(visit, lambda: visit.page.locator("#clear").click())
    assert like(pixels(visit), BAND_COLOURS["confident"]) > 50
    eventually(lambda: said(visit), lambda text: "Click a residue" in text)
    assert visit.errors == []


def test_a_residue_clicked_in_3d_is_pointed_at_in_the_plots(visit: Visit) -> None:
    found = []
    for side in (0, -1):
        visit.open("villin_headpiece")
        there = coloured(pixels(visit))
        x = np.flatnonzero(there.any(axis=0))[side] + (6 if side == 0 else -6)
        rows = np.flatnonzero(there[:, x])
        box = visit.page.locator("#target .viewer canvas").bounding_box()
        place = float(box["x"] + x), float(box["y"] + rows[len(rows) // 2])
        visit.page.locator("#target .viewer canvas").evaluate(CLICK, place)
        text = eventually(lambda: said(visit), lambda text: "pLDDT" in text)
        residue = int(visit.page.locator("#residue").input_value())
        assert text.startswith(f"{residue} ")
        eventually(lambda: crossing(visit), [[residue, 0], [0, residue]])
        found.append(residue)
    # The ends of a helix that lies along the view.
    assert {min(found) <= 5, max(found) >= 31} == {True}, found
    assert visit.errors == []


def test_a_residue_pointed_at_in_a_plot_is_marked_in_3d(visit: Visit, results: Path) -> None:
    visit.open("villin_headpiece")
    scores = json.loads((results / "structures" / "villin_headpiece" / "confidence.json").read_text())
    plddt = scores["models"][0]["plddt"]
    before = pixels(visit)
    painted(visit, lambda: visit.page.mouse.click(*at(visit, PLDDT, 12, plddt[11])))
    eventually(lambda: said(visit), lambda text: text.startswith("12 "))
    assert said(visit).startswith(f"12 Met: pLDDT {plddt[11]:.1f}")
    marked = np.abs(pixels(visit) - before).sum(axis=2) > 30
    marked[:60] = False  # the page has scrolled, and its head lies over the view
    assert 20 < marked.sum() < 0.02 * marked.size
    # The helix lies along the view: its twelfth residue of 35 is a third of the way, from one end.
    ends = np.flatnonzero(coloured(before).any(axis=0))[[0, -1]]
    share = (np.median(np.argwhere(marked)[:, 1]) - ends[0]) / (ends[1] - ends[0])
    assert min(abs(share - 11.5 / 35), abs(share - 23.5 / 35)) < 0.07
    # The keyboard moves on from there.
    visit.page.locator("#residue").focus()
    visit.page.keyboard.press("ArrowRight")
    text = eventually(lambda: said(visit), lambda text: text.startswith("13 "))
    assert text.startswith(f"13 Thr: pLDDT {plddt[12]:.1f}")
    assert visit.page.locator("#residue").get_attribute("aria-valuetext") == text
    painted(visit, lambda: (visit.page.locator("#range").fill("5-9"), visit.page.keyboard.press("Enter")))
    eventually(lambda: said(visit), lambda text: "Selected 5–9." in text)
    visit.page.locator("#range").fill("5-99")
    visit.page.keyboard.press("Enter")
    eventually(lambda: said(visit), "No such residues. Expected 10-45.")


def test_files_are_downloaded_as_they_are(visit: Visit, results: Path) -> None:
    folder = results / "structures" / "crambin"
    visit.open("crambin")
    with visit.page.expect_download() as pdb:
        visit.page.get_by_role("link", name="ranked_1.pdb").click()
    assert Path(pdb.value.path()).read_bytes() == (folder / "ranked_1.pdb").read_bytes()
    # A browser shows a text whose kind it knows; the file is the same.
    with visit.page.context.expect_page() as shown:
        visit.page.get_by_role("link", name="ranked_1.cif").click()
    eventually(lambda: Path(shown.value.url.removeprefix("file://")), folder / "ranked_1.cif")
    eventually(shown.value.locator("body").inner_text, lambda text: "_ma_qa_metric_local" in text)
    shown.value.close()
    with visit.page.expect_download() as made:
        visit.page.get_by_role("button", name="PAE of rank 1").click()
    assert made.value.suggested_filename == "crambin-rank_1-predicted_aligned_error.json"
    (entry,) = json.loads(Path(made.value.path()).read_text())
    assert set(entry) == {"predicted_aligned_error", "max_predicted_aligned_error"}
    assert entry["max_predicted_aligned_error"] == 31.75
    assert entry["predicted_aligned_error"] == np.rint(stored_pae(folder, 1)).astype(int).tolist()
    assert visit.errors == []
