"""Alignments that entities of an assembly bring: read, checked, named by content, found again."""

from __future__ import annotations

import json
import string
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sequence_files import CRN, UBQ, write

from snakefold.kernel.contracts import TargetInput
from snakefold.kernel.errors import Refusal
from snakefold.molecules import own_msa
from snakefold.molecules.entities import Assembly, Entity, Kind
from snakefold.molecules.lines import BadFile
from snakefold.molecules.own_msa import Named, alignment_files, digest, normal, own_text, resolve, rows_of
from snakefold.molecules.target import Target
from snakefold.molecules.targets import read_records
from snakefold.plan.records import target_input

LETTERS = "ACDEFGHIKLMNPQRSTVWY"


def assembly(*sequences: str, msa: str | None = None, paired: str | None = None) -> Assembly:
    proteins = [
        Entity(kind=Kind.PROTEIN, sequence=sequence, msa=msa, paired_msa=paired) for sequence in sequences
    ]
    return Assembly(entities=(*proteins, Entity(kind=Kind.LIGAND, smiles="CCO")))


@st.composite
def csvs(draw: st.DrawFn) -> tuple[str, list[str], list[int | None]]:
    """A query, rows that are aligned with it (insertions too) and keys."""
    query = draw(st.text(LETTERS, min_size=1, max_size=12))
    rows, keys = [query], [draw(st.none() | st.integers(0, 99))]
    for _ in range(draw(st.integers(0, 5))):
        row = ""
        for letter in query:
            row += draw(st.sampled_from([letter, "-"])) + draw(st.text(string.ascii_lowercase, max_size=2))
        rows.append(row)
        keys.append(draw(st.none() | st.integers(0, 99)))
    return query, rows, keys


@given(csvs(), st.sampled_from(["", "-1"]), st.booleans())
def test_a_csv_keeps_its_rows_and_keys(
    case: tuple[str, list[str], list[int | None]], nothing: str, swapped: bool
) -> None:
    query, rows, keys = case
    cells = [(nothing if key is None else str(key), row) for key, row in zip(keys, rows, strict=True)]
    lines = ["key,sequence", *(",".join(pair) for pair in cells)]
    if swapped:
        lines = ["sequence,key", *(f"{row},{key}" for key, row in cells)]
    text = normal(lines, query)
    read = rows_of(text)
    assert read.keys == tuple(keys)
    assert read.a3m.splitlines()[1::2] == rows
    assert read.a3m.count(">") == len(rows)
    assert normal(text.splitlines(), query) == text, "one form"


@given(csvs())
def test_an_a3m_and_its_rows(case: tuple[str, list[str], list[int | None]]) -> None:
    query, rows, _ = case
    text = normal([line for number, row in enumerate(rows) for line in (f">{number} x", row)], query)
    assert rows_of(text) == own_msa.Rows(text)
    assert text.splitlines()[1::2] == rows


@pytest.mark.parametrize(
    ("text", "says", "line"),
    [
        ("", "The alignment is empty.", 0),
        (">q\nMQIV\n", "residue 4 is V in its first row, and F in the entity", 0),
        (">q\nMQIFV\n", "its first row has 5 residues, the entity 4", 0),
        (">q\nMQIF\n>a\nMQI\n", "The row has 3 columns, the query 4.", 3),
        (">q\nM-IF\n", "has gaps", 1),
        ("#4\t1\n>q\nMQIF\n", "ColabFold's A3M of a complex", 1),
        ("key,sequence\n", "its first row has 0 residues", 0),
        ("key,sequence,more\n1,MQIF,x\n", "The columns are 'key,sequence,more'.", 1),
        ("key,sequence\n1,MQIF\nx,MQIF\n", "The key 'x' is no whole number.", 3),
        ("key,sequence\n1,MQIF\n1.5,MQIF\n", "The key '1.5' is no whole number.", 3),
        ("key,sequence\n1,MQIF\n1,MQI\n", "The row has 3 columns, the query 4.", 3),
        ("key,sequence\n1,MQIF\n1\n", "The row has 1 cells.", 3),
        ("key,sequence\n1,MQ1F\n", "'1' is in a row", 2),
    ],
)
def test_what_is_no_alignment_of_it_is_said(text: str, says: str, line: int) -> None:
    with pytest.raises(BadFile) as raised:
        normal(text.splitlines(), "MQIF")
    assert says in raised.value.message
    assert raised.value.line == line


def test_files_are_beside_the_input_or_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    (tmp_path / "in").mkdir()
    here.mkdir()
    monkeypatch.chdir(here)
    beside = write(tmp_path / "in", "one.a3m", f">q\n{UBQ}\n>beside\n{UBQ}\n")
    current = write(here, "one.a3m", f">q\n{UBQ}\n>current\n{UBQ}\n")
    named = Named(tmp_path / "in" / "x.yaml")
    given = assembly(UBQ, msa="file:one.a3m")
    resolved, files = resolve(given, named)
    ((name, path),) = files
    assert path == beside
    assert resolved.entities[0].msa == f"sha256:{name}"
    assert own_text(path, name, [UBQ]) == beside.read_text()
    beside.unlink()
    _, files = resolve(given, named)
    assert files[0][1] == current
    current.write_text(f">q\n{CRN}\n")
    with pytest.raises(BadFile, match=r"protein A: the alignment 'one.a3m': The alignment is of another"):
        resolve(given, named)
    assert own_text(current, name, [UBQ]) is None
    current.unlink()
    with pytest.raises(BadFile, match=r"There is no such file.*msa: empty is for none"):
        resolve(given, named)


def test_an_alignment_inside_a_json_is_found_again(tmp_path: Path) -> None:
    text = f">q\n{UBQ}\n>a description\n{UBQ.lower()}{'-' * len(UBQ)}\n"
    job = {"sequences": [{"protein": {"id": "A", "sequence": UBQ, "unpairedMsa": text, "pairedMsa": ""}}]}
    path = write(tmp_path, "job.json", json.dumps(job))
    name = digest(normal(text.splitlines(), UBQ))
    assert own_text(path, name, [CRN, UBQ]) == text
    assert own_text(path, "0" * 64, [UBQ]) is None


def test_the_key_follows_the_content_of_the_alignment(tmp_path: Path) -> None:
    """Not its name, its line ends or its place: equal content is one result."""
    write(tmp_path, "one.a3m", f">q\n{UBQ}\n")
    write(tmp_path, "two.a3m", f">q\r\n{UBQ[:20]}\r\n{UBQ[20:]}\r\n")
    write(tmp_path, "three.a3m", f">q\n{UBQ}\n>q\n{UBQ}\n")
    keys = [
        resolve(assembly(UBQ, msa=f"file:{name}.a3m"), Named(tmp_path / "x.yaml"))[0].key
        for name in ("one", "two", "three")
    ]
    assert keys[0] == keys[1] != keys[2]


def test_a_request_reads_no_file_of_this_machine(tmp_path: Path) -> None:
    write(tmp_path, "one.a3m", f">q\n{UBQ}\n")
    write(tmp_path, "one.cif", "data_x\n")
    start = f"version: 1\nsequences:\n  - protein: {{id: A, sequence: {UBQ}"
    for more in (", msa: one.a3m}\n", "}\ntemplates: [{cif: one.cif}]\n"):
        path = write(tmp_path, "x.yaml", start + more)
        (found,) = read_records([path], min_length=1, max_length=500, judge=lambda _: None, own_files=False)
        assert isinstance(found, Refusal)
        assert "Files of this machine are not read" in found.message


def test_chemistry_is_loaded_where_a_smiles_is(tmp_path: Path) -> None:
    write(tmp_path, "a.fasta", f">a\n{UBQ}\n")
    write(
        tmp_path, "b.yaml", f"version: 1\nsequences:\n  - protein: {{id: A, sequence: {UBQ}, msa: empty}}\n"
    )
    write(tmp_path, "c.fasta", f">a\n{UBQ}:smiles|CCO\n")
    code = (
        "import sys; from pathlib import Path; from snakefold.molecules.targets import read_records;"
        "found = read_records([Path(sys.argv[1])], min_length=1, max_length=500, judge=lambda _: None);"
        "print(len(found), 'rdkit' in sys.modules, 'gemmi' in sys.modules)"
    )
    for name, loaded in {"a.fasta": False, "b.yaml": False, "c.fasta": True}.items():
        words = [sys.executable, "-c", code, str(tmp_path / name)]
        said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        assert said == f"1 {loaded} False\n"


def test_paired_rows_alone_and_rna_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "one.a3m", f">q\n{UBQ}\n")
    with pytest.raises(BadFile, match="protein A brings paired rows only"):
        resolve(assembly(UBQ, paired=f"file:{path}"), Named(path))
    rna = Assembly(entities=(Entity(kind=Kind.RNA, sequence="ACGU", msa=f"file:{path}"),))
    with pytest.raises(BadFile, match="RNA A brings an alignment, and those of proteins only"):
        resolve(rna, Named(path, lines=(7,)))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.yaml", "version: 1\nsequences:\n  - protein:\n      id: A\n      msa: {}\n"),
        ("a.yaml", "sequences: [{{protein: {{id: A, msa: '{}', sequence: M}}}}]\n"),
        ("a.yml", "sequences:\n- protein: {{id: A, msa: {} , sequence: M}} # x\n"),
        ("a.json", '{{"sequences": [{{"protein": {{"unpairedMsaPath": "{}"}}}}]}}'),
        ("a.txt", ">A|protein|{}\nMQIF\n"),
    ],
)
def test_a_runs_contents_have_the_files_that_inputs_name(tmp_path: Path, name: str, text: str) -> None:
    for called in ("own.a3m", "two words.csv") if name != "a.yml" else ("own.a3m",):
        path = write(tmp_path, called, "")
        assert alignment_files(write(tmp_path, name, text.format(called))) == [path]


def test_a_plain_fasta_names_none_and_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "a.fasta", f">a\n{UBQ}\n>B|protein|x.a3m\n{UBQ}\n")
    monkeypatch.setattr(own_msa, "read_text", lambda *_: pytest.fail("a million records are not read twice"))
    assert alignment_files(path) == []


ALIGNMENTS = st.sampled_from([None, "empty", f"sha256:{'0' * 64}"])


@given(
    st.lists(
        st.tuples(st.sampled_from([UBQ, CRN, "MQIF"]), ALIGNMENTS, ALIGNMENTS, st.integers(1, 3)), min_size=1
    )
)
def test_plan_and_request_agree_on_what_is_searched(
    proteins: list[tuple[str, str | None, str | None, int]],
) -> None:
    entities = [
        Entity(kind=Kind.PROTEIN, sequence=sequence, msa=msa, paired_msa=paired, copies=copies)
        for sequence, msa, paired, copies in proteins
    ]
    whole = Assembly(entities=(Entity(kind=Kind.RNA, sequence="ACGU"), *entities))
    target = Target("x", "x", (), "x", 1, 1, assembly=whole)
    told = TargetInput.model_validate_json(target_input(target).model_dump_json())
    assert tuple(told.searched) == target.searched
    assert tuple(told.pairable) == target.pairable
    assert [each["sequence"] for each in told.proteins] == [sequence for sequence, *_ in proteins]
    assert set(target.pairable) <= set(target.searched)
    assert {sequence for sequence, msa, _, _ in proteins if msa is None} == set(target.searched)
