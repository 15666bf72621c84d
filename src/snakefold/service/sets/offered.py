"""Which settings of a run users of the service may choose, and what an engine has to offer.

No setting that names a path, an address or where results go is among them: those are the service's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import BaseModel, Field
from pydantic_core import to_jsonable_python

from snakefold import engines
from snakefold.config import Config, load_config
from snakefold.engines.environments import place_of
from snakefold.engines.spec import Engine
from snakefold.kernel.errors import ConfigError, SnakefoldError
from snakefold.molecules.entities import Kind

#: Settings by section; None: the whole section, or a setting of its own.
_OFFERED: dict[str, tuple[str, ...] | None] = {
    **dict.fromkeys(("engine", "engines", "weights", "on_invalid", "min_length", "max_length")),
    **dict.fromkeys(("objective", "deadline", "rehearsal", "output")),
    "msa": ("tool", "mmseqs_recipe", "templates", "max_template_date", "max_template_hits"),
    "design": ("engine", "chains", "homooligomer", "conserved", "max_rmsd", "min_plddt"),
    "relax": ("models_to_relax", "max_iterations", "tolerance", "stiffness", "max_outer_iterations"),
}
#: A folder on the machine of the service is nobody's choice.
WEIGHTS = ("auto", "rehearsal")


def offered() -> dict[str, tuple[str, ...] | None]:
    """Names of the settings that may be given, by section, those of all engines among them."""
    return {**_OFFERED, **dict.fromkeys(engines.names())}


def check(given: Mapping[str, Any]) -> None:
    """See that settings are among those that may be given, and are right.

    Raises:
        ConfigError: names each that is not.
    """
    lines = [f"  {name}: {why}" for name, why in _wrong(given)]
    if lines:
        names = ", ".join(
            f"{name}.{{{', '.join(inner)}}}" if inner else name for name, inner in offered().items()
        )
        raise ConfigError("\n".join(["settings:", *lines, f"  The service takes: {names}."]))
    load_config(given, "settings")


def _wrong(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    may = offered()
    for name, value in given.items():
        if name not in may:
            yield str(name)[:60], "is not taken from users."
            continue
        inner = may[name]
        if inner is None:
            continue
        if not isinstance(value, Mapping):
            yield name, "expected an object of settings."
            continue
        for each in value:
            if each not in inner:
                yield f"{name}.{each}"[:60], "is not taken from users."
    if given.get("weights", "auto") not in WEIGHTS:
        yield "weights", f"expected {' or '.join(WEIGHTS)}."


class SettingView(BaseModel):
    """A setting that may be given: its name in its section, and what it may be."""

    section: str = Field("", description="Engine or section of the settings; empty: none.")
    name: str
    type: str = Field(description="A type of JSON.", examples=["integer"])
    default: Any = None
    choices: list[Any] | None = None
    minimum: float | None = None
    maximum: float | None = None
    doc: str


class EngineView(BaseModel):
    """An engine, and whether it can be used here."""

    name: str
    title: str
    molecules: list[str]
    designs: bool
    usable: bool = Field(description="It is installed, and has parameters.")
    missing: str = Field(description="What is not installed, and what to do.")
    weights: Literal["official", "rehearsal", "missing", "own"]
    licence: str
    settings: list[SettingView]


class Offer(BaseModel):
    """What a form may offer: engines, and the settings of the run that are not theirs."""

    engines: list[EngineView]
    settings: list[SettingView]


def offer() -> Offer:
    """Everything that a form may offer. Takes seconds: parameters are looked for."""
    found = [engines.get(name) for name in engines.names()]
    others = [each for each in _settings(Config, "") if _is_offered(each)]
    return Offer(engines=[_engine(each) for each in found if each.selectable], settings=others)


def _is_offered(each: SettingView) -> bool:
    section = each.section or each.name
    inner = _OFFERED.get(section)
    return section in _OFFERED and (inner is None or each.name in inner)


def _settings(model: type[BaseModel], section: str) -> Iterator[SettingView]:
    """The settings of a model, those of its sections among them."""
    schema = model.model_json_schema()
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _settings(kind, name)
            continue
        entry = _meant(schema["properties"][name], schema)
        yield SettingView(
            section=section,
            name=name,
            type=entry.get("type", "string"),
            default=to_jsonable_python(field.get_default(call_default_factory=True)),
            choices=entry.get("enum") or ([entry["const"]] if "const" in entry else None),
            minimum=entry.get("minimum", entry.get("exclusiveMinimum")),
            maximum=entry.get("maximum", entry.get("exclusiveMaximum")),
            doc=field.description or "",
        )


def _meant(entry: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """A property of a JSON Schema where it may be empty as well, or is described elsewhere."""
    if "anyOf" in entry:
        entry = next((each for each in entry["anyOf"] if each.get("type") != "null"), entry)
    if "$ref" in entry:
        entry = schema["$defs"][entry["$ref"].rsplit("/", 1)[-1]]
    return entry


def _engine(engine: Engine) -> EngineView:
    try:
        missing = place_of(engine).missing
    except SnakefoldError as error:
        missing = str(error)
    weights = _weights(engine)
    return EngineView(
        name=engine.name,
        title=engine.title,
        molecules=[
            *(kind.value for kind in Kind if kind in engine.accepts.kinds),
            *["backbone"] * engine.accepts.backbones,
        ],
        designs=engine.accepts.backbones,
        usable=not missing and weights != "missing",
        missing=missing,
        weights=weights,
        licence=engine.licence,
        settings=list(_settings(engine.Settings, engine.name)),
    )


def _weights(engine: Engine) -> Literal["official", "rehearsal", "missing", "own"]:
    """Which parameters a run would have with `weights: auto`."""
    if engine.weights is None:
        return "own"
    try:
        found = engine.parameters("auto", engine.Settings(), set(engine.groups), whole=False)
    except SnakefoldError:
        return "missing"
    return "official" if found is not None and not found.rehearsal else "rehearsal"
