"""Structures of designs against their backbones, batch by batch: self-consistency.

One job compares the designs of one batch, from the table and the folders that `collect` wrote. `collect` does
not do it itself: a batch is collected without the first stage, and compared again without its archive.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snakefold.kernel.errors import SnakefoldError
from snakefold.kernel.parquet import read_rows, write_rows
from snakefold.kernel.wording import count
from snakefold.run.designs.columns import DESIGN_COLUMNS
from snakefold.run.designs.listed import read_list, read_positions
from snakefold.run.designs.positions import Positions
from snakefold.structures import files as structures
from snakefold.structures.fit import fit, rmsd
from snakefold.structures.scores.models import tm_score
from snakefold.structures.superposition import likeness

#: What a batch's table tells of a structure.
_TOLD = ("mean_plddt", "ptm", "iptm", "engine", "rehearsal")
_COMPARED = ("sc_rmsd", "sc_rmsd_designed", "sc_rmsd_motif", "sc_tm", "control_tm")
#: Fewer points than this can be laid on each other in many ways.
_FEWEST = 3
#: Backbones that are held at once: designs of one follow each other.
_HELD = 8

Points = NDArray[np.float64]


def compare(model: Points, backbone: Positions) -> dict[str, float]:
    """Scores of a model against the backbone of its design, by column; what does not exist is left out.

    RMSD: Kabsch 1976, doi:10.1107/S0567739476001873. TM-score: `structures.scores.models`. Residue lies on
    residue, so that no alignment is searched, which takes TM-align most of its time (benchmarks/designs.md).

    Args:
        model: CA atoms of all residues [L, 3], Å.

    Raises:
        ValueError: the model has another number of residues.
    """
    if model.shape != backbone.ca.shape:
        raise ValueError(
            f"the model has {count(len(model), 'residue')} with a CA atom, the design {len(backbone.ca)}"
        )
    there = np.isfinite(backbone.ca).all(axis=1)
    ours, theirs = model[there], backbone.ca[there]
    if len(ours) < _FEWEST:
        return {}
    rotation, translation = fit(ours, theirs)
    squared = ((ours @ rotation.T + translation - theirs) ** 2).sum(axis=1)
    found = {
        "sc_rmsd": float(np.sqrt(squared.mean())),
        "sc_tm": tm_score(ours, theirs),
    }
    designed, motif = backbone.designed[there], backbone.motif[there]
    if designed.any():
        found["sc_rmsd_designed"] = float(np.sqrt(squared[designed].mean()))
    if (value := rmsd(ours[motif], theirs[motif])) is not None:
        found["sc_rmsd_motif"] = value
    return {name: round(value, 4) for name, value in found.items()}


def compare_batch(
    table: Path,
    designed: Path,
    results: Path,
    out: Path,
    log: Callable[[str], None],
    *,
    control: Path | None = None,
) -> int:
    """Write the scores of a batch's designs (Parquet, a row for each with a structure); how many there are.

    Args:
        table: of the batch, as `collect` wrote it; structures are in the results.
        designed: the list of all designs.
        control: a structure with another fold, which the models are compared with as well.

    Raises:
        SnakefoldError: a file of the first stage, or the control, is missing or damaged.
    """
    wrong = structures.read_file(control) if control is not None else ""
    done = {row["id"]: row for row in read_rows(table) if row["state"] == "done"}
    backbone_of = lru_cache(_HELD)(lambda name: read_positions(results, name))
    rows = []
    for design in read_list(designed, done):
        row = done[design.design]
        model, points = _model(results, design.design)
        try:
            scores = compare(points, backbone_of(design.backbone))
        except ValueError as error:
            log(f"{design.design}: not compared with {design.backbone}: {error}")
            scores = {}
        if wrong:
            scores["control_tm"] = round(likeness(model, wrong), 4)
        rows.append({"id": design.design, **_told(row), **scores})
    out.parent.mkdir(parents=True, exist_ok=True)
    names = ("id", *_COMPARED, *_TOLD)
    write_rows(out, rows, {name: DESIGN_COLUMNS[name].type for name in names})
    return len(rows)


def _told(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row.get(name) for name in _TOLD}


def _model(results: Path, name: str) -> tuple[str, Points]:
    """A design's best model, and its CA atoms."""
    path = structures.model_file(results / "structures" / name, 0)
    try:
        text = structures.read_file(path)
        return text, structures.ca_coordinates(text)
    except SnakefoldError as error:
        raise SnakefoldError(f"{path}: {error} Run again.") from error
