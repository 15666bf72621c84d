"""Answers of an MSA server: alignments are read as ColabFold reads them, and nothing hostile is taken."""

from __future__ import annotations

import io
import tarfile
import zlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.servers.msa_server import packed

from snakefold.msa.server.answers import BrokenAnswerError, alignments, read_archive, template_hits

WANTED = {"uniref.a3m", "pair.a3m"}
QUERIES = ["MKTAYIAK", "GSWTW"]


def read(data: bytes, most: int = 1 << 20) -> dict[str, bytes]:
    return read_archive(data, WANTED.__contains__, most)


def as_colabfold_reads(text: str) -> dict[int, list[str]]:
    """Rows by number of the query, by the rules of `run_mmseqs2`: a NUL says that the next header is one."""
    rows: dict[int, list[str]] = {}
    update, number = True, 0
    for found in text.splitlines():
        line = found
        if "\0" in line:
            line = line.replace("\0", "")
            update = True
        if line.startswith(">") and update:
            number, update = int(line[1:]), False
            rows.setdefault(number, [])
        elif not line.startswith(">") and line:
            rows[number].append(line)
    return rows


@st.composite
def files(draw: st.DrawFn) -> tuple[list[str], str]:
    """Queries, and a file of alignments of them in any order, some in several pieces."""
    queries = draw(st.lists(st.text("ACDEFGHIKLMNPQRSTVWY", min_size=1, max_size=8), min_size=1, max_size=4))
    numbers = draw(st.permutations([n for n in range(len(queries)) for _ in range(draw(st.integers(1, 2)))]))
    blocks = []
    for number in numbers:
        query = queries[number]
        rows = draw(st.lists(st.tuples(_names, _rows(len(query))), max_size=3))
        body = "".join(f">{name}\n{row}\n" for name, row in rows)
        blocks.append(f">{101 + number}\n{query}\n{body}\0")
    return queries, "".join(blocks)


_names = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=5).map(
    lambda name: f"{name}\t100\t0.9"
)


def _rows(length: int) -> st.SearchStrategy[str]:
    column = st.tuples(st.text("acd", max_size=2), st.sampled_from("ACDEX-")).map("".join)
    return st.lists(column, min_size=length, max_size=length).map("".join)


@given(files())
def test_rows_are_those_that_colabfold_reads(given: tuple[list[str], str]) -> None:
    queries, text = given
    found = alignments(text.encode(), "uniref.a3m", queries)
    expected = as_colabfold_reads(text)
    assert {101 + number: list(msa.rows) for number, msa in enumerate(found)} == expected


@given(st.binary(max_size=300) | st.text(">10\0\nAC-x\t", max_size=80).map(str.encode))
def test_other_bytes_are_refused_in_words_or_read(data: bytes) -> None:
    try:
        found = alignments(data, "uniref.a3m", ["AC"])
    except BrokenAnswerError as error:
        assert str(error).startswith("uniref.a3m: ")
        assert str(error).isprintable()
    else:
        assert all(msa.query == "AC" for msa in found)


@given(st.binary(max_size=300))
def test_other_bytes_are_no_archive(data: bytes) -> None:
    with pytest.raises(BrokenAnswerError, match="archive"):
        read(b"\x1f\x8b" + data)


@given(st.integers(0, 400))
def test_an_archive_that_was_cut_off_is_none(kept: int) -> None:
    whole = packed({"uniref.a3m": b">101\nMKT\n\0" * 50, "pdb70.m8": b""})
    if kept < len(whole):
        with pytest.raises(BrokenAnswerError):
            read(whole[:kept])
    else:
        assert read(whole)["uniref.a3m"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no alignment of query 101"),
        (b">101\nMKTAYIAK\n\0", "no alignment of query 102"),
        (b">101\nMKTAYIAK\n\0>102\nGSWTW\n\0>103\nAC\n\0", "expected an alignment of a query, found '>103"),
        (b">101\nMKTAYIAR\n\0>102\nGSWTW\n\0", "an alignment of 'MKTAYIAR', expected one of 'MKTAYIAK'"),
        (b">101\nMKTAYIAK\n>a\nMKT\n\0>102\nGSWTW\n\0", "does not have the query's 8 columns"),
        (b">101\nMKTAYIAK\n>a\nMKTAYI1K\n\0>102\nGSWTW\n\0", "row 'a' has letters that no A3M has"),
        (b"<html>", "expected an alignment of a query, found '<html>'"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(data: bytes, said: str) -> None:
    with pytest.raises(BrokenAnswerError, match=said):
        alignments(data, "uniref.a3m", QUERIES)


def test_names_that_are_no_text_become_text() -> None:
    [msa] = alignments(b">101\nAC\n>caf\xe9\x85 \xe2\x80\xa8 x\nAC\n\0", "uniref.a3m", ["AC"])
    assert list(msa.names) == ["101", "caf?? ? x"]


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 1) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size if kind == tarfile.REGTYPE else 0
    return info


def archive(*members: tarfile.TarInfo) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as made:
        for info in members:
            made.addfile(info, io.BytesIO(b"x" * info.size))
    return stream.getvalue()


@pytest.mark.parametrize(
    "members",
    [
        [member("../uniref.a3m"), member("/etc/uniref.a3m"), member("a/uniref.a3m")],
        [member("uniref.a3m", tarfile.SYMTYPE, "/etc/passwd")],
        [member("uniref.a3m", tarfile.LNKTYPE, "other"), member("other")],
        [member("uniref.a3m", tarfile.FIFOTYPE), member("pair.a3m", tarfile.CHRTYPE)],
        [member("uniref.a3m", tarfile.DIRTYPE)],
    ],
)
def test_only_regular_files_of_the_very_name_are_read(members: Sequence[tarfile.TarInfo]) -> None:
    assert read(archive(*members)) == {}


def test_a_file_may_not_be_there_twice() -> None:
    with pytest.raises(BrokenAnswerError, match=r"has uniref\.a3m twice"):
        read(archive(member("uniref.a3m"), member("./uniref.a3m")))


def test_an_archive_may_not_unpack_to_more_than_it_should() -> None:
    bomb = packed({"other": bytes(3_000_000)})
    assert len(bomb) < 10_000
    with pytest.raises(BrokenAnswerError, match="more than 1 MB unpacked"):
        read(bomb, most=1_000_000)
    # A size that is said and not there.
    claims = zlib.compress(member("uniref.a3m", size=9999).tobuf(), wbits=31)
    with pytest.raises(BrokenAnswerError):
        read(claims)


def test_template_hits_are_names_of_entries() -> None:
    lines = [
        "101\t1abc_A\t0.9\t1\t2\t3\t4\t5\t6\t7\t1e-5\t99",
        "102\t2xyz_B\t0.9",
        "101\t3def_AA\t0.9",
        "101\t../../etc/passwd\t0.9",
        "101\t4ghi_C,5jkl_D\t0.9",
        "999\t6mno_A\t0.9",
        "x\t7pqr_A\t0.9",
        "",
        "101\t8stu_A\t0.9",
    ]
    text = "\n".join(lines).encode() + b"\xff\n"
    assert template_hits(text, 2, 2) == [["1abc_A", "3def_AA"], ["2xyz_B"]]
    assert template_hits(b"", 2, 20) == [[], []]
