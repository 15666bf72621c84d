"""Names of results in the store stay what releases before 0.3 called them: nothing is computed again."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from typing import Any

import pytest

from snakefold import engines
from snakefold.config import load_config
from snakefold.engines.alphafold2 import ENGINE, weights
from snakefold.engines.spec import Parameters
from snakefold.kernel import recipes
from snakefold.kernel.contracts import FoldRequest
from snakefold.kernel.recipes import digest, sequence_key
from snakefold.msa.databases.presets import load_preset
from snakefold.plan.groups import Groups
from snakefold.plan.run import recipes_of

JACKHMMER = {"iterations": 1, "--F1": 0.0005, "--F2": 5e-05, "--F3": 5e-07, "--incE": 0.0001, "-E": 0.0001}
SWISSPROT = {
    "name": "swissprot.fasta",
    "size": 855592,
    "ends_sha256": "a38714340b1a14d8fe052bfa53054b4df9de58312e3699f4ebc7cdb3d2e86afa",
}
UNIPROT = {
    "name": "uniprot.fasta",
    "size": 52978,
    "ends_sha256": "66bed140d830acdfe9fc3f6bbef53a84a368974701c4a29fce844756fc1c6986",
}
RANDOM = {"rehearsal": True, "blocks": 2, "seed": 0, "drawing": 2}
#: Of versions that were locked then.
PINNED = {"alphafold-colabfold": "2.3.20", "colabfold": "1.6.3", "pyhmmer": "0.12.3"}


def fold_of_before(preset: str, databases: list[dict[str, Any]], relax: dict[str, Any]) -> dict[str, Any]:
    """What a store's results depended on, as results/provenance.json of 0.1.0 has it."""
    version = importlib.metadata.version
    return {
        "layout": 1,
        "relax": relax,
        "rehearsal": True,
        "msa": {
            "tool": "jackhmmer",
            "parameters": {"jackhmmer": {"pyhmmer": version("pyhmmer"), **JACKHMMER}},
            "databases": databases,
        },
        "templates": None,
        "engine": {
            "engine": "alphafold2",
            "version": version("alphafold-colabfold"),
            "colabfold": version("colabfold"),
            "settings": {
                "model_preset": preset,
                "models": [1],
                "num_recycle": 0,
                "recycle_early_stop_tolerance": 0.0,
                "num_seeds": 1,
                "random_seed": 0,
                "max_msa_clusters": 32,
                "max_extra_msa": 64,
                "use_templates": False,
                "precision": "bfloat16",
            },
            "weights": RANDOM,
        },
    }


def test_alphafold2s_results_are_called_as_before(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(weights, "identity", lambda folder, models: RANDOM)
    config = load_config({"rehearsal": {"models": [1], "num_recycle": 0}})
    kinds, preset = Groups(config), load_preset("demo")
    parameters = {"alphafold2": Parameters(tmp_path, rehearsal=True)}
    made = recipes_of(config, preset, parameters, kinds, {0, 1}, pairing=True)
    relax = {"models_to_relax": "best", "max_iterations": 20}
    first = {"name": "swissprot", "limit": 10000, "pairing": False, "files": [SWISSPROT]}
    paired = {"name": "uniprot", "limit": 50000, "pairing": True, "files": [UNIPROT]}
    expected = [
        fold_of_before("monomer_ptm", [first], relax),
        fold_of_before("multimer", [first, paired], relax),
    ]
    # Groups that came later have no target here.
    folds = [fold for fold in made["folds"] if fold]
    assert folds == expected
    if {name: importlib.metadata.version(name) for name in PINNED} == PINNED:
        # Seen in a store of release 0.1.0.
        assert [digest(fold) for fold in folds] == ["6c6a06b3ee121786", "921e0d27c8dcd139"]


def test_results_of_fused_kernels_are_called_otherwise(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """And by a worker as by the plan; stock ones on a GPU as before there were others."""
    monkeypatch.setattr(weights, "identity", lambda folder, models: RANDOM)

    def called(**settings: Any) -> dict[str, Any]:
        config = load_config({"msa": {"tool": "single_sequence"}, **settings})
        found = {"alphafold2": Parameters(tmp_path)}
        kinds = Groups(config)
        (fold, *_) = recipes_of(config, load_preset("demo"), found, kinds, {0}, pairing=False)["folds"]
        # What travels, and what a worker reads of it.
        sent = json.loads(json.dumps(config.settings_of("alphafold2").model_dump(mode="json")))
        assert ENGINE.recipe("monomer", ENGINE.Settings.model_validate(sent), tmp_path) == fold["engine"]
        return dict(fold)

    gpu = {"gpu": {"classes": ["ampere_80", "ada_80_pro"]}}
    stock = called(**gpu, alphafold2={"kernels": "stock"})
    assert "kernels" not in stock["engine"]
    fused = called(**gpu)
    version = importlib.metadata.version("alphafold-colabfold")
    kernels = fused["engine"].pop("kernels")
    assert kernels == {"kind": "pallas", "alphafold-colabfold": version}
    assert fused == stock


@pytest.mark.parametrize(
    ("changed", "monomer", "complex_"),
    [
        ({"use_dropout": True}, True, True),
        ({"num_ensemble": 2}, True, True),
        ({"stop_at_score": 80.0}, True, True),
        ({"rank_by": "ptm"}, True, True),
        ({"rank_by": "plddt"}, False, True),
        ({"rank_by": "iptm"}, False, True),
        ({"rank_by": "multimer"}, False, False),
        ({"use_cluster_profile": False}, False, True),
        ({"pair_mode": "unpaired"}, False, True),
        ({"pair_strategy": "complete"}, False, True),
        ({"calc_extra_ptm": True}, False, True),
        ({"use_probs_extra": False}, False, False),
    ],
)
def test_a_switch_names_only_results_that_it_changes(
    changed: dict[str, Any], monomer: bool, complex_: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(weights, "identity", lambda folder, models: RANDOM)
    engine = engines.get("alphafold2")
    usual, switched = engine.Settings(), engine.Settings(**changed)
    for group, changes in (("monomer", monomer), ("complex", complex_)):
        before, after = (engine.recipe(group, each, tmp_path) for each in (usual, switched))
        assert (before != after) == changes, group


def test_antibodies_are_called_as_with_single_sequences_and_no_database_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from snakefold.engines import flashabb

    monkeypatch.setattr(flashabb.files, "existing", lambda folder: folder)
    monkeypatch.setattr(recipes, "file_fingerprint", lambda path: {"size": 1})
    preset = load_preset("demo")

    def called(tool: str) -> dict[str, Any]:
        config = load_config({"engine": "flashabb", "msa": {"tool": tool}})
        made = recipes_of(
            config, preset, {"flashabb": Parameters(Path())}, Groups(config), {0}, pairing=False
        )
        (fold,) = made["folds"]
        return dict(fold)

    alone = called("single_sequence")
    assert alone["msa"] == {"tool": "single_sequence", "parameters": {}, "databases": []}
    assert alone["templates"] is None
    assert called("jackhmmer") == called("mmseqs") == alone


def test_a_request_of_version_1_is_read_as_one_of_version_2() -> None:
    target = {"id": "a", "key": sequence_key(["ACD"]), "chains": ["ACD"]}
    given = {"batch": "b1", "engine": "alphafold2", "recipe": "0" * 16, "targets": [target]}
    sections = {"alphafold2": {"num_recycle": 5}, "flashabb": {"num_seeds": 1}}
    read = FoldRequest.model_validate({"version": 1, **given, **sections})
    assert read == FoldRequest.model_validate({**given, "settings": {"num_recycle": 5}})
    assert read.version == 2
    # Version 2 knows no sections.
    with pytest.raises(ValueError, match="alphafold2"):
        FoldRequest.model_validate({"version": 2, **given, **sections})
    # Version 1 could be left out.
    assert FoldRequest.model_validate({**given, **sections}) == read
    # It had no key `settings`, and an engine had a name.
    with pytest.raises(ValueError, match="version 1 has no key settings"):
        FoldRequest.model_validate({"version": 1, **given, "settings": {}})
    for engine in ({}, [1], None):
        with pytest.raises(ValueError, match="engine"):
            FoldRequest.model_validate({"version": 1, **given, "engine": engine})
