"""Routes of NVIDIA's NIMs for AlphaFold2 and OpenFold2, as far as their requests and answers are published.

What a request asks for and cannot get is refused by its name, never left out: docs/service-clients.md has the
list. Source: NVIDIA's documentation of AlphaFold2 NIM 2.1, AlphaFold2-Multimer NIM 1.0 and OpenFold2 NIM 2.6,
and the schemas of requests that its API catalogue shows.
"""

from __future__ import annotations

import asyncio
import hashlib
from functools import cache
from importlib.metadata import files as files_of
from importlib.metadata import metadata as metadata_of
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool

from snakefold import __version__, engines
from snakefold.kernel.errors import SnakefoldError
from snakefold.msa.databases import presets
from snakefold.service import files, jobs
from snakefold.service.answers import WAITING, Responses, refusals
from snakefold.service.desk import TheDesk, TheUser, user_of
from snakefold.service.nim_forms import (
    E_VALUE,
    FromMsa,
    FromMsaAndTemplate,
    FromMsas,
    FromSequence,
    FromSequences,
    Health,
    License,
    Metadata,
    ModelInfo,
    Msa,
    Msas,
    Predicting,
    RankedStructures,
    Search,
    SearchAll,
    Searching,
    Structures,
)
from snakefold.service.settings import NimModel
from snakefold.worker.settings import read_settings

router = APIRouter(tags=["NIM"])
_ALPHAFOLD2 = "/protein-structure/alphafold2"
_MULTIMER = f"{_ALPHAFOLD2}/multimer"
_OPENFOLD2 = "/biology/openfold/openfold2/predict-structure-from-msa-and-template"
#: Models of OpenFold2's route unless settings say others.
_OPENFOLD2_MODELS = {1: NimModel(engine="openfold")}
#: What is searched where a request names no databases, and their own default.
_WARNINGS = "X-Snakefold-Warnings"
_TOOLS = frozenset({"jackhmmer", "hhblits", "mmseqs"})


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
        self,
        model: NimModel,
        sequence: str,
        *,
        relax: str,
        settings: dict[str, Any] | None = None,
        **more: Any,
    ) -> tuple[str, dict[str, Any]]:
        """Have a structure predicted: id of the job, and its answer.

        Args:
            relax: all, best or none.
            settings: of the engine, laid over those of the service.
        """
        return await self.answer(
            {
                "task": "predict",
                "engine": model.engine,
                "settings": {**model.settings, **(settings or {})},
                "sequence": sequence,
                "models_to_relax": relax,
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


async def _searched(asking: Asking, search: Searching) -> str | None:
    """The preset that a request means.

    Raises:
        HTTPException: 400, it asks for another search than this service does.
    """
    _refuse(search.e_value not in (None, E_VALUE), f"e_value: only {E_VALUE:g} is searched with here.")
    _refuse(search.bit_score is not None, "bit_score: is not searched with here; leave it out.")
    _refuse(search.iterations not in (None, 1), "iterations: only 1 is searched with here.")
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


#: Settings of an engine that keys of a request are.
_SETTINGS = {
    "selected_models": "models",
    "num_predictions_per_model": "num_seeds",
    "structure_model_preset": "model_preset",
}


def _predicted(asking: Asking, body: Predicting) -> dict[str, Any]:
    """How a request wants its structures predicted, for `Asking.predict`.

    Raises:
        HTTPException: 400, in a way that this service does not.
    """
    _refuse(body.max_msa_sequences is not None, "max_msa_sequences: alignments are not cut; leave it out.")
    _refuse(
        body.template_searcher == "hmmsearch", "template_searcher: templates are searched with hhsearch here."
    )
    preset = getattr(body, "structure_model_preset", None)
    _refuse(preset == "casp14", "structure_model_preset: casp14 is not predicted with here.")
    _refuse(getattr(body, "override_msa_db_limits", False), "override_msa_db_limits: the limits hold here.")
    engine = engines.get(asking.routes.alphafold2.engine)
    settings = {}
    for key, name in _SETTINGS.items():
        if (value := getattr(body, key, None)) is None:
            continue
        _refuse(name not in engine.Settings.model_fields, f"{key}: {engine.name} has no such choice.")
        settings[name] = list(dict.fromkeys(value)) if isinstance(value, list) else value
    relax = body.structure_models_to_relax or "all"
    return {"relax": "none" if body.relax_prediction is False else relax, "settings": settings}


_STRUCTURES: Responses = {
    **WAITING,
    200: {"description": "PDB texts, best first.", "headers": {_WARNINGS: {"schema": {"type": "string"}}}},
}


@router.post(
    f"{_ALPHAFOLD2}/predict-structure-from-sequence", response_model=Structures, responses=_STRUCTURES
)
async def predict_structure_from_sequence(asking: TheAsking, body: FromSequence) -> list[str]:
    """Align a sequence and predict its structure."""
    return await _aligned_and_predicted(asking, body, body.sequence, skip=body.skip_template_search)


@router.post(
    f"{_MULTIMER}/predict-structure-from-sequences", response_model=Structures, responses=_STRUCTURES
)
async def predict_structure_from_sequences(asking: TheAsking, body: FromSequences) -> list[str]:
    """Align the chains of a complex, pair their rows, and predict its structure."""
    return await _aligned_and_predicted(asking, body, ":".join(body.sequences), skip=None)


async def _aligned_and_predicted(
    asking: Asking, body: FromSequence | FromSequences, sequence: str, *, skip: bool | None
) -> list[str]:
    preset = await _searched(asking, body)
    more = _predicted(asking, body)
    date = asking.routes.max_template_date
    _refuse(
        skip is False and date is None,
        "skip_template_search: this service searches no templates; send true.",
    )
    templates: dict[str, Any] = {} if skip or date is None else {"max_template_date": date}
    missing = [] if templates or skip else ["No templates were searched."]
    job, answer = await asking.predict(
        asking.routes.alphafold2, sequence, db_preset=preset, **templates, **more
    )
    asking.warn([*missing, *answer.get("warnings", [])])
    return await asking.structures(job, answer)


@router.post(f"{_ALPHAFOLD2}/predict-MSA-from-sequence", response_model=Msa, responses=WAITING)
@router.post(f"{_ALPHAFOLD2}/predict-msa-from-sequence", include_in_schema=False, response_model=Msa)
async def predict_msa_from_sequence(asking: TheAsking, body: Search) -> dict[str, Any]:
    """Search the alignment of a sequence: one, of all databases, without duplicate rows."""
    preset = await _searched(asking, body)
    return {"alignments": await _alignments(asking, body.sequence, preset)}


@router.post(f"{_MULTIMER}/predict-MSA-from-sequences", response_model=Msas, responses=WAITING)
@router.post(f"{_MULTIMER}/predict-msa-from-sequences", include_in_schema=False, response_model=Msas)
async def predict_msa_from_sequences(asking: TheAsking, body: SearchAll) -> dict[str, Any]:
    """Search the alignment of each chain, as of one sequence. Rows are not paired."""
    preset = await _searched(asking, body)
    chains = list(dict.fromkeys(body.sequences))
    found = await asyncio.gather(*(_alignments(asking, chain, preset) for chain in chains))
    by_chain = dict(zip(chains, found, strict=True))
    return {
        "alignments": [by_chain[chain] for chain in body.sequences],
        "templates": [[] for _ in body.sequences],
    }


async def _alignments(asking: Asking, sequence: str, preset: str | None) -> dict[str, list[str]]:
    job, answer = await asking.answer({"task": "align", "sequence": sequence, "db_preset": preset})
    name = "+".join(answer.get("databases", ())) or answer["db_preset"]
    return {name: [name, await asking.text(job, answer["a3m"], "The alignment"), "a3m"]}


@router.post(f"{_ALPHAFOLD2}/predict-structure-from-MSA", response_model=Structures, responses=_STRUCTURES)
@router.post(f"{_ALPHAFOLD2}/predict-structure-from-msa", include_in_schema=False, response_model=Structures)
async def predict_structure_from_msa(asking: TheAsking, body: FromMsa) -> list[str]:
    """Predict the structure of a sequence from its alignments."""
    return await _predicted_from(asking, body, body.sequence, body.alignments)


@router.post(f"{_MULTIMER}/predict-structure-from-MSA", response_model=Structures, responses=_STRUCTURES)
@router.post(f"{_MULTIMER}/predict-structure-from-msa", include_in_schema=False, response_model=Structures)
async def predict_structure_from_msas(asking: TheAsking, body: FromMsas) -> list[str]:
    """Predict the structure of one chain from its alignments; of several, this service pairs its own."""
    _refuse(
        len(body.sequences) > 1,
        "alignments: this service takes those of one chain with a request. For several, send "
        "predict-structure-from-sequences: their alignments are searched and paired, or found in the store.",
    )
    _refuse(len(body.alignments) > 1, "alignments: expected an object for each of the sequences.")
    given = body.alignments[0] if body.alignments else {}
    return await _predicted_from(asking, body, body.sequences[0], given)


async def _predicted_from(
    asking: Asking, body: FromMsa | FromMsas, sequence: str, alignments: dict[str, list[str]]
) -> list[str]:
    templates = [each for each in body.templates or () if each != []]
    _refuse(
        templates,
        "templates: hits are no templates without the structures that they are of; send an empty list.",
    )
    given = []
    for name, (_, text, form) in alignments.items():
        _refuse(form not in ("a3m", "sto"), f"alignments.{name}: the third item must be a3m or sto.")
        given.append({"name": name, "format": form, "text": text})
    more = {"alignments": given} if given else {"db_preset": "single_sequence"}
    how = _predicted(asking, body)
    job, answer = await asking.predict(asking.routes.alphafold2, sequence, **how, **more)
    return await asking.structures(job, answer)


@router.post(_OPENFOLD2, response_model=RankedStructures, response_model_exclude_none=True, responses=WAITING)
async def predict_structure_from_msa_and_template(
    asking: TheAsking, body: FromMsaAndTemplate
) -> dict[str, Any]:
    """Predict the structure of a sequence from its alignments with each selected model."""
    _refuse(body.use_templates, "use_templates: this service takes no templates with a request.")
    _refuse(body.explicit_templates, "explicit_templates: this service takes no templates with a request.")
    _refuse(body.templates, "templates: this service takes no templates with a request.")
    known = asking.routes.openfold2 or _OPENFOLD2_MODELS
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
    relax = "all" if body.relax_prediction else "none"
    asked = [asking.predict(known[number], body.sequence, relax=relax, **more) for number in numbers]
    ranked, warnings = [], []
    if body.selected_models is None and set(known) != set(range(1, 6)):
        warnings.append(f"selected_models: left out, it is 1 to 5 elsewhere; here there are: {here}.")
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


@cache
def _license() -> License:
    found = [each for each in files_of("snakefold") or () if each.name == "LICENSE"]
    text = found[0].read_text(encoding="utf-8") if found else ""
    sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
    name = metadata_of("snakefold")["License-Expression"] or ""
    return License(name=name, path="LICENSE", sha=sha, size=len(text), url="", content=text)


@router.get("/v1/license", responses=refusals(_401="No known token."), dependencies=[Depends(user_of)])
def license_() -> License:
    """The licence of snakefold; those of parameters are in /api/engines."""
    return _license()


@router.get("/v1/metadata", responses=refusals(_401="No known token."), dependencies=[Depends(user_of)])
def metadata(desk: TheDesk) -> Metadata:
    """What is served: the engines of these routes, under the version of snakefold."""
    routes = desk.settings.nim
    models = [routes.alphafold2, *(routes.openfold2 or _OPENFOLD2_MODELS).values()]
    names = dict.fromkeys(each.engine for each in models)
    return Metadata(
        assetInfo=[],
        licenseInfo=_license(),
        modelInfo=[ModelInfo(shortName=f"{name}:{__version__}", modelUrl="") for name in names],
        repository_override="",
        version=__version__,
    )
