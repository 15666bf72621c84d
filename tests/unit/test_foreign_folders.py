"""Folders of inputs, in which other programs leave their files too."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from foreign_files import BOLTZ, HIGH, af3, chain, protein, server
from sequence_files import UBQ, read, write

from snakefold.molecules.targets import input_files, passed_over


def test_a_folder_has_inputs_and_other_json(tmp_path: Path) -> None:
    """Settings, package files and results lie in the same folders."""
    write(tmp_path, "a.json", af3(protein()))
    write(tmp_path, "b.yaml", BOLTZ)
    write(tmp_path, "c.json.gz", gzip.compress(server({"name": "s", "sequences": [chain()]}).encode()))
    write(tmp_path, "d.fasta", f">d\n{UBQ}\n")
    write(tmp_path, "config.yaml", "input: a.fasta\nmsa:\n  sequences: x\n")
    write(tmp_path, "package.json", '{"name": "x", "note": "no sequences: here"}')
    write(tmp_path, "big.json", '{"x": "' + "y" * (2 << 20) + '"}')
    assert [path.name for path in input_files(tmp_path)] == ["a.json", "b.yaml", "c.json.gz", "d.fasta"]
    targets, refusals = read(tmp_path, high=HIGH)
    assert refusals == []
    assert [target.id for target in targets] == ["job_1", "b", "s", "d"]
    (passed,) = passed_over([tmp_path, tmp_path / "a.json"])
    assert passed == (
        f"input {tmp_path}: not read: big.json (has no 'sequences'), config.yaml (has no 'sequences'), "
        "package.json (has no 'sequences')."
    )
    # Given by name, it is read, and what it is said.
    _, (refusal,) = read(tmp_path / "config.yaml")
    assert refusal.code == "unknown_kind"


def test_what_of_a_folder_is_not_read_is_said(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", BOLTZ)
    write(tmp_path, "b.yaml", BOLTZ.replace("sequences:", "sequnces:"))
    write(tmp_path, "c.json", af3(protein()).replace('"sequences"', '"sequence"'))
    for name in ("d.txt", "e.pdb", "f.txt", "README", ".hidden"):
        write(tmp_path, name, "x\n")
    assert passed_over([tmp_path]) == [
        f"input {tmp_path}: not read: b.yaml (has no 'sequences'; is 'sequnces' meant to be it?), "
        "c.json (has no 'sequences'; is 'sequence' meant to be it?), "
        "4 files of other kinds (.txt, no ending, .pdb)."
    ]
    (tmp_path / "a.yaml").unlink()
    (tmp_path / "c.json").unlink()
    _, (refusal,) = read(tmp_path)
    assert refusal.code == "no_sequences"
    assert "Not read: b.yaml (has no 'sequences'; is 'sequnces' meant" in refusal.message


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (BOLTZ.encode("utf-16"), "encoding"),
        (BOLTZ.encode("utf-16-be"), "binary"),
        (BOLTZ.encode() + "# µ\n".encode("latin-1"), "encoding"),
        (gzip.compress(BOLTZ.encode())[:40], "damaged_gzip"),
    ],
    ids=["UTF-16 with its mark", "UTF-16 without", "Latin-1", "gzip"],
)
def test_a_file_of_a_folder_that_cannot_be_decoded_is_refused_by_name(
    tmp_path: Path, content: bytes, code: str
) -> None:
    write(tmp_path, "a.fasta", f">a\n{UBQ}\n")
    write(tmp_path, "b.yaml", content)
    targets, (refusal,) = read(tmp_path)
    assert [target.id for target in targets] == ["a"]
    assert (Path(refusal.file).name, refusal.code) == ("b.yaml", code)
    assert refusal.advice


def test_a_long_line_hides_no_sequences(tmp_path: Path) -> None:
    """An alignment in a JSON of one line."""
    write(tmp_path, "a.json", af3(protein()).replace("\n", " ") + " " * (2 << 20))
    targets, refusals = read(tmp_path)
    assert (len(targets), refusals) == (1, [])
