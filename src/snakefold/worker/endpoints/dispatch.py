"""Which contract an `input` is meant for."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel

from snakefold.kernel.envelope import Envelope
from snakefold.worker.endpoints.alphafold2 import FlatRequest
from snakefold.worker.endpoints.checked import InvalidInput, checked, unknown_key
from snakefold.worker.endpoints.mmseqs2 import BuildRequest, SearchRequest

Request = Envelope | FlatRequest | SearchRequest | BuildRequest

_TASKS: dict[str, type[SearchRequest] | type[BuildRequest]] = {"search": SearchRequest, "build": BuildRequest}
_FLAT = ("sequence", "fasta", "fasta_url")


def read_input(value: object) -> Request:
    """The request that an `input` is.

    Raises:
        InvalidInput: it is none; the text names what is wrong.
    """
    if not isinstance(value, Mapping):
        raise InvalidInput("`input` must be an object.")
    return checked(contract_of(value), value)  # type: ignore[return-value]


def contract_of(value: Mapping[object, object]) -> type[BaseModel]:
    """The contract that the keys of `value` tell."""
    if "request" in value:
        return Envelope
    if "task" in value:
        task = value["task"]
        if not isinstance(task, str) or task not in _TASKS:
            raise InvalidInput(f"task: expected one of {', '.join(_TASKS)}.")
        return _TASKS[task]
    if any(key in value for key in _FLAT):
        return FlatRequest
    every = dict.fromkeys(
        field for contract in (FlatRequest, Envelope, *_TASKS.values()) for field in contract.model_fields
    )
    unknown = [unknown_key(str(key), list(every)) for key in value if key not in every]
    raise InvalidInput(
        "`input` is no request: expected `request` (an envelope), `task` (MMseqs2), or one of "
        f"{', '.join(_FLAT)} (AlphaFold2). {' '.join(unknown[:5])}".strip()
    )
