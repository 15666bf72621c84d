"""designs.tsv, and the sequences that pass: from the list of designs and the scores of their batches."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snakefold.config import DesignSettings, read_recorded
from snakefold.kernel import tables
from snakefold.kernel.errors import SnakefoldError
from snakefold.kernel.parquet import read_rows
from snakefold.kernel.store.atomic import write_atomically
from snakefold.plan.files import read_rows as read_batches
from snakefold.run.designs.columns import DESIGN_COLUMNS
from snakefold.run.designs.listed import read_list, read_positions
from snakefold.run.designs.made import Design
from snakefold.run.designs.novelty import read_nearest
from snakefold.run.designs.places import COMPARED, LIST, PASSED, TABLE, nearest_file


def write_designs(results: Path, settings: DesignSettings, compared: Iterable[Path]) -> tuple[int, int]:
    """Write designs.tsv, and passed.fasta with the chains of each design that passes.

    Args:
        compared: scores of the batches (`compare.compare_batch`).

    Returns:
        How many designs there are, and how many pass.

    Raises:
        SnakefoldError: a file of the first stage is missing or damaged.
    """
    known = {row["id"]: row for path in compared for row in read_rows(path)}
    hits = results / nearest_file(settings.novelty or "")
    near = read_nearest(hits) if settings.novelty and hits.is_file() else {}
    designs = read_list(results / LIST)
    alike = _identities(results, designs)
    rows = []
    for each in designs:
        row = {
            **_of_design(each),
            **near.get(each.design, {}),
            **known.get(each.design, {}),
            "identity": alike.get(each.design),
        }
        rows.append({**row, "passes": passes(row, settings)})
    lines = tables.lines(
        list(DESIGN_COLUMNS), ([row.get(name) for name in DESIGN_COLUMNS] for row in rows), floats=".6g"
    )
    tables.write(results / TABLE, lines)
    passed = [row for row in rows if row["passes"]]
    write_atomically(results / PASSED, "".join(fasta(passed)).encode())
    return len(rows), len(passed)


def write_what_is_there(results: Path) -> bool:
    """Write designs.tsv of a run in which batches failed, from those that were compared.

    Returns:
        Whether the run has designs that are compared.

    Raises:
        SnakefoldError: see `write_designs`.
    """
    if not (results / LIST).is_file():
        return False
    settings = read_recorded(results).design
    batches = (results / COMPARED / f"{row.batch}.parquet" for row in read_batches(results / "plan"))
    write_designs(results, settings, [path for path in batches if path.is_file()])
    return True


def passes(row: Mapping[str, Any], settings: DesignSettings) -> bool | None:
    """Whether a design passes; None where RMSD or pLDDT is missing."""
    rmsd, plddt = row.get("sc_rmsd"), row.get("mean_plddt")
    if rmsd is None or plddt is None:
        return None
    return bool(rmsd <= settings.max_rmsd and plddt >= settings.min_plddt)


def fasta(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Records of designs, chains separated by ':', as `snakefold run` takes them."""
    for row in rows:
        scores = " ".join(
            f"{name}={row[name]:.4g}"
            for name in ("sc_rmsd", "mean_plddt", "score")
            if row.get(name) is not None
        )
        yield f">{row['id']} {scores}\n{row['sequence']}\n"


def read_table(results: Path) -> list[dict[str, Any]]:
    """Rows of designs.tsv; None where a cell is empty (of text, an empty text).

    Raises:
        SnakefoldError: there is none, or it is damaged.
    """
    path = results / TABLE
    if not path.is_file():
        raise SnakefoldError(
            f"{path}: no such file. Expected the results of a run that designs sequences (design.engine)."
        )
    return tables.read_columns(path, {name: column.type for name, column in DESIGN_COLUMNS.items()})


def _of_design(design: Design) -> dict[str, Any]:
    found = asdict(design)
    found["id"] = found.pop("design")
    return {**found, "length": len(design.sequence) - design.sequence.count(":")}


def _identities(results: Path, designs: Sequence[Design]) -> dict[str, float]:
    """Mean identity of each design to the others of its backbone, over designed positions."""
    of_backbone: dict[str, list[Design]] = defaultdict(list)
    for each in designs:
        of_backbone[each.backbone].append(each)
    found: dict[str, float] = {}
    for backbone, group in of_backbone.items():
        if len(group) < 2:
            continue
        designed = read_positions(results, backbone).designed
        if not designed.any():
            continue
        sequences = [each.sequence.replace(":", "") for each in group]
        found |= dict(zip((each.design for each in group), mean_identities(sequences, designed), strict=True))
    return found


def mean_identities(sequences: Sequence[str], positions: NDArray[np.bool_]) -> list[float]:
    """Of each sequence the mean share of positions where another has the same letter, over all others.

    Letters are counted column by column, so that n sequences take n steps and not n².

    Args:
        sequences: two or more, of one length.
        positions: bool [L], those that count.
    """
    letters = np.array([np.frombuffer(each.encode("ascii"), np.uint8) for each in sequences])[:, positions]
    shared = np.zeros(len(letters))
    for column in letters.T:
        shared += np.bincount(column, minlength=256)[column] - 1
    return [round(value, 4) for value in (shared / letters.shape[1] / (len(letters) - 1)).tolist()]
