"""Untrusted JSON becomes a contract, or an error that names every wrong key and the nearest known one."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from snakefold.kernel.errors import SnakefoldError
from snakefold.worker.endpoints import added
from snakefold.worker.endpoints.served import ENVELOPE, EVERY, KEYS, TASKS, Served

_Contract = TypeVar("_Contract", bound=BaseModel)
_SHOWN = 10
#: Keys that are listed: those of all contracts together help nobody.
_MOST_LISTED = 30


class InvalidInput(SnakefoldError):
    """A request that is none. The text repeats keys and never values: one may be a signed address."""


def checked(contract: type[_Contract], value: object) -> _Contract:
    """`value` as an instance of `contract`.

    Raises:
        InvalidInput: names every key that is unknown, missing or wrong.
    """
    if not isinstance(value, Mapping):
        raise InvalidInput(f"Expected an object with the keys {_listed(contract.model_fields)}.")
    try:
        return contract.model_validate(dict(value))
    except ValidationError as error:
        problems = [_problem(contract, item) for item in error.errors(include_input=False, include_url=False)]
    except RecursionError:
        problems = ["The request is nested without end."]
    more = f" … and {len(problems) - _SHOWN} more." if len(problems) > _SHOWN else ""
    raise InvalidInput(" ".join(problems[:_SHOWN]) + more)


def unknown_key(name: str, known: Sequence[str]) -> str:
    """What is said of a key that is not known."""
    near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    if near:
        return f"unknown key {name[:60]!r}; did you mean {near[0]!r}?"
    if len(known) > _MOST_LISTED:
        return f"unknown key {name[:60]!r}."
    return f"unknown key {name[:60]!r}; known are {_listed(known)}."


def _problem(contract: type[BaseModel], item: Mapping[str, Any]) -> str:
    place = tuple(item["loc"])
    where = ".".join(str(step)[:60] for step in place)
    if item["type"] == "extra_forbidden" and (owner := _contract_at(contract, place[:-1])):
        prefix = f"{where.rpartition('.')[0]}: " if len(place) > 1 else ""
        return f"{prefix}{unknown_key(str(place[-1]), list(owner.model_fields))}"
    if item["type"] == "missing":
        return f"{where}: this key is required."
    text = str(item["msg"]).removeprefix("Value error, ")
    return f"{where}: {text}." if where else f"{text}."


def _contract_at(contract: type[BaseModel], place: Sequence[object]) -> type[BaseModel] | None:
    """The contract nested at a place; steps that are no fields (an index, a name in a mapping) are passed."""
    found: type[BaseModel] | None = contract
    for step in place:
        field = found.model_fields.get(str(step)) if found else None
        if field is not None:
            found = next(_contracts_in(field.annotation), None)
    return found


def _contracts_in(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _contracts_in(inner)


def _listed(names: object) -> str:
    return ", ".join(map(str, names))  # type: ignore[call-overload]


def read_input(value: object) -> BaseModel:
    """The request that an `input` is.

    Raises:
        InvalidInput: it is none; the text names what is wrong.
    """
    if not isinstance(value, Mapping):
        raise InvalidInput("`input` must be an object.")
    return checked(served_for(value).contract, value)


def served_for(value: Mapping[object, object]) -> Served | added.Added:
    """What the keys of `value` ask for; our own tasks come first, then those of other distributions."""
    if "request" in value:
        return ENVELOPE
    if "task" in value:
        task = value["task"]
        if isinstance(task, str) and task in TASKS:
            return TASKS[task]
        if isinstance(task, str) and (brought := _added(task)) is not None:
            return brought
        raise InvalidInput(f"task: expected one of {', '.join([*TASKS, *added.names()])}.")
    for key, served in KEYS.items():
        if key in value:
            return served
    if (brought := added.taking(value)) is not None:
        return brought
    every = dict.fromkeys(field for served in EVERY for field in served.contract.model_fields)
    unknown = [unknown_key(str(key), list(every)) for key in value if key not in every]
    raise InvalidInput(
        "`input` is no request: expected `request` (an envelope), `task` (MMseqs2), `input_yaml` (Boltz-2), "
        "`pdb_base64` (ProteinMPNN), `sequences`, or one of sequence, fasta, fasta_url (AlphaFold2). "
        f"{' '.join(unknown[:5])}".strip()
    )


def _added(task: str) -> added.Added | None:
    try:
        return added.find(task)
    except SnakefoldError as error:
        # Another worker of this endpoint has the same image: a retry would be paid for nothing.
        raise InvalidInput(str(error)) from error
