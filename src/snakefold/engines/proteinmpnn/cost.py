"""What ProteinMPNN takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from snakefold.engines.sizes import SMALL_FILES

if TYPE_CHECKING:
    from snakefold.engines.spec import Floats

#: Seconds of a residue and sequence in the network. CPU: measured, 2 cores. GPU: an estimate.
_RESIDUE_SECONDS = {"cpu": 4e-4, "gpu": 5e-5}
#: Seconds to compile the program of one length. CPU: measured. GPU: an estimate.
_COMPILE_SECONDS = {"cpu": 6.0, "gpu": 15.0}
_LOAD_SECONDS = 3.0
_FEATURES, _FEATURES_RESIDUE = 0.02, 0.0001
#: Bytes of a position: of the encoder's arrays, of the decoder's for one sample, of the distances.
_EDGE_BYTES = 48 * 128 * 4


def memory_bytes(length: ArrayLike, samples: int, *, noisy: bool = False) -> Floats:
    """Bytes on the device for a padded length, when so many samples are drawn at once."""
    sizes = np.asarray(length, dtype=float)
    graphs = samples if noisy else 1
    encoder = sizes * _EDGE_BYTES * (8 + 4 * graphs)
    decoder = sizes * samples * 4 * (3 * 128 + 3 * 21)
    return np.asarray(encoder + decoder + 4 * 4 * sizes**2 + 3e8, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class ProteinMpnnWork:
    """See `snakefold.engines.spec.Work`: a target is a backbone with `sequences` designs."""

    sequences: int = 8
    chunk: int = 8
    noisy: bool = False
    engine: str = "proteinmpnn"
    relaxed: int = 0
    gpu_relax: bool = False

    def network_seconds(self, sizes: ArrayLike, device: str, speed: float) -> Floats:
        """Seconds of all sequences of a backbone."""
        drawn = -(-self.sequences // self.chunk) * self.chunk
        seconds = _RESIDUE_SECONDS[device] * np.asarray(sizes, dtype=float) * drawn
        return np.asarray(seconds / (speed if device == "gpu" else 1.0), dtype=np.float64)

    def features_seconds(self, sizes: ArrayLike, device: str) -> Floats:
        """Seconds to read the backbone and to write the sequences."""
        del device
        return np.asarray(_FEATURES + _FEATURES_RESIDUE * np.asarray(sizes, dtype=float), dtype=np.float64)

    def compile_seconds(self, sizes: ArrayLike, device: str, *, cached: bool = False) -> Floats:
        """Seconds for one more padded length."""
        return np.full(np.shape(sizes), 0.5 if cached else _COMPILE_SECONDS[device])

    def load_seconds(self, device: str) -> float:
        """Imports and parameters."""
        del device
        return _LOAD_SECONDS

    def memory_gb(self, sizes: ArrayLike) -> Floats:
        """GB."""
        return memory_bytes(sizes, self.chunk, noisy=self.noisy) / 1e9

    def result_bytes(self, sizes: ArrayLike) -> tuple[Floats, Floats]:
        """Sequences twice, in FASTA and JSON, with their scores; nothing packed."""
        text = (np.asarray(sizes, dtype=float) * 3 + 500) * self.sequences + SMALL_FILES
        return np.asarray(text, dtype=np.float64), np.zeros(np.shape(sizes))
