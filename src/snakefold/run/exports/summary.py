"""Scores of models as AlphaFold 3 and its server write them: one JSON file a model, a few numbers each.

Keys are AlphaFold 3's where the same is meant; a score that an engine does not give is left out. Ours are
name, seed, mean_plddt, ranking_confidence and ranked_by, for not every engine ranks by AlphaFold 3's
ranking_score.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from snakefold.kernel.contracts import Confidence
from snakefold.kernel.documents import read_document
from snakefold.kernel.errors import SnakefoldError
from snakefold.kernel.store import write_atomically
from snakefold.run.exports.pae import finished_targets
from snakefold.structures import confidence, files

#: Of the best model, where the engine has them among its own columns under AlphaFold 3's names.
_OF_THE_BEST = ("fraction_disordered", "has_clash", "ranking_score")


def write_summaries(
    results: Path, out: Path, targets: Sequence[str] | None = None, *, every: bool = False
) -> int:
    """Write `<id>_summary_confidences_<n>.json` into `out`, and say how many.

    Args:
        targets: ids; None: all that have a structure.
        every: of every model, not of the best alone.

    Raises:
        SnakefoldError: there are no results, a target has no structure, or its scores are damaged.
    """
    written = 0
    for folder in finished_targets(results, targets):
        advice = "Run again: it is made anew."
        told = read_document(Confidence, folder / "confidence.json", what="scores of a target", advice=advice)
        for rank in range(len(told.models) if every else min(1, len(told.models))):
            path = out / f"{folder.name}_summary_confidences_{rank}.json"
            text = json.dumps(summary(folder, told, rank), indent=1) + "\n"
            write_atomically(path, text.encode())
            written += 1
    return written


def summary(folder: Path, told: Confidence, rank: int) -> dict[str, Any]:
    """Content of a summary.

    Raises:
        SnakefoldError: pae.npz or a model's file is damaged.
    """
    model = told.models[rank]
    found: dict[str, Any] = {"REHEARSAL": True} if told.rehearsal else {}
    found |= {
        "name": model.name,
        "seed": model.seed,
        "ptm": model.ptm,
        "iptm": model.iptm,
        "num_recycles": model.recycles,
        "mean_plddt": model.mean_plddt,
        "ranking_confidence": model.ranking_confidence,
        "ranked_by": _ranked_by(folder),
        "chain_ids": _chain_ids(folder, rank, len(told.chain_lengths)),
        "chain_pair_pae_min": _pae_min(folder, told, rank),
    }
    if rank == 0:
        found |= {name: told.scores[name] for name in _OF_THE_BEST if name in told.scores}
    return {name: value for name, value in found.items() if value is not None}


def _ranked_by(folder: Path) -> str | None:
    """What models are ranked by, as ranking_debug.json calls it."""
    try:
        ranking = json.loads((folder / "ranking_debug.json").read_text())
    except (OSError, ValueError):
        return None
    return next((name for name, value in ranking.items() if isinstance(value, dict)), None)


def _chain_ids(folder: Path, rank: int, chains: int) -> list[str] | None:
    names = [chain.name for chain in files.read(files.model_file(folder, rank).read_text())[0]]
    return names if len(names) == chains else None


def _pae_min(folder: Path, told: Confidence, rank: int) -> list[list[float]] | None:
    """[chains, chains] smallest PAE from residues (tokens) of the one to those of the other, Å."""
    path = folder / "pae.npz"
    matrix = confidence.read_pae(path.read_bytes()).get(rank) if path.is_file() else None
    sizes = told.chain_tokens or told.chain_lengths
    if matrix is None:
        return None
    if sum(sizes) != len(matrix):
        raise SnakefoldError(f"{path}: PAE of {len(matrix)} rows for {sum(sizes)}. Fold it again.")
    starts = [0, *itertools.accumulate(sizes)][:-1]
    least = np.minimum.reduceat(np.minimum.reduceat(matrix, starts, axis=0), starts, axis=1)
    return [[round(float(value), 3) for value in row] for row in least]
