"""Requests and responses: one contract for the command line, a SLURM job, an endpoint and HTTP.

A fold request names a batch of targets, the engine and every setting the result depends on. MSAs travel
beside it in `inputs.tar.zst` (layout: `MSA_LAYOUT`), so that the request stays small and readable.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from snakefold.kernel.errors import Reason

#: Files of one chain: `chains/<chain key>/…` inside `inputs.tar.zst`. In the store templates are an entry of
#: their own (`msa.templates`), the rest is the archive `msa/<recipe>/<chain key>`. A target that brings its
#: own A3M has `targets/<result key>/msa.a3m` in `inputs.tar.zst`. A target of the engine `reuse` has its
#: structure there instead (`reuse.inputs`).
MSA_LAYOUT = {
    "meta.json": "MsaMeta: tool, depth, Neff, databases, commands, seconds",
    "msa.a3m": "what the engine reads: query first, AlphaFold's database order, duplicate rows dropped",
    "pairing.a3m": "optional: rows with UniProt species names, paired across the chains of a complex",
    "hits.tsv": "query, target, evalue, pident, alnlen, database: one row a hit",
    "templates.npz": "optional: AlphaFold's template_* feature arrays",
    "raw/<database>.<a3m|sto>": "optional: what the search tool wrote",
}

#: In a batch's archive: the result keys (a JSON list) of what the store did not take; left out if none.
UNSTORED = "unstored.json"

Sequence = Annotated[str, Field(pattern=r"^[ACDEFGHIKLMNPQRSTVWXY]+$")]
Key = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
TargetId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]


def _without_repeats(models: list[int]) -> list[int]:
    """Two predictions of one name would overwrite each other."""
    if len(set(models)) < len(models):
        raise ValueError("a model is named twice")
    return models


def _ascending(edges: list[int]) -> list[int]:
    """A target is padded to the first edge that holds it: they are in order, each of them once."""
    if edges != sorted(set(edges)):
        raise ValueError("the edges are not in ascending order, or one is there twice")
    return edges


BucketEdges = Annotated[list[Annotated[int, Field(ge=1)]], AfterValidator(_ascending)]
Models = Annotated[list[Annotated[int, Field(ge=1, le=5)]], AfterValidator(_without_repeats)]


class Model(BaseModel):
    """Base of all contracts: unknown keys are refused, instances do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelPreset(StrEnum):
    """AlphaFold's `--model_preset`; `auto` takes `monomer_ptm` for one chain and `multimer` for more."""

    AUTO = "auto"
    MONOMER = "monomer"
    MONOMER_PTM = "monomer_ptm"
    MULTIMER = "multimer"


class RelaxChoice(StrEnum):
    """AlphaFold's `--models_to_relax`."""

    NONE = "none"
    BEST = "best"
    ALL = "all"


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


class FlashAbbSettings(Model):
    """Settings of the engine `flashabb` (flash-abb; antibody Fv and nanobodies)."""

    num_seeds: Literal[1] = Field(1, description="The network is deterministic: one prediction a target.")


class RelaxSettings(Model):
    """OpenMM AMBER relaxation (AlphaFold's protocol)."""

    models_to_relax: RelaxChoice = Field(RelaxChoice.BEST, description="none, best or all.")
    use_gpu_relax: bool | Literal["auto"] = Field(
        "auto",
        description="Relax on the GPU (true) or the CPU (false); auto: on the GPU where OpenMM finds one "
        "through CUDA.",
    )
    max_iterations: int = Field(0, ge=0, description="OpenMM minimiser steps; 0 until it converges.")


class TargetInput(Model):
    """One structure to predict. `key` is sha256 of the sequences joined by ':'.

    `msa_sha256` is set for a target that brings its own A3M (ColabFold's format, complexes included).
    """

    id: TargetId
    key: Key
    chains: list[Sequence] = Field(min_length=1, max_length=64)
    msa_sha256: Key | None = None

    @property
    def length(self) -> int:
        """Residues of all chains."""
        return sum(map(len, self.chains))

    @property
    def result_key(self) -> str:
        """Key of the result in the store: that of the sequences, and of the A3M if the target brings one."""
        if self.msa_sha256 is None:
            return self.key
        return hashlib.sha256(f"{self.key}:{self.msa_sha256}".encode()).hexdigest()


class FoldRequest(Model):
    """A batch of targets for one engine.

    `recipe` names the results in the store (`fold/<recipe>/<key>`). `bucket_edges`, ascending, are the
    lengths that monomers are padded to: each to the smallest that holds it. A longer one keeps its length,
    and so does every target if there are none. `rehearsal` says that the parameters are random, and ends up
    in every file made from the response.
    """

    version: Literal[1] = 1
    batch: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$", description="Its name.")
    engine: Literal["alphafold2", "flashabb", "reuse"] = Field(description="What predicts.")
    alphafold2: AlphaFold2Settings = AlphaFold2Settings()
    flashabb: FlashAbbSettings = FlashAbbSettings()
    relax: RelaxSettings = RelaxSettings()
    recipe: str = Field(pattern=r"^[0-9a-f]{16}$", description="Names the results in the store.")
    engine_recipe: dict[str, Any] = Field(
        {},
        description="The engine's part of what `recipe` names: version, settings, fingerprints of the "
        "parameters. A worker that has others refuses; empty: nothing is compared.",
    )
    rehearsal: bool = Field(False, description="The parameters are random.")
    bucket_edges: BucketEdges = Field([], description="Lengths that monomers are padded to.")
    targets: list[TargetInput] = Field(min_length=1, description="id, key (sha256 of the chains), chains.")


class TargetOutcome(Model):
    """What became of one target: files under `targets/<result key>.tar.zst` if `state` is `done`.

    `unstored`: done, and the store did not take it. No part of `response.json`, whose readers refuse what
    they do not know: a batch's archive has it in a file of its own (`UNSTORED`).
    """

    id: str
    key: str
    result_key: str
    state: Literal["done", "failed"]
    stored: bool = Field(False, description="Taken from the store: nothing was computed.")
    reason: Reason | None = None
    message: str = ""
    advice: str = ""
    seconds: float = 0.0
    unstored: SkipJsonSchema[bool] = Field(False, exclude=True)


class FoldResponse(Model):
    """What the batch's archive holds as `response.json`."""

    version: Literal[1] = 1
    batch: str
    engine: str
    engine_version: str
    recipe: str
    rehearsal: bool
    outcomes: list[TargetOutcome]
    seconds: dict[str, float] = Field(default_factory=dict, description="start, load, compile, …")
    device: str = ""


class DatabaseUse(Model):
    """One database as the MSA step used it."""

    name: str
    rows: int = Field(description="Rows the search found, the query's own not counted.")
    kept: int = Field(description="Rows kept after the database's limit.")
    fingerprint: str = ""


class MsaMeta(Model):
    """`meta.json` of a chain's MSA."""

    key: str
    length: int
    tool: str
    depth: int = Field(description="Rows of msa.a3m, query included.")
    first_depth: int = Field(
        1, description="The first of them, which are the first database's: templates are searched with these."
    )
    neff: float = Field(description="Effective rows: sum of 1/(neighbours at 80 % identity).")
    databases: list[DatabaseUse] = []
    commands: list[str] = Field(
        [], description="Command lines that ran, or (jackhmmer, a library here) give the same rows."
    )
    templates: int = 0
    seconds: dict[str, float] = {}
    warnings: list[str] = []


class ModelScores(Model):
    """Scores of one model; the list in `Confidence` is in rank order."""

    name: str = Field(description="AlphaFold's name, for example model_1_ptm_pred_0.")
    plddt: list[float] = Field(description="pLDDT of every residue, 0 to 100, two decimals.")
    mean_plddt: float
    ptm: float | None = None
    iptm: float | None = None
    ranking_confidence: float
    max_pae: float | None = None
    recycles: int = 0
    seed: int = 0
    relaxed: bool = False


class Confidence(Model):
    """`confidence.json` of a target. PAE matrices are in `pae.npz` (`rank_0` …, uint8, units of 0.125 Å)."""

    key: str
    engine: str
    rehearsal: bool
    chain_lengths: list[int]
    models: list[ModelScores]
    msa_depth: int | None = None
    neff: float | None = None
    warnings: list[str] = []
