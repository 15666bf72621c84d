"""What flash-abb takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from snakefold.engines.sizes import SMALL_FILES, model_bytes

if TYPE_CHECKING:
    from snakefold.engines.spec import Floats

#: Seconds of an Fv: 1.2 on two CPU cores; on a GPU an estimate. Seconds to load: 4.5, plus the imports.
_SECONDS, _LOAD = {"cpu": 1.2, "gpu": 0.2}, 6.0
_FEATURES, _FEATURES_RESIDUE = 0.3, 0.001
_MEMORY_GB = 2.0


@dataclass(frozen=True, slots=True)
class FlashAbbWork:
    """See `snakefold.engines.spec.Work`: whatever the size, for all targets are about as large."""

    engine: str = "flashabb"
    relaxed: int = 0
    gpu_relax: bool = True

    def network_seconds(self, sizes: ArrayLike, device: str, speed: float) -> Floats:
        """Seconds of one model."""
        del speed
        return np.full(np.shape(sizes), _SECONDS[device])

    def features_seconds(self, sizes: ArrayLike, device: str) -> Floats:
        """Seconds to write the output."""
        del device
        return np.asarray(_FEATURES + _FEATURES_RESIDUE * np.asarray(sizes, dtype=float), dtype=np.float64)

    def compile_seconds(self, sizes: ArrayLike, device: str, *, cached: bool = False) -> Floats:
        """Nothing is compiled."""
        del device, cached
        return np.zeros(np.shape(sizes))

    def load_seconds(self, device: str) -> float:
        """Imports and parameters."""
        del device
        return _LOAD

    def memory_gb(self, sizes: ArrayLike) -> Floats:
        """GB."""
        return np.full(np.shape(sizes), _MEMORY_GB)

    def result_bytes(self, sizes: ArrayLike) -> tuple[Floats, Floats]:
        """One model; no PAE."""
        text = model_bytes(sizes, 1, self.relaxed) + SMALL_FILES
        return text, np.zeros(np.shape(sizes))
