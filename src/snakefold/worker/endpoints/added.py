"""Tasks that other distributions bring, by entry points of the group `snakefold.tasks`.

An entry point is called as its task, and names a function that takes the `input`, a mapping, and a
`tasks.Context`, and gives the answer: a mapping, a pydantic model, or one of these and whether memory ran
out. The function may have two attributes:

- `contract`, a pydantic model: an `input` is held against it before anything starts; wrong keys are named.
- `takes`, a function: whether an `input` that names no task is one of these, for programs that send none.

The handler, which answers RunPod, imports its module too. So that imports nothing heavy: the call does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from pydantic import BaseModel, ConfigDict

from snakefold.kernel.errors import SnakefoldError

GROUP = "snakefold.tasks"


class AnyInput(BaseModel):
    """An `input` whose function checks it itself."""

    model_config = ConfigDict(extra="allow", frozen=True)


@dataclass(frozen=True)
class Added:
    """A task of another distribution."""

    name: str
    does: Callable[[Mapping[str, Any], Any], Any]

    @property
    def contract(self) -> type[BaseModel]:
        """What its `input` may be."""
        found = getattr(self.does, "contract", AnyInput)
        return found if isinstance(found, type) and issubclass(found, BaseModel) else AnyInput

    def takes(self, given: Mapping[Any, Any]) -> bool:
        """Whether an `input` that names no task is one of its own."""
        asked = getattr(self.does, "takes", None)
        return bool(asked(given)) if callable(asked) else False


def names() -> list[str]:
    """Tasks of other distributions that are installed."""
    return sorted({point.name for point in entry_points(group=GROUP)})


def find(name: str) -> Added | None:
    """The task called `name`; None if no distribution brings it.

    Raises:
        SnakefoldError: the distribution's module fails.
    """
    point = next(iter(entry_points(group=GROUP, name=name)), None)
    return None if point is None else _load(point)


def taking(given: Mapping[Any, Any]) -> Added | None:
    """The task of an `input` that names none; None if nobody takes it. Modules that fail take nothing."""
    return next((each for each in _usable() if each.takes(given)), None)


def _usable() -> Iterator[Added]:
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        try:
            yield _load(point)
        except SnakefoldError as error:
            print(f"handler: {error}", flush=True)


def _load(point: EntryPoint) -> Added:
    try:
        does = point.load()
    except Exception as error:  # a module of somebody else's may raise anything
        brought = f" {point.dist.name}" if point.dist else ""
        raise SnakefoldError(
            f"task {point.name}: {point.value} cannot be loaded ({type(error).__name__}: {error}). Install "
            f"the distribution{brought}, which brings it, again, or uninstall it."
        ) from error
    if not callable(does):
        raise SnakefoldError(
            f"task {point.name}: {point.value} is no function. Install another version of it."
        )
    return Added(point.name, does)
