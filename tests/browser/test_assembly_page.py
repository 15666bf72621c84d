"""The page of targets that are more than proteins, in a browser, against their files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snakefold.report import build
from snakefold.structures.scores.poses import read_contacts
from tests.browser.conftest import Visit, eventually
from tests.browser.make_assembly import (
    AFFINITY,
    ASSEMBLIES,
    BACK,
    DNA,
    LIGAND,
    PROTEIN,
    entities,
    make_assembly,
)
from tests.browser.make_results import VILLIN
from tests.browser.target_page import PAE, PLDDT, like, painted, pixels, plot, said, select, stored_pae

pytestmark = [pytest.mark.browser, pytest.mark.needs("chromium")]

#: Heavy atoms of the ligand; chains A to E of `all` have so many tokens.
ATOMS = 10
TOKENS = [len(VILLIN), len(DNA), len(BACK), ATOMS, 1]
#: Of chains, in order (report.css: chain-1 to chain-5).
COLOURS = [(0, 114, 178), (230, 159, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233)]


@pytest.fixture(scope="module")
def assemblies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_assembly(tmp_path_factory.mktemp("assemblies") / "results")
    build(folder)
    return folder


@pytest.fixture
def seen(visiting: Any, assemblies: Path) -> Visit:
    found: Visit = visiting(assemblies)
    return found


def card(visit: Visit, title: str) -> Any:
    return visit.page.locator(f'#target section.card[aria-label="{title}"]')


def rows(table: Any) -> list[list[str]]:
    return [line.locator("th, td").all_inner_texts() for line in table.locator("tbody tr").all()]


def test_the_pae_has_a_row_for_every_token(seen: Visit, assemblies: Path) -> None:
    seen.open("all")
    drawn = np.array(plot(seen, PAE).evaluate("plot => plot.data[0].z"))
    assert np.abs(drawn - stored_pae(assemblies / "structures" / "all")).max() == 0
    assert plot(seen, PAE).evaluate("plot => plot.layout.xaxis.range") == [0.5, sum(TOKENS) + 0.5]
    borders = (np.cumsum(TOKENS)[:-1] + 0.5).tolist()
    lines = plot(seen, PAE).evaluate("plot => plot.layout.shapes.filter(s => s.x0 === s.x1).map(s => s.x0)")
    assert lines == borders
    ticks = plot(seen, PAE).evaluate("plot => [plot.layout.xaxis.tickvals, plot.layout.xaxis.ticktext]")
    named = dict(zip(ticks[1], ticks[0], strict=True))
    # The name of a ligand is in the middle of its atoms.
    assert named["D LIG1"] == borders[2] + ATOMS / 2
    assert named["E CA"] == sum(TOKENS)
    assert (named["A"], named["B"]) == (1, len(VILLIN) + 1)
    assert seen.errors == []


def test_residues_and_tokens_follow_each_other(seen: Visit) -> None:
    seen.open("all")
    select(seen, (sum(TOKENS[:3]) + 3.6, 22.6), (sum(TOKENS[:3]) + 9.4, 30.4))
    eventually(lambda: said(seen), "Aligned on A 23–30, scored D LIG1. Mean PAE 16.0 Å.")
    field = seen.page.locator("#range")
    for text, expected in (
        ("B:3", "B 3 DA: pLDDT 80.0"),
        ("C:1", "C 1 DA: pLDDT 68.0"),
        ("A:1", "A 1 Leu: pLDDT 92.0"),
        ("E", "E CA: pLDDT 44.0"),
        ("D", "D LIG1: pLDDT 56.0, low. Selected D LIG1. Mean PAE"),
    ):
        field.fill(text)
        field.press("Enter")
        eventually(lambda: said(seen), lambda found, wanted=expected: found.startswith(wanted))  # type: ignore[misc]
    # The mean over the atoms of the ligand among themselves: 0.2 Å a step.
    steps = np.abs(np.subtract.outer(np.arange(ATOMS), np.arange(ATOMS)))
    assert said(seen).endswith(f"Mean PAE {np.mean(np.round(0.2 * steps / 0.125) * 0.125):.1f} Å.")
    start = sum(TOKENS[:3])
    (box,) = plot(seen, PAE).evaluate("plot => plot.layout.selections.map(s => [s.x0, s.x1, s.y0, s.y1])")
    assert box == [start + 0.5, start + ATOMS + 0.5] * 2
    assert seen.errors == []


def test_plddt_is_by_residue_and_a_ligand_is_a_point(seen: Visit) -> None:
    seen.open("all")
    found = plot(seen, PLDDT).evaluate(
        "plot => { const { x, y, text, marker } = plot.data.at(-1); return [x, y, text, marker.size]; }"
    )
    drawn = [each for each in zip(*found, strict=True) if each[1] is not None]
    total = len(VILLIN + DNA + BACK) + 2
    assert [x for x, *_ in drawn] == list(range(1, total + 1))
    assert [text for _, _, text, _ in drawn][-2:] == ["D LIG1", "E CA"]
    assert {text for _, _, text, size in drawn if size} == {"D LIG1", "E CA"}
    # Between chains the line breaks.
    assert found[1].count(None) == 4


def test_ligands_and_nucleic_acids_are_in_3d(seen: Visit) -> None:
    seen.open("all")
    painted(seen, lambda: seen.page.locator("#colour-by").select_option("chain"))
    image = pixels(seen)
    for chain, colour in zip("ABCDE", COLOURS, strict=True):
        assert like(image, colour) > 10, chain
    legend = seen.page.locator("#target .frame + .legend li").all_inner_texts()
    assert legend == ["chain A", "chain B", "chain C", "chain D LIG1", "chain E CA"]
    assert seen.errors == []


def test_an_affinity_has_a_card_where_there_is_one(seen: Visit) -> None:
    seen.open("binder")
    found = card(seen, "Affinity")
    figures = {
        name: found.locator(f'dd[data-metric="{name}"]').inner_text()
        for name in ("affinity", "ic50", "probability")
    }
    assert figures == {"affinity": "-1.50", "ic50": "31.6 nM", "probability": "0.75"}
    assert rows(found.locator("table")) == [
        ["1", "-1.250", "56.2 nM", "0.625"],
        ["2", "-1.750", "17.8 nM", "0.875"],
    ]
    assert "µM" in found.inner_text() and "REHEARSAL" not in found.inner_text()
    for other in ("all", "plain"):
        seen.open(other)
        assert card(seen, "Affinity").count() == 0
    assert seen.errors == []


def test_ligands_are_drawn(seen: Visit) -> None:
    seen.open("all")
    pictures = card(seen, "Ligands").locator("img")
    assert pictures.count() == 2
    for picture, name in zip(pictures.all(), ("LIG1", "CA"), strict=True):
        assert picture.get_attribute("alt") == f"Drawing of {name}"
        eventually(lambda shown=picture: shown.evaluate("img => img.complete && img.naturalWidth"), 260)
    captions = card(seen, "Ligands").locator("figcaption").all_inner_texts()
    assert captions[0].split("\n") == ["LIG1 chain D", LIGAND["smiles"]]
    assert captions[1] == "CA chain E"
    seen.open("plain")
    assert card(seen, "Ligands").count() == card(seen, "Poses").count() == 0
    assert seen.errors == []


def test_poses_are_those_of_the_chosen_model(seen: Visit, assemblies: Path) -> None:
    contacts = read_contacts(assemblies / "structures" / "binder")
    assert contacts
    seen.open("binder")
    for rank in (0, 1):
        seen.page.locator(f"#model-{rank}").check()
        of_rank = [each for each in contacts if each.rank == rank]
        listed = eventually(
            lambda: rows(card(seen, "Poses").locator("table.contacts")),
            lambda found, wanted=of_rank: len(found) == len(wanted),  # type: ignore[misc]
        )
        assert listed == [
            [
                each.ligand,
                f"{each.chain} {each.residue} {each.name}",
                f"{each.distance:.2f} Å",
                f"{each.ligand_atom} – {each.atom}",
            ]
            for each in of_rank
        ]
        assert rows(card(seen, "Poses").locator("table.poses")) == [
            ["B LIG1", str(len(of_rank)), "0", "plausible", "kept"]
        ]
    assert {each.rank for each in contacts} == {0, 1}
    first = next(each for each in contacts if each.rank == 1)
    seen.page.get_by_role("button", name=f"Mark residue {first.chain} {first.residue}", exact=True).click()
    eventually(lambda: said(seen), lambda text: text.startswith(f"{first.chain} {first.residue} "))
    assert seen.errors == []


@pytest.mark.parametrize("rehearsal", [False, True])
def test_a_screen_is_sorted_by_affinity(visiting: Any, tmp_path: Path, rehearsal: bool) -> None:
    values = {"first": 0.5, "second": -2.25, "third": None, "fourth": -0.5}
    chain = "CCCCCCC"
    screen = {
        name: entities(PROTEIN, {**LIGAND, "smiles": chain[: 3 + place]}, affinity="L")
        for place, name in enumerate(values)
    }
    scores = {
        name: {**AFFINITY, "affinity_pred_value": value}
        for name, value in values.items()
        if value is not None
    }
    results = make_assembly(tmp_path / "results", screen, models=1, scores=scores, rehearsal=rehearsal)
    build(results)
    visit: Visit = visiting(results)
    visit.open()
    names = visit.page.locator("#targets-table tbody a.name")
    assert names.all_inner_texts() == ["second", "fourth", "first", "third"]
    heads = visit.page.locator(".dt-scroll-head thead th").all_inner_texts()
    assert [head.strip() for head in heads[:4]] == ["Target", "Affinity", "P (binds)", "Length"]
    assert "Pose" in [head.strip() for head in heads]
    sorted_by = visit.page.locator(".dt-scroll-head thead th[aria-sort]")
    assert sorted_by.count() == 1 and sorted_by.get_attribute("aria-sort") == "ascending"
    visit.page.locator("#targets-table tbody a", has_text="second").click()
    visit.wait_for_target()
    marks = [
        card(visit, title).locator(".tag", has_text="REHEARSAL").count() for title in ("Affinity", "Poses")
    ]
    assert marks == [int(rehearsal)] * 2
    assert visit.errors == []


def test_without_affinities_rows_are_in_the_order_of_the_input(seen: Visit) -> None:
    seen.open()
    names = seen.page.locator("#targets-table tbody a.name").all_inner_texts()
    assert names == list(ASSEMBLIES)
    assert seen.page.locator(".dt-scroll-head thead th[aria-sort]").count() == 0


def test_all_that_is_wrong_with_a_pose_is_in_its_cell(visiting: Any, tmp_path: Path) -> None:
    results = make_assembly(tmp_path / "results", models=1)
    table = results / "metrics.tsv"
    head, *lines = (line.split("\t") for line in table.read_text().splitlines())
    wrong = {"pose_clashes": "1234", "pose_bonds_ok": "False", "pose_chirality_ok": "False"}
    changed = [[wrong.get(name, cell) for name, cell in zip(head, line, strict=True)] for line in lines]
    table.write_text("".join("\t".join(line) + "\n" for line in (head, *changed)))
    build(results)
    visit: Visit = visiting(results)
    visit.open()
    heads = [head.strip() for head in visit.page.locator(".dt-scroll-head thead th").all_inner_texts()]
    cells = visit.page.locator(f"#targets-table tbody tr > *:nth-child({heads.index('Pose') + 1})")
    assert cells.all_inner_texts() == ["1234 clashes\nodd bonds, chirality"] * len(lines)
    inside = cells.evaluate_all(
        """cells => cells.flatMap(cell => [...cell.querySelectorAll("*")])
            .filter(each => each.scrollWidth > each.clientWidth || each.scrollHeight > each.clientHeight)
            .map(each => each.textContent)"""
    )
    assert inside == []


def test_heads_of_an_engines_columns_stay_in_their_columns(seen: Visit) -> None:
    seen.open()
    heads = seen.page.locator(".dt-scroll-head thead th.broken .dt-column-title")
    assert heads.count() > 1
    wide = heads.evaluate_all(
        """heads => heads.filter(head => head.scrollWidth > head.closest("th").clientWidth)
            .map(head => head.textContent)"""
    )
    assert wide == []
