"""A batch in an envelope: the request of the workflow's predict step, run by the same function."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from snakefold import engines
from snakefold.engines import environments
from snakefold.engines.agreement import check_agreement
from snakefold.engines.spec import Engine, settings_of
from snakefold.kernel import archive
from snakefold.kernel.contracts import FoldRequest, FoldResponse
from snakefold.kernel.envelope import Envelope, EnvelopeResponse, Result, Worker, digest_of
from snakefold.kernel.errors import Reason, SnakefoldError, WeightsMissingError
from snakefold.kernel.store import Entry
from snakefold.molecules.own_templates import carried
from snakefold.run import task
from snakefold.worker import told
from snakefold.worker.endpoints.checked import InvalidInput, checked
from snakefold.worker.responses import entry_for, remembered
from snakefold.worker.tasks import Context


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


_RESPONSE = "response.json"
#: Rows of a chain's alignments, bytes of a row besides its residues, and bytes for everything else.
_ROWS, _ROW, _LEAST = 200_000, 200, 16 << 20
#: Bytes of a structure that a target brings.
_STRUCTURE = 64 << 20


def checked_request(body: Mapping[str, object]) -> FoldRequest:
    """A request whose engine is here, and takes its settings.

    Raises:
        InvalidInput: it is none; the text names what is wrong.
    """
    try:
        request = checked(FoldRequest, body)
    except InvalidInput as error:
        raise InvalidInput(f"request: {error}") from error
    engine = engines.find(request.engine)
    if engine is None:
        known = ", ".join(engines.names())
        raise InvalidInput(f"request: engine: this worker has no {request.engine!r}; it has {known}.")
    if engine.environment is not None and (lacking := environments.place_of(engine).missing):
        # Another worker of this endpoint has the same image: a retry would be paid for nothing.
        raise InvalidInput(
            f"request: engine: this worker cannot run {engine.name} ({lacking}). Send its batches to an "
            f"endpoint whose image has it (runpod.endpoints.{engine.name})."
        )
    try:
        checked(engine.Settings, request.settings)
    except InvalidInput as error:
        raise InvalidInput(f"request: settings of {engine.name}: {error}") from error
    return request


def fold_envelope(envelope: Envelope, context: Context) -> tuple[EnvelopeResponse, bool]:
    """Fold the batch, and whether a target ran out of memory.

    Raises:
        InvalidInput: the request is no FoldRequest, or its files are not what it says they are.
    """
    started = time.monotonic()
    request = checked_request(envelope.request)
    if len(envelope.files) > 1:
        raise InvalidInput(
            f"files: expected one, the archive of the MSAs; found {', '.join(envelope.files)}."
        )
    digest = digest_of(envelope.request, {name: part.sha256 for name, part in envelope.files.items()})
    ids = [target.id for target in request.targets]
    with told.telling(envelope, ids, digest, context) as telling:
        response, data = _response(envelope, request, digest, context)
        name, sink = next(iter(envelope.results.items()))
        result = context.transfer.deliver(name, data, sink)
        callback_failures = telling.targets(
            lambda number: _said(response, request.targets[number].result_key, result),
            batch=request.batch,
            rehearsal=response.rehearsal or None,
        )
    answer = EnvelopeResponse(
        digest=envelope.digest,
        results={name: result},
        seconds={
            **response.seconds,
            **context.transfer.seconds,
            "total": round(time.monotonic() - started, 3),
        },
        worker=Worker(gpu=response.device),
        callback_failures=callback_failures,
    )
    return answer, ran_out_of_memory(response)


def _response(
    envelope: Envelope, request: FoldRequest, digest: str, context: Context
) -> tuple[FoldResponse, bytes]:
    """The response and the batch's archive, from the store if it was answered before."""
    made: list[bytes] = []

    def compute() -> tuple[dict[str, bytes], bool]:
        response, data = run(request, _inputs(envelope, request, context), context)
        made.append(data)
        complete = all(outcome.state == "done" for outcome in response.outcomes)
        return {_RESPONSE: response.model_dump_json().encode()}, complete

    files, found = remembered(context.store, entry_for("fold", digest), compute, context.log)
    response = FoldResponse.model_validate_json(files[_RESPONSE])
    if not found:
        return response, made[0]
    packed = packed_again(response, context)
    # The store was cleaned in between: what it lost is computed again.
    data = packed if packed is not None else run(request, _inputs(envelope, request, context), context)[1]
    context.log(f"{request.batch}: answered before: taken from the store")
    return response, data


def _said(response: FoldResponse, key: str, result: Result) -> dict[str, Any]:
    """What is said of a target."""
    outcome = next(each for each in response.outcomes if each.result_key == key)
    rehearsal = response.rehearsal or None
    if outcome.state == "done":
        return told.done(result, result_key=key, rehearsal=rehearsal)
    return told.failed(outcome.reason, f"{outcome.message} {outcome.advice}".strip(), rehearsal=rehearsal)


def run(request: FoldRequest, inputs: Mapping[str, bytes], context: Context) -> tuple[FoldResponse, bytes]:
    """Fold a request; the response and the batch's archive."""
    weights = parameters_for(request, context)
    # Before anything starts: the whole job is refused, not target by target.
    check_agreement(request, weights)
    if context.working_on is not None:
        context.working_on(request.recipe, [target.result_key for target in request.targets])
    with tempfile.TemporaryDirectory(prefix="snakefold-task-") as folder:
        out = Path(folder) / "archive.tar.zst"
        place = environments.require(engines.get(request.engine))
        if place.prefix is not None and not environments.is_here(place.prefix):
            return _run_there(request, inputs, out, weights, context)
        response = task.run_request(
            request,
            inputs,
            out,
            store=context.store,
            weights=weights,
            cache=context.compiled,
            log=context.log,
            progress=context.progress,
        )
        return response, out.read_bytes()


def _run_there(
    request: FoldRequest, inputs: Mapping[str, bytes], out: Path, weights: Path | None, context: Context
) -> tuple[FoldResponse, bytes]:
    """As `run`, by `snakefold task`, which starts the interpreter of the engine's own environment.

    Raises:
        SnakefoldError: it fails as a whole; the text is what it said at last.
    """
    (out.parent / "request.json").write_text(request.model_dump_json(), encoding="utf-8")
    (out.parent / "inputs.tar.zst").write_bytes(archive.pack(dict(inputs)))
    words = ["task", str(out.parent / "request.json"), "--out", str(out), "--store", context.settings.store]
    words += ["--weights", str(weights) if weights else "none", "--cache", str(context.compiled)]
    command = [sys.executable, "-u", "-c", environments.MAIN, *words]
    said = ""
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        for line in process.stdout or ():
            said = line.rstrip() or said
            context.log(line.rstrip())
    if process.returncode:
        raise SnakefoldError(said or f"engine {request.engine}: ended with exit code {process.returncode}.")
    data = out.read_bytes()
    return task.read_response(archive.unpack(data)), data


def packed_again(response: FoldResponse, context: Context) -> bytes | None:
    """The archive of an earlier response; None if the store lacks a target of it."""
    results: dict[str, bytes] = {}
    for outcome in response.outcomes:
        data = context.store.get(Entry("fold", response.recipe, outcome.result_key))
        if data is None:
            return None
        results[outcome.result_key] = data
    return task.pack_response(response, results)


def ran_out_of_memory(response: FoldResponse) -> bool:
    """Whether a target did: what is left of its memory may fail the next job."""
    return any(outcome.reason is Reason.OUT_OF_MEMORY for outcome in response.outcomes)


def inputs_bytes(request: FoldRequest) -> int:
    """Bytes that the alignments and templates of a request come to at the most: generous, but no bomb."""
    chains = {chain for target in request.targets for chain in target.chains}
    chains |= {each["sequence"] for target in request.targets for each in target.proteins}
    structures = {name for target in request.targets for name in carried(target.assembly)}
    return _LEAST + sum(_ROWS * (len(chain) + _ROW) for chain in chains) + _STRUCTURE * len(structures)


def _inputs(envelope: Envelope, request: FoldRequest, context: Context) -> dict[str, bytes]:
    for name, part in envelope.files.items():
        try:
            data = context.transfer.read(name, part)
            return archive.unpack(data, min(archive.most_bytes(len(data)), inputs_bytes(request)))
        except InvalidInput:
            raise
        except SnakefoldError as error:
            raise InvalidInput(f"files.{name}: {error}") from error
    return {}
