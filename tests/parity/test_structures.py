"""Structures that a target brings against colabfold_batch's flags: equal parameters, equal bytes.

`make parity` runs them; docs/colabfold.md has the table.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from snakefold.engines.alphafold2 import ENGINE
from snakefold.engines.spec import TargetMsas
from tests.engine.test_alphafold2_parity import CHAINS, MONOMER, ROWS, complex_rows
from tests.engine.toys import make_request, toy_a3m, with_structures
from tests.known import toy_pdb
from tests.parity.test_switches import FLAGS, SMALL

#: Of a monomer and of a complex: chains and A3M.
MONOMERS = ((MONOMER,), toy_a3m(MONOMER, ROWS))
COMPLEXES = (CHAINS, complex_rows())


@pytest.fixture
def places(weights_folder: Path, compile_cache: Path) -> tuple[Path, Path]:
    """Parameters, and compiled programs."""
    return weights_folder, compile_cache


def predicted(
    chains: tuple[str, ...], a3m: str, settings: dict[str, Any], places: tuple[Path, Path], **structures: Any
) -> list[str]:
    weights, cache = places
    target, files = with_structures(chains, **structures)
    msas = TargetMsas(own_a3m=a3m, files=files)
    request = make_request([target], **SMALL | settings)
    session = ENGINE.start(request, {target.result_key: msas}, weights, cache)
    result = session.predict(target, msas)
    assert ("templates.tsv" in result.files) == bool(structures.get("templates"))
    return [item.pdb for item in result.predictions]


def reference(
    folder: Path, colabfold_batch: Callable[..., None], a3m: str, flags: tuple[str, ...]
) -> list[str]:
    query = folder / "query.a3m"
    query.write_text(a3m)
    colabfold_batch(query, folder / "results", *(word for pair in FLAGS.items() for word in pair), *flags)
    return [path.read_text() for path in sorted((folder / "results").glob("query_unrelaxed_rank_*.pdb"))]


@pytest.mark.parametrize(("chains", "a3m"), [MONOMERS, COMPLEXES], ids=["monomer", "complex"])
def test_templates(
    chains: tuple[str, ...],
    a3m: str,
    tmp_path: Path,
    colabfold_batch: Callable[..., None],
    places: tuple[Path, Path],
) -> None:
    folder = tmp_path / "templates"
    folder.mkdir()
    (folder / "1abc.pdb").write_text(toy_pdb(*chains))
    flags = ("--templates", "--custom-template-path", str(folder))
    theirs = reference(tmp_path, colabfold_batch, a3m, flags)
    settings = {"use_templates": True}
    ours = predicted(chains, a3m, settings, places, templates=[toy_pdb(*chains)])
    assert ours == theirs
    assert ours != predicted(chains, a3m, {}, places), "templates change something"


@pytest.mark.parametrize(("chains", "a3m"), [MONOMERS, COMPLEXES], ids=["monomer", "complex"])
def test_an_initial_guess(
    chains: tuple[str, ...],
    a3m: str,
    tmp_path: Path,
    colabfold_batch: Callable[..., None],
    places: tuple[Path, Path],
) -> None:
    guess = tmp_path / "guess.pdb"
    guess.write_text(toy_pdb(*chains))
    theirs = reference(tmp_path, colabfold_batch, a3m, ("--initial-guess", str(guess)))
    ours = predicted(chains, a3m, {}, places, guess=guess.read_text())
    assert ours == theirs
    assert ours != predicted(chains, a3m, {}, places), "the guess changes something"
