"""The table of a batch: what is written is read again, also of tables that pandas wrote."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from snakefold.run.batch_table import read_table, write_table

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
    write_table(tmp_path / "new" / "b1.parquet", ROWS)
    first, second = read_table(tmp_path / "new" / "b1.parquet")
    assert first == {**ROWS[0], "reason": None}
    # A whole number stays one where another row has none.
    assert isinstance(first["chains"], int)
    assert second == {**dict.fromkeys(first), **ROWS[1]}


def test_a_number_that_is_none_is_null(tmp_path: Path) -> None:
    write_table(tmp_path / "b1.parquet", [{"x": math.nan}, {"x": 1.0}])
    assert read_table(tmp_path / "b1.parquet") == [{"x": None}, {"x": 1.0}]


def test_a_batch_without_targets_has_an_empty_table(tmp_path: Path) -> None:
    write_table(tmp_path / "b1.parquet", [])
    assert read_table(tmp_path / "b1.parquet") == []


@given(rows=_ROWS)
def test_what_is_written_is_read(rows: list[dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "b1.parquet")
        write_table(path, rows)
        read = read_table(path)
    names = dict.fromkeys(name for row in rows for name in row)
    # Rows without any column leave no trace.
    assert read == ([{**names, **row} for row in rows] if names else [])


def test_tables_of_earlier_releases_are_read(tmp_path: Path) -> None:
    pd.DataFrame(ROWS).to_parquet(tmp_path / "b1.parquet", index=False)
    first, second = read_table(tmp_path / "b1.parquet")
    assert first == {**ROWS[0], "reason": None}
    assert (second["plddt"], second["reason"]) == (None, "memory")
