"""Tables with tabs: what comes back as it was written, and what a damaged one is told."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakefold.kernel import tables
from snakefold.kernel.errors import SnakefoldError


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True)
class Row:
    id: str
    later: str = field(default="x", kw_only=True)
    colour: Colour
    count: int
    share: float = 0.5
    done: bool = False
    length: int | None = None
    note: str = ""


FULL = Row("a", Colour.RED, 3, 0.1, True, 7, "word", later="y")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "t.tsv"


def test_rows_come_back_as_they_were_written(path: Path) -> None:
    rows = [FULL, Row("b", Colour.BLUE, -1), Row("c", Colour.RED, 10**12, 1e-300, note="two words")]
    tables.write(path, tables.row_lines(Row, rows))
    assert path.read_text().splitlines()[0] == "id\tlater\tcolour\tcount\tshare\tdone\tlength\tnote"
    assert tables.read(path, Row) == rows


@given(note=st.text(st.characters(exclude_characters="\t\r\n", exclude_categories=["Cs"])))
def test_any_text_without_breaks_comes_back(note: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("any") / "t.tsv"
    tables.write(path, tables.lines(["id", "note"], [["a", note], [note, "b"]]))
    assert tables.read_columns(path, {"id": str, "note": str}) == [
        {"id": "a", "note": note},
        {"id": note, "note": "b"},
    ]


def test_cells_are_one_line_each(path: Path) -> None:
    lines = tables.lines(["a", "b", "c", "d"], [["x\ty\n z", float("nan"), 1 / 3, None]], floats=".6g")
    tables.write(path, lines)
    assert path.read_text() == "a\tb\tc\td\nx y z\t\t0.333333\t\n"


@pytest.mark.parametrize("text", ['say "so"', '"', '""', '"so" he said', 'so he said: "so"', '"half', "'"])
def test_both_dialects_of_earlier_releases_are_read(path: Path, text: str) -> None:
    with path.open("w", newline="") as stream:
        csv.writer(stream, delimiter="\t", lineterminator="\n").writerows([["id", "note"], ["a", text]])
    assert tables.read_columns(path, {"note": str}) == [{"note": text}]
    path.write_text(f"id\tnote\na\t{text}\n")
    # Written plain, a text that is a quoted text all through cannot be told from one: `""`.
    assert tables.read_columns(path, {"note": str}) == [{"note": "" if text == '""' else text}]


def test_an_older_table_lacks_columns_and_a_later_one_has_more(path: Path) -> None:
    path.write_text("more\tcount\tid\tcolour\n?\t3\ta\tblue\n")
    assert tables.read(path, Row) == [Row("a", Colour.BLUE, 3)]


def test_empty_cells_lines_and_windows_ends(path: Path) -> None:
    path.write_bytes(b"id\tcolour\tcount\tshare\tlength\r\na\tred\t1e+06\t\t\r\n\r\nb\tred\t2\t1\t3")
    assert tables.read(path, Row) == [Row("a", Colour.RED, 10**6), Row("b", Colour.RED, 2, 1.0, length=3)]


def test_columns_that_a_program_names(path: Path) -> None:
    path.write_text("id\tshare\tdone\na\t\tTrue\nb\t0.5\t\n")
    found = tables.read_columns(path, {"id": str, "share": float, "done": bool, "length": int, "note": str})
    assert found == [
        {"id": "a", "share": None, "done": True, "length": None, "note": ""},
        {"id": "b", "share": 0.5, "done": None, "length": None, "note": ""},
    ]


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["a\tred\tmany"], "line 2 ('a'), column count: expected a whole number, found 'many'"),
        (["a\tred\t1.5"], "line 2 ('a'), column count: expected a whole number, found '1.5'"),
        (["a\tred\t"], "line 2 ('a'), column count: expected a whole number, found ''"),
        (["a\tred\t1", "", "b\tgreen\t1"], "line 4 ('b'), column colour: expected one of red, blue, found"),
        (["a\tred\t1", "b\tred"], "line 3: expected 3 cells, as the first line has, found 2"),
        (["a\tred\t1\t2"], "line 2: expected 3 cells, as the first line has, found 4"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(path: Path, lines: list[str], told: str) -> None:
    path.write_text("\n".join(["id\tcolour\tcount", *lines, ""]))
    with pytest.raises(SnakefoldError) as caught:
        tables.read(path, Row, advice="Do this.")
    assert str(caught.value).startswith(f"{path}: {told}") and str(caught.value).endswith(" Do this.")


@pytest.mark.parametrize("cell", ["nan", "inf", "x", "-"])
def test_numbers_are_finite(path: Path, cell: str) -> None:
    path.write_text(f"id\tcolour\tcount\tshare\na\tred\t1\t0.5\nb\tred\t1\t{cell}\n")
    with pytest.raises(SnakefoldError, match=r"line 3 \('b'\), column share: expected a finite number"):
        tables.read(path, Row)


def test_a_place_far_down_is_found(path: Path) -> None:
    rows = [f"{number}\tred\t{number}\n" for number in range(50_000)]
    rows[40_000] = "x\tred\ty\n"
    path.write_text("id\tcolour\tcount\n" + "".join(rows))
    with pytest.raises(SnakefoldError, match=r"line 40002 \('x'\), column count"):
        tables.read(path, Row)
    rows[40_000] = "x\tred\t40000\n"
    path.write_text("id\tcolour\tcount\n" + "".join(rows))
    assert [row.count for row in tables.read(path, Row)] == list(range(50_000))


@pytest.mark.parametrize("content", [b"", b"\n", b"id\tcount\na\t1\n", b"\0\1\2"])
def test_a_file_that_is_no_such_table(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(
        SnakefoldError, match=r"is damaged, or of another version: line 1 lacks the columns .*colour"
    ):
        tables.read(path, Row)


def test_a_file_that_is_no_text(path: Path) -> None:
    path.write_bytes(b"id\tcolour\tcount\n\xff\tred\t1\n")
    with pytest.raises(SnakefoldError, match="UTF-8"):
        tables.read(path, Row)


def test_a_table_that_cannot_be_written_leaves_the_old_one(path: Path) -> None:
    tables.write(path, ["old\n"])

    def broken() -> object:
        yield "new\n"
        raise OSError

    with pytest.raises(OSError):
        tables.write(path, broken())  # type: ignore[arg-type]
    assert path.read_text() == "old\n" and list(path.parent.iterdir()) == [path]
