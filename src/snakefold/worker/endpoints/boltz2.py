"""One assembly in Boltz's YAML in, scores and poses out: the contract of the second seed's programs."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field

from snakefold.kernel.contracts import Model
from snakefold.kernel.envelope import CallbackUrl, IdempotencyPrefix, JobCallbackUrl, Result, ToldResponse

#: Characters of a YAML as base64, and bytes of what travels with a job and means nothing here.
_LONGEST_YAML, _LONGEST_ID = 8 << 20, 200


def _is_text(encoded: str) -> str:
    yaml_of(encoded)
    return encoded


def yaml_of(encoded: str) -> str:
    """The YAML of an `input_yaml`.

    Raises:
        ValueError: it is no base64 of a text in UTF-8.
    """
    try:
        return base64.b64decode("".join(encoded.split()), validate=True).decode("utf-8")
    except (binascii.Error, ValueError) as error:
        raise ValueError("expected base64 of a text in UTF-8") from error


class PoseConfig(Model):
    """Settings of a prediction, under the names that those programs send."""

    devices: int = Field(
        1, ge=1, le=64, description="Accepted; a worker predicts on the one GPU that it has."
    )
    accelerator: Literal["gpu", "cpu", "auto"] = Field(
        "gpu", description="Accepted; a worker predicts on its GPU, or on its CPU if it has none."
    )
    diffusion_samples: int = Field(1, ge=1, le=100, description="Structures that are drawn.")
    recycling_steps: int | None = Field(None, ge=0, le=50, description="Boltz's default if empty.")
    sampling_steps: int | None = Field(None, ge=1, le=2000, description="Boltz's default if empty.")
    use_msa_server: bool = Field(
        False,
        description="Ask an MSA server for alignments. Honoured only if the worker's operator has set "
        "SNAKEFOLD_MSA_SERVER; else databases of the worker are searched, and `warnings` says so.",
    )
    seed: int = Field(0, ge=0, lt=2**31, description="Equal seeds give equal results.")


class PoseRequest(Model):
    """One assembly: proteins, nucleic acids and ligands."""

    input_yaml: Annotated[str, Field(min_length=1, max_length=_LONGEST_YAML), AfterValidator(_is_text)] = (
        Field(description="Boltz's YAML (version 1), in base64.")
    )
    job_id: Annotated[str, Field(max_length=_LONGEST_ID)] = Field(
        "", description="The caller's name of the job."
    )
    request_data: dict[str, Any] = Field({}, description="Of the caller; comes back as it is.")
    config: PoseConfig = Field(PoseConfig(), description="Settings of the prediction.")
    rehearsal: bool = Field(
        False, description="Random parameters: every step runs, and the structures mean nothing."
    )
    callback_url: CallbackUrl = None
    job_callback_url: JobCallbackUrl = None
    idempotency_prefix: IdempotencyPrefix = None


class PoseResponse(ToldResponse):
    """Answer to one assembly. A score that Boltz-2 did not give is null, and no default takes its place."""

    always: ClassVar[tuple[str, ...]] = (
        "affinity_pred_value",
        "affinity_probability_binary",
        "confidence_score",
    )

    job_id: str = Field("", description="The caller's name of the job.")
    request_data: dict[str, Any] = Field({}, description="As it was sent.")
    affinity_pred_value: float | None = Field(None, description="log10 of IC50 in µM: -3 is 1 nM.")
    affinity_probability_binary: float | None = Field(None, description="That the ligand binds, 0 to 1.")
    confidence_score: float | None = Field(None, description="Of the best pose, 0 to 1.")
    pose_files: dict[str, str | Result] = Field(
        {}, description="mmCIF by name, best first: base64, or where a large file went."
    )
    output_files: dict[str, str | Result] = Field(
        {}, description="affinity_result.json and confidence_result.json, as Boltz writes them."
    )
    warnings: list[str] = Field([], description="Warnings, such as missing databases or REHEARSAL.")
    rehearsal: bool = Field(False, description="Random parameters were used.")
