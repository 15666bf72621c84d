"""Documentation of the endpoints, made from the contracts that check them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel

from snakefold.kernel.contracts import FoldRequest
from snakefold.kernel.envelope import EnvelopeResponse, FailedCallback, Part, Result, Sink, Worker
from snakefold.plan import settings_docs
from snakefold.worker.endpoints.alphafold2 import (
    ALLOWED,
    Archive,
    FailedTarget,
    FlatResponse,
    NamedSequence,
    SequenceResult,
    SequencesResponse,
)
from snakefold.worker.endpoints.boltz2 import PoseConfig, PoseResponse
from snakefold.worker.endpoints.mmseqs2 import (
    BuildResponse,
    ClusterResponse,
    SearchResponse,
    SearchTexts,
)
from snakefold.worker.endpoints.models import (
    Alignment,
    AlignResponse,
    PredictedModel,
    PredictResponse,
)
from snakefold.worker.endpoints.proteinmpnn import DesignResponse, ResidueBias
from snakefold.worker.endpoints.served import EVERY

_REQUESTS = [served.contract for served in EVERY]
_OTHERS: list[type[BaseModel]] = [
    EnvelopeResponse,
    Part,
    Sink,
    Result,
    FailedCallback,
    FoldRequest,
    FlatResponse,
    Archive,
    FailedTarget,
    NamedSequence,
    SequencesResponse,
    SequenceResult,
    PoseConfig,
    PoseResponse,
    DesignResponse,
    ResidueBias,
    Worker,
    SearchResponse,
    SearchTexts,
    BuildResponse,
    ClusterResponse,
    Alignment,
    PredictResponse,
    PredictedModel,
    AlignResponse,
]
CONTRACTS = {contract.__name__: contract for contract in [*_REQUESTS, *_OTHERS]}
REQUESTS = tuple(contract.__name__ for contract in _REQUESTS)

_MARKED = re.compile(r"(<!-- made: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of what `input` may be; every contract is in `$defs`."""
    from pydantic.json_schema import models_json_schema

    _, definitions = models_json_schema(
        [(contract, "validation") for contract in CONTRACTS.values()],
        ref_template="#/$defs/{model}",
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "input",
        "oneOf": [{"$ref": f"#/$defs/{name}"} for name in REQUESTS],
        **definitions,
    }


def table(contract: type[BaseModel]) -> str:
    """Markdown table of a contract's keys."""
    lines = ["| key | value | default | meaning |", "|---|---|---|---|"]
    properties = contract.model_json_schema(mode="serialization")["properties"]
    for name, field in contract.model_fields.items():
        default = (
            "required" if field.is_required() else _default(field.get_default(call_default_factory=True))
        )
        kind = _kind(properties[name])
        lines.append(f"| `{name}` | {kind} | {default} | {field.description or ''} |")
    return "\n".join(lines) + "\n"


def flags() -> str:
    """Markdown table of the flags that are allowed."""
    lines = ["| flag | values |", "|---|---|"]
    return "\n".join([*lines, *(f"| `--{name}` | {flag.meaning} |" for name, flag in ALLOWED.items())]) + "\n"


def variables() -> str:
    """Markdown table of a worker's environment."""
    from snakefold.worker.settings import VARIABLES

    lines = ["| variable | default | meaning |", "|---|---|---|"]
    rows = (f"| `{name}` | {default or 'none'} | {text} |" for name, (default, text) in VARIABLES.items())
    return "\n".join([*lines, *rows]) + "\n"


def filled(text: str) -> str:
    """`text` with what stands between `<!-- made: NAME -->` and `<!-- end -->` made anew.

    Raises:
        KeyError: NAME is none of the contracts, `flags` or `variables`.
    """
    makers: dict[str, Callable[[], str]] = {"flags": flags, "variables": variables}

    def make(match: re.Match[str]) -> str:
        name = match[2]
        content = makers[name]() if name in makers else table(CONTRACTS[name])
        return f"{match[1]}{content}{match[3]}"

    return _MARKED.sub(make, text)


def _kind(entry: dict[str, Any]) -> str:
    if "$ref" in entry:
        name = entry["$ref"].rsplit("/", 1)[-1]
        return f"`{name}`" if name in CONTRACTS else _choices(name)
    if "anyOf" in entry:
        kinds = (_kind(item) for item in entry["anyOf"] if item.get("type") != "null")
        return " or ".join(dict.fromkeys(kinds))
    if entry.get("type") == "array":
        return f"list of {_kind(entry.get('items', {}))}"
    values = [*entry.get("patternProperties", {}).values(), entry.get("additionalProperties")]
    if entry.get("type") == "object" and isinstance(values[0], dict):
        return f"name → {_kind(values[0])}"
    if entry.get("type") == "object":
        return "object"
    return settings_docs.kind(entry, BaseModel)


def _choices(name: str) -> str:
    from snakefold.engines.alphafold2.settings import ModelPreset
    from snakefold.kernel.errors import Reason

    enums = {"ModelPreset": ModelPreset, "Reason": Reason}
    return ", ".join(f"`{value}`" for value in enums[name]) if name in enums else "object"


def _default(value: object) -> str:
    if value is None or value in ("", {}, []):
        return "empty"
    if isinstance(value, BaseModel):
        return f"`{value.model_dump_json(exclude_none=True)}`" if value.model_fields_set else "empty"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"
