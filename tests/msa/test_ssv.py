"""What is left out is what HMMER's first filter rejects, by HMMER's own functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jackhmmer_reference import demo
from numpy.typing import NDArray

from snakefold.msa import jackhmmer, ssv, ssv_kernel

THRESHOLD = jackhmmer.FLAGS["--F1"]
PROTEIN = "ACDEFGHIKLMNPQRSTVWY"
#: All that Easel takes for a residue: the 20, then B J Z O U X, and a stop.
ANY = PROTEIN + "BJZOUX*"


def digital(text: str, name: str = "s") -> Any:
    from pyhmmer.easel import Alphabet, TextSequence

    return TextSequence(name=name, sequence=text).digitize(Alphabet.amino())


def built(query: str) -> tuple[Any, Any]:
    """HMMER's model and profile of a query, as jackhmmer makes them."""
    from pyhmmer.easel import Alphabet
    from pyhmmer.plan7 import Background, Builder

    alphabet = Alphabet.amino()
    model, _, profile = Builder(alphabet, architecture="hand").build(digital(query), Background(alphabet))
    return model, profile


def p_value(model: Any, profile: Any, target: Any) -> float:
    """HMMER's, of its first filter: what p7_Pipeline compares with --F1."""
    from pyhmmer.plan7 import Background

    background = Background(target.alphabet)
    background.L = profile.L = len(target)
    bits = (profile.msv_filter(target) - background.null1(target)) / math.log(2)
    location, slope = list(model.evalue_parameters.as_vector())[:2]
    return -math.expm1(-math.exp(-slope * (bits - location)))


def demo_sequences() -> list[Any]:
    from pyhmmer.easel import Alphabet, SequenceFile

    with SequenceFile(str(demo()), "fasta", digital=True, alphabet=Alphabet.amino()) as file:
        return list(file.read_block())


def proteins(letters: str, longest: int) -> st.SearchStrategy[str]:
    """Sequences, many of one or two kinds of residues, that have long segments in common."""
    short = st.text(letters, min_size=1, max_size=8)
    repeated = st.builds(lambda text, times: (text * times)[:longest], short, st.integers(1, longest))
    return repeated | st.text(letters, min_size=1, max_size=longest)


@settings(max_examples=150, deadline=None)
@given(proteins(PROTEIN, 200), st.lists(proteins(ANY, 400), max_size=8))
def test_scores_are_hmmers(query: str, targets: list[str]) -> None:
    """To the last unit, and where HMMER does not say, the score says why."""
    model, profile = built(query)
    sequences = [digital(text) for text in [*targets, query, query + "G" * 90 + query]]
    kernel = ssv.Filter(model, profile, THRESHOLD).costs
    found = ssv_kernel.best_segments(kernel, ssv.Targets.of(sequences).residues)
    for sequence, score in zip(sequences, found.astype(int) + 256, strict=True):
        profile.L = len(sequence)
        theirs = profile.ssv_filter(sequence)
        if profile.tjb + profile.tbm + profile.tec + profile.bias_b >= 127:
            assert math.isnan(theirs)
        elif score >= 255 - profile.bias_b or score > profile.tjb + profile.tbm + profile.tec + 128:
            assert math.isnan(theirs) or math.isinf(theirs)
        else:
            units = score - 128 - profile.tbm - profile.tec - 2 * profile.tjb
            assert theirs == pytest.approx(units / profile.scale_b - 3, abs=1e-5)


@settings(max_examples=100, deadline=None)
@given(proteins(PROTEIN, 120), st.lists(proteins(ANY, 300), max_size=8), st.floats(1e-6, 0.9))
def test_what_hmmer_lets_pass_passes(query: str, targets: list[str], threshold: float) -> None:
    model, profile = built(query)
    sequences = [digital(text, str(n)) for n, text in enumerate([*targets, query, query[: len(query) // 2]])]
    sequences = [sequence for sequence in sequences if len(sequence)]
    passing = ssv.Filter(model, profile, threshold).passing(ssv.Targets.of(sequences))
    theirs = [each.name for each in sequences if p_value(model, profile, each) <= threshold]
    assert set(theirs) <= {each.name for each in passing}


@pytest.mark.parametrize(
    "query",
    [
        "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG",
        "WCMHWCYHMWCHYMWPCHMWYCHWMPCYHWMCHYW",
        "G",
        "AGSTPN" * 100,
    ],
)
def test_of_a_database_little_else_passes(query: str) -> None:
    """Besides what HMMER lets pass: what may, if more than one segment counts."""
    model, profile = built(query)
    sequences = demo_sequences()
    passing = ssv.Filter(model, profile, THRESHOLD).passing(ssv.Targets.of(sequences))
    assert [each for each in sequences if any(each is one for one in passing)] == passing
    uncertain = 0
    left_out = {each.name for each in sequences} - {each.name for each in passing}
    for each in sequences:
        p = p_value(model, profile, each)
        if p <= THRESHOLD:
            assert each.name not in left_out
        elif each.name not in left_out:
            uncertain += math.isfinite(profile.ssv_filter(each))
    assert uncertain <= 2
    assert len(left_out) > 0.5 * len(sequences)


def test_segments_count_together() -> None:
    """HMMER adds segments up: the best one alone would not do."""
    query = "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG"
    model, profile = built(query)
    segment, spacer = query[10:20], "AGSTPN"
    target = digital((spacer * 20).join([segment] * 8))
    threshold = 1.001 * p_value(model, profile, target)
    assert math.isnan(profile.ssv_filter(target))
    assert 0 < 1000 * threshold < p_value(model, profile, digital(segment + spacer * 150))
    assert ssv.Filter(model, profile, threshold).passing(ssv.Targets.of([target])) == [target]


def test_a_sequence_that_bytes_are_too_small_for_passes() -> None:
    """Costs grow with the logarithm of both lengths: HMMER then calculates in another way, so it has to."""
    query = "ACDEFGHIKLMNPQRSTVWY" * 1500
    model, profile = built(query)
    long, short = digital("W" * 90_000, "long"), digital("WCMH", "short")
    profile.L = len(long)
    assert profile.tjb + profile.tbm + profile.tec + profile.bias_b >= 127
    targets = ssv.Targets.of([long, short])
    assert long in ssv.Filter(model, profile, THRESHOLD).passing(targets)


def test_of_a_model_without_numbers_everything_passes() -> None:
    """HMMER asks whether the P-value is above the threshold, and no number is."""
    model, profile = built("MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQ")
    model.evalue_parameters.m_mu = math.nan
    sequences = [digital("AGSTPN" * 10), digital("W")]
    assert math.isnan(p_value(model, profile, sequences[0]))
    assert ssv.Filter(model, profile, THRESHOLD).passing(ssv.Targets.of(sequences)) == sequences


def best_by_definition(costs: NDArray[np.int8], sequence: Sequence[int]) -> int:
    """The recurrence of the module, cell by cell."""
    positions = costs.shape[1]
    before = [-128] * (positions + 1)
    best = -128
    for residue in sequence:
        row = [-128]
        for position in range(positions):
            row.append(min(127, max(-128, before[position] - int(costs[residue, position]))))
        best, before = max(best, *row), row
    return best


def striped_as(costs: NDArray[np.int8], lanes: int, most: int) -> ssv_kernel.Costs:
    """As on a processor whose vectors have so many lanes, and whose registers hold so many of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssv_kernel, "_vectors", lambda: (lanes, most))
        return ssv_kernel.striped(costs)


@settings(max_examples=80, deadline=None)
@given(
    st.integers(1, 200),
    st.lists(st.lists(st.integers(0, ssv_kernel.CODES - 1), max_size=200).map(bytes), max_size=6),
    st.tuples(st.integers(0, 2**32), st.sampled_from([(-12, 12), (-128, 127), (-3, 40), (1, 1)])),
    st.sampled_from([(16, 10), (16, 1), (32, 24), (32, 2), (64, 1), (64, 24)]),
    st.integers(-128, 128),
)
def test_the_machine_code_does_what_it_says(
    positions: int,
    sequences: list[bytes],
    drawn_by: tuple[int, tuple[int, int]],
    vectors: tuple[int, int],
    least: int,
) -> None:
    seed, bounds = drawn_by
    drawn = np.random.default_rng(seed).integers(*bounds, (ssv_kernel.CODES, positions), endpoint=True)
    costs = drawn.astype(np.int8)
    striped, residues = striped_as(costs, *vectors), ssv_kernel.joined(sequences)
    wanted = [best_by_definition(costs, sequence) for sequence in sequences]
    assert ssv_kernel.best_segments(striped, residues).tolist() == wanted
    # Of those that score less than wanted, it need not say how much less.
    enough = np.full(len(sequences), least, np.int16)
    found = ssv_kernel.best_segments(striped, residues, enough).tolist()
    for score, exact in zip(found, wanted, strict=True):
        assert score == exact or (score < exact < least)


@pytest.mark.parametrize("lanes", [16, 32, 64])
def test_a_segment_goes_on_from_part_to_part(lanes: int) -> None:
    """Where registers hold fewer positions than the profile has."""
    positions = 7 * lanes + 5
    sequence = bytes(np.random.default_rng(lanes).integers(0, 20, positions).astype(np.uint8))
    costs = np.full((ssv_kernel.CODES, positions), 100, np.int8)
    costs[np.frombuffer(sequence, np.uint8), np.arange(positions)] = -1
    # Of four parts, and the one segment begins in the first and ends in the last.
    striped = striped_as(costs, lanes, 2)
    assert striped.table.shape[0] == 4
    wanted = min(127, positions - 128)
    found = ssv_kernel.best_segments(striped, ssv_kernel.joined([sequence, sequence[:-1], b"\x00"]))
    assert found.tolist() == [wanted, min(127, positions - 129), -127 if costs[0, :].min() < 0 else -128]


@pytest.mark.parametrize("length", [1, 63, 64, 65, 127, 128, 129, 130, 131, 132, 133, 255, 256, 257])
@pytest.mark.parametrize("positions", [1, 63, 64, 65, 127, 128, 129, 131, 132, 133])
def test_the_only_segment_is_found_wherever_it_is(length: int, positions: int) -> None:
    """Any residue at any position: the ends of vectors and of the unrolled rows are the places to err."""
    draw = np.random.default_rng(length * 1000 + positions)
    for row, position in {(0, 0), (length - 1, positions - 1), (0, positions - 1), (length - 1, 0)} | {
        (int(draw.integers(length)), int(draw.integers(positions))) for _ in range(20)
    }:
        costs = np.full((ssv_kernel.CODES, positions), 5, np.int8)
        costs[7, position] = -9
        sequence = bytearray([3]) * length
        sequence[row] = 7
        others = [bytes([3]) * 50, bytes(sequence), b"", bytes([3]) * 200]
        found = ssv_kernel.best_segments(ssv_kernel.striped(costs), ssv_kernel.joined(others))
        assert found.tolist() == [-128, -119, -128, -128]


def test_threads_do_not_meet() -> None:
    model, profile = built("MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG")
    targets = ssv.Targets.of(demo_sequences())
    kernel = ssv.Filter(model, profile, THRESHOLD).costs
    alone = ssv_kernel.best_segments(kernel, targets.residues)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: ssv_kernel.best_segments(kernel, targets.residues), range(40)):
            assert np.array_equal(found, alone)


@pytest.mark.parametrize("sequences", [[b"\x01\x1d"], [b"\x01", b"\xff"], [bytes([30]) * 100]])
def test_bytes_that_are_no_residues_reach_no_machine_code(sequences: list[bytes]) -> None:
    with pytest.raises(ValueError, match="no code below 29"):
        ssv_kernel.joined(sequences)


@pytest.mark.parametrize("shape", [(29, 0), (28, 10), (30, 10)])
def test_costs_of_another_alphabet_are_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="expected costs of 29 residues"):
        ssv_kernel.striped(np.zeros(shape, np.int8))
