"""Settings of the engine `alphafold2`, and of its rehearsals."""

from __future__ import annotations

from pydantic import Field

from snakefold.kernel.contracts import Model, Models


class RehearsalSettings(Model):
    """What takes the place of the engine's settings when the parameters are random.

    Random parameters teach nothing about proteins, so by default as little as possible is computed with them.
    """

    blocks: int = Field(2, ge=1, le=48, description="Evoformer blocks drawn; official parameters have 48.")
    models: Models = Field([1, 2], min_length=1, description="Which of the five models run in a rehearsal.")
    num_recycle: int = Field(1, ge=0, le=48, description="Recycles in a rehearsal.")
    max_msa_clusters: int = Field(32, ge=1, le=512, description="Rows of the clustered MSA in a rehearsal.")
    max_extra_msa: int = Field(64, ge=1, le=8192, description="Rows of the extra MSA in a rehearsal.")
    relax_max_iterations: int = Field(
        20, ge=0, description="Minimiser steps in a rehearsal; random atoms overlap and would never converge."
    )
