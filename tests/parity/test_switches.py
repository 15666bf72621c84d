"""Every switch of AlphaFold2's network against colabfold_batch's flag: equal parameters, equal bytes.

`make parity` runs them, twenty minutes in all; docs/colabfold.md has the table. CI runs some at once
(tests/engine/test_alphafold2_parity.py).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from snakefold.engines.alphafold2 import ENGINE, parameters, rehearsal
from snakefold.engines.alphafold2.models import FURTHER, MODEL_NUMBERS, model_name
from snakefold.engines.spec import TargetMsas
from tests.engine.conftest import BLOCKS
from tests.engine.test_alphafold2_parity import CHAINS, MONOMER, ROWS, complex_rows
from tests.engine.toys import make_request, make_target, toy_a3m

#: Settings of ours, and the flags that say the same.
SWITCHES: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    ({"num_recycle": 2}, ("--num-recycle", "2")),
    (
        {"num_recycle": 3, "recycle_early_stop_tolerance": 5.0},
        ("--num-recycle", "3", "--recycle-early-stop-tolerance", "5"),
    ),
    ({"num_ensemble": 2}, ("--num-ensemble", "2")),
    ({"num_seeds": 2, "random_seed": 3}, ("--num-seeds", "2", "--random-seed", "3")),
    ({"models": [2, 5]}, ("--num-models", "2", "--model-order", "2,5")),
    ({"use_dropout": True}, ("--use-dropout",)),
    ({"max_msa_clusters": 16, "max_extra_msa": 8}, ("--max-msa", "16:8")),
    ({"stop_at_score": 1.0, "models": [1, 2]}, ("--stop-at-score", "1", "--num-models", "2")),
    ({"rank_by": "ptm", "models": [1, 2]}, ("--rank", "ptm", "--num-models", "2")),
    ({"save_single_representations": True}, ("--save-single-representations",)),
    ({"save_pair_representations": True}, ("--save-pair-representations",)),
    ({"save_recycles": True, "num_recycle": 2}, ("--save-recycles", "--num-recycle", "2")),
]
#: Those of complexes alone.
OF_COMPLEXES: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    ({"use_cluster_profile": False}, ("--disable-cluster-profile",)),
    ({"calc_extra_ptm": True}, ("--calc-extra-ptm",)),
    ({"calc_extra_ptm": True, "use_probs_extra": False}, ("--calc-extra-ptm", "--no-use-probs-extra")),
    ({"rank_by": "iptm", "models": [1, 2]}, ("--rank", "iptm", "--num-models", "2")),
    ({"rank_by": "plddt", "models": [1, 2]}, ("--rank", "plddt", "--num-models", "2")),
]
TWO = ("--num-models", "2", "--model-order", "1,3")
SMALL = {"models": [1], "num_recycle": 1, "max_msa_clusters": 8, "max_extra_msa": 16}
FLAGS = {
    "--num-models": "1",
    "--model-order": "1,2",
    "--num-recycle": "1",
    "--max-msa": "8:16",
    "--recycle-early-stop-tolerance": "0",
    "--recompile-padding": "0",
}

#: Of files of recycles.
_RECYCLE = re.compile(r"\.r\d+\.pdb$")

Compare = Callable[[tuple[str, ...], str, dict[str, Any], tuple[str, ...]], None]


@pytest.fixture
def compare(
    tmp_path: Path, colabfold_batch: Callable[..., None], weights_folder: Path, compile_cache: Path
) -> Compare:
    """Ours and theirs: the same predictions in the same order, with the same coordinates and pLDDT."""

    def compared(chains: tuple[str, ...], a3m: str, settings: dict[str, Any], flags: tuple[str, ...]) -> None:
        query = tmp_path / "query.a3m"
        query.write_text(a3m)
        others = [word for name, value in FLAGS.items() if name not in flags for word in (name, value)]
        colabfold_batch(query, tmp_path / "results", *others, *flags)
        found = sorted((tmp_path / "results").glob("query_unrelaxed_rank_*.pdb"))
        pdbs = [path for path in found if not _RECYCLE.search(path.name)]
        recycles = [path for path in found if _RECYCLE.search(path.name)]
        assert bool(recycles) == ("--save-recycles" in flags)
        target = make_target("query", *chains)
        msas = TargetMsas(own_a3m=a3m)
        request = make_request([target], **SMALL | settings)
        session = ENGINE.start(request, {target.result_key: msas}, weights_folder, compile_cache)
        result = session.predict(target, msas)
        ours = sorted(result.predictions, key=lambda item: item.ranking_confidence, reverse=True)
        assert [item.pdb for item in ours] == [path.read_text() for path in pdbs]
        interfaces = json.loads(result.files.get("interfaces.json", b"{}"))
        assert bool(interfaces) == ("--calc-extra-ptm" in flags)
        for item, path in zip(ours, pdbs, strict=True):
            name = path.name.replace("_unrelaxed_", "_scores_").replace(".pdb", ".json")
            scores = json.loads((path.parent / name).read_text())
            assert all(scores[key] == value for key, value in interfaces.get(item.name, {}).items())
            for kind in ("single", "pair"):
                theirs = path.with_name(path.name.replace("unrelaxed", f"{kind}_repr")).with_suffix(".npy")
                kept = result.files.get(f"{kind}_repr_{item.name}.npy")
                assert kept == (theirs.read_bytes() if f"--save-{kind}-representations" in flags else None)

        for path in recycles:
            (item,) = (
                each for each, pdb in zip(ours, pdbs, strict=True) if pdb.stem == path.stem[: -len(".r0")]
            )
            kept = (
                result.files[f"recycle_{item.name}_{path.stem[-2:]}.pdb"].decode().splitlines(keepends=True)
            )
            assert "".join(line for line in kept if not line.startswith("REMARK")) == path.read_text()
        scores = json.loads(result.files.get("recycles.json", b"{}"))
        assert _said(scores) == (_logged(tmp_path / "results" / "log.txt") if recycles else [])

    return compared


def _said(recycles: dict[str, Any]) -> list[dict[str, str]]:
    """What recycles.json says, as colabfold_batch writes it into its log."""
    names = {"plddt": "pLDDT", "ptm": "pTM", "iptm": "ipTM", "tolerance": "tol"}
    return [
        {names[name]: f"{value:.3g}" for name, value in each.items() if name in names}
        for model in recycles.values()
        for each in model
    ]


def _logged(log: Path) -> list[dict[str, str]]:
    found = re.findall(r"recycle=\d+ (.*)", log.read_text())
    return [dict(word.split("=") for word in line.split()) for line in found]


@pytest.fixture
def further_weights(weights_folder: Path) -> None:
    """Random parameters of the kinds that are no part of the official archive, where both look for them."""
    for preset in FURTHER:
        one, three = model_name(preset, 1), model_name(preset, 3)
        rehearsal.draw(weights_folder, [one, three], BLOCKS)
        for number in MODEL_NUMBERS:
            path = parameters.parameters_file(weights_folder, model_name(preset, number))
            if not path.exists():
                # colabfold_batch reads all five, whichever it runs.
                path.symlink_to(parameters.parameters_file(weights_folder, one if number == 2 else three))
    for kind in ("complexes_multimer_v1", "complexes_multimer_v2", "deepfold-v1"):
        (weights_folder / "params" / f"download_{kind}_finished.txt").touch()


@pytest.mark.usefixtures("further_weights")
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_earlier_multimer_models(version: str, compare: Compare) -> None:
    settings, flags = (
        {"model_preset": f"multimer_{version}"},
        ("--model-type", f"alphafold2_multimer_{version}"),
    )
    compare(CHAINS, complex_rows(), settings | {"models": [1, 3]}, (*flags, *TWO))


@pytest.mark.usefixtures("further_weights")
def test_deepfold(compare: Compare) -> None:
    settings = {"model_preset": "deepfold", "models": [1, 3]}
    compare((MONOMER,), toy_a3m(MONOMER, ROWS), settings, ("--model-type", "deepfold_v1", *TWO))


@pytest.mark.parametrize(("settings", "flags"), SWITCHES, ids=" ".join)
def test_a_monomer(settings: dict[str, Any], flags: tuple[str, ...], compare: Compare) -> None:
    compare((MONOMER,), toy_a3m(MONOMER, ROWS), settings, flags)


@pytest.mark.parametrize(("settings", "flags"), [*SWITCHES, *OF_COMPLEXES], ids=" ".join)
def test_a_complex(settings: dict[str, Any], flags: tuple[str, ...], compare: Compare) -> None:
    compare(CHAINS, complex_rows(), settings, flags)
