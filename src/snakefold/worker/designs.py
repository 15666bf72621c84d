"""One backbone a job: a structure in, sequences out. See `worker.endpoints.proteinmpnn`."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from snakefold.config import load_config
from snakefold.engines.proteinmpnn import ENGINE
from snakefold.kernel import archive
from snakefold.kernel.envelope import Result, Sink, Worker, digest_of
from snakefold.kernel.errors import Reason, TargetError
from snakefold.kernel.names import safe_id
from snakefold.molecules.backbones import BadBackboneError, format_of, read_backbone
from snakefold.molecules.designs import Wanted, make_design
from snakefold.molecules.target import Target
from snakefold.worker.endpoints.checked import InvalidInput
from snakefold.worker.endpoints.proteinmpnn import DesignRequest, DesignResponse, structure_of
from snakefold.worker.fold import ran_out_of_memory
from snakefold.worker.here import fold_here
from snakefold.worker.tasks import Context


def design(request: DesignRequest, context: Context) -> tuple[DesignResponse, bool]:
    """Design sequences for one backbone, and whether it ran out of memory.

    Raises:
        InvalidInput: the backbone, a chain or a position is refused: nothing starts.
        TargetError: the design failed. An answer without sequences is never given.
        WeightsMissingError: the worker lacks parameters.
    """
    started = time.monotonic()
    data = structure_of(request.pdb_base64)
    with tempfile.TemporaryDirectory(prefix="snakefold-design-") as folder:
        path = Path(folder) / "backbone"
        path.write_bytes(data)
        target = _target(request, data, path)
        config = load_config({"engine": ENGINE.name, ENGINE.name: request.settings.model_dump()})
        response, results = fold_here([target], config, context, rehearsal=False)
    (outcome,) = response.outcomes
    if outcome.state != "done":
        raise TargetError(outcome.reason or Reason.INTERNAL, outcome.message, outcome.advice)
    files = archive.unpack(results[f"targets/{outcome.result_key}.tar.zst"])
    found = json.loads(files["designs.json"])
    name = request.pdb_name
    native = _named(found["native"], name, name)
    samples = [
        _named(each, name, f"{name}_T{each['temperature']:g}_{each['sample']}") for each in found["samples"]
    ]
    text = "".join(f">{each['header']}\n{each['sequence']}\n" for each in (native, *samples))
    answer = DesignResponse(
        digest=digest_of(request.model_dump(mode="json")),
        pdb_name=name,
        native=native,
        samples=_samples(samples, context),
        fasta=_sent("designs.fa", text.encode(), context),
        designed_chains=found["designed_chains"],
        fixed_chains=found["fixed_chains"],
        fixed_positions=found["fixed_positions"],
        numbering=found["numbering"],
        model_name=found["settings"]["model_name"],
        use_soluble_model=found["settings"]["use_soluble_model"],
        seed=found["settings"]["seed"],
        seconds={
            **response.seconds,
            **context.transfer.seconds,
            "total": round(time.monotonic() - started, 3),
        },
        worker=Worker(gpu=response.device),
    )
    return answer, ran_out_of_memory(response)


def _target(request: DesignRequest, data: bytes, path: Path) -> Target:
    wanted = Wanted(
        chains=request.pdb_path_chains,
        fixed=request.fixed_positions or {},
        tied=request.tied_positions,
        homooligomer=request.homooligomer,
        bias=[(each.chain, each.position, each.bias) for each in request.bias_by_res],
    )
    try:
        chains = read_backbone(data)
        asked = make_design(chains, data, format_of(data), wanted)
    except BadBackboneError as error:
        raise InvalidInput(f"pdb_base64: {error}.") from error
    except TargetError as error:
        raise InvalidInput(f"{error.message} {error.advice}") from error
    return Target(
        id=safe_id(request.pdb_name, "input"),
        header=request.pdb_name,
        chains=tuple(chain.sequence for chain in chains),
        file="pdb_base64",
        record=1,
        line=1,
        backbone=asked,
        files=((asked.structure, path),),
    )


def _named(content: Mapping[str, Any], backbone: str, name: str) -> dict[str, Any]:
    """A sequence with its name; the native one's header begins with that of the backbone, as upstream."""
    header = str(content["header"])
    if header.startswith("native, "):
        header = f"{backbone}, {header.removeprefix('native, ')}"
    return {"name": name, **content, "header": header}


def _samples(samples: list[dict[str, Any]], context: Context) -> list[dict[str, Any]] | Result:
    """In the answer, or where they went if they are too large for it."""
    text = json.dumps(samples)
    result = context.transfer.deliver("samples.json", text.encode(), Sink(inline=True))
    return samples if result.base64 is not None else result


def _sent(name: str, data: bytes, context: Context) -> str | Result:
    result = context.transfer.deliver(name, data, Sink(inline=True))
    return data.decode() if result.base64 is not None else result
