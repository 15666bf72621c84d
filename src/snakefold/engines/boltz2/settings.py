"""Settings of the engine `boltz2`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from snakefold.kernel.contracts import Model


class Boltz2Settings(Model):
    """Settings of the engine `boltz2`. Names and defaults are Boltz's where `boltz predict` has one."""

    diffusion_samples: int = Field(1, ge=1, le=100, description="Models per seed.")
    recycling_steps: int = Field(3, ge=0, le=50, description="Recycles of the trunk.")
    sampling_steps: int = Field(200, ge=1, le=2000, description="Steps of the diffusion.")
    step_scale: float = Field(
        1.5, gt=0, le=10, description="Step size of the diffusion: lower values give more diverse models."
    )
    max_parallel_samples: int = Field(
        5, ge=1, le=100, description="Models that are sampled at once: fewer need less memory."
    )
    use_potentials: bool = Field(
        False, description="Steer the sampling by physical potentials: fewer wrong stereocentres and clashes."
    )
    seed: int = Field(0, ge=0, le=2**31 - 1, description="First seed.")
    num_seeds: int = Field(1, ge=1, le=100, description="Seeds: each gives diffusion_samples models.")
    max_msa_seqs: int = Field(8192, ge=1, le=16384, description="Maximum rows of an alignment.")
    num_subsampled_msa: int = Field(
        1024, ge=1, le=16384, description="Rows of the alignment that the network samples in each pass."
    )
    sampling_steps_affinity: int = Field(
        200, ge=1, le=2000, description="Steps of the diffusion before the affinity is predicted."
    )
    diffusion_samples_affinity: int = Field(
        5, ge=1, le=100, description="Poses that are sampled for the affinity."
    )
    affinity_mw_correction: bool = Field(
        False, description="Correct the affinity by the ligand's molecular weight."
    )
    accelerator: Literal["auto", "gpu", "cpu"] = Field(
        "auto",
        description="gpu: bfloat16; cpu: float32. auto: as gpu.classes are, and on this machine a GPU if "
        "there is one.",
    )
    cpu_threads: int = Field(
        4,
        ge=1,
        le=256,
        description="Threads on a CPU. Their number is part of a result; GPUs do not read it.",
    )
