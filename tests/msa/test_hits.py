"""Hits beyond the limit of rows: the program's rows, for little memory a hit."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from families import ALPHABET, NATURAL, chain, descendant
from jackhmmer_reference import by_alphafold, preset, rows, searched

from snakefold.msa import hits, jackhmmer

SCRIPT = """
import random, resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from jackhmmer_reference import chain, preset
from snakefold.msa import jackhmmer
draw = random.Random(1)
letters = "ACDEFGHIKLMNPQRSTVWY"
query = "".join(draw.choices(letters, k=150))
path = Path(sys.argv[1])
with path.open("w") as stream:
    for number in range(int(sys.argv[2])):
        row = list(query)
        for place in draw.sample(range(150), 45):
            row[place] = draw.choice(letters)
        stream.write(f">tr|A{number:07d}|X\\n{''.join(row)}\\n")
jackhmmer._BLOCK_RESIDUES = 30_000
(database,) = preset(path, 20).databases
(found,) = jackhmmer.search_database([chain(query)], database, 1, lambda line: None)
print(found.found, len(found.hits), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_a_hit_beyond_the_limit_takes_little_memory(tmp_path: Path) -> None:
    """Some 800 bytes of 150 residues; whole it would take ten times as much."""
    kilobytes = []
    for number in (2000, 6000):
        command = [sys.executable, "-c", SCRIPT, str(tmp_path / "many.fasta"), str(number)]
        done = subprocess.run([*command, str(Path(__file__).parent)], check=True, capture_output=True)
        found, listed, peak = map(int, done.stdout.split())
        assert found >= listed == number
        kilobytes.append(peak)
    assert (kilobytes[1] - kilobytes[0]) / 4000 < 2.0


def relatives(seed: int) -> tuple[str, list[tuple[str, str]]]:
    """A query and a database: close and far relatives, whole, in pieces and several times in one sequence.

    A quarter is there twice, a few names are two sequences', and the rest is random.
    """
    draw = random.Random(seed)
    query = NATURAL[draw.choice(sorted(NATURAL))]
    records: list[tuple[str, str]] = []
    for number in range(150):
        domains = []
        for _ in range(draw.choice([1, 1, 1, 2, 4])):
            text = descendant(query, draw, draw.uniform(0.05, 0.75))
            start = draw.choice([0, 0, draw.randrange(len(text) // 2)])
            linker = "".join(draw.choices(ALPHABET, k=draw.randrange(40)))
            domains.append(text[start : start + draw.randrange(len(query) // 3, 2 * len(query))] + linker)
        records.append((f"s/{number:03d}|X", "".join(domains)))
    records += [(f"r{number:03d}", text) for number, (_, text) in enumerate(draw.sample(records, 40))]
    records += [("s/000|X", descendant(query, draw, 0.3)), ("s/001|X", descendant(query, draw, 0.3))]
    records += [
        (f"n{number:03d}", "".join(draw.choices(ALPHABET, k=draw.randrange(30, 200)))) for number in range(60)
    ]
    draw.shuffle(records)
    return query, records


def forget_all(self: hits.Hits) -> None:
    for candidate in self._whole:
        candidate.whole = None
    self._whole = []


@pytest.mark.parametrize("kept", ["some", "none"])
@pytest.mark.parametrize("seed", range(3))
def test_rows_do_not_depend_on_what_was_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, kept: str
) -> None:
    """A forgotten alignment that is needed is made again: the program's rows, whatever the limit."""
    query, records = relatives(seed)
    path = tmp_path / "db.fasta"
    path.write_text("".join(f">{name} text\n{text}\n" for name, text in records))
    monkeypatch.setattr(jackhmmer, "_BLOCK_RESIDUES", 4000)
    monkeypatch.setattr(hits, "_SPARE", 1)
    if kept == "none":
        monkeypatch.setattr(hits.Hits, "_drop", forget_all)
    again: list[int] = []
    real = jackhmmer.searchable

    def counted(candidates: Sequence[Any], alphabet: Any) -> list[Any]:
        again.append(len(candidates))
        return real(candidates, alphabet)

    monkeypatch.setattr(jackhmmer, "searchable", counted)
    names, sequences, insertions = rows(by_alphafold(query, path, tmp_path))
    everything = searched([chain(query)], preset(path), tmp_path)[chain(query).key]
    assert rows(everything.text)[:2] == (names, sequences)
    assert everything.found == len(names) - 1 > 150
    for limit in (1, 2, 3, 7, 20, 60, len(names) - 1, len(names), 1000):
        again.clear()
        ours = searched([chain(query)], preset(path, limit), tmp_path)[chain(query).key]
        assert rows(ours.text) == (names[:limit], sequences[:limit], insertions[:limit]), limit
        assert (ours.found, ours.hits) == (everything.found, everything.hits)
        if kept == "none" and limit > 3:
            assert sum(again) > 0


def test_what_hmmer_does_not_find_again_is_an_error() -> None:
    judged = hits.Judged(sequences=1, reported=1, threshold=1e-3)
    judged.chosen[hits.Candidate("lost", 50.0, 1e-20, (1e-20,), 90.0, 50, residues=b"\0")] = None
    with pytest.raises(RuntimeError, match="lost"):
        judged.take([])
