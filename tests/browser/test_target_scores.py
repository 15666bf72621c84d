"""A target's page against its files, read by Biopython and numpy: scores, reference, other results."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from Bio.PDB import MMCIFParser, PDBParser
from Bio.SVDSuperimposer import SVDSuperimposer

from snakefold.report import build
from snakefold.structures import files as structures
from tests.browser.conftest import Visit, eventually
from tests.browser.make_results import make_results
from tests.browser.target_page import PLDDT, coloured, grey, painted, pixels, plot, said, stored_pae

pytestmark = [pytest.mark.browser, pytest.mark.needs("chromium")]

LABEL = "<img src=x onerror=window.hacked=1> \u202eBoltz"
HOSTILE = "<script>window.hacked=2</script> <img src=x onerror=window.hacked=3>"


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run twice: the second, with bent models and a hostile label, is shown beside the first."""
    first = make_results(tmp_path_factory.mktemp("first"), rehearsal=False)
    second = shutil.copytree(first, tmp_path_factory.mktemp("second") / "results")
    model = second / "structures" / "crambin" / "ranked_0.pdb"
    lines = model.read_text().splitlines()
    bent = "\n".join(_bent(line) if line.startswith("ATOM") else line for line in lines) + "\n"
    model.write_text(bent)
    model.with_suffix(".cif").write_text(structures.read(bent).make_mmcif_document().as_string())
    scores = second / "structures" / "crambin" / "confidence.json"
    scores.write_text(scores.read_text().replace('"mean_plddt":', '"mean_plddt":1', 1))
    folder = first / "structures" / "crambin"
    (folder / "scores.json").unlink()
    (folder / f"{'x' * 40}.json").write_text("{}")
    (folder / "msa.json").write_text(
        json.dumps(
            [
                {
                    "length": 46,
                    "depth": 9,
                    "neff": 3.5,
                    "tool": HOSTILE,
                    "templates": 1,
                    "databases": [{"name": HOSTILE, "rows": 12, "kept": 8, "fingerprint": HOSTILE}],
                    "warnings": [HOSTILE],
                }
            ]
        )
    )
    header = "chain\ttemplate\tidentity\tcoverage\tsum_probs"
    (folder / "templates.tsv").write_text(f"{header}\n1\t{HOSTILE}\t0.415\t0.9\t38.2\n")
    build(first, [f"{second}={LABEL}"])
    return first


def _bent(line: str) -> str:
    """The second half of the chain moved by 10 Å."""
    x = float(line[30:38]) + (10 if int(line[22:26]) > 23 else 0)
    return f"{line[:30]}{x:8.3f}{line[38:]}"


@pytest.fixture
def second_visit(visiting: Callable[..., Visit], beside: Path) -> Visit:
    return visiting(beside)


def fact(visit: Visit, name: str) -> float:
    return float(
        visit.page.locator(f'#target [data-metric="{name}"]')
        .inner_text()
        .removesuffix(" Å")
        .removesuffix(" s")
    )


def cells(visit: Visit, table: str) -> list[list[str]]:
    rows = visit.page.locator(f"#target table.{table} tbody tr").all()
    return [[cell.strip() for cell in row.locator("th, td").all_inner_texts()] for row in rows]


def ca_atoms(path: Path) -> list[Any]:
    parser = MMCIFParser if path.suffix == ".cif" else PDBParser
    model = parser(QUIET=True).get_structure("x", str(path))[0]
    return [residue["CA"] for chain in model for residue in chain]


def test_numbers_are_those_of_the_structure_and_pae_files(visit: Visit, results: Path) -> None:
    folder = results / "structures" / "crambin_gb1"
    visit.open("crambin_gb1")
    atoms, pae = ca_atoms(folder / "ranked_0.pdb"), stored_pae(folder)
    plddt = np.array([atom.bfactor for atom in atoms])
    chain = np.array([atom.get_parent().get_parent().id for atom in atoms])
    assert fact(visit, "length") == len(atoms) == 102
    assert fact(visit, "chains") == len(set(chain)) == 2
    assert fact(visit, "mean_plddt") == pytest.approx(plddt.mean(), abs=0.051)
    assert fact(visit, "mean_pae") == pytest.approx(pae.mean(), abs=0.051)
    between = chain[:, None] != chain[None]
    assert fact(visit, "interface_pae") == pytest.approx(pae[between].mean(), abs=0.051)
    drawn = plot(visit, PLDDT).evaluate("plot => Array.from(plot.data.at(-1).y)")
    assert drawn == pytest.approx(plddt.tolist(), abs=0.006)
    for rank, row in enumerate(cells(visit, "models")):
        bfactors = [atom.bfactor for atom in ca_atoms(folder / f"ranked_{rank}.pdb")]
        assert float(row[3]) == pytest.approx(np.mean(bfactors), abs=0.051)
    scores = json.loads((folder / "scores.json").read_text())
    (pair,) = [item for item in scores["interfaces"] if item["rank"] == 0]
    row = cells(visit, "interfaces")[0]
    assert row[0] == "A – B"
    for shown, name in zip(row[1:5], ("iptm", "iptm_pae", "ipsae", "pdockq2"), strict=True):
        assert float(shown) == pytest.approx(pair[name], abs=0.00051)
    assert int(row[5]) == pair["contacts"]
    matrix = [float(cell) for row in cells(visit, "matrix") for cell in row[1:]]
    assert matrix == pytest.approx(np.ravel(scores["model_tm"]).tolist(), abs=0.00051)
    painted(visit, lambda: visit.page.get_by_role("button", name="Select chains A and B").click())
    text = eventually(lambda: said(visit), lambda text: "Mean PAE" in text)
    assert text.startswith("Aligned on A 1–46, scored B 1–56.")
    assert float(text.split("Mean PAE ")[1].split()[0]) == pytest.approx(pae[:46, 46:].mean(), abs=0.2)


def test_the_known_structure_lies_under_the_best_model(visit: Visit, results: Path) -> None:
    visit.open("ubiquitin")
    scores = json.loads((results / "structures" / "ubiquitin" / "scores.json").read_text())["reference"]
    assert fact(visit, "reference_tm_score") == pytest.approx(scores["tm"], abs=0.00051)
    assert fact(visit, "reference_lddt") == pytest.approx(scores["lddt"], abs=0.00051)
    assert fact(visit, "reference_rmsd") == pytest.approx(scores["rmsd"], abs=0.0051)
    assert visit.page.locator("#superposed").is_checked()
    assert visit.page.locator(".viewer").get_attribute("data-shown") == "rank 0, reference"
    both = grey(pixels(visit))
    visit.page.locator("#superposed").uncheck()
    visit.page.wait_for_selector(".viewer[data-state=ready][data-shown='rank 0']")
    assert both > grey(pixels(visit)) + 200
    assert visit.errors == []


def test_other_results_are_shown_beside_and_over_this_run(second_visit: Visit, beside: Path) -> None:
    visit = second_visit
    visit.open("crambin")
    ours, theirs = cells(visit, "comparison")
    assert ours[0] == "this run" and theirs[0].startswith("<img src=x") and "Boltz" in theirs[0]
    link = visit.page.locator("#target table.comparison a").get_attribute("href")
    other = (beside / "report" / link).resolve()
    assert other.name == "ranked_0.cif" and not other.is_relative_to(beside)
    points = [
        np.array([atom.coord for atom in ca_atoms(path)])
        for path in (other, beside / "structures" / "crambin" / "ranked_0.pdb")
    ]
    fit = SVDSuperimposer()
    fit.set(points[1].astype(float), points[0].astype(float))
    fit.run()
    assert fit.get_rms() > 2
    assert float(theirs[-2].removesuffix(" Å")) == pytest.approx(fit.get_rms(), abs=0.0051)
    assert 0.2 < float(theirs[-3]) < 1
    names = plot(visit, PLDDT).evaluate("plot => plot.data.map(line => line.name)")
    assert names == ["rank 1", "rank 2", LABEL, "rank 0"]
    alone = coloured(pixels(visit)).sum()
    visit.page.locator("#other-0").check()
    visit.page.wait_for_selector(".viewer[data-state=ready][data-shown*=Boltz]")
    assert coloured(pixels(visit)).sum() > alone
    visit.page.locator("#pae-of").select_option("other0")
    visit.page.wait_for_selector(".plot[data-drawn=other0]")
    # Text of the files and of the command line is text; what older results lack is not shown.
    assert visit.page.evaluate("window.hacked") is None
    assert visit.page.locator("#target img, #target script").count() == 0
    text = visit.page.locator("#target").inner_text()
    assert text.count("<script>window.hacked=2</script>") >= 4 and "42 %" in text
    assert "Models against each other" not in text
    assert visit.errors == []


def test_a_target_on_a_phone_in_print_and_in_the_dark(visiting: Callable[..., Visit], results: Path) -> None:
    visit = visiting(results, viewport={"width": 360, "height": 740}, color_scheme="dark")
    visit.open("gb1_dimer")
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 360
    corner = pixels(visit)[4, 4]
    assert corner.max() < 60
    assert visit.page.locator("#said").is_visible()
    unnamed = visit.page.evaluate(
        """() => [...document.querySelectorAll("#target :is(a, button, input, select, [tabindex='0'])")]
            .filter(item => !item.closest(".msp-plugin, .modebar") && !item.getAttribute("aria-label"))
            .filter(item => !item.innerText?.trim() && !item.labels?.length).map(item => item.outerHTML)"""
    )
    assert unnamed == []
    visit.page.emulate_media(media="print")
    visit.page.wait_for_selector("#show-all", state="hidden")
    assert visit.page.locator("#target table.models").is_visible()
    assert visit.errors == []
