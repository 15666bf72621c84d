"""What flash-abb takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from snakefold.engines.sizes import SMALL_FILES, model_bytes

if TYPE_CHECKING:
    from snakefold.engines.spec import Floats

#: Seconds of an Fv in the network. CPU: measured, 2 cores. GPU: an estimate.
_SECONDS = {"cpu": 0.15, "gpu": 0.05}
#: Seconds to load: imports and parameters, and the two programs, which serve all lengths. GPU: an estimate.
_LOAD = {"cpu": 3.0 + 2 * 2.0, "gpu": 3.0 + 2 * 8.0}
_FEATURES, _FEATURES_RESIDUE = 0.03, 0.0003
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
        """Nothing for another size: programs are compiled while the engine loads."""
        del device, cached
        return np.zeros(np.shape(sizes))

    def load_seconds(self, device: str) -> float:
        """Imports, parameters and programs."""
        return _LOAD[device]

    def memory_gb(self, sizes: ArrayLike) -> Floats:
        """GB."""
        return np.full(np.shape(sizes), _MEMORY_GB)

    def result_bytes(self, sizes: ArrayLike) -> tuple[Floats, Floats]:
        """One model; no PAE."""
        text = model_bytes(sizes, 1, self.relaxed) + SMALL_FILES
        return text, np.zeros(np.shape(sizes))
