"""Requests and responses: one contract for the command line, a SLURM job, an endpoint and HTTP.

A fold request names a batch of targets, the engine and every setting the result depends on. MSAs travel
beside it in `inputs.tar.zst`, so that the request stays small and readable.

Files of one chain, `chains/<chain key>/…` inside `inputs.tar.zst`:

| file | content |
|---|---|
| `meta.json` | `MsaMeta`: tool, depth, Neff, databases, commands, seconds |
| `msa.a3m` | what the engine reads: query first, AlphaFold's database order, duplicate rows dropped |
| `pairing.a3m` | optional: rows with UniProt species names, paired across the chains of a complex |
| `hits.tsv` | query, target, evalue, pident, alnlen, database: one row a hit |
| `templates.npz` | optional: AlphaFold's template_* feature arrays |
| `raw/<database>.<a3m or sto>` | optional: what the search tool wrote |

`chains/<key of the different chains of a complex>/paired_<n>.a3m` are rows that an MSA server has paired:
those of the n-th different chain, its query first, rows with the same number together. `pairs.json` beside
them says which server was asked, and when.

`alignments/<sha256>.msa` are alignments that entities of assemblies bring: A3M, or Boltz's CSV
(`molecules.own_msa`); `templates/<sha256>.cif` or `.pdb` are templates of assemblies, and
`initial_guess/<sha256>.cif` or `.pdb` what they begin with (`molecules.own_templates`).

In the store templates are an entry of their own (`msa.templates`), the rest is the archive
`msa/<recipe>/<chain key>`. A target that brings its own A3M has `targets/<result key>/msa.a3m` in
`inputs.tar.zst`. A target of the engine `reuse` has its structure there instead (`reuse.inputs`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic.json_schema import SkipJsonSchema

from snakefold.kernel.errors import Reason

#: In a batch's archive: the result keys (a JSON list) of what the store did not take; left out if none.
UNSTORED = "unstored.json"

#: Chains of a target at the most: a bound on mistakes of the input. No format sets it.
MAX_CHAINS = 1_000

Sequence = Annotated[str, Field(pattern=r"^[ACDEFGHIKLMNPQRSTVWXY]+$")]
Key = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
TargetId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]


def _ascending(edges: list[int]) -> list[int]:
    """A target is padded to the first edge that holds it: they are in order, each of them once."""
    if edges != sorted(set(edges)):
        raise ValueError("the edges are not in ascending order, or one is there twice")
    return edges


BucketEdges = Annotated[list[Annotated[int, Field(ge=1)]], AfterValidator(_ascending)]


class Model(BaseModel):
    """Base of all contracts: unknown keys are refused, instances do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class RelaxChoice(StrEnum):
    """AlphaFold's `--models_to_relax`."""

    NONE = "none"
    BEST = "best"
    ALL = "all"


class RelaxSettings(Model):
    """OpenMM AMBER relaxation (AlphaFold's protocol)."""

    models_to_relax: RelaxChoice = Field(RelaxChoice.BEST, description="none, best or all.")
    use_gpu_relax: bool | Literal["auto"] = Field(
        "auto",
        description="Relax on the GPU (true) or on the CPU (false). auto: on the GPU if OpenMM finds one "
        "through CUDA.",
    )
    max_iterations: int = Field(
        0, ge=0, description="Maximum steps of OpenMM's minimiser. 0: until it converges."
    )
    # Recipes of stores that there are do not name these.
    tolerance: float = Field(
        2.39,
        gt=0,
        allow_inf_nan=False,
        description="Forces at which the minimiser has converged, kcal/mol/Å.",
        exclude_if=lambda value: value == 2.39,
    )
    stiffness: float = Field(
        10.0,
        ge=0,
        allow_inf_nan=False,
        description="Springs that hold heavy atoms where the engine put them, kcal/mol/Å².",
        exclude_if=lambda value: value == 10.0,
    )
    max_outer_iterations: int = Field(
        3,
        ge=1,
        le=20,
        description="Maximum minimisations of a model. Each after the first releases the residues whose "
        "geometry is still wrong.",
        exclude_if=lambda value: value == 3,
    )


class TargetInput(Model):
    """One structure to predict. `key` is sha256 of the sequences joined by ':'.

    `msa_sha256` is set for a target that brings its own A3M (ColabFold's format, complexes included).
    """

    id: TargetId
    key: Key
    chains: list[Sequence] = Field(max_length=MAX_CHAINS)
    msa_sha256: Key | None = None
    assembly: dict[str, Any] | None = Field(
        None,
        description="What is more than chains of plain protein (`molecules.entities.Assembly`); then there "
        "are no chains.",
        exclude_if=lambda value: value is None,
    )
    backbone: dict[str, Any] | None = Field(
        None,
        description="The backbone that sequences are designed for (`molecules.designs.Design`); then the "
        "chains are its native ones, and the key is that of all of it.",
        exclude_if=lambda value: value is None,
    )

    @model_validator(mode="after")
    def _something(self) -> TargetInput:
        if bool(self.chains) == (self.assembly is not None):
            raise ValueError("expected chains, or an assembly in their place")
        if self.backbone is not None and self.assembly is not None:
            raise ValueError("expected a backbone or an assembly, not both")
        return self

    @property
    def length(self) -> int:
        """Residues of all chains."""
        if self.assembly is None:
            return sum(map(len, self.chains))
        entities = self.assembly.get("entities", [])
        return sum(len(each.get("sequence", "")) * each.get("copies", 1) for each in entities)

    @property
    def proteins(self) -> list[dict[str, Any]]:
        """The protein entities of an assembly, in order; none of plain chains."""
        entities = (self.assembly or {}).get("entities", [])
        return [each for each in entities if each.get("kind") == "protein"]

    @property
    def searched(self) -> list[str]:
        """Sequences whose alignments are searched, if the engine reads any, in order.

        Those of the chains, or of the protein entities that say nothing of an alignment.
        """
        if self.msa_sha256 is not None:
            return []
        if self.assembly is None:
            return self.chains
        return [each["sequence"] for each in self.proteins if each.get("msa") is None]

    @property
    def pairable(self) -> list[str]:
        """The different sequences among `searched` whose rows may be paired; one alone has no partner."""
        if self.assembly is None:
            return list(dict.fromkeys(self.searched))
        said = (each for each in self.proteins if each.get("msa") is None and each.get("paired_msa") is None)
        return list(dict.fromkeys(each["sequence"] for each in said))

    @property
    def result_key(self) -> str:
        """Key of the result in the store: that of the sequences, and of the A3M if the target brings one."""
        if self.msa_sha256 is None:
            return self.key
        return hashlib.sha256(f"{self.key}:{self.msa_sha256}".encode()).hexdigest()


#: Sections that a request of version 1 has, one for each engine of that time.
_SECTIONS = ("alphafold2", "flashabb")


class FoldRequest(Model):
    """A batch of targets for one engine.

    `recipe` names the results in the store (`fold/<recipe>/<key>`). `bucket_edges`, ascending, are the
    sizes that targets are padded to, if the engine pads: each to the smallest that holds it. A larger one
    keeps its size, and so does every target if there are none. `rehearsal` says that the parameters are
    random, and ends up in every file made from the response. Requests of version 1 are read too.
    """

    version: Literal[2] = Field(2, description="Version of the request.")
    batch: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$", description="Name of the batch.")
    engine: str = Field(pattern=r"^[a-z][a-z0-9_]{0,31}$", description="Name of the engine that predicts.")
    settings: dict[str, Any] = Field({}, description="Settings of the engine: its section of config.yaml.")
    relax: RelaxSettings = Field(RelaxSettings(), description="Section relax of config.yaml.")
    recipe: str = Field(pattern=r"^[0-9a-f]{16}$", description="Recipe that names the results in the store.")
    engine_recipe: dict[str, Any] = Field(
        {},
        description="The engine's part of the recipe: version, settings, fingerprints of the parameters. A "
        "worker with other values refuses the request. Empty: nothing is compared.",
    )
    rehearsal: bool = Field(False, description="True: the parameters are random.")
    bucket_edges: BucketEdges = Field([], description="Padded sizes of targets, ascending.")
    targets: list[TargetInput] = Field(
        min_length=1, description="Targets: id, key (sha256 of the chains), chains."
    )

    @model_validator(mode="before")
    @classmethod
    def _of_version_1(cls, values: object) -> object:
        if not isinstance(values, Mapping):
            return values
        # Version 1 could leave its version out; its settings were in a section that is called as the engine.
        oldest = "version" not in values and any(name in values for name in _SECTIONS)
        if not oldest and values.get("version") != 1:
            return values
        if "settings" in values:
            raise ValueError("version 1 has no key settings: its section is called as the engine")
        rest = {name: value for name, value in values.items() if name not in (*_SECTIONS, "version")}
        engine = values.get("engine")
        return {**rest, "settings": values.get(engine, {}) if isinstance(engine, str) else {}}


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


class SearchStep(Model):
    """One step of MMseqs2's search: its prefilter passes candidates on, which are aligned.

    `limited` is certain in the first step. A later one leaves out the hits of the steps before, so that how
    many candidates its prefilter had is known from below only: with all of these hits they reach the limit.
    """

    candidates: int = Field(description="Sequences that were aligned in this step for the first time.")
    hits: int = Field(description="Of them, those whose E-value was good enough.")
    last_hits: int = Field(description="Hits among the last tenth of the candidates, the weakest.")
    limit: int = Field(description="Candidates that the prefilter may pass on (`--max-seqs`).")
    limited: bool = Field(description="Whether the prefilter passed on as many as it may.")


class DatabaseUse(Model):
    """One database as the MSA step used it."""

    name: str
    rows: int = Field(description="Rows that the search found, without the query.")
    kept: int = Field(description="Rows kept after the database's limit.")
    fingerprint: str = ""
    steps: list[SearchStep] = Field(
        [], exclude_if=lambda value: not value, description="Of a search by MMseqs2, one after the other."
    )


class MsaMeta(Model):
    """`meta.json` of a chain's MSA."""

    key: str
    length: int
    tool: str
    depth: int = Field(description="Rows of msa.a3m, query included.")
    first_depth: int = Field(
        1, description="Rows of the first database, which come first: templates are searched with these."
    )
    neff: float = Field(description="Effective rows: sum of 1/(neighbours at 80 % identity).")
    databases: list[DatabaseUse] = []
    commands: list[str] = Field(
        [],
        description="Command lines that ran; for jackhmmer (a library here), that give the same rows.",
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
    chain_lengths: list[int] = Field(
        description="Residues of every chain; a ligand's components count as residues."
    )
    chain_kinds: list[str] = Field(
        [],
        description="protein, dna, rna or ligand of every chain; left out if all are plain protein.",
        exclude_if=lambda value: not value,
    )
    chain_tokens: list[int] = Field(
        [],
        description="Tokens of every chain: rows of its PAE; left out if they are its residues.",
        exclude_if=lambda value: not value,
    )
    models: list[ModelScores]
    msa_depth: int | None = None
    neff: float | None = None
    scores: dict[str, float | int | str | bool] = Field(
        {},
        description="Scores of the target, by the engine's own columns.",
        exclude_if=lambda value: not value,
    )
    warnings: list[str] = []
