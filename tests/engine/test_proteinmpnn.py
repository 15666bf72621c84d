"""Engine proteinmpnn with the official parameters: sequences that the network means, and no others."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from snakefold.engines import get
from snakefold.engines.proteinmpnn import ENGINE, draws, network, session, shapes, tiers, weights
from snakefold.engines.proteinmpnn.network import LETTERS
from snakefold.engines.proteinmpnn.session import Prepared, ProteinMpnnSession, prepare
from snakefold.engines.proteinmpnn.settings import ProteinMpnnSettings
from snakefold.engines.spec import ChainMsa, TargetMsas, as_result
from snakefold.kernel import recipes
from snakefold.kernel.contracts import FoldRequest
from snakefold.kernel.errors import Reason, TargetError, WeightsMissingError
from snakefold.molecules.backbones import BackboneChain, read_backbone
from snakefold.molecules.designs import Design, Wanted, design_target, file_name, make_design

HERE = Path(__file__).parent
FV = (HERE.parents[1] / "resources" / "demo" / "references" / "7CTH-HL.pdb").read_bytes()
#: The beginning of the light chain: one of its positions is a gap.
LIGHT = b"".join(line + b"\n" for line in FV.splitlines() if line[21:22] == b"L" and line[22:26] < b"  50")
LENGTH = len(read_backbone(LIGHT)[0])
REFERENCE = HERE / "proteinmpnn_reference.json"


def design_of(data: bytes, **wanted: Any) -> tuple[Design, list[BackboneChain]]:
    chains = read_backbone(data)
    return make_design(chains, data, "pdb", Wanted(**wanted)), chains


@pytest.fixture(scope="module")
def sampler(proteinmpnn_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Makes a session with settings; parameters are read once, and compiled programs kept."""
    cache = tmp_path_factory.mktemp("compiled")

    def start(**given: Any) -> ProteinMpnnSession:
        chosen = ProteinMpnnSettings(**given)
        path = weights.parameters_file(proteinmpnn_weights, chosen.kind, chosen.model_name)
        return ProteinMpnnSession(chosen, weights.load(path, chosen.kind, chosen.model_name), cache)

    return start


def sequences(sampler: Any, data: bytes, asked: dict[str, Any] | None = None, **given: Any) -> list[str]:
    """Designs of all chains, joined."""
    return [sample["sequence"] for sample in run(sampler, data, asked, **given)["samples"]]


def run(sampler: Any, data: bytes, asked: dict[str, Any] | None = None, **given: Any) -> dict[str, Any]:
    design, chains = design_of(data, **(asked or {}))
    target = design_target("x", design, chains)
    result = as_result(sampler(**given).predict(target, TargetMsas(files={file_name("pdb"): data})))
    found: dict[str, Any] = json.loads(result.files["designs.json"])
    return found


def logs_of(
    sampler: Any, prepared: Prepared, residues: NDArray[np.int32], rank: NDArray[np.int32]
) -> NDArray[np.float32]:
    with jax.default_matmul_precision("highest"):
        found = session._score(
            sampler()._layers, prepared.backbone, residues, draws.padded_rank(rank, prepared.padded)
        )
    return np.asarray(found)[: prepared.length]


def test_log_probabilities_are_those_of_proteinmpnns_own_code(sampler: Any) -> None:
    """The numbers were recorded by benchmarks/design.py --record, with PyTorch."""
    recorded = json.loads(REFERENCE.read_text())
    for case in recorded["cases"]:
        design, chains = design_of(FV, chains=case["chains"], fixed=case["fixed"])
        start = sampler(use_soluble_model=case["soluble"])
        prepared = prepare(design, chains, start._settings)
        with jax.default_matmul_precision("highest"):
            found = session._score(
                start._layers,
                prepared.backbone,
                prepared.native,
                draws.padded_rank(np.array(case["rank"], np.int32), prepared.padded),
            )
        expected = np.array(case["log_probabilities"])
        # Padding is all that the arrays of both sides may differ in.
        assert np.abs(np.asarray(found)[: prepared.length][prepared.complete] - expected).max() < 1e-4


def test_the_native_sequence_is_recovered_as_often_as_published(sampler: Any) -> None:
    """Dauparas 2022, fig. 2: 0.52 at T = 0.1; antibodies a little less. A wrong network gives 0.1."""
    found = run(sampler, FV, num_seq_per_target=8)
    recovery = [sample["recovery"] for sample in found["samples"]]
    assert 0.42 < np.mean(recovery) < 0.6
    assert found["native"]["score"] > np.mean([sample["score"] for sample in found["samples"]])


def test_each_residue_was_drawn_from_what_the_network_says_in_that_order(sampler: Any) -> None:
    """Near temperature 0 a draw is the most probable residue. The decoder that decides one by one and the one
    that sees a whole sequence are two programs: here they must agree at every position."""
    design, chains = design_of(LIGHT, fixed={"L": [5, 30]})
    start = sampler(num_seq_per_target=8, sampling_temp=[1e-4], omit_AAs="C")
    prepared = prepare(design, chains, start._settings)
    with jax.default_matmul_precision("highest"):
        residues, logs = start._chunk(prepared, 1e-4, range(1, 9))
    drawn = np.flatnonzero(prepared.scored)
    best = np.argmax(logs[:, : prepared.length] + prepared.bias[: prepared.length], axis=-1)
    agree = best[:, drawn] == residues[:, drawn]
    # Two residues may be as probable to the last digit; none was here.
    assert agree.all(), f"{(~agree).sum()} of {agree.size}"
    assert len({bytes(each) for each in residues}) > 1  # orders differ, and with them the sequences


def test_so_many_are_drawn_as_asked_and_the_first_are_the_same_however_many(sampler: Any) -> None:
    five, eight = (sequences(sampler, LIGHT, num_seq_per_target=number) for number in (5, 8))
    assert len(five) == 5 and five == eight[:5]
    assert len(set(eight)) == 8


def test_equal_seeds_give_equal_sequences_in_any_session_and_others_do_not(sampler: Any) -> None:
    first = run(sampler, LIGHT, num_seq_per_target=5, seed=0)
    assert run(sampler, LIGHT, num_seq_per_target=5, seed=0) == first
    other = sequences(sampler, LIGHT, num_seq_per_target=5, seed=1)
    assert not set(other) & {sample["sequence"] for sample in first["samples"]}


def test_a_temperature_gives_the_same_with_and_without_others(sampler: Any) -> None:
    both = run(sampler, LIGHT, num_seq_per_target=3, sampling_temp="0.1 0.5")
    assert [(each["temperature"], each["sample"]) for each in both["samples"]] == [
        (temperature, sample) for temperature in (0.1, 0.5) for sample in (1, 2, 3)
    ]
    alone = run(sampler, LIGHT, num_seq_per_target=3, sampling_temp=0.5)
    assert alone["samples"] == both["samples"][3:]
    scores = [np.mean([each["score"] for each in part]) for part in (both["samples"][:3], alone["samples"])]
    assert scores[0] < scores[1]


def test_fixed_residues_stay_omitted_ones_never_come_and_gaps_are_x(sampler: Any) -> None:
    (light,) = read_backbone(LIGHT)
    fixed = [1, 2, 3, 30, 31]
    for sequence in sequences(
        sampler, LIGHT, {"fixed": {"L": fixed}}, num_seq_per_target=8, omit_AAs="CWG", sampling_temp=1.0
    ):
        kept = {place for place in range(len(light)) if place + 1 in fixed}
        assert all(sequence[place] == light.sequence[place] for place in kept)
        free = "".join(letter for place, letter in enumerate(sequence) if place not in kept)
        assert not set(free) & set("CWG")
        assert [place for place, letter in enumerate(sequence) if letter == "X"] == np.flatnonzero(
            ~light.complete
        ).tolist()


def test_tied_positions_are_equal_in_every_sequence(sampler: Any) -> None:
    tied = [{"L": [place, place + 15]} for place in range(10, 20)]
    for sequence in sequences(sampler, LIGHT, {"tied": tied}, num_seq_per_target=8, sampling_temp=1.0):
        assert sequence[9:19] == sequence[24:34]


def test_bias_moves_what_is_drawn(sampler: Any) -> None:
    bias = [("L", place, {"W": 50.0}) for place in (1, 2)]
    for sequence in sequences(sampler, LIGHT, {"bias": bias}, num_seq_per_target=8, bias_AA={"P": -50.0}):
        assert sequence[:2] == "WW" and "P" not in sequence


def test_noise_on_the_backbone_changes_the_sequences_and_has_the_same_seed(sampler: Any) -> None:
    (noisy,) = sequences(sampler, LIGHT, num_seq_per_target=1, backbone_noise=0.3)
    assert [noisy] == sequences(sampler, LIGHT, num_seq_per_target=1, backbone_noise=0.3)
    assert noisy not in sequences(sampler, LIGHT, num_seq_per_target=8)


def test_padding_changes_nothing(sampler: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for lengths in ((LENGTH,), (64,), (80,)):
        monkeypatch.setattr(shapes, "LENGTHS", lengths)
        design, chains = design_of(LIGHT)
        prepared = prepare(design, chains, ProteinMpnnSettings())
        assert prepared.padded == lengths[0]
        rank, _ = draws.order_of(draws.stream(0, 0.0, 0), prepared.scored)
        found.append(logs_of(sampler, prepared, prepared.native, rank)[prepared.complete])
    assert np.abs(found[1] - found[0]).max() < 2e-5
    assert np.abs(found[2] - found[0]).max() < 2e-5


def test_a_backbone_smaller_than_its_neighbourhood_is_not_disturbed_by_padding(
    sampler: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = b"".join(line + b"\n" for line in LIGHT.splitlines() if line[22:26] < b"   9")
    found = []
    for lengths in ((6,), (64,)):
        monkeypatch.setattr(shapes, "LENGTHS", lengths)
        design, chains = design_of(small)
        prepared = prepare(design, chains, ProteinMpnnSettings())
        rank, _ = draws.order_of(draws.stream(0, 0.0, 0), prepared.scored)
        found.append(logs_of(sampler, prepared, prepared.native, rank))
    assert found[0].shape == (6, 21)
    assert np.abs(found[1] - found[0]).max() < 2e-5


@settings(max_examples=40, deadline=None)
@given(
    drawn=st.lists(st.booleans(), min_size=4, max_size=40),
    seed=st.integers(0, 2**31 - 1),
    pairs=st.lists(st.tuples(st.integers(0, 39), st.integers(0, 39)), max_size=4),
)
def test_what_is_known_is_decided_first_and_a_group_together(
    drawn: list[bool], seed: int, pairs: Sequence[tuple[int, int]]
) -> None:
    mask = np.array(drawn)
    tied: list[list[int]] = []
    for pair in pairs:
        free = all(each < len(mask) and mask[each] and each not in chain.from_iterable(tied) for each in pair)
        if free and pair[0] != pair[1]:
            tied.append(list(pair))
    rank, groups = draws.order_of(draws.stream(seed, 0.1, 1), mask, tied)
    assert sorted(rank.tolist()) == list(range(len(mask)))
    if mask.any() and not mask.all():
        assert rank[~mask].max() < rank[mask].min()
    assert sorted(chain.from_iterable(groups)) == np.flatnonzero(mask).tolist()
    for group in tied:
        assert sorted(rank[group].tolist()) == list(range(rank[group].min(), rank[group].min() + 2))
        assert group in groups


def test_draws_follow_the_probabilities() -> None:
    """Gumbel noise on logits: 40,000 draws of one position against their softmax."""
    logits = np.log(np.array([0.5, 0.3, 0.15, 0.05]))
    noise = np.concatenate(
        [draws.draw(draws.stream(7, 0.1, sample), np.ones(100, bool), (), 100).noise for sample in range(400)]
    )
    shares = np.bincount(np.argmax(logits + noise[:, :4], axis=1), minlength=4) / len(noise)
    assert np.abs(shares - np.exp(logits)).max() < 0.01


def test_all_parameters_are_read_and_have_the_networks_shapes(proteinmpnn_weights: Path) -> None:
    for kind in weights.KINDS:
        for name in ("v_48_002", "v_48_010", "v_48_020", "v_48_030"):
            path = weights.existing(proteinmpnn_weights, kind, name)
            assert network.arranged(weights.load(path, kind, name))["W_s"]["weight"].shape == (21, 128)
    with pytest.raises(WeightsMissingError, match="not those of ProteinMPNN"):
        network.arranged({"W_s.weight": np.zeros((21, 128), np.float32)})


def test_parameters_that_are_missing_or_damaged_are_told_with_the_command(
    proteinmpnn_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SNAKEFOLD_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    with pytest.raises(WeightsMissingError, match="weights fetch proteinmpnn"):
        ENGINE.parameters(str(tmp_path), ProteinMpnnSettings(), ENGINE.groups)
    path = weights.parameters_file(tmp_path, "vanilla", "v_48_020")
    path.parent.mkdir(parents=True)
    data = weights.parameters_file(proteinmpnn_weights, "vanilla", "v_48_020").read_bytes()
    path.write_bytes(data[:-1])
    with pytest.raises(WeightsMissingError, match="expected 6681301"):
        ENGINE.parameters(str(tmp_path), ProteinMpnnSettings(), ENGINE.groups)
    path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    with pytest.raises(WeightsMissingError, match="damaged"):
        ENGINE.parameters(str(tmp_path), ProteinMpnnSettings(), ENGINE.groups)


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        ({"sampling_temp": 0}, "greater than 0"),
        ({"sampling_temp": "a b"}, "expected temperatures"),
        ({"sampling_temp": []}, "at least 1"),
        ({"omit_AAs": "B"}, "'B' is no amino acid"),
        ({"omit_AAs": LETTERS}, "none is left"),
        ({"bias_AA": {"WW": 1.0}}, "'WW' is no amino acid"),
        ({"bias_AA": {"W": float("inf")}}, "not between"),
        ({"model_name": "v_48_011"}, "v_48_020"),
        ({"num_seq_per_target": 0}, "greater than or equal to 1"),
    ],
)
def test_wrong_settings_are_refused(given_: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ProteinMpnnSettings(**given_)


def test_settings_of_one_meaning_have_one_recipe() -> None:
    same = [
        {"sampling_temp": each, "omit_AAs": omit}
        for each, omit in ((0.1, "CW"), ("0.1", "WXC"), ([0.1], "cw"))
    ]
    recipe = {
        recipes.digest(ENGINE.recipe("design", ProteinMpnnSettings(**each), None))  # type: ignore[arg-type]
        for each in same
    }
    assert len(recipe) == 1


def test_a_sequence_is_no_backbone() -> None:
    from snakefold.kernel.contracts import TargetInput
    from snakefold.kernel.recipes import sequence_key

    target = TargetInput(id="x", key=sequence_key(["ACDE"]), chains=["ACDE"])
    with pytest.raises(TargetError, match="this is a sequence") as error:
        ENGINE.check(target, ProteinMpnnSettings())
    assert error.value.reason is Reason.INVALID_INPUT


def test_the_task_of_a_batch_gives_sequences_and_the_store_has_them(
    proteinmpnn_weights: Path, tmp_path: Path
) -> None:
    from snakefold.kernel import archive
    from snakefold.kernel.store import FolderStore
    from snakefold.run.task import read_response, run_request

    design, chains = design_of(LIGHT)
    target = design_target("light", design, chains)
    chosen = ProteinMpnnSettings(num_seq_per_target=2)
    recipe = get("proteinmpnn").recipe("design", chosen, proteinmpnn_weights)
    request = FoldRequest(
        batch="b1",
        engine="proteinmpnn",
        settings=chosen.model_dump(mode="json"),
        recipe=recipes.digest(recipe),
        engine_recipe=recipe,
        targets=[target],
    )
    told: list[str] = []
    for number in (1, 2):
        response = run_request(
            request,
            {f"targets/{target.result_key}/backbone.pdb": LIGHT},
            tmp_path / f"{number}.tar.zst",
            store=FolderStore(tmp_path / "store"),
            weights=proteinmpnn_weights,
            cache=None,
            log=told.append,
        )
        assert [outcome.state for outcome in response.outcomes] == ["done"]
        assert response.outcomes[0].stored == (number == 2)
    files = archive.unpack((tmp_path / "2.tar.zst").read_bytes())
    assert read_response(files).engine == "proteinmpnn"
    made = archive.unpack(files[f"targets/{target.result_key}.tar.zst"])
    assert made["designs.fa"].count(b">") == 3
    assert not [name for name in made if name.startswith("ranked_")]
    assert json.loads(made["confidence.json"])["scores"]["designs"] == 2


def aligned(native: BackboneChain, same: Sequence[int]) -> ChainMsa:
    """An alignment in which these positions (from 1) never change, and all others do."""
    rows = [native.sequence]
    for number in range(12):
        letters = [LETTERS[(number * 5 + place * 3) % 20] for place in range(len(native))]
        for position in same:
            letters[position - 1] = native.sequence[position - 1]
        rows.append("".join(letters))
    return ChainMsa(a3m="".join(f">{number}\n{row}\n" for number, row in enumerate(rows)))


def test_the_most_conserved_share_stays(sampler: Any) -> None:
    chains = read_backbone(LIGHT)
    free = int(chains[0].complete.sum())
    same = [*range(20, 20 + round(free * 0.25))]
    design = make_design(chains, LIGHT, "pdb", Wanted(conserved=0.25))
    target = design_target("x", design, chains)
    assert ENGINE.group(target, ProteinMpnnSettings()) == "conserved"
    assert ENGINE.needs("conserved", ProteinMpnnSettings()).alignment
    msas = TargetMsas(chains=[aligned(chains[0], same)], files={file_name("pdb"): LIGHT})
    result = as_result(sampler(num_seq_per_target=8, sampling_temp=1.0).predict(target, msas))
    found = json.loads(result.files["designs.json"])
    assert found["fixed_positions"] == {"L": same}
    for sample in found["samples"]:
        assert all(sample["sequence"][each - 1] == chains[0].sequence[each - 1] for each in same)


def test_tied_positions_stay_together_or_not_at_all() -> None:
    chains = read_backbone(LIGHT)
    tied = [{"L": [20, 40]}, {"L": [21, 41]}]
    design = make_design(chains, LIGHT, "pdb", Wanted(conserved=0.1, tied=tied))
    kept = tiers.with_conserved(design, chains, [aligned(chains[0], [20, 21, 22, 40, 41, 42])])
    assert {20, 40} <= set(kept.fixed["L"]) or not {20, 40} & set(kept.fixed["L"])
    for group in kept.tied:
        assert not {position for _, position in group} & set(kept.fixed["L"])
    assert len(kept.fixed["L"]) <= round(0.1 * int(chains[0].complete.sum()))


def test_without_homologs_nothing_is_called_conserved() -> None:
    chains = read_backbone(LIGHT)
    design = make_design(chains, LIGHT, "pdb", Wanted(conserved=0.5))
    for alignment in (None, ChainMsa(a3m=f">q\n{chains[0].sequence}\n")):
        with pytest.raises(TargetError, match="no homolog"):
            tiers.with_conserved(design, chains, [alignment])


def test_what_a_small_gpu_cannot_hold_is_refused_before_the_network_runs(
    sampler: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    design, chains = design_of(LIGHT)
    target = design_target("x", design, chains)
    msas = TargetMsas(files={file_name("pdb"): LIGHT})
    started = sampler()

    class SmallGpu:
        """A device that tells its memory, as CPUs do not; bytes."""

        def memory_stats(self) -> dict[str, int]:
            return {"bytes_limit": 1_000_000}

    ran: list[Prepared] = []
    monkeypatch.setattr(jax, "devices", lambda *_: [SmallGpu()])
    monkeypatch.setattr(ProteinMpnnSession, "design", lambda _, prepared: ran.append(prepared))
    with pytest.raises(TargetError, match=r"positions need about .* GB; .* has 0\.0 GB") as error:
        started.predict(target, msas)
    assert error.value.reason is Reason.OUT_OF_MEMORY
    assert not ran
