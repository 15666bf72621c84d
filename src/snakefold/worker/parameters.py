"""The parameters that a worker predicts with: official ones, or random ones if and only if asked for."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from snakefold import engines
from snakefold.engines.spec import Engine, settings_of
from snakefold.kernel.contracts import FoldRequest
from snakefold.kernel.errors import WeightsMissingError
from snakefold.worker.context import Context


def parameters_for(request: FoldRequest, context: Context) -> Path | None:
    """Folder of the parameters of a request; None for an engine that brings its own."""
    engine = engines.get(request.engine)
    settings = settings_of(engine, request)
    groups = {engine.group(target, settings) for target in request.targets}
    return find_parameters(engine, settings, groups, context, rehearsal=request.rehearsal)


def find_parameters(
    engine: Engine, settings: Any, groups: Collection[str], context: Context, *, rehearsal: bool
) -> Path | None:
    """Folder with the parameters that these groups of an engine need.

    Raises:
        WeightsMissingError: official parameters are wanted and not here, whatever else is.
    """
    folder = context.settings.weights
    blocks = context.settings.rehearsal_blocks
    if not rehearsal:
        found = engine.parameters(str(folder), settings, groups, whole=False)
        if found is None or found.rehearsal:
            raise WeightsMissingError(
                f"{folder}: holds random parameters, and the request is no rehearsal. Put official ones "
                "there (snakefold weights fetch), or name them in SNAKEFOLD_WEIGHTS."
            )
        return found.folder
    try:
        found = engine.parameters(str(folder), settings, groups, whole=False)
    except WeightsMissingError:
        found = None
    if found is not None and (found.folder is None or (found.rehearsal and found.blocks == blocks)):
        return found.folder
    context.log(f"REHEARSAL: random parameters of {blocks} blocks")
    cache = context.compiled.parent / "rehearsal"
    made = engine.parameters("rehearsal", settings, groups, draw=settings, blocks=blocks, cache=cache)
    return None if made is None else made.folder
