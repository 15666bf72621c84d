"""Settings of the engine `openfold`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from snakefold.engines.alphafold2.settings import KernelChoice, Kernels, SkippedSeeds, Switches


def _without_repeats(names: list[str]) -> list[str]:
    """Two predictions of one name would overwrite each other."""
    if len(set(names)) < len(names):
        raise ValueError("parameters are named twice")
    return names


#: Names of converted files: plain file names, which name predictions too.
Names = Annotated[
    list[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]],
    AfterValidator(_without_repeats),
]


class OpenFoldSettings(Switches):
    """Settings of the engine `openfold`: OpenFold's parameters on AlphaFold2's code. Monomers only."""

    section: ClassVar[str] = "openfold"
    use_cluster_profile: ClassVar[bool] = True
    rank_by: ClassVar[str] = "plddt"
    pair_mode: ClassVar[str] = "unpaired_paired"
    pair_strategy: ClassVar[str] = "greedy"
    calc_extra_ptm: ClassVar[bool] = False
    use_probs_extra: ClassVar[bool] = True

    parameters: Names = Field(
        default=["finetuning_ptm_2"],
        min_length=1,
        description="Sets of parameters, one model of each: names of OpenFold's files without .pt, as "
        "`snakefold weights convert` read them. PAE and pTM come of files with a pTM head (ptm in the name).",
    )
    num_recycle: int = Field(3, ge=0, le=48, description="Recycles: passes after the first.")
    recycle_early_stop_tolerance: float = Field(
        0.0,
        ge=0,
        description="Stop recycling when CA distances change by less than this, Å. 0: never stop early.",
    )
    num_seeds: int = Field(
        1, ge=1, le=100, description="Seeds per set of parameters: one prediction per seed."
    )
    random_seed: int = Field(0, ge=0, le=2**31 - 1, description="First seed.")
    skip_seeds: SkippedSeeds = 0
    max_msa_clusters: int | None = Field(
        None,
        ge=1,
        le=512,
        description="Rows of the clustered MSA. Empty: as many as the deepest MSA of the same padded length "
        "needs, up to 512.",
    )
    max_extra_msa: int | None = Field(
        None,
        ge=1,
        le=8192,
        description="Rows of the extra MSA. Empty: as many as the deepest MSA of the same padded length "
        "needs, up to 5120.",
    )
    use_templates: bool = Field(
        False,
        description="Use the templates that the MSA step found. Files with no_templ in their name read none.",
    )
    precision: Literal["bfloat16", "float32"] = Field(
        "bfloat16", description="Precision of the network; float32 is for comparisons."
    )
    kernels: KernelChoice = Kernels.AUTO
