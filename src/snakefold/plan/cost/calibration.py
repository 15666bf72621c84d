"""What measured runs say about the published figures: factors by GPU class, engine and part, kept as JSON."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Literal

from pydantic import Field

from snakefold.kernel.contracts import Model
from snakefold.kernel.documents import read_document
from snakefold.kernel.errors import ConfigError

#: Length at which a length exponent changes nothing, and below which it changes nothing more.
REFERENCE_LENGTH = 256
SHORTEST_SCALED = 100


class Fitted(Model):
    """One part of the model against measurements.

    Measured seconds are the published ones times `factor`, and for the network times
    (length / 256) ** `exponent`. Measured against predicted, `low` and `high` bound the middle 80 %.
    """

    factor: float = Field(1.0, gt=0, allow_inf_nan=False)
    exponent: float = Field(0.0, allow_inf_nan=False)
    observations: int = Field(0, ge=0)
    low: float = Field(1.0, gt=0, allow_inf_nan=False)
    high: float = Field(1.0, gt=0, allow_inf_nan=False)


class Calibration(Model):
    """`calibration.json`: `classes` by GPU class, engine and part; `msa` by search tool and part."""

    version: Literal[1] = 1
    made: date | None = None
    classes: dict[str, dict[str, dict[str, Fitted]]] = Field(default_factory=dict)
    msa: dict[str, dict[str, Fitted]] = Field(default_factory=dict)

    def fitted(self, gpu: str, engine: str, part: str) -> Fitted | None:
        """What is known of one part, or None: published figures hold."""
        return self.classes.get(gpu, {}).get(engine, {}).get(part)

    def merged(self, newer: Calibration) -> Calibration:
        """This calibration, with what `newer` says of a class and engine, or of a tool, in its place."""
        classes = {name: dict(engines) for name, engines in self.classes.items()}
        for name, engines in newer.classes.items():
            classes[name] = {**classes.get(name, {}), **engines}
        return Calibration(made=newer.made or self.made, classes=classes, msa={**self.msa, **newer.msa})


def user_calibration() -> Path:
    """Where `snakefold calibrate` keeps its file unless told otherwise."""
    from platformdirs import user_data_path

    return user_data_path("snakefold") / "calibration.json"


def read_calibration(path: Path) -> Calibration:
    """Read a file of `snakefold calibrate`.

    Raises:
        ConfigError: it cannot be read, or is something else.
    """
    advice = (
        "Make one with `snakefold calibrate RESULTS`, or remove it and leave the setting `calibration` empty."
    )
    return read_document(Calibration, path, what="a calibration", advice=advice, error=ConfigError)
