"""Engines: one folder each, found by entry points of the group `snakefold.engines`; see `engines.spec`.

A distribution of its own may add one: its entry point names an object that follows the protocol.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points

from snakefold.engines.spec import VIEWS, Affinity, Engine
from snakefold.kernel.contracts import Model
from snakefold.kernel.errors import SnakefoldError

GROUP = "snakefold.engines"
#: What a section of an engine's own would hide: the members of `config.Settings`, which imports this module.
SETTINGS = frozenset([
    "batch", "budget", "calibration", "caveats_of", "container", "deadline", "design", "designs",
    "engine", "engines", "gpu", "hardware", "input", "inputs", "kubernetes", "max_length", "min_length",
    "msa", "msa_gpu_class", "objective", "on_invalid", "output", "predict", "publish", "references",
    "rehearsal", "relax", "relax_of", "results", "reuse", "runpod", "screen", "settings_of", "slurm",
    "store", "wanted_engines", "weights",
])  # fmt: skip


@cache
def _points() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


@cache
def get(name: str) -> Engine:
    """The engine called `name`. Its heavy libraries are imported when it starts, not here.

    Raises:
        SnakefoldError: no such engine is installed, its module fails, it follows another protocol, or its
            name is that of a setting.
    """
    entry = point(name)
    try:
        engine = entry.load()
        follows = isinstance(engine, Engine)
    except Exception as error:  # a module of somebody else's may raise anything
        brought = f" {entry.dist.name}" if entry.dist else ""
        raise SnakefoldError(
            f"engine {name}: {entry.value} cannot be loaded ({type(error).__name__}: {error}). Install the "
            f"distribution{brought}, which brings it, again, or uninstall it."
        ) from error
    if follows and engine.name != name:
        raise SnakefoldError(
            f"engine {name}: {entry.value} calls itself {engine.name!r}. An entry point is called as its "
            "engine: install a version of it where both are the same."
        )
    if not follows:
        raise SnakefoldError(
            f"engine {name}: {entry.value} does not follow the protocol of snakefold.engines.spec. Install a "
            "version of it that is made for this release of snakefold."
        )
    if engine.selectable and (name in SETTINGS or hasattr(Model, name)):
        raise SnakefoldError(
            f"engine {name}: {entry.value} is called as a setting of snakefold, and its own section of the "
            "settings would hide that. Install a version of it with another name."
        )
    return engine


def point(name: str) -> EntryPoint:
    """The entry point of an engine, which knows the distribution that brings it.

    Raises:
        SnakefoldError: no such engine is installed.
    """
    found = _points().get(name)
    if found is None:
        raise SnakefoldError(
            f"engine {name}: is not installed. Installed: {', '.join(names())}. Install the "
            "distribution that brings it into the environment of snakefold."
        )
    return found


def find(name: str) -> Engine | None:
    """The engine called `name`; None where it is missing or broken, for results outlive their engine."""
    return None if name not in _points() or name in broken() else get(name)


@cache
def broken() -> dict[str, str]:
    """Engines that are installed and cannot be used: what is wrong, by name. No other engine suffers."""
    wrong = {}
    for name in _points():
        try:
            get(name)
        except SnakefoldError as error:
            wrong[name] = str(error)
    return wrong


def computes(name: str) -> bool:
    """Whether results under this name were computed, not taken from somewhere."""
    engine = find(name)
    return engine is None or engine.selectable


def aligns(name: str) -> bool:
    """Whether an engine reads alignments, by its default settings; True of one that is not installed."""
    engine = find(name)
    if engine is None:
        return True
    return any(engine.needs(group, engine.Settings()).alignment for group in engine.groups)


def views(name: str) -> tuple[str, ...]:
    """What a target's page shows of an engine's results; all there is, if it is not installed."""
    engine = find(name)
    return VIEWS if engine is None else engine.views


def affinity(name: str) -> Affinity | None:
    """The columns of an engine's predicted affinity; None if it gives none, or is not installed."""
    engine = find(name)
    return None if engine is None or "affinity" not in engine.views else engine.affinity


def names() -> list[str]:
    """Engines that a configuration may name, in alphabetical order."""
    return [name for name in sorted(_points()) if (engine := find(name)) is not None and engine.selectable]


def forget() -> None:
    """Look again for what is installed."""
    _points.cache_clear()
    get.cache_clear()
    broken.cache_clear()
