"""Documentation of the settings, made from the model that checks them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from snakefold.config import Config


def schema() -> dict[str, Any]:
    """JSON Schema of config/config.yaml."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Config.model_json_schema()}


def rows(model: type[BaseModel] = Config, prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    """Name, kind, default and description of every setting, sections flattened with dots."""
    properties = model.model_json_schema().get("properties", {})
    for name, field in model.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from rows(annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", kind(properties[name], model), _default(field), field.description or ""


def markdown() -> str:
    """The table of config/README.md."""
    lines = [
        "# Settings",
        "",
        "All settings of `config/config.yaml`. Set one on the command line with",
        "`snakemake --config msa='{tool: mmseqs}'` or `snakefold run my.fasta --set msa.tool=mmseqs`.",
        "A wrong name or value stops the run before anything starts.",
        "",
        "This file is made by `snakefold config table`.",
        "",
        "| setting | values | default | meaning |",
        "|---|---|---|---|",
    ]
    lines += [f"| `{name}` | {kind} | {default} | {text} |" for name, kind, default, text in rows()]
    return "\n".join(lines)


def kind(entry: dict[str, Any], model: type[BaseModel]) -> str:
    """What a property of a model's JSON Schema may be, in words."""
    if "anyOf" in entry:
        return " or ".join(kind(item, model) for item in entry["anyOf"])
    if "$ref" in entry:
        definitions = model.model_json_schema()["$defs"]
        return kind(definitions[entry["$ref"].rsplit("/", 1)[-1]], model)
    if "const" in entry:
        return f"`{entry['const']}`"
    if "enum" in entry:
        return ", ".join(f"`{value}`" for value in entry["enum"])
    if entry.get("type") == "array":
        return f"list of {kind(entry.get('items', {}), model)}"
    if entry.get("type") == "object":
        return "mapping"
    bounds = [
        text.format(entry[key])
        for key, text in (
            ("minimum", "≥ {}"),
            ("exclusiveMinimum", "> {}"),
            ("maximum", "≤ {}"),
        )
        if key in entry
    ]
    words = {"null": "empty", "string": "text", "boolean": "true, false"}.get(
        entry.get("type", ""), entry.get("type", "")
    )
    return f"{words} {', '.join(bounds)}".strip()


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if value is None:
        return "empty"
    if get_origin(field.annotation) is list or isinstance(value, list | dict):
        return f"`{value}`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"
