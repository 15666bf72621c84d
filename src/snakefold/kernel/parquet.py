"""Parquet files of rows, by pyarrow without pandas.

pyarrow's conversion of Python lists (`pa.array`) and `read_table` import pandas where it is installed: 0.3
CPU seconds, as long as everything else that a step imports. Its reader of JSON and `ParquetFile` do not.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from snakefold.kernel.store.atomic import replacing

#: Types of columns, and of columns without any value.
Kind = type[str] | type[bool] | type[int] | type[float] | None


def write_rows(
    path: Path,
    rows: Sequence[Mapping[str, Any]],
    kinds: Mapping[str, Kind] | None = None,
    notes: Mapping[str, Mapping[str, str]] | None = None,
) -> None:
    """Write rows. A column that a row lacks is null in it, and so are None and NaN.

    Args:
        kinds: columns, in order, and their types; if not given, those of the rows and of their values.
        notes: metadata of columns.

    Raises:
        TypeError: values of one column have types that do not go together.
    """
    import pyarrow as pa
    from pyarrow import parquet
    from pyarrow.json import ParseOptions, ReadOptions, read_json

    if kinds is None:
        names = dict.fromkeys(name for row in rows for name in row)
        kinds = {name: _kind(name, (row.get(name) for row in rows)) for name in names}
    types = {str: pa.string(), bool: pa.bool_(), int: pa.int64(), float: pa.float64(), None: pa.null()}
    schema = pa.schema(
        [pa.field(name, types[kind], metadata=(notes or {}).get(name)) for name, kind in kinds.items()]
    )
    if rows and kinds:
        lines = ({name: _plain(row.get(name), kind) for name, kind in kinds.items()} for row in rows)
        text = "\n".join(json.dumps(line) for line in lines).encode()
        parsed = read_json(
            io.BytesIO(text),
            # One block: a row is never cut.
            ReadOptions(use_threads=False, block_size=len(text) + 1),
            ParseOptions(explicit_schema=schema, unexpected_field_behavior="error"),
        )
        table = parsed.select(list(kinds)).cast(schema)
    else:
        table = schema.empty_table()
    with replacing(path) as stream:
        parquet.write_table(table, stream)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read rows; None where a cell is null.

    Raises:
        OSError, pyarrow.ArrowException: the file is missing or damaged.
    """
    from pyarrow.parquet import ParquetFile

    with ParquetFile(path) as file:
        rows: list[dict[str, Any]] = file.read().to_pylist()
    return rows


def is_empty(value: Any) -> bool:
    """Whether a cell has no value; tables of earlier releases say so in several ways."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def _kind(name: str, values: Iterable[Any]) -> Kind:
    found: set[Kind] = set()
    for value in values:
        if not is_empty(value):
            plain = value.item() if hasattr(value, "item") else value  # NumPy's
            found.add(next((kind for kind in (bool, int, float, str) if isinstance(plain, kind)), None))
    if found == {int, float}:
        return float
    if len(found) > 1 or None in found:
        raise TypeError(f"column {name}: expected texts, numbers, or true and false, found a mixture")
    return found.pop() if found else None


def _plain(value: Any, kind: Kind) -> Any:
    return None if kind is None or is_empty(value) else kind(value)
