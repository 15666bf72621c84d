"""Routes of NVIDIA's NIMs for AlphaFold2 and OpenFold2, as far as their requests and answers are published.

What a request asks for and cannot get is refused by its name, never left out: docs/service-clients.md has the
list. Source: NVIDIA's documentation of AlphaFold2 NIM 2.1 and OpenFold2 NIM 2.6.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field, RootModel

from snakefold.kernel.errors import SnakefoldError
from snakefold.msa.databases import presets
from snakefold.service import files, jobs
from snakefold.service.answers import WAITING, Responses
from snakefold.service.desk import TheDesk, TheUser
from snakefold.service.settings import NimModel
from snakefold.worker.settings import read_settings

router = APIRouter(tags=["NIM"])
_ALPHAFOLD2 = "/protein-structure/alphafold2"
_OPENFOLD2 = "/biology/openfold/openfold2/predict-structure-from-msa-and-template"
#: What is searched where a request names no databases, and their own default.
_E_VALUE = 0.0001
_WARNINGS = "X-Snakefold-Warnings"
_MOST_SEARCHED = 20
_TOOLS = frozenset({"jackhmmer", "hhblits", "mmseqs"})

Letters = Annotated[
    str, Field(min_length=1, max_length=4096, description="The sequence.", examples=["MNVIDIAIAMAI"])
]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Search(_Request):
    """A sequence, and how its alignment is searched."""

    sequence: Letters
    databases: list[Literal["uniref90", "mgnify", "small_bfd"]] | None = Field(
        None, description="Taken if they are those that this service searches; if empty, whatever it has."
    )
    algorithm: Literal["jackhmmer", "mmseqs2"] | None = Field(
        None, description="Taken if it is that of the databases here."
    )
    e_value: float = Field(_E_VALUE, description="Only 0.0001.")
    bit_score: float | None = Field(None, description="Refused.")
    iterations: int = Field(1, description="Only 1.")


class FromSequence(Search):
    """A sequence whose structure is wanted."""

    relax_prediction: bool = Field(True, description="Relax the structures.")
    skip_template_search: bool | None = Field(
        None,
        description="false is refused if the service searches no templates (`nim.max_template_date`); if "
        "empty, it searches them if it can.",
    )


#: Name, text and format of an alignment.
Row = Annotated[list[str], Field(min_length=3, max_length=3)]
_ALIGNMENTS = "Alignments by database: name, text, and a3m or sto. Merged in this order."


class FromMsa(_Request):
    """A sequence with its alignments whose structure is wanted."""

    sequence: Letters
    alignments: Annotated[dict[str, Row], Field(max_length=_MOST_SEARCHED)] = Field(
        {}, description=_ALIGNMENTS
    )
    templates: list[Any] | None = Field(None, description="Refused, unless empty.")
    relax_prediction: bool = Field(True, description="Relax the structures.")


class Msa(BaseModel):
    """An alignment in the form that `predict-structure-from-MSA` takes."""

    alignments: dict[str, Row] = Field(description=_ALIGNMENTS)
    templates: list[Any] = Field([], description="Empty: templates are searched with the structure.")


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
    relax_prediction: bool | None = Field(None, description="Relax the structures; if empty, do.")
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


class Asking:
    """A request, and whom it asks."""

    def __init__(self, desk: TheDesk, user: TheUser, request: Request, response: Response) -> None:
        self.desk, self.user, self.request, self.response = desk, user, request, response
        self.routes = desk.settings.nim

    async def answer(self, given: dict[str, Any]) -> tuple[str, Any]:
        """Have a task done: id of the job, and its answer."""
        facts = {"endpoint": "nim"}
        record, output = await jobs.answer(self.request, self.desk, self.user, given, facts=facts)
        self.warn(output.get("warnings", []))
        return record.id, output

    async def predict(
        self, model: NimModel, sequence: str, *, relax: bool, **more: Any
    ) -> tuple[str, dict[str, Any]]:
        """Have a structure predicted: id of the job, and its answer."""
        return await self.answer(
            {
                "task": "predict",
                "engine": model.engine,
                "settings": model.settings,
                "sequence": sequence,
                "models_to_relax": "all" if relax else "none",
                "rehearsal": self.desk.settings.rehearsal,
                **more,
            }
        )

    async def text(self, job: str, value: Any, what: str) -> str:
        """A text of an answer, wherever it was too large to be."""
        if value is None:
            raise HTTPException(500, f"{what} is too large for its format.")
        if isinstance(value, str):
            return value
        return await run_in_threadpool(files.text_of, self.desk.settings, job, value)

    async def structures(self, job: str, answer: dict[str, Any]) -> list[str]:
        """PDB texts of the models of an answer."""
        return [await self.text(job, each.get("pdb"), "A structure") for each in answer["models"]]

    def warn(self, warnings: list[str]) -> None:
        """Say what the answer has no room for in a header."""
        if warnings:
            text = " | ".join(warnings)
            self.response.headers[_WARNINGS] = text.encode("ascii", "replace").decode()[:2000]


TheAsking = Annotated[Asking, Depends()]


def _refuse(condition: object, text: str) -> None:
    if condition:
        raise HTTPException(400, text)


async def _searched(asking: Asking, search: Search) -> str | None:
    """The preset that a request means.

    Raises:
        HTTPException: 400, it asks for another search than this service does.
    """
    _refuse(search.e_value != _E_VALUE, f"e_value: only {_E_VALUE:g} is searched with here.")
    _refuse(search.bit_score is not None, "bit_score: is not searched with here; leave it out.")
    _refuse(search.iterations != 1, "iterations: only 1 is searched with here.")
    name = asking.routes.db_preset
    if search.databases is None and search.algorithm is None:
        return name
    databases, tools = await run_in_threadpool(_databases, name)
    if search.databases is not None:
        here = f"{', '.join(sorted(databases))} ({name})" if databases else "none by a name that is set"
        _refuse(
            set(search.databases) != databases,
            f"databases: alignments are searched in {here}, all of them. Leave the key out to take these.",
        )
    if search.algorithm is not None:
        wanted = search.algorithm.removesuffix("2")
        _refuse(
            wanted not in tools,
            f"algorithm: the databases here are not searched with {search.algorithm}. Leave the key out.",
        )
    return name


def _databases(name: str | None) -> tuple[set[str], set[str]]:
    """Names of the databases of a preset that are searched for alignments, and what searches them all."""
    if name is None:
        return set(), set()
    try:
        root = read_settings().db_root
        preset = presets.load_preset(name, str(root) if root else None)
    except SnakefoldError:
        return set(), set()
    searched = [each for each in preset.databases if each.tools & _TOOLS and not each.pairing]
    tools = set.intersection(*(set(each.tools) for each in searched)) if searched else set()
    return {each.name for each in searched}, tools


_STRUCTURES: Responses = {
    **WAITING,
    200: {"description": "PDB texts, best first.", "headers": {_WARNINGS: {"schema": {"type": "string"}}}},
}


@router.post(
    f"{_ALPHAFOLD2}/predict-structure-from-sequence", response_model=Structures, responses=_STRUCTURES
)
async def predict_structure_from_sequence(asking: TheAsking, body: FromSequence) -> list[str]:
    """Align a sequence and predict its structure."""
    preset = await _searched(asking, body)
    date = asking.routes.max_template_date
    _refuse(
        body.skip_template_search is False and date is None,
        "skip_template_search: this service searches no templates; send true.",
    )
    templates = {} if body.skip_template_search or date is None else {"max_template_date": date}
    missing = [] if templates or body.skip_template_search else ["No templates were searched."]
    job, answer = await asking.predict(
        asking.routes.alphafold2,
        body.sequence,
        relax=body.relax_prediction,
        db_preset=preset,
        **templates,
    )
    asking.warn([*missing, *answer.get("warnings", [])])
    return await asking.structures(job, answer)


@router.post(f"{_ALPHAFOLD2}/predict-MSA-from-sequence", response_model=Msa, responses=WAITING)
@router.post(f"{_ALPHAFOLD2}/predict-msa-from-sequence", include_in_schema=False, response_model=Msa)
async def predict_msa_from_sequence(asking: TheAsking, body: Search) -> dict[str, Any]:
    """Search the alignment of a sequence: one, of all databases, without duplicate rows."""
    preset = await _searched(asking, body)
    job, answer = await asking.answer({"task": "align", "sequence": body.sequence, "db_preset": preset})
    name = "+".join(answer.get("databases", ())) or answer["db_preset"]
    return {"alignments": {name: [name, await asking.text(job, answer["a3m"], "The alignment"), "a3m"]}}


@router.post(f"{_ALPHAFOLD2}/predict-structure-from-MSA", response_model=Structures, responses=_STRUCTURES)
@router.post(f"{_ALPHAFOLD2}/predict-structure-from-msa", include_in_schema=False, response_model=Structures)
async def predict_structure_from_msa(asking: TheAsking, body: FromMsa) -> list[str]:
    """Predict the structure of a sequence from its alignments."""
    _refuse(
        body.templates,
        "templates: hits are no templates without the structures that they are of; send an empty list.",
    )
    given = []
    for name, (_, text, form) in body.alignments.items():
        _refuse(form not in ("a3m", "sto"), f"alignments.{name}: the third item must be a3m or sto.")
        given.append({"name": name, "format": form, "text": text})
    more = {"alignments": given} if given else {"db_preset": "single_sequence"}
    job, answer = await asking.predict(
        asking.routes.alphafold2, body.sequence, relax=body.relax_prediction, **more
    )
    return await asking.structures(job, answer)


@router.post(_OPENFOLD2, response_model=RankedStructures, response_model_exclude_none=True, responses=WAITING)
async def predict_structure_from_msa_and_template(
    asking: TheAsking, body: FromMsaAndTemplate
) -> dict[str, Any]:
    """Predict the structure of a sequence from its alignments with each selected model."""
    _refuse(body.use_templates, "use_templates: this service takes no templates with a request.")
    _refuse(body.explicit_templates, "explicit_templates: this service takes no templates with a request.")
    _refuse(body.templates, "templates: this service takes no templates with a request.")
    known = asking.routes.openfold2 or {1: NimModel(engine="openfold")}
    numbers = list(known) if body.selected_models is None else list(dict.fromkeys(body.selected_models))
    _refuse(not numbers, "selected_models: expected at least one number.")
    missing = [str(number) for number in numbers if number not in known]
    here = ", ".join(map(str, known))
    _refuse(missing, f"selected_models: there is no {', '.join(missing[:5])} here; there are: {here}.")
    given = [
        {"name": name, "format": "a3m", "text": each["a3m"].alignment}
        for name, each in (body.alignments or {}).items()
        if "a3m" in each
    ]
    more: dict[str, Any] = {"alignments": given} if given else {"db_preset": "single_sequence"}
    relax = body.relax_prediction is not False
    asked = [asking.predict(known[number], body.sequence, relax=relax, **more) for number in numbers]
    ranked, warnings = [], []
    for number, (job, answer) in zip(numbers, await asyncio.gather(*asked), strict=True):
        warnings += answer.get("warnings", [])
        for model, text in zip(answer["models"], await asking.structures(job, answer), strict=True):
            ranked.append(_ranked(number, model, text))
    ranked.sort(key=lambda each: -each["confidence"])
    return {
        "input_id": body.input_id,
        "structures_in_ranked_order": ranked,
        "warnings": list(dict.fromkeys(warnings)),
    }


def _ranked(number: int, model: dict[str, Any], text: str) -> dict[str, Any]:
    return {
        "structure": text,
        "confidence": model["mean_plddt"],
        "plddt": model["plddt"],
        "ptm_score": model.get("ptm"),
        "max_predicted_aligned_error": model.get("max_pae"),
        "model_param_set": number,
    }


@router.get("/v1/health/ready", response_model=Health)
async def ready() -> dict[str, str]:
    """Whether requests are answered; no token is needed."""
    return {"status": "ready"}


@router.get("/v1/health/live", response_model=Health)
async def live() -> dict[str, str]:
    """Whether the server lives; no token is needed."""
    return {"status": "live"}
