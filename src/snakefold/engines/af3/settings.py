"""Settings of the engine `af3`."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, field_validator

from snakefold.kernel.contracts import Model

#: AlphaFold 3's own.
BUCKETS = (256, 512, 768, 1024, 1280, 1536, 2048, 2560, 3072, 3584, 4096, 4608, 5120)

Name = Literal[
    "openfold3",
    "openbind0",
    "protenix1",
    "protenix2",
    "intellifold2",
    "rosettafold3",
    "boltz2",
    "chai1",
    "esmfold2",
    "alphafold3",
]


class Af3Settings(Model):
    """Settings of the engine `af3`. Names are AlphaFold 3's where it has one."""

    model: Name = Field("openfold3", description="Whose network predicts. One process runs one.")
    num_diffusion_samples: int = Field(5, ge=1, le=100, description="Models per seed.")
    seed: int = Field(1, ge=0, le=2**32 - 101, description="First seed.")
    num_seeds: int = Field(1, ge=1, le=100, description="Seeds: each gives num_diffusion_samples models.")
    num_recycles: int | None = Field(
        None, ge=0, le=50, description="Recycles of the trunk. Empty: what the model's own program runs."
    )
    num_sampling_steps: int | None = Field(
        None, ge=1, le=2000, description="Steps of the diffusion. Empty: what the model's own program runs."
    )
    num_msa: int | None = Field(
        None,
        ge=1,
        le=16_384,
        description="Rows of the alignment that the trunk samples in each pass. Empty: the model's own.",
    )
    max_msa_seqs: int = Field(16_384, ge=1, le=16_384, description="Maximum rows of a chain's alignment.")
    use_templates: bool = Field(
        True,
        description="Give the network the templates that were searched, four at the most.",
    )
    buckets: tuple[Annotated[int, Field(ge=8, le=20_000)], ...] = Field(
        BUCKETS,
        min_length=1,
        description="Numbers of tokens that targets are padded to, ascending; a larger target is refused. "
        "They are part of a result: all models but the first of a seed depend on the padded size.",
    )
    precision: Literal["auto", "bfloat16", "mixed", "float32"] = Field(
        "auto",
        description="bfloat16: everywhere; mixed: in the trunk alone; float32: nowhere. auto: bfloat16 on "
        "GPUs of sm_80 and later, mixed on others, float32 on a CPU.",
    )
    attention: Literal["auto", "triton", "cudnn", "xla"] = Field(
        "auto",
        description="Who computes attention: triton on GPUs of sm_80 and later, xla everywhere else (auto).",
    )
    accelerator: Literal["auto", "gpu", "cpu"] = Field(
        "auto", description="auto: as gpu.classes are, and on this machine a GPU if there is one."
    )

    @field_validator("buckets")
    @classmethod
    def _ascending(cls, given: tuple[int, ...]) -> tuple[int, ...]:
        if any(after <= before for before, after in pairwise(given)):
            raise ValueError("expected numbers in ascending order")
        return given
