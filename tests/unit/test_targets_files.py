"""Whole files and folders: what is read, in which order, and how much of it."""

from __future__ import annotations

import gzip
import hashlib
import os
from pathlib import Path

import pytest
from sequence_files import CRN, UBQ, read, write

from snakefold.kernel.errors import Refusal
from snakefold.molecules import blocks, lines
from snakefold.molecules.targets import Target, msa_text, read_records

GOOD = f">good\n{UBQ}\n"


def test_header_is_kept_as_it_was_and_bounded_where_it_is_shown(tmp_path: Path) -> None:
    header = "a\x1b[2J " + "long " * 2000
    targets, _ = read(write(tmp_path, "a.fasta", f">{header}\n{UBQ}\n"))
    assert targets[0].header == header.strip()
    _, refusals = read(write(tmp_path, "b.fasta", f">{header}\nMQ-\n"))
    assert len(refusals[0].header) == 200
    assert refusals[0].header.isprintable()


def test_places_point_into_the_file(tmp_path: Path) -> None:
    targets, _ = read(write(tmp_path, "a.fasta", f">a\n{UBQ[:9]}\n{UBQ[9:]}\n\n>b\n{CRN}\n"))
    assert [(target.record, target.line) for target in targets] == [(1, 1), (2, 5)]


def test_samplesheet_takes_fasta_files_relative_to_itself(tmp_path: Path) -> None:
    write(tmp_path, "in/seq/one.fasta", f">whatever\n{UBQ}\n")
    write(tmp_path, "in/seq/two.fasta.gz", gzip.compress(f">x\n{CRN}\n>y\n{CRN}\n".encode()))
    write(tmp_path, "in/seq/empty.fasta", "")
    write(tmp_path, "in/seq/bad.fasta", ">x\nMQ-\n")
    sheet = "id,fasta\na,seq/one.fasta\nb,seq/two.fasta.gz\nc,seq/empty.fasta\nd,seq/bad.fasta\n"
    targets, refusals = read(write(tmp_path, "in/sheet.csv", sheet))
    assert {target.id: target.chains for target in targets} == {"a": (UBQ,), "b": (CRN, CRN)}
    assert [(refusal.line, refusal.header, refusal.code) for refusal in refusals] == [
        (4, "c", "no_records"),
        (5, "d", "gap"),
    ]


def test_samplesheet_of_the_first_proteinfold(tmp_path: Path) -> None:
    write(tmp_path, "one.fasta", f">whatever\n{UBQ}\n")
    targets, refusals = read(write(tmp_path, "sheet.csv", "sequence,fasta\nubq,one.fasta\n"))
    assert refusals == []
    assert [(target.id, target.chains) for target in targets] == [("ubq", (UBQ,))]


def test_samplesheet_does_not_show_what_a_foreign_file_holds(tmp_path: Path) -> None:
    write(tmp_path, "secret.txt", "password: hunter2\n")
    _, refusals = read(write(tmp_path, "sheet.csv", "id,fasta\na,secret.txt\n"))
    assert "hunter2" not in str(refusals)
    assert "password" not in str(refusals)


def test_a3m_text_has_one_form(tmp_path: Path) -> None:
    text = f"#46\t1\n>101\n{CRN}\n>h\n{CRN}\n"
    plain = write(tmp_path, "a.a3m", text)
    windows = write(tmp_path, "b.a3m", b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    packed = write(tmp_path, "c.a3m.gz", gzip.compress(text.rstrip("\n").encode()))
    targets, refusals = read([plain, windows, packed])
    assert refusals == []
    assert {msa_text(target.msa) for target in targets if target.msa} == {text}
    assert {target.msa_sha256 for target in targets} == {hashlib.sha256(text.encode()).hexdigest()}
    assert [(target.id, target.header) for target in targets] == [("a", "101"), ("b", "101"), ("c", "101")]


@pytest.mark.parametrize(
    "text",
    [
        f">101\n{CRN}\n>h\n{CRN}\n\0",
        f">101\n{CRN}\n>h\n{CRN}\0",
        f">101\n{CRN}\n>h\n{CRN}\n\0\0\n\n\0",
        f">101\r\n{CRN}\r\n>h\r\n{CRN}\r\n\0\r\n",
    ],
)
def test_nul_bytes_that_close_an_alignment_are_ignored(tmp_path: Path, text: str) -> None:
    """As mmseqs and the ColabFold server write them: the same text, and so the same result, as without."""
    expected = f">101\n{CRN}\n>h\n{CRN}\n"
    plain = write(tmp_path, "a.a3m", text)
    packed = write(tmp_path, "b.a3m.gz", gzip.compress(text.encode()))
    targets, refusals = read([plain, packed])
    assert refusals == []
    assert [msa_text(target.msa) for target in targets if target.msa] == [expected] * 2
    assert {target.msa_sha256 for target in targets} == {hashlib.sha256(expected.encode()).hexdigest()}


def test_alignments_of_one_query_are_one(tmp_path: Path) -> None:
    """One database after the other, as in uniref.a3m and bfd.a3m joined; and a complex."""
    one, two = f">101\n{CRN}\n>h\n{CRN}\n", f">101\n{CRN[:20]}\n{CRN[20:]}\n>i\n-{CRN[1:]}\n"
    pair = f"#46,76\t1,1\n>101\t102\n{CRN}{UBQ}\n>h\n{CRN}{UBQ}\n\0"
    paths = [write(tmp_path, "a.a3m", f"{one}\0{two}\0"), write(tmp_path, "b.a3m", pair)]
    targets, refusals = read(paths, high=200)
    assert refusals == []
    assert msa_text(paths[0]) == f"{one}>101\n{CRN}\n>i\n-{CRN[1:]}\n"
    assert [target.chains for target in targets] == [(CRN,), (CRN, UBQ)]
    assert msa_text(paths[1]) == pair.removesuffix("\0")


def test_a3m_text_is_what_colabfold_reads_as_the_target(tmp_path: Path) -> None:
    from colabfold.batch import unserialize_msa

    rows = ">q\u2028u\tv\nMQIFU\nKTLTGK T\n;comment\n>h\n-QZFuUKTLTGKT\n"
    plain = write(tmp_path, "a.a3m", f"#a comment\n{rows}")
    complex_ = write(tmp_path, "b.a3m", f"#5,7\t1,1 \r\n{rows}")
    targets, refusals = read([plain, complex_])
    assert refusals == []
    expected = ">q u\tv\nMQIFCKTLTGKT\n>h\n-QEFuCKTLTGKT\n"
    assert msa_text(plain) == expected
    assert msa_text(complex_) == f"#5,7\t1,1\n{expected}"
    assert [target.chains for target in targets] == [("MQIFCKTLTGKT",), ("MQIFC", "KTLTGKT")]
    for target in targets:
        text = msa_text(target.msa or tmp_path)
        assert target.msa_sha256 == hashlib.sha256(text.encode()).hexdigest()
        # The engine hands this text to ColabFold, which splits it into lines in its own way.
        _, _, sequences, copies, _ = unserialize_msa([text], target.chains[0])
        assert (tuple(sequences), set(copies)) == (target.chains, {1})


def test_folder_is_read_by_name_and_not_below(tmp_path: Path) -> None:
    write(tmp_path, "b.fasta", f">b\n{UBQ}\n")
    write(tmp_path, "a.csv", f"id,sequence\na,{UBQ}\n")
    write(tmp_path, "c.a3m.gz", gzip.compress(f">q\n{UBQ}\n".encode()))
    for other in (".hidden.fasta", "notes.txt", "below/d.fasta"):
        write(tmp_path, other, f">no\n{UBQ}\n")
    targets, refusals = read(tmp_path)
    assert refusals == []
    assert [target.id for target in targets] == ["a", "b", "c"]


def test_file_met_twice_is_read_once(tmp_path: Path) -> None:
    path = write(tmp_path, "a.fasta", f">a\n{UBQ}\n")
    (tmp_path / "link.fasta").symlink_to(path)
    targets, refusals = read([path, tmp_path, path])
    assert refusals == []
    assert len(targets) == 1


def test_ids_are_unique_across_files(tmp_path: Path) -> None:
    targets, _ = read([write(tmp_path, f"{name}.fasta", f">a\n{UBQ}\n") for name in "xyz"])
    assert [target.id for target in targets] == ["a", "a-2", "a-3"]


def test_folder_without_sequences(tmp_path: Path) -> None:
    write(tmp_path, "notes.txt", GOOD)
    _, (refusal,) = read(tmp_path)
    assert refusal.code == "no_sequences"
    assert ".fasta" in refusal.advice


def test_missing_file(tmp_path: Path) -> None:
    targets, (refusal,) = read([tmp_path / "nowhere.fasta", write(tmp_path, "a.fasta", GOOD)])
    assert len(targets) == 1
    assert refusal.code == "missing"
    assert str(refusal) == (
        f"{tmp_path}/nowhere.fasta: no such file or folder. Check the path given as `input`."
    )


def test_neither_file_nor_folder(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.fasta")
    _, (refusal,) = read(tmp_path / "pipe.fasta")
    assert refusal.code == "no_file"


def test_path_that_no_system_takes() -> None:
    _, refusals = read([Path("a\0b"), Path("x" * 5000)])
    assert {refusal.code for refusal in refusals} <= {"unreadable", "missing"}
    assert len(refusals) == 2


def test_unreadable_file() -> None:
    # Nobody, root included, can read the page at address 0.
    _, (refusal,) = read(Path("/proc/self/mem"))
    assert refusal.code == "unreadable"


def test_file_that_goes_away_while_reading(tmp_path: Path) -> None:
    with pytest.raises(lines.BadFile) as problem:
        list(lines.read_lines(tmp_path / "gone.fasta"))
    assert problem.value.code == "unreadable"


def test_file_name_that_cannot_be_shown(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/\xff.fasta"
    Path(os.fsdecode(name)).write_text(GOOD)
    _, (refusal,) = read(tmp_path)
    assert refusal.code == "file_name"
    assert refusal.file.isprintable()


def test_gzip_made_to_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MAX_UNPACKED", 1 << 20)
    path = write(tmp_path, "a.fasta.gz", gzip.compress(b">a\n" + b"A\n" * (1 << 20)))
    targets, (refusal,) = read(path)
    assert targets == []
    assert refusal.code == "gzip_bomb"


def test_endless_line(tmp_path: Path) -> None:
    path = write(tmp_path, "a.fasta.gz", gzip.compress(b">a\n" + b"A" * (8 << 20)))
    _, (refusal,) = read(path)
    assert (refusal.code, refusal.line) == ("long_line", 2)


def test_endless_record_is_not_kept(tmp_path: Path) -> None:
    path = write(tmp_path, "a.fasta", f">a\n{('A' * 1000 + chr(10)) * 1200}{GOOD}")
    targets, (refusal,) = read(path)
    assert refusal.code == "too_long"
    assert [target.id for target in targets] == ["good"]


def test_too_many_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "MAX_RECORDS", 3)
    _, (refusal,) = read(write(tmp_path, "a.fasta", ">\n" * 9))
    assert (refusal.code, refusal.line) == ("too_many_records", 4)


def test_stars_take_linear_time(tmp_path: Path) -> None:
    _, (refusal,) = read(write(tmp_path, "a.fasta", f">a\nM{'*' * 1_000_000}Q\n"))
    assert refusal.code == "stop_codon"


def test_records_keep_the_order_of_the_input(tmp_path: Path) -> None:
    path = write(tmp_path, "a.fasta", f">a\n{UBQ}\n>b\nM-Q\n>c\n{CRN}\n")
    records = read_records([path, tmp_path / "no"], min_length=10, max_length=100)
    assert [type(record) for record in records] == [Target, Refusal, Target, Refusal]
