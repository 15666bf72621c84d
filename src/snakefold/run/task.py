"""Run a request: the same function for the command line, a SLURM job and an endpoint's worker.

Every finished target is in the store before the next one starts, so a crash loses at most one target and a
request that runs twice computes nothing the second time. A target during which the process died three times
is given up as `lost`, so that one target that kills its worker cannot take the rest of the batch with it.

A store that goes away meanwhile takes nothing with it: what is finished is kept beside the batch's archive
and in it, and `collect` puts it into the store later.
"""

from __future__ import annotations

import json
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from snakefold import engines
from snakefold.engines.agreement import agreed
from snakefold.engines.spec import LooksAhead, Session, TargetMsas, as_result, relaxation, settings_of
from snakefold.kernel import archive, stages
from snakefold.kernel.contracts import (
    UNSTORED,
    FoldRequest,
    FoldResponse,
    TargetInput,
    TargetOutcome,
)
from snakefold.kernel.errors import (
    DiskError,
    Reason,
    SnakefoldError,
    StoreError,
    TargetError,
    WeightsMissingError,
    disk_error,
    no_space,
)
from snakefold.kernel.notes import Code, note
from snakefold.kernel.store import Entry, KeptStore, Store, at_work, write_atomically
from snakefold.kernel.store.kept import FOLDER
from snakefold.kernel.wording import count
from snakefold.plan.cost.disk import packed_result_bytes
from snakefold.run.outputs import Relaxation, relax_ranked, target_files
from snakefold.run.progress import ProgressFile
from snakefold.run.requests import read_inputs
from snakefold.structures import confidence, relax

_ATTEMPTS = 3
#: Seconds after which a target is computed although another process is at it.
_PATIENCE = 1800.0
#: Bytes that a job takes besides its targets: its log, and above all the programs that it compiles and keeps.
_MARGIN = 32_000_000

Log = Callable[[str], None]
#: Takes how many targets are done, and of how many that are to be predicted.
Progress = Callable[[int, int], None]


def run_request(
    request: FoldRequest,
    inputs: Mapping[str, bytes],
    out: Path,
    *,
    store: Store,
    weights: Path | None,
    cache: Path | None,
    log: Log,
    progress: Progress | None = None,
    shown: ProgressFile | None = None,
) -> FoldResponse:
    """Fold every target of the request and write the batch's archive to `out`.

    The archive holds `response.json` and `targets/<result key>.tar.zst`. A target that fails is an outcome
    with a typed reason; only what concerns the whole machine is raised.

    Args:
        shown: is kept up to date with what is done and what is at work.

    Raises:
        StoreError: the store cannot be read, or took nothing before the first target was computed.
        DiskError: there is no room for a single target, or not for the archive.
    """
    start = time.monotonic()
    batch = _Batch(request, KeptStore(store, out.parent / FOLDER, log), out, log)
    batch.store.hand_over()
    if batch.store.away:
        raise StoreError(batch.store.away)
    msas, msa_failures = read_inputs(request, inputs)
    batch.look(msa_failures)
    if shown is not None:
        shown.begin(len(request.targets), batch.outcomes.values())
    log(f"{request.batch}: {count(len(request.targets), 'target')}, {len(batch.to_do)} to predict")
    seconds: dict[str, float] = {}
    device = ""
    if batch.to_do:
        # The engine sees the whole batch, not what is left of it: the shapes it chooses must not depend on
        # where an earlier process stopped.
        foldable = [target for target in request.targets if target.result_key in msas]
        whole = request.model_copy(update={"targets": foldable})
        try:
            with agreed(request, weights):
                session = engines.get(request.engine).start(whole, msas, weights, cache)
        except (SnakefoldError, TargetError) as error:
            batch.fail(batch.to_do, _as_target_error(error))
        else:
            with stages.heard(shown.stage if shown is not None else None):
                _fold_all(batch, msas, session, progress, shown)
            seconds, device = dict(session.seconds), session.device
    left = batch.store.hand_over()
    if left:
        log(f"{request.batch}: {count(left, 'entry', 'entries')} not in the store: {batch.store.away}")
    response = FoldResponse(
        batch=request.batch,
        engine=request.engine,
        engine_version=engines.get(request.engine).version,
        recipe=request.recipe,
        rehearsal=request.rehearsal,
        outcomes=batch.told(),
        seconds={**seconds, "total": round(time.monotonic() - start, 3)},
        device=device,
    )
    try:
        write_atomically(out, pack_response(response, batch.results))
    except OSError as error:
        raise disk_error(error, out) or error from error
    return response


@dataclass
class _Batch:
    """A request at work: what became of its targets so far, and the results by their keys."""

    request: FoldRequest
    store: KeptStore
    out: Path
    log: Log
    results: dict[str, bytes] = field(default_factory=dict)
    outcomes: dict[str, TargetOutcome] = field(default_factory=dict)
    to_do: list[TargetInput] = field(default_factory=list)

    def look(self, msa_failures: Mapping[str, TargetError]) -> None:
        """Take what the store has, and find what is left to do."""
        for target in self.request.targets:
            key = target.result_key
            stored = self.store.get(self.entry(key))
            if stored is not None:
                self.results[key] = stored
                self.outcomes[key] = outcome_of(target, stored=True)
            elif key in msa_failures:
                self.fail([target], msa_failures[key])
            elif (lost := _given_up(self.request, target, self.store)) is not None:
                self.fail([target], lost)
            else:
                self.to_do.append(target)

    def fail(self, targets: Iterable[TargetInput], error: TargetError) -> None:
        """These have no structure."""
        self.outcomes |= {target.result_key: outcome_of(target, error) for target in targets}

    def entry(self, key: str) -> Entry:
        """Where the store has a result."""
        return Entry("fold", self.request.recipe, key)

    def told(self) -> list[TargetOutcome]:
        """What became of every target, in the request's order."""
        return [
            self.outcomes[key].model_copy(
                update={"unstored": key in self.results and self.store.keeps(self.entry(key))}
            )
            for key in (target.result_key for target in self.request.targets)
        ]


def _fold_all(
    batch: _Batch,
    msas: Mapping[str, TargetMsas],
    session: Session,
    progress: Progress | None,
    shown: ProgressFile | None,
) -> None:
    """Fold what is to do, as long as there is room for it.

    What another process is at work on comes last: by then it may be in the store.
    """
    request, order, number, first = batch.request, deque(batch.to_do), 0, True
    later: set[str] = set()
    while order:
        target = order.popleft()
        if full := _no_room(request, target, batch.results, batch.store, batch.out):
            if not batch.results:
                raise full
            batch.log(f"{request.batch}: {full}")
            batch.fail([target, *order], TargetError(full.reason, str(full)))
            return
        key = target.result_key
        entry = batch.entry(key)
        with at_work(batch.store, entry, _PATIENCE if key in later else 0.0) as free:
            if not free and key not in later:
                later.add(key)
                order.append(target)
                batch.log(f"{request.batch}: {target.id}: another process computes it; it comes last")
                continue
            if shown is not None:
                shown.target(target.id, target.length)
            number += 1
            data = _computed_since(batch.store, entry)
            if data is not None:
                outcome = outcome_of(target, stored=True)
            else:
                if order and isinstance(session, LooksAhead):
                    session.look_ahead(order[0], msas[order[0].result_key])
                outcome, data = _fold(request, target, msas[key], session, batch.store, first=first)
                first = False
        batch.outcomes[key] = outcome
        if data is not None:
            batch.results[key] = data
        batch.log(
            f"{request.batch}: {number}/{len(batch.to_do)} {target.id} ({target.length}): {_line(outcome)}"
        )
        if shown is not None:
            shown.finish(outcome)
        if progress is not None:
            progress(number, len(batch.to_do))


def _computed_since(store: KeptStore, entry: Entry) -> bytes | None:
    """A result that another process has put into the store since this one looked."""
    with suppress(StoreError):  # that it cannot be asked now is no reason not to compute
        if store.has(entry):
            return store.get(entry)
    return None


def _no_room(
    request: FoldRequest, target: TargetInput, results: Mapping[str, bytes], store: Store, out: Path
) -> DiskError | None:
    """Why the next target could not be kept beside the batch's others; None if it can."""
    engine = engines.get(request.engine)
    size = 0.0
    if engine.selectable:
        settings = settings_of(engine, request)
        work = engine.work(engine.group(target, settings), settings, relaxation(engine, request.relax))
        size = float(packed_result_bytes(engine.size(target), work))
    place = out.absolute().parent
    place.mkdir(parents=True, exist_ok=True)
    needed = size + sum(map(len, results.values())) + _MARGIN
    if store.local is not None and store.local.exists() and store.local.stat().st_dev == place.stat().st_dev:
        needed += size
    free = shutil.disk_usage(place).free
    return None if free >= needed else no_space(out.parent, needed)


def _fold(
    request: FoldRequest,
    target: TargetInput,
    msas: TargetMsas,
    session: Session,
    store: KeptStore,
    *,
    first: bool,
) -> tuple[TargetOutcome, bytes | None]:
    start, start_cpu = time.monotonic(), time.process_time()
    attempt = Entry("attempt", request.recipe, target.result_key)
    deaths = _attempts(attempt, store)
    store.put(attempt, json.dumps({"count": deaths + 1}).encode())
    if first and store.away:
        store.remove(attempt)
        raise StoreError(store.away)
    data: bytes | None = None
    try:
        engine = engines.get(request.engine)
        engine.check(target, settings_of(engine, request))
        result = as_result(session.predict(target, msas))
        predictions = confidence.rank(result.predictions)
        predicted = time.monotonic()
        relaxed = relax_ranked(
            predictions,
            relaxation(engine, request.relax).models_to_relax,
            lambda pdb: _relax(pdb, request),
        )
        seconds = {
            **{f"predict_{item.name}": item.seconds for item in predictions},
            "predict": predicted - start,
            "compile": sum(item.compile_seconds for item in predictions),
            "relax": relaxed.seconds,
            "cpu": time.process_time() - start_cpu,
        }
        files = target_files(
            request,
            target,
            msas,
            result=replace(result, predictions=predictions),
            relaxation=relaxed,
            seconds=seconds,
            software=f"{request.engine} {engine.version}",
            warnings=_befallen(request, relaxed, session.device, deaths),
        )
    except TargetError as error:
        outcome = outcome_of(target, error)
    except MemoryError:
        outcome = outcome_of(target, TargetError(Reason.OUT_OF_MEMORY, "The machine's memory ran out."))
    except Exception as error:  # one target's defect must not cost the batch; its text goes into failures.tsv
        message = f"{type(error).__name__}: {error}"[:2000]
        outcome = outcome_of(target, TargetError(Reason.INTERNAL, message))
    else:
        data = archive.pack(files)
        if result.as_planned:  # or its name in the store would say what it is not
            store.put(Entry("fold", request.recipe, target.result_key), data)
        outcome = outcome_of(target)
    finally:  # an interrupt is no crash: only a process that is killed leaves its attempt behind
        store.remove(attempt)  # which raises nothing over what may be on its way
    return outcome.model_copy(update={"seconds": round(time.monotonic() - start, 3)}), data


def _relax(pdb: str, request: FoldRequest) -> str:
    stages.say(stages.RELAXING)
    return relax.relax(pdb, request.relax).pdb


def _befallen(request: FoldRequest, relaxed: Relaxation, device: str, deaths: int) -> list[str]:
    """Notes on how a target was computed."""
    found = []
    if deaths:
        found.append(
            note(Code.RETRIED, f"a process died on it {deaths} time{'s' if deaths > 1 else ''} before")
        )
    wanted = request.relax.use_gpu_relax is not False and device.lower() not in ("", "cpu")
    if wanted and relaxed.pdbs and not relax.takes_gpu(request.relax):
        found.append(note(Code.RELAX_ON_CPU, f"OpenMM finds no GPU through CUDA; predicted on {device}"))
    return found


def _given_up(request: FoldRequest, target: TargetInput, store: Store) -> TargetError | None:
    count = _attempts(Entry("attempt", request.recipe, target.result_key), store)
    if count < _ATTEMPTS:
        return None
    return TargetError(
        Reason.LOST,
        f"The process died {count} times while it worked on this target.",
        "Check for out-of-memory kills and raise predict.mem_mb; the next run tries it again.",
    )


def forgive(recipe: str, keys: Iterable[str], store: Store, most: int = _ATTEMPTS) -> None:
    """Take back an attempt of a process that was killed on purpose: that is no crash of its targets.

    Args:
        most: attempts that are left standing.
    """
    for key in store.keys("attempt", recipe) & set(keys):
        attempt = Entry("attempt", recipe, key)
        count = min(_attempts(attempt, store) - 1, most)
        if count > 0:
            store.put(attempt, json.dumps({"count": count}).encode())
        else:
            store.remove(attempt)


def _attempts(attempt: Entry, store: Store) -> int:
    data = store.get(attempt)
    return int(json.loads(data)["count"]) if data is not None else 0


def _as_target_error(error: SnakefoldError | TargetError) -> TargetError:
    if isinstance(error, TargetError):
        return error
    reason = Reason.WEIGHTS_MISSING if isinstance(error, WeightsMissingError) else Reason.INTERNAL
    return TargetError(reason, str(error))


def outcome_of(
    target: TargetInput, error: TargetError | None = None, *, stored: bool = False
) -> TargetOutcome:
    """What became of a target: done, or failed with an error."""
    return TargetOutcome(
        id=target.id,
        key=target.key,
        result_key=target.result_key,
        state="done" if error is None else "failed",
        stored=stored,
        reason=error.reason if error else None,
        message=error.message if error else "",
        advice=error.advice if error else "",
    )


def _line(outcome: TargetOutcome) -> str:
    if outcome.stored:
        return "computed by another process"
    if outcome.state == "done":
        return f"done in {outcome.seconds:.1f} s"
    return f"failed, {outcome.reason}: {outcome.message}"


def pack_response(response: FoldResponse, results: Mapping[str, bytes]) -> bytes:
    """A batch's archive: the response, and the results by their keys."""
    # Each target stays the archive that the store holds: packing it again would cost time and change nothing.
    files = {f"targets/{key}.tar.zst": data for key, data in results.items()}
    if unstored := [outcome.result_key for outcome in response.outcomes if outcome.unstored]:
        files[UNSTORED] = json.dumps(unstored).encode()
    return archive.pack({"response.json": response.model_dump_json(indent=1).encode(), **files}, level=1)


def read_response(files: Mapping[str, bytes]) -> FoldResponse:
    """The response inside a batch's archive."""
    if "response.json" not in files:
        raise SnakefoldError("The archive holds no response.json: it was not made by `snakefold task`.")
    response = FoldResponse.model_validate_json(files["response.json"])
    unstored = set(json.loads(files.get(UNSTORED, b"[]")))
    if not unstored:
        return response
    outcomes = [
        each.model_copy(update={"unstored": each.result_key in unstored}) for each in response.outcomes
    ]
    return response.model_copy(update={"outcomes": outcomes})
