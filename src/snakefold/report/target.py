"""Everything the page shows of one target, as the JSON of `data/<id>.js`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snakefold import structures
from snakefold.confidence import PAE_UNIT
from snakefold.contracts import Confidence
from snakefold.errors import SnakefoldError
from snakefold.report.coverage import coverage
from snakefold.report.embed import packed

#: PAE matrices above this size are averaged over square blocks for the page; pae.npz has them whole.
MAX_PAE = 600

_FILES = ("ranked_*.cif", "ranked_*.pdb", "*.json", "pae.npz", "msa.a3m", "superposed.pdb", "unrelaxed_*.pdb")


def target_data(folder: Path, link: str) -> dict[str, Any]:
    """Contents of `data/<id>.js` for the finished target in `folder`.

    Texts and arrays are packed (`embed.packed`). PAE is row-major uint8 in units of `pae_unit` Å, row =
    aligned on, column = scored; coverage is row-major uint8 as in `coverage.Coverage`.

    Args:
        folder: `results/structures/<id>`.
        link: The same folder as seen from the page.

    Raises:
        SnakefoldError: a file is missing or damaged; the text names it.
    """
    scores = _scores(folder / "confidence.json")
    texts = [_text(folder / f"ranked_{rank}.cif") for rank in range(len(scores.models))]
    chains = [trace.sequence for trace in structures.ca_traces(texts[0])]
    matrices = _pae(folder / "pae.npz")
    models = [
        {
            **model.model_dump(),
            "structure": packed(text.encode()),
            "pae": _pae_picture(matrices.get(f"rank_{rank}")),
        }
        for rank, (model, text) in enumerate(zip(scores.models, texts, strict=True))
    ]
    superposed = folder / "superposed.pdb"
    return {
        "rehearsal": scores.rehearsal,
        "engine": scores.engine,
        "chain_lengths": scores.chain_lengths,
        "sequence": "".join(chains),
        "models": models,
        "pae_unit": PAE_UNIT,
        "msa_depth": scores.msa_depth,
        "neff": scores.neff,
        "warnings": scores.warnings,
        "coverage": _coverage_picture(folder / "msa.a3m", chains),
        "superposed": packed(superposed.read_bytes()) if superposed.is_file() else None,
        "timings": _timings(folder / "timings.json"),
        "files": _files(folder, link),
    }


def _scores(path: Path) -> Confidence:
    try:
        return Confidence.model_validate_json(_text(path))
    except ValueError as error:
        raise SnakefoldError(
            f"{path}: not as expected ({error}). Delete the folder and run again."
        ) from error


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SnakefoldError(f"{path}: cannot be read ({error}). Delete the folder and run again.") from error


def _pae(path: Path) -> Mapping[str, NDArray[np.uint8]]:
    if not path.is_file():
        return {}
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files if name.startswith("rank_")}


def _pae_picture(matrix: NDArray[np.uint8] | None) -> dict[str, Any] | None:
    if matrix is None:
        return None
    step = -(-len(matrix) // MAX_PAE)
    if step > 1:
        starts = np.arange(0, len(matrix), step)
        sums = np.add.reduceat(np.add.reduceat(matrix.astype(np.uint32), starts, 0), starts, 1)
        sizes = np.diff([*starts, len(matrix)])
        matrix = np.rint(sums / np.outer(sizes, sizes)).astype(np.uint8)
    return {"size": len(matrix), "step": step, "data": packed(matrix.tobytes())}


def _coverage_picture(path: Path, chains: list[str]) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    found = coverage(_text(path), chains)
    if found is None:
        return None
    rows, columns = found.identity.shape
    return {
        "rows": rows,
        "columns": columns,
        "depth": found.depth,
        "step": found.step,
        "counts": found.counts,
        "data": packed(found.identity.tobytes()),
    }


def _timings(path: Path) -> dict[str, float]:
    if not path.is_file():
        return {}
    found = json.loads(_text(path))
    return {str(name): value for name, value in found.items() if isinstance(value, int | float)}


def _files(folder: Path, link: str) -> list[dict[str, Any]]:
    found = {path: path.stat().st_size for pattern in _FILES for path in sorted(folder.glob(pattern))}
    return [{"name": path.name, "link": f"{link}/{path.name}", "bytes": size} for path, size in found.items()]
