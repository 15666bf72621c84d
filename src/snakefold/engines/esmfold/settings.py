"""Settings of the engine `esmfold`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from snakefold.kernel.contracts import Model


class EsmFoldSettings(Model):
    """Settings of the engine `esmfold`: monomers, no alignments."""

    num_recycles: int = Field(
        3, ge=0, le=48, description="Recycles: passes after the first. ESMFold's own default is 3."
    )
    chunk_size: int | None = Field(
        None,
        ge=1,
        le=1024,
        description="Rows of pairs that the triangle attention computes at once: fewer need less memory. "
        "Empty: by length, so that they need 1 GB.",
    )
    accelerator: Literal["auto", "gpu", "cpu"] = Field(
        "auto",
        description="gpu: the language model in float16, as it was published, the rest in float32; cpu: all "
        "in float32. auto: as gpu.classes are, and on this machine a GPU if there is one.",
    )
    cpu_threads: int = Field(
        4,
        ge=1,
        le=256,
        description="Threads on a CPU. Their number is part of a result; GPUs do not read it.",
    )
