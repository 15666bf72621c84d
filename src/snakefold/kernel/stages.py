"""What a process does with a target at the moment: said where it is done, heard by whoever shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

LOADING, COMPILING, PREDICTING, RELAXING = "loading", "compiling", "predicting", "relaxing"

_listeners: list[Callable[[str], None]] = []


def say(stage: str) -> None:
    """Tell what begins now. Without a listener, nothing happens."""
    for listener in _listeners:
        listener(stage)


@contextmanager
def heard(listener: Callable[[str], None] | None) -> Iterator[None]:
    """Hand the stages of this process to `listener`, which must not raise; None hears nothing."""
    if listener is None:
        yield
        return
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)
