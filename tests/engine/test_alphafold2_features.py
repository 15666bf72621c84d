"""Features: rows of complexes paired by species, shapes of MSAs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakefold import engines
from snakefold.engines.alphafold2 import features, models
from snakefold.engines.alphafold2.pairing import chosen as chosen_rows
from snakefold.engines.alphafold2.settings import AlphaFold2Settings, ModelPreset
from snakefold.engines.alphafold2.shapes import MsaShape, choose, multimer_depth, rounded_up
from snakefold.engines.spec import ChainMsa, TargetMsas
from snakefold.kernel.errors import ConfigError
from tests.engine.toys import chain_msas, make_target, templates_npz, toy_a3m

FIRST, SECOND = "MKTAYIAKQR", "GSHMFVKSHFSR"
SETTINGS = AlphaFold2Settings.model_validate({})


def pairing(sequence: str, rows: list[tuple[str, str]]) -> str:
    """pairing.a3m: the query, then rows named as UniProt names them."""
    text = f">query\n{sequence}\n"
    for number, (species, row) in enumerate(rows):
        text += f">tr|A0A{number:03d}AAA1|A0A{number:03d}AAA1_{species}/1-{len(sequence)}\n{row}\n"
    return text


def test_rows_of_one_species_come_out_paired() -> None:
    """The most similar rows of a species are paired; species of one chain only are not."""
    first = pairing(
        FIRST,
        [("HUMAN", "MKTAYIAKAA"), ("MOUSE", "MKTAAAAKQR"), ("HUMAN", "MKTAYIAKQA"), ("YEAST", "MATAYIAKQR")],
    )
    second = pairing(
        SECOND, [("MOUSE", "GSHMFVKSHFAA"), ("HUMAN", "GSHMFVKSAFSR"), ("ECOLI", "GAAMFVKSHFSR")]
    )
    target = make_target("ab", FIRST, SECOND)
    msas = TargetMsas(
        chains=[ChainMsa(f">q\n{FIRST}\n", pairing=first), ChainMsa(f">q\n{SECOND}\n", pairing=second)]
    )
    found = features.raw_features(target, msas, ModelPreset.MULTIMER, SETTINGS, MsaShape(508, 2048, 16))
    from alphafold.common import residue_constants

    letters = np.array([*residue_constants.restypes, "X", "-"])
    rows = ["".join(row) for row in letters[found["msa"]]]
    assert rows[0] == FIRST + SECOND
    paired = {row for row in rows[1:] if "-" not in row and row.strip("A")}
    assert paired == {"MKTAYIAKQA" + "GSHMFVKSAFSR", "MKTAAAAKQR" + "GSHMFVKSHFAA"}
    assert not any("MATAYIAKQR" in row or "GAAMFVKSHFSR" in row for row in rows)


def rows_of(found: features.Features) -> list[str]:
    """Rows of the merged MSA in letters, without those of padding."""
    from alphafold.common import residue_constants

    letters = np.array([*residue_constants.restypes, "X", "-"])
    shown = zip(letters[found["msa"]], found["msa_mask"], strict=True)
    return ["".join(row) for row, mask in shown if mask.any()]


def three(**settings: str) -> features.Features:
    """A complex of three chains: HUMAN has all, MOUSE two of them."""
    chains = (FIRST, SECOND, "GAVLIMKR")
    species = (["HUMAN", "MOUSE"], ["HUMAN", "MOUSE"], ["HUMAN"])
    given = [
        ChainMsa(toy_a3m(chain, 3), pairing=pairing(chain, [(name, f"W{chain[1:]}") for name in names]))
        for chain, names in zip(chains, species, strict=True)
    ]
    target = make_target("abc", *chains)
    chosen = AlphaFold2Settings.model_validate(settings)
    msas = chosen_rows(target, TargetMsas(chains=given), ModelPreset.MULTIMER, chosen)
    return features.raw_features(target, msas, ModelPreset.MULTIMER, chosen, MsaShape(508, 2048, 16))


WHOLE, MOUSE = f"{FIRST}{SECOND}GAVLIMKR", f"W{FIRST[1:]}W{SECOND[1:]}--------"
HUMAN = MOUSE.replace("--------", "WAVLIMKR")


def test_rows_are_paired_as_asked() -> None:
    both, unpaired, paired = (
        set(rows_of(three(pair_mode=mode))) for mode in ("unpaired_paired", "unpaired", "paired")
    )
    alone = {row for row in both if row.count("-") > 8}
    assert both >= {WHOLE, HUMAN, MOUSE}
    assert unpaired == {WHOLE} | alone
    assert paired == {WHOLE, HUMAN, MOUSE}
    assert set(rows_of(three(pair_strategy="complete", pair_mode="paired"))) == {WHOLE, HUMAN}


@pytest.mark.parametrize("mode", ["unpaired", "paired"])
def test_what_a_server_paired_is_left_out_as_in_colabfold(mode: str) -> None:
    from colabfold.batch import generate_input_feature, mk_mock_template

    target = make_target("ab", FIRST, SECOND)
    rows = [toy_a3m(chain, 4) for chain in target.chains]
    given = TargetMsas(chains=[ChainMsa(toy_a3m(chain, 3)) for chain in target.chains], paired=rows)
    settings = AlphaFold2Settings.model_validate({"pair_mode": mode})
    msas = chosen_rows(target, given, ModelPreset.MULTIMER, settings)
    found = features.raw_features(target, msas, ModelPreset.MULTIMER, settings, MsaShape(8, 8, 16))
    expected, _ = generate_input_feature(
        list(target.chains),
        [1, 1],
        None if mode == "paired" else [chain.a3m for chain in given.given],
        None if mode == "unpaired" else rows,
        [
            {name: mk_mock_template(chain)[name] for name in features._TEMPLATE_FEATURES}
            for chain in target.chains
        ],
        is_complex=True,
        model_type="alphafold2_multimer_v3",
        max_seq=12,
    )
    for name in ("msa", "msa_mask", "deletion_matrix", "asym_id", "num_alignments"):
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


def test_a_complex_that_is_not_paired_needs_no_search_for_pairing() -> None:
    engine = engines.get("alphafold2")
    needs = [
        engine.needs("complex", engine.Settings(pair_mode=mode)).pairing for mode in ("paired", "unpaired")
    ]
    assert needs == [True, False]


def test_a_chain_without_rows_for_pairing_still_folds() -> None:
    target = make_target("ab", FIRST, SECOND)
    msas = TargetMsas(
        chains=[
            ChainMsa(toy_a3m(FIRST, 5), pairing=pairing(FIRST, [("HUMAN", "MKTAYIAKQA")])),
            ChainMsa(toy_a3m(SECOND, 5)),
        ]
    )
    found = features.raw_features(target, msas, ModelPreset.MULTIMER, SETTINGS, MsaShape(8, 8, 16))
    assert found["msa"].shape == (16, 22)
    assert found["asym_id"].tolist() == [1] * 10 + [2] * 12


def test_a_complex_may_have_templates_for_one_chain_only() -> None:
    target = make_target("ab", FIRST, SECOND)
    msas = TargetMsas(
        chains=[ChainMsa(toy_a3m(FIRST, 3)), ChainMsa(toy_a3m(SECOND, 3), templates=templates_npz(SECOND))]
    )
    settings = AlphaFold2Settings.model_validate({"use_templates": True})
    found = features.raw_features(target, msas, ModelPreset.MULTIMER, settings, MsaShape(8, 8, 16))
    assert found["template_all_atom_mask"].shape == (4, 22, 37)
    assert found["template_all_atom_mask"][0].any(axis=-1).tolist() == [False] * 10 + [True] * 12
    without = features.raw_features(target, msas, ModelPreset.MULTIMER, SETTINGS, MsaShape(8, 8, 16))
    assert not without["template_all_atom_mask"].any()


def test_copies_share_their_features_and_count_as_one_entity() -> None:
    target = make_target("aa", FIRST, FIRST)
    msas = chain_msas(target, 5)
    found = features.raw_features(target, msas, ModelPreset.MULTIMER, SETTINGS, MsaShape(8, 8, 16))
    assert found["entity_id"].tolist() == [1] * 20
    assert found["sym_id"].tolist() == [1] * 10 + [2] * 10
    assert np.array_equal(found["msa"][:5, :10], found["msa"][:5, 10:])


def test_a_monomer_sees_the_rows_of_its_msa() -> None:
    from alphafold.data import parsers, pipeline

    target = make_target("a", FIRST)
    a3m = toy_a3m(FIRST, 9)
    found = features.raw_features(
        target, TargetMsas(chains=[ChainMsa(a3m)]), ModelPreset.MONOMER_PTM, SETTINGS, MsaShape(8, 8)
    )
    expected = pipeline.make_msa_features([parsers.parse_a3m(a3m)])
    assert np.array_equal(found["msa"], expected["msa"])
    assert np.array_equal(found["deletion_matrix_int"], expected["deletion_matrix_int"])


@given(st.lists(st.sampled_from(["AAAA", "CCC", "DDDDD"]), min_size=1, max_size=8))
def test_residue_order_undoes_the_grouping_of_chains(chains: list[str]) -> None:
    grouped = "".join(chains[index] for index in features.chain_order(chains))
    order = features.residue_order(chains)
    assert "".join(grouped[index] for index in order) == "".join(chains)
    assert sorted(order) == list(range(len(grouped)))


@given(st.integers(-5, 1_000_000))
def test_rounding_up_wastes_at_most_a_quarter(rows: int) -> None:
    up = rounded_up(rows)
    assert max(rows, 1) <= up <= max(rows, 1) * 1.25
    assert rounded_up(up) == up


@given(
    st.sampled_from([ModelPreset.MONOMER_PTM, ModelPreset.MULTIMER]),
    st.lists(st.integers(1, 20_000), min_size=1, max_size=5),
    st.booleans(),
)
def test_shapes_hold_every_row_that_the_model_takes(
    preset: ModelPreset, depths: list[int], templates: bool
) -> None:
    settings = AlphaFold2Settings.model_validate({"use_templates": templates})
    shape = choose(settings, preset, depths)
    clusters, extra = (508, 2048) if preset is ModelPreset.MULTIMER else (512, 5120)
    assert 1 <= shape.clusters <= clusters and 1 <= shape.extra <= extra
    assert shape.clusters + shape.extra >= min(max(depths), clusters + extra)


def test_explicit_rows_are_taken_exactly() -> None:
    settings = AlphaFold2Settings.model_validate({"max_msa_clusters": 7, "max_extra_msa": 13})
    assert choose(settings, ModelPreset.MONOMER_PTM, [5000]) == MsaShape(7, 13)
    assert choose(settings, ModelPreset.MONOMER_PTM, [2]) == MsaShape(7, 13)


def test_templates_need_rows_of_their_own() -> None:
    settings = AlphaFold2Settings.model_validate({"max_msa_clusters": 4, "use_templates": True})
    with pytest.raises(ConfigError, match="max_msa_clusters"):
        choose(settings, ModelPreset.MONOMER_PTM, [100])


def test_the_bound_of_a_multimers_depth_holds() -> None:
    rows = [("HUMAN", FIRST[:-1] + "A"), ("MOUSE", FIRST[:-1] + "C")]
    other = [("HUMAN", SECOND[:-1] + "A"), ("MOUSE", SECOND[:-1] + "C")]
    target = make_target("ab", FIRST, SECOND)
    msas = TargetMsas(
        chains=[
            ChainMsa(toy_a3m(FIRST, 30), pairing=pairing(FIRST, rows)),
            ChainMsa(toy_a3m(SECOND, 20), pairing=pairing(SECOND, other)),
        ]
    )
    found = features.raw_features(target, msas, ModelPreset.MULTIMER, SETTINGS, MsaShape(8, 8, 0))
    assert len(found["msa"]) <= features.depth(target, msas, ModelPreset.MULTIMER)
    assert multimer_depth([5000], []) == 2048


def test_needed_models_follow_the_preset_and_the_targets() -> None:
    settings = AlphaFold2Settings.model_validate({"models": [2, 1]})
    needed = models.needed_models(settings, monomers=True, multimers=True)
    assert needed == ["model_1_ptm", "model_2_ptm", "model_1_multimer_v3", "model_2_multimer_v3"]
    assert models.needed_models(settings, monomers=True, multimers=False) == needed[:2]
    only = AlphaFold2Settings.model_validate({"models": [3], "model_preset": "monomer"})
    assert models.needed_models(only, monomers=True, multimers=False) == ["model_3"]
    assert [
        models.model_name(*models.parse_name(name)) for name in models.all_models()
    ] == models.all_models()
    with pytest.raises(ValueError, match="no AlphaFold2 model"):
        models.parse_name("model_6_ptm")
