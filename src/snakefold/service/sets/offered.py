"""Which settings of a run users of the service may choose, and what an engine has to offer.

No setting that names a path, an address or where results go is among them: those are the service's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import BaseModel

from snakefold import engines
from snakefold.config import Config, load_config
from snakefold.engines.environments import place_of
from snakefold.engines.spec import Engine
from snakefold.kernel.errors import ConfigError, SnakefoldError
from snakefold.plan.settings_docs import rows

#: Settings by section; None: the whole section, or a setting of its own.
_OFFERED: dict[str, tuple[str, ...] | None] = {
    **dict.fromkeys(("engine", "engines", "weights", "on_invalid", "min_length", "max_length")),
    **dict.fromkeys(("objective", "deadline", "rehearsal", "output")),
    "msa": ("tool", "mmseqs_recipe", "templates", "max_template_date"),
    "design": ("engine", "chains", "homooligomer", "conserved", "max_rmsd", "min_plddt"),
    "relax": ("models_to_relax", "max_iterations"),
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
    """A setting that may be given."""

    name: str
    type: str
    default: str
    doc: str


class EngineView(BaseModel):
    """An engine, and whether it can be used here."""

    name: str
    title: str
    molecules: list[str]
    designs: bool
    installed: bool
    missing: str
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
    others = [
        SettingView(name=name, type=kind, default=default, doc=text)
        for name, kind, default, text in rows(Config)
        if _is_offered(name)
    ]
    return Offer(engines=[_engine(each) for each in found if each.selectable], settings=others)


def _is_offered(name: str) -> bool:
    section, _, leaf = name.partition(".")
    inner = _OFFERED.get(section)
    return section in _OFFERED and (inner is None or leaf in inner)


def _engine(engine: Engine) -> EngineView:
    try:
        missing = place_of(engine).missing
    except SnakefoldError as error:
        missing = str(error)
    return EngineView(
        name=engine.name,
        title=engine.title,
        molecules=[*(kind.value for kind in engine.accepts.kinds), *["backbone"] * engine.accepts.backbones],
        designs=engine.accepts.backbones,
        installed=not missing,
        missing=missing,
        weights=_weights(engine),
        licence=engine.licence,
        settings=[
            SettingView(name=name, type=kind, default=default, doc=text)
            for name, kind, default, text in rows(engine.Settings, f"{engine.name}.")
        ],
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
