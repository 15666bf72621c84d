"""One assembly a job: Boltz's YAML in, scores and poses out. See `worker.endpoints.boltz2`."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from snakefold.config import Config, load_config
from snakefold.engines.boltz2 import ENGINE
from snakefold.kernel import archive
from snakefold.kernel.contracts import Confidence
from snakefold.kernel.envelope import TELLING, Result, Sink, Worker, digest_of
from snakefold.kernel.errors import InputError, Reason, Refusal, TargetError
from snakefold.molecules.accepts import Verdict, why_not
from snakefold.molecules.entities import Assembly
from snakefold.molecules.targets import Target, read_records
from snakefold.plan.records import target_input
from snakefold.worker import told
from snakefold.worker.endpoints.boltz2 import PoseRequest, PoseResponse, yaml_of
from snakefold.worker.endpoints.checked import InvalidInput
from snakefold.worker.fold import ran_out_of_memory
from snakefold.worker.here import Searched, alone, choose_databases, fold_here
from snakefold.worker.tasks import Context

_NAME = "input_yaml"


def predict_poses(request: PoseRequest, context: Context) -> tuple[PoseResponse, bool]:
    """Align and predict one assembly, and whether it ran out of memory.

    Raises:
        InputError, InvalidInput: the YAML is refused: nothing starts.
        TargetError: the prediction failed. An answer without a structure is never given.
        WeightsMissingError: the worker lacks parameters.
    """
    started = time.monotonic()
    text = yaml_of(request.input_yaml)
    target = assembly_of(text)
    content = {**request.model_dump(mode="json", exclude={"job_id", "request_data", *TELLING}), "text": text}
    digest = digest_of(content)
    with told.telling(request, [request.job_id or _NAME], digest, context) as telling:
        searched = _searched(request, target, context)
        response, results = fold_here(
            [target], _configuration(request, searched), context, rehearsal=request.rehearsal
        )
        (outcome,) = response.outcomes
        if outcome.state != "done":
            raise TargetError(outcome.reason or Reason.INTERNAL, outcome.message, outcome.advice)
        files = archive.unpack(results[f"targets/{outcome.result_key}.tar.zst"])
        found = Confidence.model_validate_json(files["confidence.json"])
        warnings = [*searched.warnings, *found.warnings]
        if response.rehearsal:
            warnings.insert(0, "REHEARSAL: random parameters were used, the poses mean nothing.")
        answer = PoseResponse(
            digest=digest,
            job_id=request.job_id,
            request_data=request.request_data,
            affinity_pred_value=_number(found, "affinity_pred_value"),
            affinity_probability_binary=_number(found, "affinity_probability_binary"),
            confidence_score=_number(found, "confidence_score"),
            pose_files={
                f"pose_{rank}.cif": _sent(f"pose_{rank}.cif", files[f"{model.name}.cif"], context)
                for rank, model in enumerate(found.models)
            },
            output_files={
                name: _sent(name, data, context) for name, data in _summaries(found, files).items()
            },
            warnings=warnings,
            rehearsal=response.rehearsal,
            seconds={
                **response.seconds,
                **context.transfer.seconds,
                "total": round(time.monotonic() - started, 3),
            },
            worker=Worker(gpu=response.device),
        )
        rehearsal = response.rehearsal or None
        failures = telling.targets(lambda _: told.done(rehearsal=rehearsal), rehearsal=rehearsal)
    return answer.model_copy(update={"callback_failures": failures}), ran_out_of_memory(response)


def assembly_of(text: str) -> Target:
    """The assembly of a YAML, which may name no file of this worker."""

    def judge(assembly: Assembly) -> Verdict | None:
        return why_not(assembly, ENGINE.name, ENGINE.accepts, {ENGINE.name: ENGINE.accepts})

    with tempfile.TemporaryDirectory(prefix="snakefold-input-") as folder:
        path = Path(folder) / f"{_NAME}.yaml"
        path.write_text(text, encoding="utf-8", errors="surrogatepass")
        found = read_records(
            [path], min_length=1, max_length=Config().max_length, judge=judge, own_files=False
        )
    refused = [each for each in found if isinstance(each, Refusal)]
    if refused:
        raise InputError([_renamed(each) for each in refused])
    targets = [each for each in found if isinstance(each, Target)]
    if len(targets) != 1:
        raise InvalidInput(f"{_NAME}: {len(targets)} assemblies: expected one.")
    try:
        ENGINE.check(target_input(targets[0]), ENGINE.Settings())
    except TargetError as error:
        raise InvalidInput(f"{_NAME}: {error.message} {error.advice}") from error
    return targets[0]


def _renamed(refusal: Refusal) -> Refusal:
    from dataclasses import replace

    return replace(refusal, file=_NAME)


def _searched(request: PoseRequest, target: Target, context: Context) -> Searched:
    """Where the alignments come from: the MSA server that the operator allows, databases, or nowhere."""
    if not target.searched:
        return alone([])
    warnings = []
    if request.config.use_msa_server:
        if context.settings.msa_server is not None:
            return Searched("server", context.settings.msa_server, [])
        warnings.append(
            "use_msa_server: the operator of this worker allows no MSA server (SNAKEFOLD_MSA_SERVER is not "
            "set). None was asked."
        )
    found = choose_databases(None, None, context, multimer=len(target.pairable) > 1)
    return Searched(found.name, found.msa, [*warnings, *found.warnings])


def _configuration(request: PoseRequest, searched: Searched) -> Config:
    """The run's settings that the request amounts to."""
    asked = request.config
    settings = {
        "diffusion_samples": asked.diffusion_samples,
        "recycling_steps": asked.recycling_steps,
        "sampling_steps": asked.sampling_steps,
        "seed": asked.seed,
    }
    own = {name: value for name, value in settings.items() if value is not None}
    config = load_config({"engine": ENGINE.name, ENGINE.name: own})
    return config.model_copy(update={"msa": searched.msa})


def _number(found: Confidence, name: str) -> float | None:
    value = found.scores.get(name)
    return float(value) if isinstance(value, int | float) else None


def _summaries(found: Confidence, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """What Boltz wrote of the best pose, and of the affinity if it predicted one."""
    names = {"confidence_result.json": files[f"{found.models[0].name}.json"]}
    if "affinity.json" in files:
        content = json.loads(files["affinity.json"])
        (first, *_) = content.pop("chains").values()
        names["affinity_result.json"] = (json.dumps({**first, **content}, indent=1) + "\n").encode()
    return names


def _sent(name: str, data: bytes, context: Context) -> str | Result:
    """Base64, as those programs read it; a file too large to be inline with size, sha256 and its place."""
    result = context.transfer.deliver(name, data, Sink(inline=True))
    return result.base64 if result.base64 is not None else result
