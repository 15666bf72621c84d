"""The restore step: results that the plan found in the store become the archive of a batch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from snakefold import engines
from snakefold.kernel.contracts import FoldResponse
from snakefold.kernel.errors import Reason, TargetError
from snakefold.kernel.store import Entry, Store, write_atomically
from snakefold.kernel.wording import count
from snakefold.plan.files import PlannedBatch
from snakefold.run.task import outcome_of, pack_response


def restore_batch(batch: PlannedBatch, store: Store, out: Path, log: Callable[[str], None]) -> FoldResponse:
    """Write the batch's archive, as `task.run_request` does.

    A result that the store no longer has, or that is damaged, makes its target `lost`: the price of computing
    it was in no quote, so that it is left to the next run, which plans it.
    """
    outcomes, results = [], {}
    for planned in batch.targets:
        target = planned.target
        data = store.get(Entry("fold", batch.recipe, target.result_key))
        if data is None:
            error = TargetError(
                Reason.LOST,
                "The result was in the store when the run was planned; since then it was removed, or its "
                "checksum is wrong and it was moved aside.",
                "Run again: the target is planned and computed again.",
            )
            log(f"{batch.batch}: {target.id}: {error}")
            outcomes.append(outcome_of(target, error))
            continue
        results[target.result_key] = data
        outcomes.append(outcome_of(target, stored=True))
    response = FoldResponse(
        batch=batch.batch,
        engine=batch.engine,
        engine_version=engines.get(batch.engine).version,
        recipe=batch.recipe,
        rehearsal=batch.rehearsal,
        outcomes=outcomes,
    )
    write_atomically(out, pack_response(response, results))
    log(f"{batch.batch}: {len(results)} of {count(len(outcomes), 'result')} taken from the store")
    return response
