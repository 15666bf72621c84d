"""`snakefold.load`: what a run has written, in Python, and the page that shows how."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
import scored_files

import snakefold
from snakefold.kernel.errors import SnakefoldError
from snakefold.kernel.paths import house
from snakefold.loading import Run
from snakefold.loading.target import PLDDT_COLOURS

mpl.use("Agg")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    found: Run = snakefold.load(scored_files.make_run(tmp_path_factory.mktemp("run") / "results", models=2))
    return found


def test_a_run_has_its_targets_and_tables(run: Run) -> None:
    assert list(run) == ["nanobody", "antibody", "copy"]
    assert len(run) == 3 and "antibody" in run and "broken" not in run
    assert run.metrics.loc["antibody", "chains"] == 2
    assert run.failures.loc["broken", "reason"] == "timeout"
    assert repr(run).endswith("3 structures, 2 without>") and not run.rehearsal


def test_what_has_no_structure_says_why(run: Run) -> None:
    with pytest.raises(KeyError, match=r"broken: has no structure \(timeout"):
        run["broken"]
    with pytest.raises(KeyError, match="nobody: no target is called so"):
        run["nobody"]
    with pytest.raises(SnakefoldError, match=r"has neither metrics\.parquet"):
        snakefold.load(run.folder / "tables")


def test_a_target_gives_what_its_files_have(run: Run) -> None:
    target = run["antibody"]
    assert len(target) == 2 and repr(target) == "<antibody: 2 models by alphafold2>"
    length = sum(target.sizes)
    assert target.plddt().shape == (length,)
    assert target.plddt().mean() == pytest.approx(run.metrics.loc["antibody", "mean_plddt"], abs=0.01)
    matrix = target.pae(rank=1)
    assert matrix.shape == (length, length) and matrix.min() >= 0 and matrix.max() <= 31.75
    assert float(target.pae().mean()) == pytest.approx(run.metrics.loc["antibody", "mean_pae"], abs=1e-3)
    assert target.scores()["ranking_confidence"] >= target.scores(1)["ranking_confidence"]
    assert next(iter(target.msa())) == "query"
    with pytest.raises(SnakefoldError, match="models of rank 0 to 1, and none of 2"):
        target.structure(rank=2)


def test_structures_carry_their_plddt(run: Run) -> None:
    pytest.importorskip("biotite")
    target = run["nanobody"]
    atoms = target.structure()
    alphas = atoms[atoms.atom_name == "CA"]
    assert np.allclose(alphas.b_factor, target.plddt(), atol=0.011)
    model = target.gemmi()
    assert [len(chain) for chain in model[0]] == target.sizes


def test_the_view_colours_every_residue_once(run: Run) -> None:
    target = run["antibody"]
    page = target.view().write_html()
    bands = {next(edge for edge in PLDDT_COLOURS if value >= edge) for value in target.plddt()}
    assert len(bands) > 1
    for edge, colour in PLDDT_COLOURS.items():
        assert (colour in page) == (edge in bands)
    assert "REHEARSAL" not in page


def test_the_plot_has_the_borders_of_chains(run: Run) -> None:
    axes = run["antibody"].plot_pae()
    first = run["antibody"].sizes[0]
    assert [line.get_ydata()[0] for line in axes.get_lines()][:1] == [first - 0.5]
    assert axes.get_title() == f"antibody, {run['antibody'].model().name}"
    assert len(run["nanobody"].plot_pae().get_lines()) == 0


def test_a_rehearsal_says_so_everywhere(tmp_path: Path) -> None:
    run = snakefold.load(scored_files.make_run(tmp_path / "results", rehearsal=True, models=1))
    target = run["nanobody"]
    assert run.rehearsal and target.rehearsal
    assert repr(run).startswith("<REHEARSAL") and repr(target).startswith("<REHEARSAL")
    assert target.plot_pae().get_title().startswith("REHEARSAL")
    assert "REHEARSAL" in target.view().write_html()


def test_what_a_network_does_not_give_is_an_error(tmp_path: Path) -> None:
    run = snakefold.load(scored_files.make_run(tmp_path / "results", models=1))
    target = run["nanobody"]
    (target.folder / "pae.npz").unlink()
    with pytest.raises(SnakefoldError, match="alphafold2 gave no PAE"):
        run["nanobody"].pae()
    (target.folder / "msa.a3m").unlink()
    with pytest.raises(SnakefoldError, match="predicted without an alignment"):
        target.msa()


def test_rows_of_one_name_are_all_there(tmp_path: Path) -> None:
    run = snakefold.load(scored_files.make_run(tmp_path / "results", models=1))
    target = run["nanobody"]
    (target.folder / "msa.a3m").write_text(">query words\nACDE\n>hit\nA-dDE\n>hit\nACD-\n")
    assert target.msa() == {"query": "ACDE", "hit": "A-DE", "hit.2": "ACD-"}


def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scored_files.make_run(tmp_path / "results", models=2)
    text = (house() / "docs" / "notebooks.md").read_text().replace('run["ww"]', 'run["antibody"]')
    monkeypatch.chdir(tmp_path)
    code = "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    assert code.count("target.") > 8
    exec(compile(code, "docs/notebooks.md", "exec"), {})  # noqa: S102 (it is ours)


def test_importing_snakefold_imports_nothing_heavy() -> None:
    look = "import snakefold, sys; print([m for m in ('numpy', 'pandas', 'gemmi') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
