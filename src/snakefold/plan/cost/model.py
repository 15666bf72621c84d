"""The cost model: seconds, memory and bytes of each part of a run, before it is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from snakefold.engines.spec import Work
from snakefold.msa.settings import MsaSettings
from snakefold.plan.cost import disk, gpus, msa
from snakefold.plan.cost.calibration import (
    REFERENCE_LENGTH,
    SHORTEST_SCALED,
    Calibration,
    Fitted,
    read_calibration,
    user_calibration,
)
from snakefold.plan.cost.gpus import GpuClass

__all__ = ["SPREAD", "CostModel", "Work", "load_model"]

Floats = NDArray[np.float64]

#: What a part may come to, as factors of what is said, as long as it is not calibrated: judgement, from how
#: far the sources differ among each other.
SPREAD = {
    "predict": (0.5, 2.0),
    "relax": (0.5, 3.0),
    "compile": (0.4, 2.5),
    "load": (0.4, 3.0),
    "features": (0.3, 4.0),
    "start": (0.3, 4.0),
    "msa": (0.3, 3.0),
    # Equal queries are answered at once; of others, the queue of a shared server decides.
    "server": (0.1, 6.0),
    "disk": (0.4, 2.0),
    "memory": (0.6, 1.1),
}
#: Nothing is surer than this, however often it was measured.
_SUREST = 1.1
#: So many observations weigh as much as the judgement above.
_FEW = 3

#: AMBER on two CPU cores, seconds of a model and of a residue; on a GPU an estimate.
_RELAX, _RELAX_RESIDUE, _RELAX_GPU = 0.5, 0.13, 0.3
#: Seconds of a paid worker: from being asked for to its first process (an estimate), and idle before it goes.
_START, _IDLE = 30.0, 10.0


@dataclass(frozen=True, slots=True)
class CostModel:
    """Published figures, and what a calibration says of them.

    All seconds are wall seconds of one worker unless they say CPU seconds. Every function of a length takes
    arrays, never falls with the length, and is a published figure times a calibrated factor.
    """

    calibration: Calibration = field(default_factory=Calibration)

    def predict_seconds(self, lengths: ArrayLike, work: Work, gpu: GpuClass) -> Floats:
        """Seconds of all models of one target at each (padded) length, compilation excluded.

        The network's seconds plus those of its input and of writing its output.
        """
        return self.network_seconds(lengths, work, gpu) + self.features_seconds(lengths, work, gpu)

    def network_seconds(self, lengths: ArrayLike, work: Work, gpu: GpuClass) -> Floats:
        """Seconds in the network, all models of a target."""
        fitted = self._fitted(gpu, work, "predict")
        n = np.asarray(lengths, dtype=float)
        scaled = np.maximum(n, SHORTEST_SCALED) / REFERENCE_LENGTH
        seconds = work.network_seconds(n, gpu.device, gpu.speed)
        return np.asarray(seconds * fitted.factor * scaled**fitted.exponent, dtype=np.float64)

    def features_seconds(self, lengths: ArrayLike, work: Work, gpu: GpuClass) -> Floats:
        """Seconds to make the network's input and to write its output, on the worker's CPU."""
        seconds = work.features_seconds(lengths, gpu.device)
        return np.asarray(seconds * self._fitted(gpu, work, "features").factor, dtype=np.float64)

    def relax_seconds(self, lengths: ArrayLike, work: Work, gpu: GpuClass) -> Floats:
        """Seconds to relax the models of one target that are relaxed, at each (own) length."""
        n = np.asarray(lengths, dtype=float)
        faster = _RELAX_GPU if work.gpu_relax and gpu.device == "gpu" else 1.0
        seconds = work.relaxed * (_RELAX + _RELAX_RESIDUE * n) * faster
        return np.asarray(seconds * self._fitted(gpu, work, "relax").factor, dtype=np.float64)

    def compile_seconds(
        self, lengths: ArrayLike, work: Work, gpu: GpuClass, *, cached: bool = False
    ) -> Floats:
        """Seconds to compile the network for one more input shape, at each length.

        `cached`: the program is in the compilation cache, and only traced and read.
        """
        seconds = work.compile_seconds(lengths, gpu.device, cached=cached)
        return np.asarray(seconds * self._fitted(gpu, work, "compile").factor, dtype=np.float64)

    def load_seconds(self, work: Work, gpu: GpuClass) -> float:
        """Seconds from the start of a prediction process to its first target: imports and parameters."""
        return work.load_seconds(gpu.device) * self._fitted(gpu, work, "load").factor

    def start_seconds(self, gpu: GpuClass) -> float:
        """Seconds from asking for a worker to its first process: paid for, unless the machine is our own."""
        return _START if gpu.dollars_per_second else 0.0

    def idle_seconds(self, gpu: GpuClass) -> float:
        """Seconds that a worker without work is paid for before it is given back (RunPod's API default)."""
        return _IDLE if gpu.dollars_per_second else 0.0

    def memory_gb(self, lengths: ArrayLike, work: Work) -> Floats:
        """GB of memory that a GPU must have for a prediction at each (padded) length."""
        return work.memory_gb(lengths)

    def max_length(self, gpu: GpuClass, work: Work) -> int:
        """Longest (padded) length that fits the class's memory."""
        return gpus.max_length(gpu, work)

    def msa_seconds(
        self,
        lengths: ArrayLike,
        settings: MsaSettings,
        database_bytes: Mapping[str, int] | None = None,
        *,
        pairing: bool = False,
    ) -> Floats:
        """CPU seconds to align each chain; see `msa.search_cost` for the sizes of databases."""
        cost = msa.search_cost(settings, database_bytes, pairing=pairing)
        fitted = self._msa(settings.tool, "rate")
        return msa.chain_seconds(lengths, cost) * fitted.factor

    def msa_chunk_seconds(
        self,
        settings: MsaSettings,
        database_bytes: Mapping[str, int] | None = None,
        *,
        pairing: bool = False,
    ) -> float:
        """CPU seconds of a chunk besides its chains: the process, and an index where it must be made."""
        cost = msa.search_cost(settings, database_bytes, pairing=pairing)
        return cost.per_chunk * self._msa(settings.tool, "chunk").factor

    def asked_seconds(self, queries: int) -> float:
        """Wall seconds that an MSA server takes for so many queries, one after the other."""
        return msa.asked_seconds(queries)

    def result_bytes(self, lengths: ArrayLike, work: Work) -> Floats:
        """Bytes that each target's results take: folder, store entry and archive."""
        return disk.result_bytes(lengths, work)

    def msa_bytes(self, lengths: ArrayLike, database_bytes: float) -> Floats:
        """Bytes that each chain's alignment takes; `database_bytes` of all databases searched."""
        return disk.msa_bytes(lengths, database_bytes)

    def spread(self, part: str, gpu: GpuClass | None = None, engine: str = "") -> tuple[float, float]:
        """Low and high factors of what is said of a part (a key of `SPREAD`).

        Wide, unless the part is calibrated for the class: the more observations, the nearer to the middle
        80 % of what was measured. Of `msa` (no class): the widest of the tools that are calibrated.
        """
        if part == "msa":
            found = [self.calibration.msa[tool]["rate"] for tool in self.calibration.msa]
        else:
            one = None if gpu is None else self.calibration.fitted(gpu.name, engine, part)
            found = [] if one is None else [one]
        if not found:
            return SPREAD[part]
        count = min(item.observations for item in found)
        known = count / (count + _FEW)
        low = min(item.low for item in found) ** known * SPREAD[part][0] ** (1 - known)
        high = max(item.high for item in found) ** known * SPREAD[part][1] ** (1 - known)
        return min(low, 1 / _SUREST), max(high, _SUREST)

    def basis(self, gpu: GpuClass, engine: str) -> str:
        """What the seconds of a class rest on, in words."""
        fitted = self.calibration.fitted(gpu.name, engine, "predict")
        if fitted is None:
            return f"published figures, never calibrated for {gpu.name} (speed: {gpu.speed_source})"
        when = f" on {self.calibration.made.isoformat()}" if self.calibration.made else ""
        return f"calibrated{when} with {fitted.observations} predictions on {gpu.name}"

    def _fitted(self, gpu: GpuClass, work: Work, part: str) -> Fitted:
        return self.calibration.fitted(gpu.name, work.engine, part) or Fitted()

    def _msa(self, tool: str, part: str) -> Fitted:
        return self.calibration.msa.get(tool, {}).get(part) or Fitted()


def load_model(path: Path | str | None) -> CostModel:
    """The model with the calibration at `path`; None takes the user's own if there is one.

    Raises:
        ConfigError: the file cannot be read as a calibration.
    """
    if path is not None:
        return CostModel(read_calibration(Path(path)))
    own = user_calibration()
    return CostModel(read_calibration(own)) if own.is_file() else CostModel()
