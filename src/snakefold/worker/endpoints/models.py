"""Tasks `predict` and `align`: one target, any engine that folds proteins, and its alignment in between."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from snakefold.kernel.contracts import Model, RelaxChoice
from snakefold.kernel.envelope import Response, Result
from snakefold.worker.endpoints.alphafold2 import DatabasePreset, Date, OneTarget, Text

_MOST_ALIGNMENTS = 20
_DATABASES = (
    "full_dbs, reduced_dbs, colabfold, demo, or single_sequence (no search). Empty: the first of these that "
    "the worker has; the answer says which."
)
_DATE = "Templates released after this date are not used. Empty: no templates are searched."


class Alignment(Model):
    """An alignment of one chain; its first row is the chain."""

    name: Annotated[str, Field(min_length=1, max_length=100)] = Field(
        description="Name, such as the database's; for messages."
    )
    format: Literal["a3m", "sto"] = Field("a3m", description="a3m, or sto (Stockholm).")
    text: Text = Field(description="The alignment.", repr=False)


class PredictRequest(Model):
    """One target and the engine that predicts it."""

    task: Literal["predict"] = Field(description="What to do.")
    engine: Annotated[str, Field(pattern=r"^[a-z0-9_]{1,40}$")] = Field(
        description="An engine that folds proteins: alphafold2, openfold, …"
    )
    sequence: OneTarget = Field(description="The target; `:` separates chains.")
    settings: dict[str, Any] = Field({}, description="Settings of the engine, as in config.yaml.")
    alignments: Annotated[list[Alignment], Field(max_length=_MOST_ALIGNMENTS)] = Field(
        [],
        description="Alignments of the only chain, merged in this order without duplicate rows. With them "
        "nothing is searched.",
    )
    db_preset: DatabasePreset | None = Field(None, description=_DATABASES)
    max_template_date: Date | None = Field(None, description=_DATE)
    models_to_relax: RelaxChoice = Field(RelaxChoice.NONE, description="none, best or all.")
    rehearsal: bool = Field(
        False, description="Random parameters: every step runs, and the structures mean nothing."
    )

    @model_validator(mode="after")
    def _fits_together(self) -> PredictRequest:
        if self.alignments and ":" in self.sequence:
            raise ValueError("alignments: expected for one chain; the sequence has several")
        if self.alignments and (self.db_preset is not None or self.max_template_date is not None):
            raise ValueError("alignments: nothing is searched, so leave out db_preset and max_template_date")
        return self


class PredictedModel(Model):
    """One structure with its scores. A score that the engine did not give is left out."""

    name: str = Field(description="The engine's name of the model.")
    pdb: str | Result | None = Field(
        None, description="The structure as PDB text, or where a large one went. Empty if PDB cannot hold it."
    )
    cif: str | Result = Field(description="The structure as mmCIF text, or where a large one went.")
    mean_plddt: float = Field(description="Mean pLDDT, 0 to 100.")
    plddt: list[float] = Field(description="pLDDT of every residue, 0 to 100.")
    ptm: float | None = Field(None, description="Predicted TM-score.")
    iptm: float | None = Field(None, description="Predicted TM-score of the interface.")
    max_pae: float | None = Field(None, description="Largest predicted aligned error, Å.")
    relaxed: bool = Field(description="Whether the structure is relaxed.")


class PredictResponse(Response):
    """Answer to a target."""

    models: list[PredictedModel] = Field(description="Models, best first.")
    engine: str = Field(description="The engine.")
    db_preset: str = Field(description="Databases that were searched, single_sequence, or `given`.")
    msa_depth: int | None = Field(None, description="Rows of the alignment, query included.")
    warnings: list[str] = Field([], description="Warnings, such as missing databases or REHEARSAL.")
    rehearsal: bool = Field(False, description="Random parameters were used.")


class AlignRequest(Model):
    """One chain whose alignment is wanted."""

    task: Literal["align"] = Field(description="What to do.")
    sequence: OneTarget = Field(description="The chain.")
    db_preset: DatabasePreset | None = Field(None, description=_DATABASES)

    @model_validator(mode="after")
    def _one_chain(self) -> AlignRequest:
        if ":" in self.sequence:
            raise ValueError("sequence: expected one chain")
        return self


class AlignResponse(Response):
    """Answer to a chain."""

    a3m: str | Result = Field(description="The merged alignment as A3M text, or where a large one went.")
    depth: int = Field(description="Its rows, query included.")
    db_preset: str = Field(description="Databases that were searched, or single_sequence.")
    databases: list[str] = Field([], description="Names of the databases, in the order of the rows.")
    found: bool = Field(description="Whether the store had it: nothing was searched.")
    warnings: list[str] = Field([], description="Warnings, such as missing databases.")
