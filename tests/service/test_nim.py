"""Routes of NVIDIA's NIMs: what their examples send, and what their users read of the answer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.service.served import Served, compiled, environment_of, new_environment, parameters, serving

__all__ = ["compiled", "environment_of", "new_environment", "parameters"]  # fixtures
SEQUENCE = "MKTAYIAKQRQISFVKSHF"
ROWS = f">query\n{SEQUENCE}\n>hit\nMKTAYLAKQRQVSFVKSHY\n"
STOCKHOLM = f"# STOCKHOLM 1.0\n\nquery {SEQUENCE}\nhit   MKTAYLAKQRQVSFVKSHY\n//\n"
AF2 = "/protein-structure/alphafold2"
MULTIMER = f"{AF2}/multimer"
OTHER = "MQIFVKTLTGKTITLEV"
OPENFOLD2 = "/biology/openfold/openfold2/predict-structure-from-msa-and-template"
SMALL = {"num_recycle": 0, "max_msa_clusters": 8, "max_extra_msa": 8}


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory, environment_of: Callable[[Path], dict[str, str]]
) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("nim")
    models = {
        1: {"engine": "openfold", "settings": SMALL},
        2: {"engine": "openfold", "settings": {**SMALL, "random_seed": 7}},
    }
    settings = {"rehearsal": True, "nim": {"db_preset": "demo", "openfold2": models}}
    with serving(folder, environment_of(folder), **settings) as made:
        yield made


def test_health_is_told_to_everybody(served: Served) -> None:
    assert served.call("/v1/health/ready") == (200, {"status": "ready"})
    assert served.call("/v1/health/live") == (200, {"status": "live"})


def test_metadata_says_what_is_served_and_under_which_licence(served: Served) -> None:
    code, answer = served.call("/v1/metadata")
    assert code == 200, answer
    assert set(answer) == {"assetInfo", "licenseInfo", "modelInfo", "repository_override", "version"}
    assert [each["shortName"] for each in answer["modelInfo"]] == [
        f"{name}:{answer['version']}" for name in ("alphafold2", "openfold")
    ]
    licence = answer["licenseInfo"]
    assert (licence["name"], licence["path"]) == ("MIT", "LICENSE")  # a name, and no path of the machine
    assert hashlib.sha1(licence["content"].encode()).hexdigest() == licence["sha"]  # noqa: S324 (its form)
    assert "Permission is hereby granted" in licence["content"]
    assert served.call("/v1/license") == (200, licence)


def test_what_would_change_the_result_is_refused_by_its_name(served: Served) -> None:
    refused: dict[str, list[dict[str, Any]]] = {
        f"{AF2}/predict-structure-from-sequence": [
            {"databases": ["uniref90", "mgnify", "small_bfd"]},
            {"algorithm": "hhblits"},
            {"e_value": 0.1},
            {"bit_score": 200.0},
            {"iterations": 2},
            {"skip_template_search": False},
            {"num_predictions_per_model": 9},
            {"selected_models": [6]},
            {"selected_models": []},
            {"max_msa_sequences": 4000},
            {"template_searcher": "hmmsearch"},
            {"structure_model_preset": "casp14"},
            {"override_msa_db_limits": True},
        ],
        f"{AF2}/predict-MSA-from-sequence": [{"databases": ["uniref90"]}, {"e_value": 1.0}],
        f"{AF2}/predict-structure-from-MSA": [
            {"templates": [{"index": 1}]},
            {"alignments": {"x": ["x", ROWS, "hhr"]}},
            {"alignments": {"x": ["x", ROWS.replace("MKTAYI", "MKTAYY"), "a3m"]}},
        ],
        OPENFOLD2: [
            {"use_templates": True},
            {"explicit_templates": [{"structure": "data_"}]},
            {"templates": {"x": "y"}},
            {"selected_models": [3]},
            {"input_id": "x" * 129},
        ],
        f"{MULTIMER}/predict-structure-from-sequences": [
            {"sequences": []},
            {"sequences": [SEQUENCE] * 7},
            {"skip_template_search": True},  # it has none
            {"e_value": 0.1},
            {"max_msa_sequences": 100},
        ],
        f"{MULTIMER}/predict-structure-from-MSA": [
            {"alignments": [{"x": ["x", ROWS, "a3m"]}, {"x": ["x", ROWS, "a3m"]}]},
            {"templates": [[{"index": 1}]]},
        ],
    }
    for path, cases in refused.items():
        several = path.startswith(MULTIMER)
        for case in cases:
            given = {"sequences": [SEQUENCE] * 2} if several else {"sequence": SEQUENCE}
            if "templates" in case and several:
                given = {"sequences": [SEQUENCE]}
            code, answer = served.call(path, {**given, **case})
            assert code in (400, 422), (path, case, answer)
            (name,) = case
            assert name in str(answer["detail"]), (path, case, answer)


def test_an_alignment_has_the_form_that_predictions_take(served: Served) -> None:
    code, answer = served.call(
        f"{AF2}/predict-MSA-from-sequence", {"sequence": SEQUENCE, "algorithm": "jackhmmer"}
    )
    assert code == 200, answer
    ((name, (again, text, form)),) = answer["alignments"].items()
    assert (name, form, answer["templates"]) == (again, "a3m", [])
    assert text.splitlines()[1] == SEQUENCE


def test_alignments_of_a_complex_are_of_its_chains_in_their_order(served: Served) -> None:
    chains = [SEQUENCE, OTHER, SEQUENCE]
    code, answer = served.call(f"{MULTIMER}/predict-MSA-from-sequences", {"sequences": chains})
    assert code == 200, answer
    texts = [text for each in answer["alignments"] for _, text, form in each.values() if form == "a3m"]
    assert [text.splitlines()[1] for text in texts] == chains
    assert answer["templates"] == [[], [], []]


@pytest.mark.slow
def test_a_complex_is_predicted_from_its_sequences(served: Served) -> None:
    body = {"sequences": [SEQUENCE, OTHER], "structure_models_to_relax": "none", "selected_models": [1]}
    code, structures = served.call(f"{MULTIMER}/predict-structure-from-sequences", body)
    assert code == 200, structures
    for text in structures:
        atoms = [line for line in text.splitlines() if line.startswith("ATOM") and line[12:16] == " CA "]
        assert [line[21] for line in atoms] == ["A"] * len(SEQUENCE) + ["B"] * len(OTHER)
        assert "REHEARSAL" in text
    ends = [json.loads(path.read_text()) for path in (served.folder / "service" / "jobs").glob("*/end.json")]
    counted = {end["facts"].get("residues") for end in ends}  # what /metrics add up
    assert len(SEQUENCE) + len(OTHER) in counted


@pytest.mark.slow
def test_structures_are_texts_best_first(served: Served) -> None:
    body = {"sequence": SEQUENCE, "relax_prediction": False}
    code, structures = served.call(f"{AF2}/predict-structure-from-sequence", body)
    assert code == 200, structures
    assert len(structures) == 2  # the models of a rehearsal
    for text in structures:
        assert "\nATOM " in text and "REHEARSAL" in text and "Predicted by alphafold2" in text
    given = {"alignments": {"uniref90": ["uniref90", ROWS, "a3m"], "bfd": ["bfd", STOCKHOLM, "sto"]}}
    code, others = served.call(f"{AF2}/predict-structure-from-MSA", {**body, **given, "templates": []})
    assert code == 200 and len(others) == 2 and others[0] != structures[0]
    twice = {"alignments": {"uniref90": ["uniref90", ROWS, "a3m"]}}
    assert served.call(f"{AF2}/predict-structure-from-msa", {**body, **twice}) == (200, others)


@pytest.mark.slow
def test_openfold2_ranks_the_selected_models(served: Served) -> None:
    body = {
        "sequence": SEQUENCE,
        "input_id": "7WBN_A",
        "alignments": {"uniref90": {"a3m": {"alignment": ROWS, "format": "a3m"}}},
        "relax_prediction": False,
    }
    code, answer = served.call(OPENFOLD2, {**body, "selected_models": [1, 2]})
    assert code == 200, answer
    assert answer["input_id"] == "7WBN_A" and answer["warnings"][0].startswith("REHEARSAL")
    ranked = answer["structures_in_ranked_order"]
    assert {each["model_param_set"] for each in ranked} == {1, 2}
    assert ranked[0]["confidence"] >= ranked[1]["confidence"]
    for each in ranked:
        assert "Predicted by openfold" in each["structure"] and each["format"] == "pdb"
        assert len(each["plddt"]) == len(SEQUENCE)
    code, alone = served.call(OPENFOLD2, {**body, "selected_models": [1]})
    assert [each["model_param_set"] for each in alone["structures_in_ranked_order"]] == [1]
