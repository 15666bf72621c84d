"""PAE of finished targets as AlphaFold DB has it: a list of one object, whole Å, row = aligned on.

`[{"predicted_aligned_error": [[…]], "max_predicted_aligned_error": 31.75}]` is what ChimeraX and most PAE
viewers read.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from snakefold.kernel.contracts import Confidence
from snakefold.kernel.errors import SnakefoldError
from snakefold.kernel.store import write_atomically
from snakefold.structures.confidence import alphafold_db_pae, pae_json_name, read_pae


def write_pae(
    results: Path, out: Path, targets: Sequence[str] | None = None, *, every: bool = False
) -> tuple[int, list[str]]:
    """Write `<id>_pae_<n>.json` into `out`.

    Args:
        targets: ids; None: all that have a structure.
        every: of every model, not of the best alone.

    Returns:
        How many files were written, and which targets have no PAE.

    Raises:
        SnakefoldError: there are no results, a target has no structure, or its pae.npz is damaged.
    """
    written, without = 0, []
    for folder in finished_targets(results, targets):
        path = folder / "pae.npz"
        if not path.is_file():
            without.append(folder.name)
            continue
        try:
            matrices = read_pae(path.read_bytes())
            rehearsal = Confidence.model_validate_json(_scores(folder).read_bytes()).rehearsal
        except (SnakefoldError, ValidationError) as error:
            raise SnakefoldError(f"{folder}: pae.npz or confidence.json is damaged ({error}).") from error
        for rank, matrix in matrices.items():
            if every or rank == min(matrices):
                write_atomically(
                    out / f"{folder.name}_{pae_json_name(rank)}",
                    alphafold_db_pae(matrix, rehearsal=rehearsal).encode(),
                )
                written += 1
    return written, without


def finished_targets(results: Path, targets: Sequence[str] | None = None) -> list[Path]:
    """Folders of targets with a structure; of these `targets`, or of all.

    Raises:
        SnakefoldError: there are no results, or a target has no structure.
    """
    structures = results / "structures"
    if not structures.is_dir():
        raise SnakefoldError(f"{structures}: no such folder. Expected the results of a run.")
    found = {folder.name: folder for folder in sorted(structures.iterdir()) if _is_target(folder)}
    names = list(found) if targets is None else list(dict.fromkeys(targets))
    if missing := [name for name in names if name not in found]:
        raise SnakefoldError(
            f"{structures}: has no structure of {', '.join(missing)}. metrics.tsv lists the ids of all."
        )
    return [found[name] for name in names]


def _is_target(folder: Path) -> bool:
    """Whether a folder is a finished target's: what is half written has a name with a dot."""
    return not folder.name.startswith(".") and _scores(folder).is_file()


def _scores(folder: Path) -> Path:
    return folder / "confidence.json"
