"""Routes of aws-do-openfold-inference: alignments and predictions by tag, as files where it has them.

Its programs send GET requests and read status codes and files. POST takes the same as JSON, and more.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, HTTPException, Query, Request
from fastapi import Path as PathParameter
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, ConfigDict, Field

from snakefold.kernel.contracts import RelaxChoice
from snakefold.kernel.errors import StoreError
from snakefold.kernel.store import write_atomically
from snakefold.molecules.sequences import BadSequence, clean_chains
from snakefold.msa import a3m
from snakefold.service import files, jobs
from snakefold.service.answers import WAITING, refusals
from snakefold.service.desk import TheDesk, TheUser

router = APIRouter(tags=["OpenFold"])
#: What a request without parameters asks for.
_TAG = "seq0"
_SEQUENCE = "MAAHKGAEHHHKAAEHHEQAAKHHHAAAEHHEKGEHEQAAHHADTAYAHHKHAEEHAAQAAKHDAEHHAPKPH"
#: A tag is a name of files: no path, and nothing hidden.
TAG = r"^[A-Za-z0-9][A-Za-z0-9_.+-]{0,99}$"
_FORMATS = {".a3m": "a3m", ".sto": "sto"}
_READERS = {"a3m": a3m.parse_a3m, "sto": a3m.parse_stockholm}
#: The preset that searches nothing.
_ALONE = "single_sequence"
_LARGEST_ALIGNMENT = 8 << 20

Tag = Annotated[str, Field(pattern=TAG, description="Name of the sequence, and of its files.")]
Letters = Annotated[
    str, Field(min_length=1, max_length=10_000, description="The sequence.", examples=[_SEQUENCE])
]


AskedTag = Annotated[str, Query(pattern=TAG, description="Name of the sequence, and of its files.")]
AskedSequence = Annotated[str, Query(min_length=1, max_length=10_000, description="The sequence.")]
ModelId = Annotated[str, PathParameter(description="model_0, model_1, …: all are the same model.")]


class Status(BaseModel):
    """Whether the server answers."""

    Status: str = Field(examples=["Healthy"])


class Told(BaseModel):
    """What was done."""

    detail: str


class AlignmentRequest(BaseModel):
    """A sequence whose alignment is wanted."""

    model_config = ConfigDict(extra="forbid")

    tag: Tag = _TAG
    seq: Letters = _SEQUENCE


class Aligned(Told):
    """An alignment."""

    file: str = Field(description="Its file, below the folder of alignments.")
    job: str | None = Field(None, description="Id of the job that made it; empty: it was there.")
    warnings: list[str] = Field([], description="Warnings of the search.")


class PredictionRequest(AlignmentRequest):
    """A sequence whose structure is wanted."""

    settings: dict[str, Any] = Field({}, description="Settings of the engine, over those of the service.")
    models_to_relax: RelaxChoice = Field(RelaxChoice.NONE, description="none, best or all.")
    rehearsal: bool | None = Field(None, description="Random parameters; if empty, as the service is set.")


class Predicted(Told):
    """A predicted structure. A score that the engine did not give is left out."""

    file: str = Field(description="Its file, below the service's folder of predictions.")
    job: str = Field(description="Id of the job that predicted it.")
    pdb: str = Field(description="The structure.")
    mean_plddt: float = Field(description="Mean pLDDT, 0 to 100.")
    plddt: list[float] = Field(description="pLDDT of every residue.")
    ptm: float | None = Field(None, description="Predicted TM-score.")
    max_pae: float | None = Field(None, description="Largest predicted aligned error, Å.")
    warnings: list[str] = Field([], description="Warnings, such as missing databases or REHEARSAL.")
    rehearsal: bool = Field(False, description="Random parameters were used.")


class Places:
    """Folders of a user's files: the service's own, or one below it if there are several users."""

    def __init__(self, desk: TheDesk, user: TheUser, request: Request) -> None:
        self.desk, self.user, self.request = desk, user, request
        self.routes = desk.settings.openfold
        base = self.routes.output_dir_base or desk.settings.folder / "openfold"
        alignments = self.routes.alignment_dir or base / "alignments"
        own = Path() if desk.settings.tokens is None else Path(user.user)
        self.predictions, self.alignments = base / own / "predictions", alignments / own

    async def ask(self, given: dict[str, Any]) -> tuple[str, Any]:
        """Have a task done: id of the job, and its answer."""
        facts = {"endpoint": "openfold"}
        record, output = await jobs.answer(self.request, self.desk, self.user, given, facts=facts)
        return record.id, output

    def text(self, job: str, value: Any) -> str | None:
        """A text of an answer, wherever it was too large to be."""
        if not isinstance(value, dict):
            return None if value is None else str(value)
        return files.text_of(self.desk.settings, job, value)

    def write(self, path: Path, text: str) -> None:
        """Write a file.

        Raises:
            HTTPException: 500, it cannot be written.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, text.encode("utf-8", "surrogatepass"))
        except (OSError, StoreError) as error:
            raise HTTPException(
                500, f"{path.name} cannot be written. Tell whoever runs the service."
            ) from error


ThePlaces = Annotated[Places, Depends()]


@router.get("/", response_model=Status)
async def healthy(accept: Annotated[str, Header(description="text/html: of a browser.")] = "") -> Any:
    """Whether the server answers; no token is needed. A browser is led to the page."""
    return RedirectResponse("/ui/") if "text/html" in accept else Status(Status="Healthy")


_ALIGNING = {
    **WAITING,
    **refusals(_409="The files of this tag are alignments of another sequence, or the job was cancelled."),
}


@router.get("/precompute_alignments/", response_model=Told, responses=_ALIGNING)
async def precompute_alignments(
    places: ThePlaces,
    tag: AskedTag = _TAG,
    seq: AskedSequence = _SEQUENCE,
) -> dict[str, Any]:
    """Search the alignment of a sequence, and write it to the folder of its tag.

    Where there is no database to search, nothing is written (400).
    """
    return await _align(places, AlignmentRequest(tag=tag, seq=seq))


@router.post(
    "/precompute_alignments/",
    response_model=Aligned,
    response_model_exclude_none=True,
    responses=_ALIGNING,
)
async def align(places: ThePlaces, request: AlignmentRequest) -> dict[str, Any]:
    """The same, as JSON."""
    return await _align(places, request)


_NO_MODEL = refusals(_404="There is no such model.")


@router.get("/openfold_predictions/{model_id}/", response_model=Told, responses={**WAITING, **_NO_MODEL})
async def openfold_predictions(
    model_id: ModelId,
    places: ThePlaces,
    tag: AskedTag = _TAG,
    seq: AskedSequence = _SEQUENCE,
) -> dict[str, Any]:
    """Predict a structure and write it to `predictions/<tag>_<config_preset>_unrelaxed.pdb`."""
    return await _predict(places, model_id, PredictionRequest(tag=tag, seq=seq))


@router.post(
    "/openfold_predictions/{model_id}/",
    response_model=Predicted,
    response_model_exclude_none=True,
    responses={**WAITING, **_NO_MODEL},
)
async def predict(model_id: ModelId, places: ThePlaces, request: PredictionRequest) -> dict[str, Any]:
    """The same, as JSON, with the structure in the answer."""
    return await _predict(places, model_id, request)


async def _align(places: Places, request: AlignmentRequest) -> dict[str, Any]:
    path = places.alignments / request.tag / "msa.a3m"
    name = f"{request.tag}/{path.name}"
    if await run_in_threadpool(_aligned, path.parent, request.seq):
        return {"detail": f"Alignments for {request.tag} already computed...", "file": name}
    preset = places.routes.db_preset
    job, answer = await places.ask({"task": "align", "sequence": request.seq, "db_preset": preset})
    warnings = list(answer["warnings"])
    if not answer["databases"]:
        if preset != _ALONE:
            # The file would be taken for an alignment from now on.
            raise HTTPException(400, " ".join([_not_searched(request.tag), *warnings, _TO_SEARCH]))
        warnings.append("Nothing was searched: the service's db_preset is single_sequence.")
    text = await run_in_threadpool(places.text, job, answer["a3m"])
    await run_in_threadpool(places.write, path, str(text))
    said = " ".join([f"Alignments for {request.tag} done...", *warnings])
    return {"detail": said, "file": name, "job": job, "warnings": warnings}


_TO_SEARCH = (
    "Whoever runs the service: fetch databases (`snakefold db fetch`), or set openfold.db_preset to a preset "
    "that the workers have; single_sequence takes the sequence alone."
)


def _not_searched(tag: str) -> str:
    return f"Alignments for {tag}: no database was searched, and no file was written."


async def _predict(places: Places, model: str, request: PredictionRequest) -> dict[str, Any]:
    number = re.fullmatch(r"model_(0|[1-9][0-9]{0,3})", model)
    if number is None or int(number[1]) >= places.routes.num_models:
        last = places.routes.num_models - 1
        shown = model if re.fullmatch(r"[\w.-]{1,60}", model, re.ASCII) else "of this name"
        raise HTTPException(404, f"Model {shown} does not exist. Try a model name up to model{last}")
    rehearsal = request.rehearsal if request.rehearsal is not None else places.desk.settings.rehearsal
    given: dict[str, Any] = {
        "task": "predict",
        "engine": places.routes.engine,
        "sequence": request.seq,
        "settings": {**places.routes.settings, **request.settings},
        "models_to_relax": request.models_to_relax.value,
        "rehearsal": rehearsal,
    }
    found = []
    if places.routes.use_precomputed_alignments:
        found = await run_in_threadpool(_given, places.alignments / request.tag)
    given |= {"alignments": found} if found else {"db_preset": places.routes.db_preset}
    job, answer = await places.ask(given)
    best = answer["models"][0]
    pdb = await run_in_threadpool(places.text, job, best.get("pdb"))
    if pdb is None:
        raise HTTPException(500, "The structure is too large for the PDB format.")
    kind = "relaxed" if best["relaxed"] else "unrelaxed"
    name = f"{request.tag}_{places.routes.config_preset}_{kind}.pdb"
    await run_in_threadpool(places.write, places.predictions / name, pdb)
    said = f"Output for {model} written to predictions/{name}"
    if answer.get("rehearsal"):
        said += " (REHEARSAL: random parameters, the structure means nothing)"
    warnings = answer.get("warnings", [])
    said = " ".join([said, *(each for each in warnings if not each.startswith("REHEARSAL"))])
    scores = {key: best[key] for key in ("mean_plddt", "plddt", "ptm", "max_pae") if key in best}
    return {
        "detail": said,
        "file": f"predictions/{name}",
        "job": job,
        "pdb": pdb,
        **scores,
        "warnings": warnings,
        "rehearsal": answer.get("rehearsal", False),
    }


def _aligned(folder: Path, sequence: str) -> bool:
    """Whether the folder of a tag has alignments, which are of this sequence.

    Raises:
        HTTPException: 409, one is of another sequence. 500, one cannot be read.
    """
    found = _given(folder)
    raw = "".join(sequence.split()).upper()
    try:
        known = {raw, ":".join(clean_chains(sequence)[0])}
    except BadSequence:
        known = {raw}
    for each in found:
        where = f"{folder.name}/{each['name']}"
        try:
            query = _READERS[each["format"]](each["text"]).query.replace("-", "").upper()
        except (ValueError, IndexError) as error:
            raise HTTPException(500, f"{where}: cannot be read as {each['format']}: {error}") from error
        if query not in known:
            raise HTTPException(
                409,
                f"{where}: its first row is not the sequence: this tag has the alignment of another one. "
                "Send another tag, or remove the file.",
            )
    return bool(found)


def _given(folder: Path) -> list[dict[str, str]]:
    """Alignments in the folder of a tag, whoever put them there.

    Raises:
        HTTPException: 500, one cannot be read.
    """
    if not folder.is_dir():
        return []
    found = []
    for path in sorted(folder.iterdir()):
        if path.suffix not in _FORMATS or path.name.startswith("."):
            continue
        try:
            if path.stat().st_size > _LARGEST_ALIGNMENT:
                raise HTTPException(500, f"{folder.name}/{path.name}: is larger than 8 MB.")
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise HTTPException(500, f"{folder.name}/{path.name}: cannot be read as text.") from error
        found.append({"name": path.name, "format": _FORMATS[path.suffix], "text": text})
    return found
