"""AlphaFold-Multimer v1 and v2, and DeepFold: what is known of them besides their networks' configuration."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from snakefold.engines.alphafold2 import ENGINE, methods, needed_models
from snakefold.engines.alphafold2.layout import expected_shapes
from snakefold.engines.alphafold2.models import every_model, parse_name, ranked_by, uses_templates
from snakefold.engines.alphafold2.parameters import file_name
from snakefold.engines.alphafold2.settings import AlphaFold2Settings, ModelPreset, effective
from snakefold.engines.alphafold2.shapes import choose
from snakefold.engines.alphafold2.shortfalls import without_pae
from snakefold.kernel.contracts import RelaxSettings

V1, V2, DEEPFOLD = ModelPreset.MULTIMER_V1, ModelPreset.MULTIMER_V2, ModelPreset.DEEPFOLD


def test_names_are_those_of_the_files() -> None:
    settings = AlphaFold2Settings(models=[2])
    named = {
        preset: needed_models(
            settings.model_copy(update={"model_preset": preset}), monomers=True, multimers=True
        )
        for preset in (V1, V2, DEEPFOLD)
    }
    assert [file_name(name) for names in named.values() for name in names] == [
        "params_model_2_multimer.npz",
        "params_model_2_multimer_v2.npz",
        "deepfold_model_2.npz",
    ]
    assert [parse_name(name) for names in named.values() for name in names] == [(each, 2) for each in named]
    assert len(set(every_model())) == 30


@pytest.mark.parametrize(("preset", "rows"), [(V1, (252, 1152)), (V2, (252, 1152)), (DEEPFOLD, (512, 5120))])
def test_rows_are_those_of_colabfold(preset: ModelPreset, rows: tuple[int, int]) -> None:
    settings = AlphaFold2Settings(model_preset=preset)
    shape = choose(settings, preset, [20_000])
    assert (shape.clusters, shape.extra) == rows
    group = "complex" if preset.multimer else "monomer"
    work = ENGINE.work(group, settings, RelaxSettings())
    assert (work.msa_rows, work.extra_rows, work.multimer) == (*rows, preset.multimer)


def test_deepfold_is_a_monomer_network_without_pae() -> None:
    settings = AlphaFold2Settings(model_preset=DEEPFOLD, rank_by="ptm", use_templates=True)
    assert ranked_by("ptm", DEEPFOLD) == "plddt"
    assert effective(settings).rank_by == "auto"
    assert [uses_templates(settings, DEEPFOLD, number) for number in (1, 2, 3)] == [True, True, False]
    (note,) = without_pae([SimpleNamespace(name="deepfold_model_1", preset=DEEPFOLD)])  # type: ignore[list-item]
    assert "deepfold_model_1" in note
    shapes = expected_shapes("deepfold_model_1")
    assert not set(shapes) - set(expected_shapes("model_1"))
    assert any("predicted_lddt_head" in key for key in shapes)


def test_earlier_multimers_are_multimers() -> None:
    for preset in (V1, V2):
        settings = AlphaFold2Settings(
            model_preset=preset, rank_by="multimer", pair_mode="paired", calc_extra_ptm=True
        )
        # The multimer network ranks so anyway.
        assert effective(settings) == settings.model_copy(update={"rank_by": "auto"})
        assert uses_templates(settings.model_copy(update={"use_templates": True}), preset, 5)
        assert ranked_by("auto", preset) == "multimer"


@pytest.mark.parametrize(
    ("preset", "sources", "said", "not_said"),
    [
        ("multimer_v2", {"alphafold2", "multimer"}, "multimer (v2) network", "DeepFold"),
        ("deepfold", {"alphafold2", "deepfold"}, "ran with DeepFold's parameters", "CC BY"),
    ],
)
def test_methods_say_whose_parameters_ran(preset: str, sources: set[str], said: str, not_said: str) -> None:
    recipe: dict[str, Any] = {"settings": {"model_preset": preset, "models": [1]}}
    told: Any = SimpleNamespace(
        run="snakefold",
        rehearsal=False,
        recipes={"complex": recipe},
        package=str,
        cite=lambda *words: f" ({'; '.join(words)})",
    )
    assert methods.cites(told) == sources
    text = " ".join(methods.sentences(told))
    assert said in text and not_said not in text
