"""Whether who predicts has what the plan assumed: results are stored under the plan's recipe, unseen."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from snakefold import engines
from snakefold.engines.spec import settings_of
from snakefold.kernel.contracts import FoldRequest
from snakefold.kernel.errors import Reason, TargetError
from snakefold.kernel.unchanged import ChangedError, Watch, differences, listed


def check_agreement(request: FoldRequest, weights: Path | None) -> None:
    """Compare the request's `engine_recipe` with what this machine would predict with.

    Args:
        weights: folder of the parameters; None for an engine that brings its own.

    Raises:
        TargetError: weights_missing for other parameters, invalid_input for another version or settings.
        WeightsMissingError: parameters are damaged, or official and random ones are mixed.
    """
    planned = request.engine_recipe
    if not planned:
        return
    engine = engines.get(request.engine)
    settings = settings_of(engine, request)
    # A batch is of one group.
    group = engine.group(request.targets[0], settings)
    own = json.loads(json.dumps(engine.recipe(group, settings, weights)))
    if own == planned:
        return
    if own.get("weights") != planned.get("weights"):
        where = f"in {weights}" if weights else "here"
        raise TargetError(
            Reason.WEIGHTS_MISSING,
            f"The request was planned with other parameters than those {where}: "
            f"{_difference(planned.get('weights'), own.get('weights'))}.",
            "Give both sides the same ones (a rehearsal: equal rehearsal.blocks and "
            "SNAKEFOLD_REHEARSAL_BLOCKS), or plan again with these.",
        )
    raise TargetError(
        Reason.INVALID_INPUT,
        f"The request was planned for another {request.engine}: {_difference(planned, own)}.",
        "Install the same release on both sides (on RunPod: the image of this release), and plan again.",
    )


@contextmanager
def agreed(request: FoldRequest, weights: Path | None) -> Iterator[None]:
    """Around the loading of parameters: they are those of the plan before, and unchanged after.

    Raises:
        TargetError: as `check_agreement`, or weights_missing for a file that was replaced meanwhile.
        WeightsMissingError: as `check_agreement`.
    """
    watch = Watch(engines.get(request.engine).parameter_files(weights))
    check_agreement(request, weights)
    yield
    try:
        watch.check()
    except ChangedError as error:
        raise TargetError(Reason.WEIGHTS_MISSING, str(error)) from error


def _difference(planned: object, own: object) -> str:
    if planned is None or own is None:
        return "nothing of them is known"
    return listed(differences(planned, own))
