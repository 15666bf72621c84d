"""Alignments: parity with AlphaFold's parsers and features, merging, Neff."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snakefold.msa import a3m

LETTERS = "ACDEFGHIKLMNPQRSTVWY"


@st.composite
def stockholms(draw: st.DrawFn) -> str:
    """Stockholm text as jackhmmer writes it: query first, insertions where it has gaps, wrapped or not."""
    width = draw(st.integers(1, 40))
    query = draw(st.text(LETTERS + "-", min_size=width, max_size=width).filter(lambda row: set(row) != {"-"}))
    rows = draw(st.lists(st.text(LETTERS + "XUZ-", min_size=width, max_size=width), max_size=12))
    names = ["query", *(f"sp|P{number:05}|NAME_SPEC{number}/1-{width}" for number in range(len(rows)))]
    wrap = draw(st.integers(1, width))
    lines = ["# STOCKHOLM 1.0", "#=GF ID query", "", "#=GS sp|P00000|NAME_SPEC0/1-9 DE [subseq from] a b c"]
    for start in range(0, width, wrap):
        lines += [
            f"{name:<40} {row[start : start + wrap]}" for name, row in zip(names, [query, *rows], strict=True)
        ]
        lines += [f"#=GC RF{'':<33} {'x' * wrap}", ""]
    return "\n".join([*lines, "//", ""])


@st.composite
def a3ms(draw: st.DrawFn) -> str:
    length = draw(st.integers(1, 30))
    text = f">query\n{draw(st.text(LETTERS, min_size=length, max_size=length))}\n"
    for number in range(draw(st.integers(0, 10))):
        columns = draw(st.lists(st.sampled_from(LETTERS + "-X"), min_size=length, max_size=length))
        inserted = draw(
            st.lists(st.text(LETTERS.lower(), max_size=3), min_size=length + 1, max_size=length + 1)
        )
        row = "".join(map("".join, zip(inserted, [*columns, ""], strict=True)))
        text += f">tr|A0A{number:07}|A0A{number:07}_HUMAN/3-{length} a description\n{row}\n"
    return text


def deletions(msa: a3m.Msa) -> np.ndarray:
    """AlphaFold's deletion matrix, [rows, query length]: insertions right before each column."""
    counts = np.zeros((len(msa), len(msa.query)), np.int32)
    for number, row in enumerate(msa.rows):
        columns = [place for place, letter in enumerate(row) if not letter.islower()]
        counts[number] = np.diff(columns, prepend=-1) - 1
    return counts


def as_alphafold_sees(msa: a3m.Msa) -> tuple[list[str], list[list[int]], list[str]]:
    rows = [bytes(row).decode() for row in msa.aligned()]
    return rows, deletions(msa).tolist(), list(msa.names)


@given(stockholms())
@settings(deadline=None)
def test_stockholm_is_read_as_alphafold_reads_it(text: str) -> None:
    from alphafold.data import parsers

    expected = parsers.parse_stockholm(text)
    ours = a3m.parse_stockholm(text)
    assert as_alphafold_sees(ours) == (
        list(expected.sequences),
        [list(row) for row in expected.deletion_matrix],
        list(expected.descriptions),
    )
    # What we write is an A3M that AlphaFold reads as the same alignment.
    again = parsers.parse_a3m(ours.to_a3m())
    assert list(again.sequences) == list(expected.sequences)
    assert [list(row)[: len(ours.aligned()[0])] for row in again.deletion_matrix] == [
        list(row) for row in expected.deletion_matrix
    ]


@given(a3ms())
@settings(deadline=None)
def test_a3m_is_read_as_alphafold_reads_it(text: str) -> None:
    from alphafold.data import parsers

    expected = parsers.parse_a3m(text)
    ours = a3m.parse_a3m(text)
    assert as_alphafold_sees(ours) == (
        list(expected.sequences),
        [list(row) for row in expected.deletion_matrix],
        list(expected.descriptions),
    )
    assert a3m.parse_a3m(ours.to_a3m()) == ours


@given(stockholms(), st.integers(1, 3))
@settings(deadline=None, max_examples=50)
def test_merged_rows_are_the_features_of_the_original_pipeline(text: str, times: int) -> None:
    """AlphaFold drops a row whose aligned sequence it has seen; the installed fork has that taken out."""
    from alphafold.data import parsers, pipeline

    # Several databases with all rows in common: only the first alignment's stay.
    same_query = [text] * times
    raw = [parsers.parse_stockholm(text) for text in same_query]
    features = pipeline.make_msa_features(raw)
    _, first = np.unique(features["msa"], axis=0, return_index=True)
    # Letters that share a code (B and D, …) make rows equal as features that are not equal as sequences.
    sequences = [sequence for msa in raw for sequence in msa.sequences]
    keep = [number for number, row in enumerate(sequences) if row not in sequences[:number]]
    assert set(first) <= set(keep)

    merged = a3m.merge(a3m.parse_stockholm(text) for text in same_query)
    ours = pipeline.make_msa_features([parsers.parse_a3m(merged.to_a3m())])
    for name in ("msa", "msa_species_identifiers"):
        assert (ours[name] == features[name][keep]).all(), name
    assert (deletions(merged) == features["deletion_matrix_int"][keep]).all()


def test_species_reach_the_features() -> None:
    from alphafold.data import parsers, pipeline

    text = ">q\nACD\n>sp|P69905|HBA_HUMAN/1-3\nACE\n>sp|P01942|HBA_MOUSE/1-3\nAcC-\n"
    merged = a3m.merge([a3m.parse_a3m(text)])
    features = pipeline.make_msa_features([parsers.parse_a3m(merged.to_a3m())])
    assert features["msa_species_identifiers"].tolist() == [b"", b"HUMAN", b"MOUSE"]


def test_truncation_counts_the_query() -> None:
    msa = a3m.parse_a3m(">q\nAC\n>a\nAD\n>b\nAE\n")
    assert list(msa.truncated(2).names) == ["q", "a"]
    assert msa.truncated(None) is msa
    assert msa.truncated(3) is msa


def test_merge_refuses_alignments_of_different_queries() -> None:
    with pytest.raises(ValueError, match="different queries"):
        a3m.merge([a3m.parse_a3m(">q\nAC\n"), a3m.parse_a3m(">q\nAD\n")])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "starts with '>'"),
        ("ACD\n>q\nACD\n", "starts with '>'"),
        (">q\nACD\n>short\nAC\n", "'short' does not have the query's 3 columns"),
    ],
)
def test_broken_a3m_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        a3m.parse_a3m(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# STOCKHOLM 1.0\n//\n", "no sequence"),
        ("# STOCKHOLM 1.0\nq ACD\na AC\n//\n", "width"),
        ("# STOCKHOLM 1.0\nq ACD x\n//\n", "not a name and a row"),
    ],
)
def test_broken_stockholm_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        a3m.parse_stockholm(text)


def slow_neff(msa: a3m.Msa) -> float:
    """The definition, pair by pair."""
    rows = [bytes(row).decode() for row in msa.aligned()]
    total = 0.0
    for one in rows:
        near = 0
        for other in rows:
            pairs = [pair for pair in zip(one, other, strict=True) if pair != ("-", "-")]
            near += sum(left == right for left, right in pairs) >= 0.8 * len(pairs) - 1e-9
        total += 1 / near
    return total


@given(st.integers(1, 130), st.integers(1, 25), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=40)
def test_neff_is_its_definition(length: int, depth: int, draw: object) -> None:
    query = "".join(draw.choice(LETTERS) for _ in range(length))  # type: ignore[attr-defined]
    rows = [query]
    for _ in range(depth):
        rate = draw.random() * 0.5  # type: ignore[attr-defined]
        rows.append("".join(draw.choice("AC-") if draw.random() < rate else letter for letter in query))  # type: ignore[attr-defined]
    rows = [row for row in rows if set(row) != {"-"}]
    msa = a3m.Msa([str(number) for number in range(len(rows))], rows)
    assert a3m.neff(msa) == pytest.approx(slow_neff(msa))


def test_neff_does_not_depend_on_how_rows_are_cut_into_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(1)
    codes = draw.choice(list(b"AC-"), (60, 12), p=[0.7, 0.2, 0.1]).astype(np.uint8)
    codes[0] = ord("A")
    msa = a3m.Msa([str(number) for number in range(60)], [bytes(row).decode() for row in codes])
    whole = a3m.neff(msa)
    monkeypatch.setattr(a3m, "_NEFF_BLOCK", 7)
    assert a3m.neff(msa) == pytest.approx(whole)


def test_neff_of_equal_and_of_unlike_rows() -> None:
    assert a3m.neff(a3m.Msa(["q"], ["ACDEF"])) == 1.0
    assert a3m.neff(a3m.Msa(["q", "a"], ["ACDEF", "ACDEF"])) == 1.0
    assert a3m.neff(a3m.Msa(["q", "a"], ["ACDEF", "WWWWW"])) == 2.0
