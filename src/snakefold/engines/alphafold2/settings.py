"""Settings of the engine `alphafold2`, and of its rehearsals."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal, Protocol

from pydantic import AfterValidator, Field, ValidationInfo

from snakefold.kernel.contracts import Model


def _without_repeats(models: list[int]) -> list[int]:
    """Two predictions of one name would overwrite each other."""
    if len(set(models)) < len(models):
        raise ValueError("a model is named twice")
    return models


Models = Annotated[list[Annotated[int, Field(ge=1, le=5)]], AfterValidator(_without_repeats)]


#: Evoformer blocks of the official parameters.
OFFICIAL_BLOCKS = 48


class ModelPreset(StrEnum):
    """AlphaFold's `--model_preset`; `auto` takes `monomer_ptm` for one chain and `multimer` for more.

    `multimer` is AlphaFold-Multimer v3; v1 and v2 are earlier parameters of it. `deepfold` are DeepFold's
    parameters of the monomer network.
    """

    AUTO = "auto"
    MONOMER = "monomer"
    MONOMER_PTM = "monomer_ptm"
    MULTIMER = "multimer"
    MULTIMER_V1 = "multimer_v1"
    MULTIMER_V2 = "multimer_v2"
    DEEPFOLD = "deepfold"

    @property
    def multimer(self) -> bool:
        """Whether it is a network of AlphaFold-Multimer."""
        return self.value.startswith("multimer")

    @property
    def gives_pae(self) -> bool:
        """Whether it has a head for PAE and pTM."""
        return self not in (ModelPreset.MONOMER, ModelPreset.DEEPFOLD)


class Kernels(StrEnum):
    """What the network's attention, layer normalisation and gated projections are computed with."""

    AUTO = "auto"
    FUSED = "fused"
    STOCK = "stock"
    PALLAS = "pallas"
    CUDA_LEGACY = "cuda_legacy"


KERNELS_TEXT = (
    "Fused kernels of the network, as with colabfold_batch --use-fast-kernels. auto: pallas on GPUs of sm_80 "
    "and later (Ampere), cuda_legacy on sm_70 and sm_75, stock on a CPU, with float32, in rehearsals, and "
    "where GPU classes differ. fused: the same, and a run that cannot have them is refused. stock: none."
)


def _in_half_precision(kernels: Kernels, info: ValidationInfo) -> Kernels:
    """As `colabfold_batch`: fused kernels compute in 16 bits."""
    if kernels not in (Kernels.AUTO, Kernels.STOCK) and info.data.get("precision") == "float32":
        raise ValueError(f"{kernels} needs precision: bfloat16. With float32, set it to auto or stock")
    return kernels


def _fewer_than_all(skipped: int, info: ValidationInfo) -> int:
    """Some seed is left."""
    if skipped >= info.data.get("num_seeds", skipped + 1):
        raise ValueError(f"no seed is left: it must be less than num_seeds ({info.data['num_seeds']})")
    return skipped


#: The setting `skip_seeds`, which comes after `num_seeds`.
SkippedSeeds = Annotated[
    int,
    Field(
        ge=0,
        exclude_if=lambda value: not value,
        description="The first of num_seeds that are left out: 5 seeds, and 10 of which 5 are skipped, are "
        "together 10. batch.seeds_per_job sets it for the jobs of a target.",
    ),
    AfterValidator(_fewer_than_all),
]
#: The setting `kernels`, which comes after `precision`.
KernelChoice = Annotated[Kernels, AfterValidator(_in_half_precision), Field(description=KERNELS_TEXT)]


class NetworkSettings(Protocol):
    """What the session reads of the settings of an engine that runs AlphaFold2's code.

    `section` is where the settings are in a configuration: advice names it.
    """

    section: ClassVar[str]

    @property
    def num_recycle(self) -> int: ...

    @property
    def recycle_early_stop_tolerance(self) -> float: ...

    @property
    def num_seeds(self) -> int: ...

    @property
    def random_seed(self) -> int: ...

    @property
    def skip_seeds(self) -> int: ...

    @property
    def max_msa_clusters(self) -> int | None: ...

    @property
    def max_extra_msa(self) -> int | None: ...

    @property
    def use_templates(self) -> bool: ...

    @property
    def precision(self) -> str: ...

    @property
    def use_dropout(self) -> bool: ...

    @property
    def kernels(self) -> Kernels: ...

    @property
    def num_ensemble(self) -> int: ...

    @property
    def stop_at_score(self) -> float: ...

    @property
    def use_cluster_profile(self) -> bool: ...

    @property
    def rank_by(self) -> str: ...

    @property
    def pair_mode(self) -> str: ...

    @property
    def pair_strategy(self) -> str: ...

    @property
    def calc_extra_ptm(self) -> bool: ...

    @property
    def use_probs_extra(self) -> bool: ...

    @property
    def save_single_representations(self) -> bool: ...

    @property
    def save_pair_representations(self) -> bool: ...

    @property
    def save_recycles(self) -> bool: ...


class Switches(Model):
    """What AlphaFold2's code can do besides, under ColabFold's names. Recipes name what is not as here."""

    use_dropout: bool = Field(
        False,
        description="Keep dropout switched on, so that seeds differ more. Targets are then not padded: what "
        "drops out depends on the length of the arrays.",
    )
    num_ensemble: int = Field(
        1,
        ge=1,
        le=8,
        description="Passes through the trunk, each with an MSA sampled anew, that are averaged in every "
        "recycle. AlphaFold used 8 for CASP14.",
    )
    stop_at_score: float = Field(
        100.0,
        gt=0,
        le=100,
        description="Compute no more recycles, models and seeds of a target once one scores more than this, "
        "by what models are ranked by, from 0 to 100.",
    )
    save_single_representations: bool = Field(
        False,
        description="Keep each model's single representation, the first row of the MSA's: "
        "single_repr_<model>.npy, float16 [L, 256].",
    )
    save_pair_representations: bool = Field(
        False,
        description="Keep each model's pair representation: pair_repr_<model>.npy, float16 [L, L, 128]. "
        "256 MB a model at 1,000 residues.",
    )
    save_recycles: bool = Field(
        False,
        description="Keep the structure of every recycle, recycle_<model>_r<n>.pdb, and its pLDDT, pTM, "
        "ipTM and change of CA distances, recycles.json.",
    )


class AlphaFold2Settings(Switches):
    """Settings of the engine `alphafold2`. Names are AlphaFold's where AlphaFold has one."""

    section: ClassVar[str] = "alphafold2"

    model_preset: ModelPreset = Field(
        ModelPreset.AUTO,
        description="monomer, monomer_ptm, multimer (v3), or auto (by number of chains). multimer_v1, "
        "multimer_v2 and deepfold: snakefold weights fetch NAME.",
    )
    models: Models = Field(default=[1, 2, 3, 4, 5], min_length=1, description="Models to run, of the five.")
    num_recycle: int = Field(3, ge=0, le=48, description="Recycles: passes after the first.")
    recycle_early_stop_tolerance: float = Field(
        0.0,
        ge=0,
        description="Stop recycling when CA distances change by less than this, Å. 0: never stop early.",
    )
    num_seeds: int = Field(1, ge=1, le=100, description="Seeds per model: one prediction per seed.")
    random_seed: int = Field(0, ge=0, le=2**31 - 1, description="First seed.")
    skip_seeds: SkippedSeeds = 0
    max_msa_clusters: int | None = Field(
        None,
        ge=1,
        le=512,
        description="Rows of the clustered MSA. Empty: as many as the deepest MSA of the same padded length "
        "needs, up to the preset's limit (monomer 512, multimer 508, multimer_v1 and _v2 252).",
    )
    max_extra_msa: int | None = Field(
        None,
        ge=1,
        le=8192,
        description="Rows of the extra MSA. Empty: as many as the deepest MSA of the same padded length "
        "needs, up to the preset's limit (monomer 5120, multimer 2048, multimer_v1 and _v2 1152).",
    )
    use_templates: bool = Field(
        False, description="Use the templates that the MSA step found, or that a target brings."
    )
    precision: Literal["bfloat16", "float32"] = Field(
        "bfloat16", description="Precision of the network; float32 is for comparisons."
    )
    use_cluster_profile: bool = Field(
        True,
        description="Multimer models: read the profile of the rows near each clustered row. ColabFold's "
        "--disable-cluster-profile is false.",
    )
    rank_by: Literal["auto", "plddt", "ptm", "iptm", "multimer"] = Field(
        "auto",
        description="What models of a target are ranked by: mean pLDDT, pTM, ipTM, or multimer (0.8 ipTM + "
        "0.2 pTM). auto: multimer for the multimer network, plddt for the others. plddt also takes the place "
        "of a score that a target has not.",
    )
    pair_mode: Literal["unpaired_paired", "unpaired", "paired"] = Field(
        "unpaired_paired",
        description="Rows of the alignments of complexes: those of each chain, those that are paired, or "
        "both. unpaired: nothing is searched for pairing.",
    )
    pair_strategy: Literal["greedy", "complete"] = Field(
        "greedy",
        description="Species whose rows are paired: those of two chains or more, or those of all different "
        "chains. With an MSA server: msa.server.pairing.",
    )
    calc_extra_ptm: bool = Field(
        False,
        description="Complexes: interfaces.json with actifpTM and ipTM of pairs of chains and pTM of each "
        "chain, by ColabFold's code.",
    )
    use_probs_extra: bool = Field(
        True, description="actifpTM by probabilities of contact; false: by contacts above 0.6."
    )
    kernels: KernelChoice = Kernels.AUTO


def parts_of(settings: Any, seeds: int) -> list[Any]:
    """Settings that predict at most `seeds` seeds each, and together what `settings` ask for; [] if one does.

    Which seeds are predicted depends on scores of others where `stop_at_score` ends a target: it stays whole.
    """
    first, end = settings.skip_seeds, settings.num_seeds
    if settings.stop_at_score < 100 or end - first <= seeds:
        return []
    return [
        settings.model_copy(update={"skip_seeds": start, "num_seeds": min(start + seeds, end)})
        for start in range(first, end, seeds)
    ]


#: Settings that came when stores had results already: a recipe names them only where they change something.
_LATER = {
    *Switches.model_fields,
    *(
        "skip_seeds",
        "use_cluster_profile",
        "rank_by",
        "pair_mode",
        "pair_strategy",
        "calc_extra_ptm",
        "use_probs_extra",
    ),
}


def stops_early(settings: NetworkSettings) -> bool:
    """Whether a target may get fewer recycles, models or seeds than its settings say."""
    converges = settings.recycle_early_stop_tolerance > 0 and settings.num_recycle > 0
    return settings.stop_at_score < 100 or converges


def effective(settings: AlphaFold2Settings) -> AlphaFold2Settings:
    """The settings of a preset that is not `auto`, without what changes nothing there."""
    multimer = settings.model_preset.multimer
    given = {"plddt", "ptm"} if settings.model_preset.gives_pae else {"plddt"}
    given |= {"iptm", "multimer"} if multimer else set()
    usual = "multimer" if multimer else "plddt"
    ranked = settings.rank_by if settings.rank_by in given else "plddt"
    extra = settings.calc_extra_ptm and multimer
    return settings.model_copy(
        update={
            "rank_by": "auto" if settings.rank_by == "auto" or ranked == usual else ranked,
            "use_cluster_profile": settings.use_cluster_profile or not multimer,
            "pair_mode": settings.pair_mode if multimer else "unpaired_paired",
            "pair_strategy": settings.pair_strategy
            if multimer and settings.pair_mode != "unpaired"
            else "greedy",
            "calc_extra_ptm": extra,
            "use_probs_extra": settings.use_probs_extra or not extra,
        }
    )


def told(settings: Model) -> dict[str, Any]:
    """Settings as a recipe names them; it names kernels apart (`kernels.recipe`)."""
    defaults = type(settings).model_fields
    return {
        name: value
        for name, value in settings.model_dump(mode="json", exclude={"kernels"}).items()
        if name not in _LATER or value != defaults[name].default
    }


class RehearsalSettings(Model):
    """What takes the place of the engine's settings when the parameters are random.

    Random parameters teach nothing about proteins, so by default as little as possible is computed with them.
    """

    blocks: int = Field(
        2, ge=1, le=48, description="Evoformer blocks with random parameters; the official network has 48."
    )
    models: Models = Field([1, 2], min_length=1, description="Models to run in a rehearsal, of the five.")
    num_recycle: int = Field(1, ge=0, le=48, description="Recycles in a rehearsal.")
    max_msa_clusters: int = Field(32, ge=1, le=512, description="Rows of the clustered MSA in a rehearsal.")
    max_extra_msa: int = Field(64, ge=1, le=8192, description="Rows of the extra MSA in a rehearsal.")
    relax_max_iterations: int = Field(
        20,
        ge=0,
        description="Maximum minimiser steps in a rehearsal. Random structures overlap and do not converge.",
    )
