"""Rows in Parquet: what is written is read again, also of tables that pandas wrote, and without pandas."""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow.parquet import read_schema

from snakefold.kernel.parquet import read_rows, write_rows

ROWS: list[dict[str, Any]] = [
    {"id": "a", "state": "done", "plddt": 91.5, "chains": 2, "stored": True, "iptm": None},
    {"id": "b", "state": "failed", "reason": "memory"},
]
_VALUES = {
    "id": st.text(st.characters(exclude_categories=["Cs"])),
    "length": st.integers(-(2**63), 2**63 - 1),
    "plddt": st.floats(allow_nan=False),
    "relaxed": st.booleans(),
}
_ROWS = st.lists(st.fixed_dictionaries({}, optional={k: st.none() | v for k, v in _VALUES.items()}))


def test_a_column_that_a_row_lacks_is_null(tmp_path: Path) -> None:
    write_rows(tmp_path / "new" / "b1.parquet", ROWS)
    first, second = read_rows(tmp_path / "new" / "b1.parquet")
    assert first == {**ROWS[0], "reason": None}
    # A whole number stays one where another row has none.
    assert isinstance(first["chains"], int)
    assert second == {**dict.fromkeys(first), **ROWS[1]}


def test_a_number_that_is_none_is_null(tmp_path: Path) -> None:
    write_rows(tmp_path / "b1.parquet", [{"x": math.nan}, {"x": 1.0}])
    assert read_rows(tmp_path / "b1.parquet") == [{"x": None}, {"x": 1.0}]


def test_a_batch_without_targets_has_an_empty_table(tmp_path: Path) -> None:
    write_rows(tmp_path / "b1.parquet", [])
    assert read_rows(tmp_path / "b1.parquet") == []


@given(rows=_ROWS)
def test_what_is_written_is_read(rows: list[dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "b1.parquet")
        write_rows(path, rows)
        read = read_rows(path)
    names = dict.fromkeys(name for row in rows for name in row)
    # Rows without any column leave no trace.
    assert read == ([{**names, **row} for row in rows] if names else [])
    assert [list(map(type, row.values())) for row in read] == [
        list(map(type, {**names, **row}.values())) for row in rows if names
    ]


def test_a_column_of_whole_and_other_numbers_has_numbers(tmp_path: Path) -> None:
    write_rows(tmp_path / "b1.parquet", [{"x": 1}, {"x": np.float32(0.5)}, {"x": None}])
    assert [row["x"] for row in read_rows(tmp_path / "b1.parquet")] == [1.0, 0.5, None]


def test_a_mixture_of_types_names_its_column(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="column x"):
        write_rows(tmp_path / "b1.parquet", [{"x": 1}, {"x": "one"}])
    assert not list(tmp_path.iterdir())


def test_given_types_and_notes_are_written(tmp_path: Path) -> None:
    path = tmp_path / "b1.parquet"
    for rows in ([], [{"n": 2.0, "left_out": 1}]):
        write_rows(path, rows, {"n": int, "text": str}, {"n": {"unit": "rows"}})
        schema = read_schema(path)
        assert (schema.names, [str(each) for each in schema.types]) == (["n", "text"], ["int64", "string"])
        assert schema.field("n").metadata[b"unit"] == b"rows"
        assert read_rows(path) == [{"n": 2, "text": None} for _ in rows]


def test_pandas_is_not_imported(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from snakefold.kernel.parquet import *\n"
        "path = Path(sys.argv[1], 'b1.parquet'); write_rows(path, [{'x': 1.5}]); read_rows(path)\n"
        "print('pandas' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "False"


def test_tables_of_earlier_releases_are_read(tmp_path: Path) -> None:
    pd.DataFrame(ROWS).to_parquet(tmp_path / "b1.parquet", index=False)
    first, second = read_rows(tmp_path / "b1.parquet")
    assert first == {**ROWS[0], "reason": None}
    assert (second["plddt"], second["reason"]) == (None, "memory")
