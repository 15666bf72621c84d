"""A database in which sequences come more than once: the program's rows, for less work."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jackhmmer_reference import by_alphafold, chain, demo, preset, rows, searched

from snakefold.msa import jackhmmer, repeats

UBIQUITIN = "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG"
SH3 = "MDETGKELVLALYDYQEKSPREVTMKKGDILTLLNSTNKDWWKVEVNDRQGFVPAAYVKKLD"
ORPHAN = "WCMHWCYHMWCHYMWPCHMWYCHWMPCYHWMCHYW"


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo database, a third of it twice or three times, under other names and anywhere."""
    records = [text.split("\n", 1) for text in demo().read_text().lstrip(">").split("\n>")]
    drawn = random.Random(7)
    more = []
    for number in range(1, 3):
        for header, text in drawn.sample(records, len(records) // 4):
            name, _, rest = header.partition(" ")
            more.append([f"{name}_{number} {rest}", text.lower() if number == 2 else text])
    everything = records + more
    drawn.shuffle(everything)
    path = tmp_path_factory.mktemp("repeats") / "db.fasta"
    path.write_text("".join(f">{header}\n{text.strip()}\n" for header, text in everything))
    return path


@pytest.fixture(scope="module")
def theirs(database: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("theirs")
    return {query: rows(by_alphafold(query, database, folder)) for query in (UBIQUITIN, SH3, ORPHAN)}


@pytest.mark.parametrize("sizes", [(4_000_000, 500_000), (60_000, 500_000), (60_000, 200)])
def test_rows_are_those_of_the_program(
    database: Path,
    theirs: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sizes: tuple[int, int],
) -> None:
    """Whatever is remembered: within a block, from block to block, or forgotten in between."""
    block, remembered = sizes
    monkeypatch.setattr(jackhmmer, "_BLOCK_RESIDUES", block)
    monkeypatch.setattr(jackhmmer, "Repeats", lambda: repeats.Repeats(remembered))
    looked_at: Counter[str] = Counter()
    search_block = jackhmmer._search_block

    def counted(query: Any, targets: Any, pipelines: Any) -> Any:
        looked_at[query.chain.sequence] += len(targets.sequences)
        return search_block(query, targets, pipelines)

    monkeypatch.setattr(jackhmmer, "_search_block", counted)
    ours = searched([chain(query) for query in theirs], preset(database), tmp_path)
    for query, expected in theirs.items():
        assert rows(ours[chain(query).key].text) == expected
    repeated = sum(name.split("/")[0].endswith(("_1", "_2")) for name in theirs[SH3][0])
    assert repeated > 20
    sequences = database.read_text().count(">")
    different = len({text.split("\n", 1)[1].upper() for text in database.read_text().split(">")[1:]})
    if remembered > sequences:
        assert set(looked_at.values()) == {different}
        assert different < 0.8 * sequences


@settings(max_examples=60)
@given(st.lists(st.text("ACD", min_size=1, max_size=2), max_size=40), st.integers(1, 5), st.integers(1, 7))
def test_every_sequence_is_unique_or_a_repeat_of_one_before(
    sequences: list[str], remembered: int, size: int
) -> None:
    from pyhmmer.easel import Alphabet, TextSequence

    alphabet = Alphabet.amino()
    digital = [
        TextSequence(name=f"s{number}", sequence=text).digitize(alphabet)
        for number, text in enumerate(sequences)
    ]
    memory = repeats.Repeats(remembered)
    before: list[str] = []
    for start in range(0, len(digital), size):
        read = digital[start : start + size]
        block = memory.split(read)
        assert len(block.unique) + block.number_of_repeats == len(read)
        unique = {sequence.name: sequence.textize().sequence for sequence in block.unique}
        again = {name for names in block.repeats.values() for name in names}
        assert len(again) == block.number_of_repeats
        for name, text in zip((each.name for each in read), sequences[start : start + size], strict=True):
            # What is remembered is never unique again; what is none has been unique.
            if name in unique:
                assert unique[name] == text
                assert text not in before[-remembered:]
                before.append(text)
            else:
                assert name in again
                assert text in before
        assert block.digest.keys() == unique.keys()
        assert {name: each.textize().sequence for name, each in block.named.items()} == unique
        assert len(set(block.digest.values())) == len(set(unique.values()))


def test_a_name_that_is_two_sequences_tells_no_repeats() -> None:
    """By its name alone a hit of one could not be told from a hit of the other."""
    from pyhmmer.easel import Alphabet, TextSequence

    alphabet = Alphabet.amino()
    records = [("a", "ACDE"), ("b", "ACDE"), ("a", "CCCC"), ("c", "CCCC"), ("d", "CCCC"), ("d", "ACDE")]
    digital = [TextSequence(name=name, sequence=text).digitize(alphabet) for name, text in records]
    block = repeats.Repeats().split(digital)
    assert [sequence.name for sequence in block.unique] == ["a", "b", "a", "c"]
    assert list(block.digest) == list(block.named) == ["b", "c"]
    assert [block.repeats[block.digest[name]] for name in "bc"] == [["d"], ["d"]]
