"""Seeds of a target cut into those of several jobs, for engines whose seeds are numbers in a row."""

from __future__ import annotations

from typing import TypeVar

from snakefold.kernel.contracts import Model

Settings = TypeVar("Settings", bound=Model)


def cut(settings: Settings, first: int, seeds: int, most: int) -> list[Settings]:
    """Settings with at most `most` of the seeds each (`seed`, `num_seeds`); [] if one has all."""
    if seeds <= most:
        return []
    return [
        settings.model_copy(update={"seed": first + start, "num_seeds": min(most, seeds - start)})
        for start in range(0, seeds, most)
    ]
