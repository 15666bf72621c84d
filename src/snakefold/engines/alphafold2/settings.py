"""Settings of the engine `alphafold2`, and of its rehearsals."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from snakefold.kernel.contracts import Model


def _without_repeats(models: list[int]) -> list[int]:
    """Two predictions of one name would overwrite each other."""
    if len(set(models)) < len(models):
        raise ValueError("a model is named twice")
    return models


Models = Annotated[list[Annotated[int, Field(ge=1, le=5)]], AfterValidator(_without_repeats)]


class ModelPreset(StrEnum):
    """AlphaFold's `--model_preset`; `auto` takes `monomer_ptm` for one chain and `multimer` for more."""

    AUTO = "auto"
    MONOMER = "monomer"
    MONOMER_PTM = "monomer_ptm"
    MULTIMER = "multimer"


class AlphaFold2Settings(Model):
    """Settings of the engine `alphafold2`. Names are AlphaFold's where AlphaFold has one."""

    model_preset: ModelPreset = Field(
        ModelPreset.AUTO,
        description="monomer, monomer_ptm, multimer, or auto (by number of chains).",
    )
    models: Models = Field(default=[1, 2, 3, 4, 5], min_length=1, description="Which of the five models run.")
    num_recycle: int = Field(3, ge=0, le=48, description="Passes through the network after the first.")
    recycle_early_stop_tolerance: float = Field(
        0.0,
        ge=0,
        description="Stop recycling once CA distances change by less than this (Å); 0 never.",
    )
    num_seeds: int = Field(1, ge=1, le=100, description="Predictions per model, each with its own seed.")
    random_seed: int = Field(0, ge=0, le=2**31 - 1, description="First seed.")
    max_msa_clusters: int | None = Field(
        None,
        ge=1,
        le=512,
        description="Rows of the clustered MSA; empty: what the deepest MSA of one padded length needs, "
        "at most the preset's own (monomer 512, multimer 508).",
    )
    max_extra_msa: int | None = Field(
        None,
        ge=1,
        le=8192,
        description="Rows of the extra MSA; empty: what the deepest MSA of one padded length needs, "
        "at most the preset's own (monomer 5120, multimer 2048).",
    )
    use_templates: bool = Field(False, description="Give the model the templates found by the MSA step.")
    precision: Literal["bfloat16", "float32"] = Field(
        "bfloat16", description="Arithmetic inside the network; float32 is for comparisons."
    )


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
