"""What one prediction job took, from what it left in the results folder."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import zstandard
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from snakefold.kernel import archive
from snakefold.kernel.contracts import FoldResponse, TargetOutcome
from snakefold.kernel.documents import first_fault, read_document
from snakefold.kernel.errors import SnakefoldError
from snakefold.plan.files import part_of
from snakefold.run.benchmarks import last_job

_RESPONSE = "response.json"
_MOST_BYTES = 1 << 28
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class ExecutionRecord(BaseModel):
    """`executions/<batch>.json`: what whoever ran the job says that it cost, all its attempts together.

    All attempts since the batch was planned: whoever goes on with a batch adds to what is there.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    executor: str = ""
    gpu: str = ""
    dollars_per_second: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    queued_seconds: Seconds = 0.0
    start_seconds: Seconds = 0.0
    billed_seconds: Seconds
    attempts: int = Field(1, ge=1)
    idle_seconds: Seconds = 0.0
    #: Of RunPod: the endpoint's id, the first submission and the last end (seconds since 1970).
    endpoint: str = ""
    submitted: Seconds = 0.0
    ended: Seconds = 0.0
    #: Ids of its submissions, the last one last.
    jobs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Execution:
    """A batch's response with what is known of the job that made it.

    Attributes:
        digest: names this execution: no two have equal seconds in their responses.
        record: of the executor; None if there is none.
        wall: wall seconds of the job by Snakemake's benchmark file, which knows only the last attempt.
    """

    response: FoldResponse
    digest: str
    record: ExecutionRecord | None = None
    wall: float | None = None
    timings: dict[str, dict[str, float]] = field(default_factory=dict)


def read_execution(results: Path, batch: str) -> Execution:
    """Everything about the last execution of a batch.

    Raises:
        SnakefoldError: the batch's archive or its record cannot be read.
    """
    packed = results / "predictions" / f"{batch}.tar.zst"
    data = _response_bytes(packed)
    response = _response(data, batch)
    computed = [each for each in response.outcomes if each.state == "done" and not each.stored]
    return Execution(
        response=response,
        digest=hashlib.sha256(data).hexdigest()[:12],
        record=read_record(results / "executions" / f"{batch}.json"),
        wall=last_job(results / "benchmarks" / "predict" / f"{batch}.tsv").wall,
        # The folder of a target has the seconds of all its parts.
        timings={each.id: _timings(results / "structures" / each.id / "timings.json") for each in computed}
        if part_of(batch) is None
        else _timings_of_parts(packed, computed),
    )


def read_answer(results: Path, batch: str) -> FoldResponse:
    """The response of a batch alone, which says what became of its targets.

    Raises:
        SnakefoldError: the batch's archive cannot be read.
    """
    return answer_in(results / "predictions" / f"{batch}.tar.zst")


def answer_in(packed: Path) -> FoldResponse:
    """The response in a batch's archive, of which nothing else is read.

    Raises:
        SnakefoldError: the archive cannot be read.
    """
    return _response(_response_bytes(packed), packed.name.removesuffix(".tar.zst"))


def _response(data: bytes, batch: str) -> FoldResponse:
    try:
        return FoldResponse.model_validate_json(data)
    except ValidationError as error:
        raise SnakefoldError(
            f"{batch}: its archive's {_RESPONSE} is not one ({first_fault(error)})."
        ) from error


def _response_bytes(path: Path) -> bytes:
    """response.json alone: it comes first in the archive, whose rest may be gigabytes."""
    try:
        with (
            path.open("rb") as stream,
            zstandard.ZstdDecompressor().stream_reader(stream) as raw,
            tarfile.open(fileobj=io.BufferedReader(raw), mode="r|") as members,
        ):
            for member in members:
                content = members.extractfile(member) if member.name == _RESPONSE and member.isreg() else None
                if content is not None and member.size <= _MOST_BYTES:
                    return content.read()
    except (OSError, tarfile.TarError, zstandard.ZstdError, EOFError) as error:
        raise SnakefoldError(f"{path}: cannot be read: {error}. Remove it and run again.") from error
    raise SnakefoldError(f"{path}: holds no {_RESPONSE}: it was not made by `snakefold task`.")


def read_record(path: Path) -> ExecutionRecord | None:
    """A record; None if there is none.

    Raises:
        SnakefoldError: the file is something else.
    """
    if not path.is_file():
        return None
    advice = "Remove it to be billed by the seconds measured here."
    return read_document(ExecutionRecord, path, what="a record of an execution", advice=advice)


def _timings(path: Path) -> dict[str, float]:
    try:
        return _read_timings(path.read_bytes())
    except OSError:
        return {}


def _timings_of_parts(packed: Path, computed: Iterable[TargetOutcome]) -> dict[str, dict[str, float]]:
    files = archive.read(packed)
    members = {each.id: archive.unpack(files[f"targets/{each.result_key}.tar.zst"]) for each in computed}
    return {name: _read_timings(its.get("timings.json", b"{}")) for name, its in members.items()}


def _read_timings(data: bytes) -> dict[str, float]:
    try:
        return {name: float(value) for name, value in json.loads(data).items()}
    except (ValueError, TypeError, AttributeError):
        return {}
