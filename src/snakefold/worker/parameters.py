"""The parameters that a worker predicts with: official ones, or random ones if and only if asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from snakefold.engines.alphafold2 import weights
from snakefold.engines.alphafold2.models import needed_models
from snakefold.engines.alphafold2.settings import RehearsalSettings
from snakefold.kernel.contracts import FoldRequest
from snakefold.kernel.errors import WeightsMissingError
from snakefold.worker.context import Context


def parameters_for(request: FoldRequest, context: Context) -> Path | None:
    """Weights folder for a request; None for an engine that brings its own."""
    if request.engine != "alphafold2":
        return None
    needed = needed_models(
        request.alphafold2,
        monomers=any(len(target.chains) == 1 for target in request.targets),
        multimers=any(len(target.chains) > 1 for target in request.targets),
    )
    return find_parameters(needed, context, rehearsal=request.rehearsal)


def find_parameters(needed: Sequence[str], context: Context, *, rehearsal: bool) -> Path:
    """Folder with the models `needed`.

    Raises:
        WeightsMissingError: official parameters are wanted and not here, whatever else is.
    """
    folder = context.settings.weights
    if not rehearsal:
        found = weights.find(str(folder), needed, whole=False)
        if found is None or found.rehearsal:
            raise WeightsMissingError(
                f"{folder}: holds random parameters, and the request is no rehearsal. Put official ones "
                "there (snakefold weights fetch), or name them in SNAKEFOLD_WEIGHTS."
            )
        return found.folder
    blocks = context.settings.rehearsal_blocks
    try:
        found = weights.find(str(folder), needed, whole=False)
    except WeightsMissingError:
        found = None
    if found is not None and found.rehearsal and found.blocks == blocks:
        return found.folder
    context.log(f"REHEARSAL: random parameters of {blocks} blocks")
    drawn = RehearsalSettings(blocks=blocks)
    return weights.locate("rehearsal", drawn, needed, cache=context.compiled.parent / "rehearsal").folder
