"""Tables with tabs: rows with types in, rows with types out.

A table has a line of names and a line for every row. Written: UTF-8, a cell on one line and without tabs,
None and NaN empty, and quoted as in CSV if it begins with a quote. Read are also those of releases before
0.3, which quoted every cell with a quote in it (results/plan/) or none (the rest).
"""

from __future__ import annotations

import math
import re
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, fields
from enum import StrEnum
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from snakefold.kernel.errors import SnakefoldError
from snakefold.kernel.store.atomic import replacing

Row = TypeVar("Row")

#: What to do about a table that cannot be read, where its reader says nothing else.
ADVICE = "Remove it and run again."
#: Bytes of lines that are taken together: few enough for any table, and enough that columns are worth it.
_BLOCK = 1 << 16
_BREAK = re.compile(r"\s*[\t\r\n]\s*")
_WORDS: dict[type, str] = {
    int: "a whole number",
    float: "a finite number",
    bool: "True or False",
    str: "text",
}


def read(path: Path, row: type[Row], *, advice: str = ADVICE) -> list[Row]:
    """All rows of a table: `rows`, at once."""
    return list(rows(path, row, advice=advice))


def rows(path: Path, row: type[Row], *, advice: str = ADVICE) -> Iterator[Row]:
    """Rows of a table, one after the other.

    Args:
        row: dataclass whose fields are columns, of types str, int, float, bool, an enumeration of texts, or
            one of these or None. A column that the table lacks, and an empty cell of what is no text, have
            the field's default; where None is allowed, an empty cell is None. Text is never None. Columns
            that the dataclass lacks are not looked at.
        advice: what to do about a table that is not as expected.

    Raises:
        SnakefoldError: a column without a default is missing, or a value is of another type; the text names
            file, line, column and what was expected.
        OSError: the file cannot be read.
    """
    hints, wanted = get_type_hints(row), fields(row)  # type: ignore[arg-type]
    columns = [_Column(item.name, hints[item.name], item.default) for item in wanted]
    named = [item.name for item in wanted if item.kw_only]
    order = sorted(range(len(wanted)), key=lambda number: bool(wanted[number].kw_only))
    place = len(wanted) - len(named)
    for values in _read(path, [columns[number] for number in order], advice):
        if named:
            for cells in zip(*values, strict=True):
                yield row(*cells[:place], **dict(zip(named, cells[place:], strict=True)))
        else:
            yield from map(row, *values)


def read_columns(path: Path, kinds: Mapping[str, type], *, advice: str = ADVICE) -> list[dict[str, Any]]:
    """Rows of a table whose columns are known only here: name → str, int, float or bool.

    A column that the table lacks and an empty cell are None; of text, empty.

    Raises:
        SnakefoldError, OSError: see `rows`.
    """
    columns = [
        _Column(name, kind if kind is str else kind | None, "" if kind is str else None)
        for name, kind in kinds.items()
    ]
    found: list[dict[str, Any]] = []
    for values in _read(path, columns, advice):
        found.extend(dict(zip(kinds, cells, strict=True)) for cells in zip(*values, strict=True))
    return found


def lines(names: Sequence[str], cells: Iterable[Iterable[Any]], *, floats: str = "") -> Iterator[str]:
    """Lines of a table with these columns; `floats` is how numbers are written (`.6g`): exactly, if empty."""
    yield "\t".join(names) + "\n"
    for row in cells:
        yield "\t".join([_written(value, floats) for value in row]) + "\n"


def row_lines(row: type[Any], items: Iterable[Any], *, floats: str = "") -> Iterator[str]:
    """Lines of a table with a column for every field of the dataclass `row`."""
    names = [item.name for item in fields(row)]
    return lines(names, map(attrgetter(*names), items), floats=floats)


def write(path: Path, text: Iterable[str]) -> None:
    """Write lines of a table, so that other readers see the old file or the whole new one."""
    with replacing(path) as stream:
        stream.writelines(line.encode() for line in text)


class _Column:
    """A column as it is wanted; `empty`: what an empty cell says, MISSING if it must not be."""

    def __init__(self, name: str, hint: Any, default: Any) -> None:
        kinds = [each for each in get_args(hint) if each is not types.NoneType] or [hint]
        self.name, self.kind, self.default = name, kinds[0], default
        self.empty = None if get_origin(hint) in (Union, types.UnionType) else default
        if issubclass(self.kind, StrEnum):
            self.value: Callable[[str], Any] = {str(each): each for each in self.kind}.__getitem__
            self.expected = f"one of {', '.join(self.kind)}"
        else:
            self.value = _VALUES[self.kind]
            self.expected = _WORDS[self.kind]

    def convert(self, cells: Sequence[str]) -> Sequence[Any]:
        """Values of cells; ValueError if one has another type."""
        if self.kind is str:
            return cells
        try:
            if self.kind is float:
                numbers = list(map(float, cells))
                if all(map(math.isfinite, numbers)):
                    return numbers
            return list(map(int if self.kind is int else self.value, cells))
        except (ValueError, KeyError):
            return [self.one(cell) for cell in cells]

    def takes(self, cell: str) -> bool:
        try:
            self.one(cell)
        except ValueError:
            return False
        return True

    def one(self, cell: str) -> Any:
        if not cell and self.empty is not MISSING:
            return self.empty
        try:
            return self.value(cell)
        except KeyError as error:
            raise ValueError(cell) from error


def _read(path: Path, columns: Sequence[_Column], advice: str) -> Iterator[list[Iterable[Any]]]:
    """Values of the columns, a list for each, of one block of lines after the other."""
    try:
        with path.open(encoding="utf-8") as stream:
            names = _cells([stream.readline()])
            places = _places(path, names, columns, advice)
            first = 2
            while block := stream.readlines(_BLOCK):
                yield _values(_Block(path, first, block, len(names), advice), columns, places)
                first += len(block)
    except UnicodeDecodeError as error:
        raise SnakefoldError(f"{path}: is no text in UTF-8 ({error.reason}). {advice}") from error


def _places(path: Path, names: Sequence[str], columns: Sequence[_Column], advice: str) -> list[int | None]:
    missing = [column.name for column in columns if column.name not in names and column.default is MISSING]
    if missing:
        raise SnakefoldError(
            f"{path}: is damaged, or of another version: line 1 lacks the columns {', '.join(missing)}. "
            f"{advice}"
        )
    return [names.index(column.name) if column.name in names else None for column in columns]


class _Block:
    """Lines of a table, cut into `cells`, row after row; empty lines are left out."""

    def __init__(self, path: Path, first: int, block: list[str], width: int, advice: str) -> None:
        self.path, self.width, self.advice = path, width, advice
        self.numbers: Sequence[int] = range(first, first + len(block))
        if {line.count("\t") for line in block} != {width - 1}:
            self.numbers = [number for number, line in zip(self.numbers, block, strict=True) if line != "\n"]
            block = [line for line in block if line != "\n"]
            for number, line in zip(self.numbers, block, strict=True):
                if (found := line.count("\t") + 1) != width:
                    raise SnakefoldError(
                        f"{path}: line {number}: expected {width} cells, as the first line has, found "
                        f"{found}. {advice}"
                    )
        self.cells = _cells(block)

    def wrong(self, column: _Column, place: int) -> SnakefoldError:
        """Of the first cell of a column that is not what it should be."""
        row = 0
        while column.takes(self.cells[row * self.width + place]):
            row += 1
        number, start = self.numbers[row], row * self.width
        found = self.cells[start + place]
        return SnakefoldError(
            f"{self.path}: line {number} ({self.cells[start]!r:.60}), column {column.name}: expected "
            f"{column.expected}, found {found!r:.60}. {self.advice}"
        )


def _values(block: _Block, columns: Sequence[_Column], places: Sequence[int | None]) -> list[Iterable[Any]]:
    values: list[Iterable[Any]] = []
    for column, place in zip(columns, places, strict=True):
        if place is None:
            values.append([column.default] * len(block.numbers))
            continue
        try:
            values.append(column.convert(block.cells[place :: block.width]))
        except ValueError as error:
            raise block.wrong(column, place) from error
    return values


def _cells(block: list[str]) -> list[str]:
    if not block:
        return []
    text = "".join(block).removesuffix("\n").replace("\n", "\t")
    cells = text.split("\t")
    return cells if '"' not in text else [_unquoted(cell) if cell[:1] == '"' else cell for cell in cells]


def _unquoted(cell: str) -> str:
    """What a quoted cell says; one that merely begins with a quote is as it is."""
    inner = cell[1:-1].replace('""', "")
    if len(cell) > 1 and cell[0] == cell[-1] == '"' and '"' not in inner:
        return cell[1:-1].replace('""', '"')
    return cell


def _written(value: Any, floats: str) -> str:
    if type(value) is not str:
        if isinstance(value, float):
            return "" if math.isnan(value) else format(value, floats)
        if value is None:
            return ""
        value = str(value)
    if not value.isprintable():
        value = _BREAK.sub(" ", value)
    return '"' + value.replace('"', '""') + '"' if value[:1] == '"' else value


def _whole(cell: str) -> int:
    """A whole number, also as `1e+06`, which is how releases before 0.3 wrote some."""
    try:
        return int(cell)
    except ValueError:
        number = float(cell)
        if not number.is_integer():
            raise
        return int(number)


def _number(cell: str) -> float:
    number = float(cell)
    if not math.isfinite(number):
        raise ValueError(cell)
    return number


_VALUES: dict[type, Callable[[str], Any]] = {
    str: str,
    int: _whole,
    float: _number,
    bool: {"True": True, "False": False}.__getitem__,
}
