"""The flat form of the AlphaFold2 endpoint: sequences in, AlphaFold's files out, alignments in between."""

from __future__ import annotations

import datetime
import difflib
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from snakefold.engines.alphafold2.settings import ModelPreset
from snakefold.kernel.contracts import Model, RelaxChoice
from snakefold.kernel.envelope import (
    CallbackUrl,
    IdempotencyPrefix,
    JobCallbackUrl,
    Result,
    Sink,
    ToldResponse,
    Url,
    exactly_one,
)
from snakefold.kernel.errors import Reason

_TRUE, _FALSE = ("true", "t", "1", "yes", "y"), ("false", "f", "0", "no", "n")


@dataclass(frozen=True)
class Flag:
    """A flag of AlphaFold: what it means here, and how its text becomes a value."""

    meaning: str
    read: Callable[[str], Any]
    boolean: bool = False


def _boolean(text: str) -> bool:
    if text.lower() not in (*_TRUE, *_FALSE):
        raise ValueError("expected true or false")
    return text.lower() in _TRUE


def _integer(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 12 and least <= int(text) <= most):
            raise ValueError(f"expected a whole number from {least} to {most}")
        return int(text)

    return read


def _relax(text: str) -> RelaxChoice:
    try:
        return RelaxChoice(text.lower())
    except ValueError as error:
        raise ValueError(f"expected one of {', '.join(RelaxChoice)}") from error


#: What may be passed. AlphaFold's paths, databases and presets are not among them: the worker knows its own,
#: and what a caller may choose has a key.
ALLOWED: dict[str, Flag] = {
    "models_to_relax": Flag("none, best or all (AlphaFold's default: best)", _relax),
    "use_gpu_relax": Flag("relax on the GPU (default: where OpenMM finds one)", _boolean, boolean=True),
    "num_multimer_predictions_per_model": Flag("1 to 100 (AlphaFold's default: 5)", _integer(1, 100)),
    "random_seed": Flag("first seed (default: 0; AlphaFold draws one)", _integer(0, 2**31 - 1)),
}


def read_flags(flags: Sequence[str]) -> dict[str, Any]:
    """Values by name; of a flag given twice the last counts, as in AlphaFold.

    Forms are absl's: `--name=value`, `--name value` (two items), `--name` and `--noname` for true and false.

    Raises:
        ValueError: a flag that is not allowed, by name, or a value that it cannot have.
    """
    values: dict[str, Any] = {}
    rest = iter(flags)
    for item in rest:
        name, text = _parted(item, rest)
        try:
            values[name] = ALLOWED[name].read(text)
        except ValueError as error:
            raise ValueError(f"--{name}: {error}") from error
    return values


def _parted(item: str, rest: Iterator[str]) -> tuple[str, str]:
    name, equals, text = item.removeprefix("-").removeprefix("-").partition("=")
    if not item.startswith("-") or not name:
        raise ValueError(f"{item[:60]!r} is no flag: expected --name=value")
    negated = name.removeprefix("no")
    if not equals and name not in ALLOWED and negated in ALLOWED and ALLOWED[negated].boolean:
        return negated, "false"
    if name not in ALLOWED:
        near = difflib.get_close_matches(name, ALLOWED, n=1, cutoff=0.6)
        hint = f"did you mean --{near[0]}?" if near else f"allowed are {', '.join(f'--{n}' for n in ALLOWED)}"
        raise ValueError(f"--{name[:60]} is not allowed; {hint}")
    if equals:
        return name, text
    if ALLOWED[name].boolean:
        return name, "true"
    value = next(rest, None)
    if value is None:
        raise ValueError(f"--{name} has no value")
    return name, value


_LONGEST_TEXT = 8 << 20
SINGLE_SEQUENCE = "single_sequence"


def _flags(flags: list[str]) -> list[str]:
    read_flags(flags)
    return flags


def _date(text: str) -> str:
    datetime.date.fromisoformat(text)
    return text


def _safe_address(url: str) -> str:
    if not url.startswith("https://"):
        raise ValueError("only https addresses are fetched")
    return url


def _as_list(given: Any) -> Any:
    """Flags of a command line as a list: what a shell makes of one text; nothing of null."""
    if not isinstance(given, str):
        return [] if given is None else given
    try:
        return shlex.split(given)
    except ValueError as error:
        raise ValueError(f"cannot be split as a shell does: {str(error).lower()}") from error


def _or(default: object, kind: Any) -> BeforeValidator:
    """Null means the default."""
    return BeforeValidator(
        lambda value: default if value is None else value, json_schema_input_type=kind | None
    )


def _chains(text: str) -> str:
    """`:` between chains, where a sequence has them as records after the first, without a name of its own."""
    if ">" not in text or text.lstrip().startswith(">"):
        return text
    return re.sub(r"\s*^>[^\n]*\n\s*", ":", text.strip(), flags=re.MULTILINE)


_FlagList = list[Annotated[str, Field(max_length=200)]]
Flags = Annotated[
    _FlagList,
    Field(max_length=50),
    AfterValidator(_flags),
    BeforeValidator(_as_list, json_schema_input_type=_FlagList | str | None),
]
Date = Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$"), AfterValidator(_date)]
Text = Annotated[str, Field(min_length=1, max_length=_LONGEST_TEXT)]
OneTarget = Annotated[Text, AfterValidator(_chains)]
Preset = Annotated[ModelPreset, _or(ModelPreset.AUTO, ModelPreset)]
DatabasePreset = Annotated[str, Field(pattern=r"^[a-z0-9_]{1,40}$")]
_NO_DATE = "2100-01-01"
TemplateDate = Annotated[Date, _or(_NO_DATE, Date)]

_SEQUENCE = "One target; `:` separates chains, or a FASTA header line does."
_MODEL_PRESET = "AlphaFold's --model_preset, or auto."
_DB_PRESET = (
    "full_dbs, reduced_dbs, colabfold, demo, or single_sequence (no search). Empty: the first of these that "
    "the worker has; the answer says which."
)
_TEMPLATE_DATE = (
    "Templates released after this date are not used. A worker without template databases uses none."
)
_FLAGS = "AlphaFold flags from the list below: a list, or one text that is split as a shell does."
_REHEARSAL = "Random parameters: every step runs, and the structures mean nothing."


def _without_headers(sequence: str | None, name: str) -> None:
    if sequence is not None and ">" in sequence:
        raise ValueError(f"{name} has a '>' in it: send FASTA text as `fasta`")


class FlatRequest(Model):
    """One structure or several. Exactly one of `sequence`, `fasta` and `fasta_url` is given."""

    model_config = exactly_one("sequence", "fasta", "fasta_url")

    sequence: OneTarget | None = Field(None, description=_SEQUENCE)
    fasta: Text | None = Field(None, description="FASTA text, one target per record; `:` separates chains.")
    fasta_url: Annotated[Url, AfterValidator(_safe_address)] | None = Field(
        None, description="https address of a FASTA file (public, at most 8 MB).", repr=False
    )
    model_preset: Preset = Field(ModelPreset.AUTO, description=_MODEL_PRESET)
    db_preset: DatabasePreset | None = Field(None, description=_DB_PRESET)
    max_template_date: TemplateDate = Field(_NO_DATE, description=_TEMPLATE_DATE)
    alphafold_extra_flags: Flags = Field([], description=_FLAGS)
    rehearsal: bool = Field(False, description=_REHEARSAL)
    results: Sink | list[Sink] = Field(
        Sink(inline=True), description="Where archives go: one sink, or one per target, in order."
    )
    callback_url: CallbackUrl = None
    job_callback_url: JobCallbackUrl = None
    idempotency_prefix: IdempotencyPrefix = None

    @model_validator(mode="after")
    def _one_source(self) -> FlatRequest:
        if sum(item is not None for item in (self.sequence, self.fasta, self.fasta_url)) != 1:
            raise ValueError("expected exactly one of sequence, fasta and fasta_url")
        _without_headers(self.sequence, "sequence")
        return self


class NamedSequence(Model):
    """A target under a name of the caller's."""

    id: Annotated[str, Field(min_length=1, max_length=200)] = Field(
        description="Name of the target in the answer."
    )
    sequence: OneTarget = Field(description=_SEQUENCE)

    @model_validator(mode="after")
    def _no_fasta(self) -> NamedSequence:
        _without_headers(self.sequence, "sequence")
        return self


class SequencesRequest(Model):
    """Several structures, answered by name with what programs read first."""

    sequences: Annotated[list[NamedSequence], Field(min_length=1, max_length=1000)] = Field(
        description="Targets; no two have the same id."
    )
    preset: Preset | None = Field(None, description="An older name of model_preset.")
    model_preset: Preset = Field(ModelPreset.AUTO, description=_MODEL_PRESET)
    db_preset: DatabasePreset | None = Field(None, description=_DB_PRESET)
    max_template_date: TemplateDate = Field(_NO_DATE, description=_TEMPLATE_DATE)
    alphafold_extra_flags: Flags = Field([], description=_FLAGS)
    resume_job_ids: dict[str, str | None] | None = Field(
        None,
        description="Accepted. What was finished before is taken from the store, whichever job it was in.",
    )
    rehearsal: bool = Field(False, description=_REHEARSAL)
    callback_url: CallbackUrl = None
    job_callback_url: JobCallbackUrl = None
    idempotency_prefix: IdempotencyPrefix = None

    @model_validator(mode="after")
    def _fits_together(self) -> SequencesRequest:
        met: dict[str, int] = {}
        for number, each in enumerate(self.sequences):
            if (first := met.setdefault(each.id, number)) != number:
                raise ValueError(f"sequences: number {first + 1} and number {number + 1} have one id")
        if sum(len(each.sequence) for each in self.sequences) > _LONGEST_TEXT // 2:
            raise ValueError(f"sequences: more than {_LONGEST_TEXT // 2} letters in all; send several jobs")
        given = self.model_fields_set
        if self.preset is not None and "model_preset" in given and self.preset != self.model_preset:
            raise ValueError(
                f"preset: {self.preset} and model_preset: {self.model_preset} contradict each other"
            )
        return self

    @property
    def flat(self) -> FlatRequest:
        """The same in the flat form. Names are numbers, from 1: a name may mean something in a FASTA file."""
        preset = self.model_preset
        if "model_preset" not in self.model_fields_set and self.preset is not None:
            preset = self.preset
        records = (f">{number}\n{each.sequence}\n" for number, each in enumerate(self.sequences, 1))
        return FlatRequest(
            fasta="".join(records),
            model_preset=preset,
            db_preset=self.db_preset,
            max_template_date=self.max_template_date,
            alphafold_extra_flags=self.alphafold_extra_flags,
            rehearsal=self.rehearsal,
        )


class Archive(Result):
    """A target's tar.gz: `ranked_0.cif`, `ranking_debug.json` and the other files of the target."""

    name: str = Field(description="A file name, `<id>.tar.gz`.")
    id: str = Field(description="Id of the target, from its FASTA header.")
    rehearsal: bool = Field(description="Random parameters: the structure means nothing.")


class FailedTarget(Model):
    """A target without a structure."""

    id: str = Field(description="Id of the target, from its FASTA header.")
    reason: Reason = Field(description="Reason code.")
    message: str = Field(description="For people.")
    advice: str = Field("", description="What to do.")


class FlatResponse(ToldResponse):
    """Answer to the flat form: `archives`, and `archive` if one target was asked for."""

    archive: Archive | None = Field(
        None,
        description="The archive, if the request has one target. Without bytes or place if there is no room "
        "for them twice: `archives` has them.",
    )
    archives: list[Archive] = Field(
        [], description="Archives of the targets that have a structure, in order."
    )
    files: list[str] = Field([], description="Files of the archive, if the request has one target.")
    failed: list[FailedTarget] = Field([], description="Targets without a structure.")
    warnings: list[str] = Field([], description="Warnings, such as missing databases or REHEARSAL.")
    db_preset: str = Field("", description="Databases that were searched, or single_sequence.")
    rehearsal: bool = Field(False, description="Random parameters were used.")


class SequenceResult(Model):
    """What programs read of a target."""

    ranked_0_pdb: str | Result | None = Field(
        None,
        description="The best model as PDB text, or where a large one went. Empty if PDB cannot hold it.",
    )
    best_plddt: float = Field(description="Mean pLDDT of the best model, 0 to 100.")
    best_model: str = Field(description="AlphaFold's name of the best model.")
    ranking_debug: dict[str, Any] = Field(description="Content of ranking_debug.json.")
    archive_name: str = Field(description="A file name, `<id>.tar.gz`.")
    files: list[str] = Field([], description="Files that a job of the flat form has of it.")
    rehearsal: bool = Field(False, description="Random parameters: the structure means nothing.")


class SequencesResponse(ToldResponse):
    """Answer to several sequences."""

    results: dict[str, SequenceResult] = Field({}, description="Targets with a structure, by id.")
    failed: list[FailedTarget] = Field([], description="Targets without a structure.")
    warnings: list[str] = Field([], description="Warnings, such as missing databases or REHEARSAL.")
    db_preset: str = Field("", description="Databases that were searched, or single_sequence.")
    rehearsal: bool = Field(False, description="Random parameters were used.")
