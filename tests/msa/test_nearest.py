"""The nearest known sequence, by the real mmseqs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.designed import drawn, write_backbone

from snakefold.kernel.errors import DatabaseMissingError
from snakefold.msa import programs
from snakefold.msa.nearest import Nearest, check_database, nearest
from snakefold.run.designs.listed import write_list
from snakefold.run.designs.novelty import read_nearest, write_nearest
from snakefold.run.designs.places import LIST, nearest_file

UBQ = "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG"


def mutated(sequence: str, places: int) -> str:
    """With so many other letters, evenly spread."""
    letters = list(sequence)
    for at in np.linspace(3, len(sequence) - 4, places).round().astype(int):
        letters[at] = "A" if letters[at] != "A" else "G"
    return "".join(letters)


@pytest.fixture
def known(tmp_path: Path) -> Path:
    """A close, a closer but shorter, and a closer sequence."""
    records = {"far": mutated(UBQ, 20), "sp|P1|PART_X": UBQ[:30], "sp|P2|NEAR_X": mutated(UBQ, 4)}
    path = tmp_path / "known.fasta"
    path.write_text("".join(f">{name} of ubiquitin\n{letters}\n" for name, letters in records.items()))
    return path


def test_the_nearest_has_the_most_identical_residues_of_the_query(known: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    queries = [UBQ, "GS" * 20, mutated(UBQ, 20)]
    found = nearest(queries, known, tmp_path / "work", lines.append)
    assert found[0] is not None and found[2] is not None and found[1] is None
    assert (found[0].name, found[0].coverage) == ("sp|P2|NEAR_X", 1.0)
    assert found[0].identity == pytest.approx(72 / 76, abs=0.002) and found[0].evalue < 1e-20
    assert (found[2].name, found[2].identity) == ("far", 1.0)
    assert not any((tmp_path / "work").iterdir()) and len(lines) == 4

    database = tmp_path / "db" / "known"
    database.parent.mkdir()
    programs.run([programs.find("mmseqs"), "createdb", known, database], tmp_path, lines.append)
    assert nearest(queries, database, tmp_path / "work", lines.append) == found


def test_many_are_found_by_an_index(known: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    here = nearest([UBQ], known, tmp_path, lines.append)
    monkeypatch.setattr("snakefold.msa.nearest._FEW", 0)
    assert nearest([UBQ], known, tmp_path, lines.append) == here != [None]
    assert [line.rpartition("--prefilter-mode ")[2][:1] for line in lines if " search " in line] == ["1", "0"]


def test_a_shorter_hit_is_farther() -> None:
    whole, part = Nearest("whole", 0.6, 1.0, 1e-9), Nearest("part", 1.0, 0.4, 1e-9)
    assert whole.rank > part.rank


def test_a_database_that_is_missing_is_said_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(
        DatabaseMissingError, match=r"design.novelty: .*nothing: no such file, and no MMseqs2"
    ):
        check_database(tmp_path / "nothing")


def test_of_designed_chains_the_nearest_is_told(tmp_path: Path) -> None:
    sequences = drawn(3)
    write_backbone(tmp_path, "one", sequences)
    write_list(tmp_path)
    folded = sequences[1].replace("X", "")
    # Chain B was not designed: that it is known says nothing.
    (tmp_path / "known.fasta").write_text(f">second\n{folded}\n>b\nGHIKLMNPQRST\n")
    out = tmp_path / nearest_file("known.fasta")
    lines: list[str] = []
    told = {"threads": 1, "mem_mb": 1000}
    write_nearest(tmp_path / LIST, tmp_path / "known.fasta", out, tmp_path / "work", lines.append, **told)
    found = read_nearest(out)
    assert {row["nearest_chain"] for row in found.values()} == {"A"}
    assert found["one_t0.1_2"]["nearest"] == "second" and found["one_t0.1_2"]["nearest_identity"] == 1.0
    assert lines[-1] == f"3 unique chains of 3 designs: {len(found)} have a hit"
