"""What NVIDIA's NIMs for AlphaFold2 and OpenFold2 take and answer; see `nim`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel

E_VALUE = 0.0001
_MOST_SEARCHED = 20

Letters = Annotated[
    str, Field(min_length=1, max_length=4096, description="The sequence.", examples=["MNVIDIAIAMAI"])
]


Chains = Annotated[
    list[Letters],
    Field(min_length=1, max_length=6, description="The chains.", examples=[["MNVIDIAIAMAI", "IAMNVIDIAAI"]]),
]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Searching(_Request):
    """How alignments are searched."""

    databases: list[Literal["uniref90", "mgnify", "small_bfd"]] | None = Field(
        None, description="Taken if they are those that this service searches; if empty, whatever it has."
    )
    algorithm: Literal["jackhmmer", "mmseqs2"] | None = Field(
        None, description="Taken if it is that of the databases here."
    )
    e_value: float | None = Field(E_VALUE, description="Only 0.0001.")
    bit_score: float | None = Field(None, description="Refused.")
    iterations: int | None = Field(1, description="Only 1.")


class Search(Searching):
    """A sequence, and how its alignment is searched."""

    sequence: Letters


class SearchAll(Searching):
    """Chains of a complex, and how their alignments are searched."""

    sequences: Chains


class Predicting(_Request):
    """How AlphaFold2's routes predict."""

    relax_prediction: bool | None = Field(True, description="Relax the structures.")
    structure_models_to_relax: Literal["all", "best", "none"] | None = Field(
        None, description="Which of them, unless `relax_prediction` is false; if empty, all."
    )
    selected_models: Annotated[list[Annotated[int, Field(ge=1, le=5)]], Field(min_length=1)] | None = Field(
        None, description="Models to run; if empty, those of the service's settings."
    )
    num_predictions_per_model: Annotated[int, Field(ge=1, le=8)] | None = Field(
        None, description="Seeds of each model; if empty, as many as the service's settings say."
    )
    max_msa_sequences: int | None = Field(None, description="Refused.")
    template_searcher: Literal["hhsearch", "hmmsearch"] | None = Field(None, description="Only hhsearch.")


class FromSequences(SearchAll, Predicting):
    """Chains of a complex whose structure is wanted. Templates are searched if the service can."""


class FromSequence(Search, Predicting):
    """A sequence whose structure is wanted."""

    structure_model_preset: Literal["monomer", "casp14", "monomer_ptm"] | None = Field(
        None, description="casp14 is refused; if empty, that of the service's settings."
    )
    override_msa_db_limits: bool | None = Field(None, description="true is refused.")
    skip_template_search: bool | None = Field(
        None,
        description="false is refused if the service searches no templates (`nim.max_template_date`); if "
        "empty, it searches them if it can.",
    )


#: Name, text and format of an alignment.
Row = Annotated[list[str], Field(min_length=3, max_length=3)]
_ALIGNMENTS = "Alignments by database: name, text, and a3m or sto. Merged in this order."


Alignments = Annotated[dict[str, Row], Field(max_length=_MOST_SEARCHED)]


class FromMsa(Predicting):
    """A sequence with its alignments whose structure is wanted."""

    sequence: Letters
    alignments: Alignments = Field({}, description=_ALIGNMENTS)
    templates: list[Any] | None = Field(None, description="Refused, unless empty.")


class FromMsas(Predicting):
    """Chains with their alignments whose structure is wanted. Only one chain is taken."""

    sequences: Chains
    alignments: Annotated[list[Alignments], Field(max_length=6)] = Field(
        [], description="Alignments of each chain."
    )
    templates: list[Any] | None = Field(None, description="Refused, unless empty.")


class Msa(BaseModel):
    """An alignment in the form that `predict-structure-from-MSA` takes."""

    alignments: dict[str, Row] = Field(description=_ALIGNMENTS)
    templates: list[Any] = Field([], description="Empty: templates are searched with the structure.")


class Msas(BaseModel):
    """Alignments of chains in the form that `multimer/predict-structure-from-MSA` takes."""

    alignments: list[dict[str, Row]] = Field(description="Of each chain: alignments by database.")
    templates: list[list[Any]] = Field(description="Empty: templates are searched with the structure.")


class Structures(RootModel[list[str]]):
    """PDB texts, best first."""


class A3m(_Request):
    """An alignment."""

    alignment: Annotated[str, Field(min_length=1)]
    format: Literal["a3m"] = "a3m"


class FromMsaAndTemplate(_Request):
    """A sequence whose structure OpenFold2's route predicts."""

    sequence: Letters
    input_id: Annotated[str, Field(max_length=128)] | None = Field(None, description="Comes back.")
    alignments: Annotated[dict[str, dict[Literal["a3m"], A3m]], Field(max_length=_MOST_SEARCHED)] | None = (
        Field(None, description="Alignments by database; without any, the sequence alone is predicted.")
    )
    selected_models: list[int] | None = Field(None, description="Numbers of models; if empty, all here.")
    relax_prediction: bool | None = Field(None, description="Relax the structures; if empty, do not.")
    use_templates: bool | None = Field(None, description="true is refused.")
    explicit_templates: list[Any] | None = Field(None, description="Refused, unless empty.")
    templates: Any = Field(None, description="Refused, unless empty.")


class Ranked(BaseModel):
    """One structure. A score that the engine did not give is left out."""

    structure: str
    format: Literal["pdb"] = "pdb"
    confidence: float = Field(description="Mean pLDDT, 0 to 100.")
    plddt: list[float] = Field(description="pLDDT of every residue, 0 to 100.")
    ptm_score: float | None = None
    max_predicted_aligned_error: float | None = Field(None, description="Å.")
    model_param_set: int = Field(description="Number of the model.")


class RankedStructures(BaseModel):
    """Structures of all selected models."""

    input_id: str | None = None
    structures_in_ranked_order: list[Ranked]
    warnings: list[str] = Field([], description="Warnings, such as REHEARSAL.")


class Health(BaseModel):
    """Whether requests are answered."""

    status: str = Field(examples=["ready"])


class License(BaseModel):
    """A licence. `path` is a name: it is no file that the client could read."""

    name: str
    path: str
    sha: str = Field(description="SHA-1 of `content`.")
    size: int = Field(description="Characters of `content`.")
    url: str
    type: Literal["file"] = "file"
    content: str


class ModelInfo(BaseModel):
    """A model that is served."""

    shortName: str = Field(examples=["alphafold2:0.2.0"])
    modelUrl: str


class Metadata(BaseModel):
    """What is served here."""

    assetInfo: list[str]
    licenseInfo: License
    modelInfo: list[ModelInfo]
    repository_override: str
    version: str = Field(description="Of snakefold.")
