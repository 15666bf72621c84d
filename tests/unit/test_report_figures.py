"""The plots as pictures, and `snakemake --report`, which shows them with captions."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from tests.browser.make_results import make_results

from snakefold.kernel.paths import house
from snakefold.report.figures import write_figures

FIGURES = ["depth.svg", "lengths.svg", "plddt.svg", "time.svg"]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = make_results(tmp_path_factory.mktemp("figures"))
    write_figures(found)
    return found


def texts(path: Path) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text())


def test_pictures_are_the_same_twice_and_say_rehearsal(results: Path) -> None:
    folder = results / "figures"
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert sorted(first) == FIGURES
    write_figures(results)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == first
    for name in FIGURES:
        assert any("REHEARSAL" in text for text in texts(folder / name))
    assert "Length, residues" in texts(folder / "lengths.svg")
    assert {"plan", "msa", "predict"} <= set(texts(folder / "time.svg"))


def test_a_run_in_which_nothing_was_folded_has_pictures_too(tmp_path: Path) -> None:
    results = make_results(tmp_path, fasta=">lost_one\nACDEFGHIKLMNPQRSTVWY\n")
    assert all(path.stat().st_size > 500 for path in write_figures(results))


def test_snakemakes_report_holds_the_plots_with_captions(results: Path) -> None:
    folder = results.parent
    command = [
        *(sys.executable, "-m", "snakemake", "--snakefile", str(house() / "workflow" / "Snakefile")),
        *("--workflow-profile", "none", "--nolock", "--configfile", "results/config.yaml"),
        *("--report", "report.zip"),
    ]
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    with zipfile.ZipFile(folder / "report.zip") as archive:
        members = {Path(name).name: archive.read(name) for name in archive.namelist()}
    page = members["report.html"].decode()
    for name in FIGURES:
        assert members[name] == (results / "figures" / name).read_bytes()
    assert members["metrics.tsv"] == (results / "metrics.tsv").read_bytes()
    words = re.sub(r"\s+|\\n", " ", page)
    for caption in ("very high from 90", "in steps of 2.5", "query included", "added up over its jobs"):
        assert caption in words
