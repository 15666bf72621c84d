"""The table of a batch (results/tables/<batch>.parquet): a row for every target.

pyarrow alone reads and writes it: to import pandas takes as long as everything else that collects a batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from snakefold.kernel.store.atomic import replacing


def write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows; a column that a row lacks is null in it. Types are those of the values.

    Raises:
        pyarrow.ArrowException: values of one column have types that do not go together.
    """
    import pyarrow as pa
    from pyarrow import parquet

    names = dict.fromkeys(name for row in rows for name in row)
    table = pa.table({name: pa.array([row.get(name) for row in rows], from_pandas=True) for name in names})
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as stream:
        parquet.write_table(table, stream)


def read_table(path: Path) -> list[dict[str, Any]]:
    """Read rows; None where a cell is null.

    Raises:
        OSError, pyarrow.ArrowException: the file is missing or damaged.
    """
    from pyarrow import parquet

    rows: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    return rows
