"""The same target in other results: another engine, other settings, another release."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from snakefold.kernel.errors import SnakefoldError
from snakefold.report import pae
from snakefold.report.coordinates import Packer
from snakefold.report.target import Target, model_content, read_target
from snakefold.run.metrics import read_structures
from snakefold.structures.fit import overlay, rmsd

#: What a label may be long.
_MAX_LABEL = 60


@dataclass(frozen=True)
class Others:
    """Other results: a label, their folder, and which of their targets has which sequences (key → id)."""

    label: str
    results: Path
    targets: dict[str, str]


def read_others(wanted: Sequence[str]) -> list[Others]:
    """Results folders to compare with, each `folder` or `folder=label`; the label is else the folder's name.

    Raises:
        SnakefoldError: a folder holds no results of a run, or two have one label.
    """
    found: list[Others] = []
    for each in wanted:
        folder, named = _parted(each)
        if not named.strip() or len(named) > _MAX_LABEL or any(named == item.label for item in found):
            raise SnakefoldError(
                f"--compare {each}: expected a label of its own, at most {_MAX_LABEL} characters. "
                "Give one: --compare FOLDER=LABEL."
            )
        found.append(Others(named, folder, _keys(folder)))
    return found


def compared(target: Target, name: str, others: Sequence[Others], page: Path) -> list[dict[str, Any]]:
    """The target in each of `others` that has its sequences, for static/comparison.js.

    Their best models are laid over the target's, residue on residue, and scored against it: TM-score by the
    length, RMSD over all CA atoms; nucleotides and ligands lie where they are, and have no part in either.

    Args:
        name: id of the target; where others have its sequences under several ids, this one is taken.
        page: folder of the page, from which links go.

    Raises:
        SnakefoldError: a file is missing or damaged; the text names it.
    """
    from snakefold.structures.scores.models import tm_score

    found = []
    ours, ours_laid = target.models[0].ca(target.kinds), target.models[0].trace(target.kinds)
    for other in others:
        folder = other.results / "structures" / name
        if not _is(folder, target.confidence.key):
            folder = other.results / "structures" / other.targets.get(target.confidence.key, "")
            if not _is(folder, target.confidence.key):
                continue
        theirs = read_target(folder)
        best, packer = theirs.models[0], Packer()
        points, laid = best.ca(theirs.kinds), best.trace(theirs.kinds)
        there = np.zeros(0, bool) if points.shape != ours.shape else ~np.isnan(points + ours).any(axis=1)
        if laid.shape == ours_laid.shape:
            best = best.moved(*overlay(laid, ours_laid))
        found.append(
            {
                "label": other.label,
                "id": folder.name,
                "link": Path(os.path.relpath(folder, page)).as_posix(),
                "engine": theirs.confidence.engine,
                "rehearsal": theirs.confidence.rehearsal,
                "msa_depth": theirs.confidence.msa_depth,
                "tm": round(tm_score(points[there], ours[there]), 4) if there.sum() >= 3 else None,
                "rmsd": rmsd(points, ours) if there.sum() >= 3 else None,
                "model": model_content(
                    theirs.confidence.models[0],
                    best,
                    packer,
                    pae.picture(theirs.matrices.get(0)),
                    theirs.kinds,
                ),
                "kinds": packer.kinds,
            }
        )
    return found


def _parted(text: str) -> tuple[Path, str]:
    """Folder and label. Both may have a = in them: the shortest folder that is there counts."""
    parts = text.split("=")
    for count in range(1, len(parts)):
        folder = Path("=".join(parts[:count]))
        if folder.is_dir() and not Path(text).is_dir():
            return folder, "=".join(parts[count:])
    return Path(text), _name(Path(text))


def _name(folder: Path) -> str:
    """`run` of `…/run/results`, for most results folders have the same name."""
    full = folder.resolve()
    return full.parent.name if full.name == "results" else full.name


def _keys(results: Path) -> dict[str, str]:
    path = results / "metrics.tsv"
    try:
        found: dict[str, str] = {}
        for row in read_structures(results):
            found.setdefault(row.key, Path(row.id).name)
    except (OSError, SnakefoldError) as error:
        raise SnakefoldError(
            f"{path}: cannot be read ({error}). Expected the results folder of a finished run."
        ) from error
    return found


def _is(folder: Path, key: str) -> bool:
    path = folder / "confidence.json"
    return folder.name not in ("", "structures") and path.is_file() and f'"{key}"' in path.read_text("utf-8")
