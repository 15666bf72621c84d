"""Settings of the engine `flashabb`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from snakefold.kernel.contracts import Model


class FlashAbbSettings(Model):
    """Settings of the engine `flashabb` (flash-abb; antibody Fv and nanobodies)."""

    num_seeds: Literal[1] = Field(1, description="Always 1: the network is deterministic.")
