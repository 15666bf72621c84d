"""All designs of the first stage in one file, from which every later step takes those that it needs."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, get_type_hints

from snakefold.engines.designing import read_designs
from snakefold.kernel.errors import SnakefoldError
from snakefold.kernel.parquet import write_rows
from snakefold.run.designs.made import Design, read_made
from snakefold.run.designs.places import LIST, STAGE
from snakefold.run.designs.positions import Positions, positions_of

#: A column besides those of `Design`: chains of its backbone with a designed position, joined by ':'.
_DESIGNED = "designed"


def write_list(results: Path) -> int:
    """Write the list of designs, in order; how many there are. A job elsewhere needs nothing else of them.

    Raises:
        SnakefoldError: nothing was designed.
    """
    made = read_made(results)
    chains = {name: _designed_chains(results, name) for name in dict.fromkeys(each.backbone for each in made)}
    hints = get_type_hints(Design)
    kinds = {**{each.name: hints[each.name] for each in fields(Design)}, _DESIGNED: str}
    path = results / LIST
    path.parent.mkdir(parents=True, exist_ok=True)
    write_rows(path, [{**asdict(each), _DESIGNED: chains[each.backbone]} for each in made], kinds)
    return len(made)


def read_list(path: Path, ids: Collection[str] | None = None) -> list[Design]:
    """The designs of a list, or those of these ids, in the order of the list.

    Raises:
        SnakefoldError: it cannot be read.
    """
    table = _read(path, [each.name for each in fields(Design)])
    try:
        if ids is None:
            return [Design(**row) for row in table.to_pylist()]
        places = [at for at, name in enumerate(table["design"].to_pylist()) if name in ids]
        return [Design(**table.slice(at, 1).to_pylist()[0]) for at in places]
    except (KeyError, TypeError) as error:
        raise _damaged(path, error) from error


def read_designed_chains(path: Path) -> dict[str, frozenset[str]]:
    """Names of the chains with a designed position, by backbone.

    Raises:
        SnakefoldError: it cannot be read.
    """
    table = _read(path, ["backbone", _DESIGNED])
    pairs = zip(table["backbone"].to_pylist(), table[_DESIGNED].to_pylist(), strict=True)
    return {backbone: frozenset(chains.split(":")) for backbone, chains in dict.fromkeys(pairs)}


def read_positions(results: Path, backbone: str) -> Positions:
    """What was designed of a backbone.

    Raises:
        SnakefoldError: the first stage's folder of this backbone lacks a file, or one is damaged.
    """
    folder = results / STAGE / "structures" / backbone
    return positions_of(folder, read_designs(folder))


def _designed_chains(results: Path, backbone: str) -> str:
    """Chains in which a residue was free to change."""
    designs = read_designs(results / STAGE / "structures" / backbone)
    fixed = {name: set(positions) for name, positions in designs.fixed_positions.items()}
    return ":".join(
        name
        for name in designs.designed_chains
        if any(
            number and place not in fixed.get(name, ())
            for place, number in enumerate(designs.numbering[name], 1)
        )
    )


def _read(path: Path, columns: list[str]) -> Any:
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path) as file:
            return file.read(columns=columns).select(columns)
    except (OSError, KeyError, pa.ArrowException) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> SnakefoldError:
    return SnakefoldError(f"{path}: is no list of designs ({error}). Remove it and run again.")
