"""What ESMFold takes: seconds, memory and bytes by residues and settings.

The network is counted in multiply-adds, and published figures say how many a second are done:

- V100, 384 residues: 14.2 s (doi:10.1126/science.ade2574): 1.7e12 a second.
- A800 with 80 GB, which is an A100 to a single job, 1,058 residues, chunks of 128: 143.8 s
  (facebookresearch/esm, issue 641): 2.0e12. The language model was kept on the CPU.

Memory was measured with the official sizes of all layers (one block of each kind) on a CPU, where the
peak is that of the process, with 150, 300 and 600 residues: 6 kB a pair of residues, and twice the scores of
a chunk. Published limits agree: 48 GB hold 1,800 residues and not 2,664 (issue 457).

On a CPU, the rate was measured on one core with the same blocks and lengths.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from snakefold.engines.esmfold.chunks import scores
from snakefold.engines.sizes import SMALL_FILES, model_bytes

if TYPE_CHECKING:
    from snakefold.engines.spec import Floats

#: Multiply-adds of the language model for each residue: its parameters.
_LANGUAGE = 2.84e9
#: Blocks of the trunk, and multiply-adds of one for each triple of residues (triangle multiplication in 128
#: channels, triangle attention in 4 heads with 32), pair (their layers and the transition) and residue.
_BLOCKS, _TRIPLE, _PAIR, _RESIDUE = 48, 768, 492_000, 13.8e6
#: Of a rehearsal, whose layers are narrow.
_SMALL = 1 / 300
#: Multiply-adds a second of an A100; seconds that it spends on starting kernels, of a pass.
_RATE, _PASS = 2.0e12, 0.1
#: The same of one CPU core in float32. `_CORE`: its speed in A100, as resources/gpus.yaml counts two.
_CORE, _CORE_RATE, _CORE_PASS = 0.004, 8.0e9, 0.035
#: Seconds to start a process, and to read 8.4 GB of parameters at 200 MB/s.
_PROCESS, _PARAMETERS = {"cpu": 8.0, "gpu": 12.0}, 42.0
#: Seconds to make a model's file; of a residue.
_FEATURES, _FEATURES_RESIDUE = 0.05, 0.0005
#: GB: framework and parameters (float16 and float32), a pair of residues, copies of a chunk's scores.
_FIXED, _PAIR_GB, _COPIES = 9.2, 6.0e-6, 2
#: Share of a GPU's memory that can be in use.
_USABLE = 0.95


@dataclass(frozen=True, slots=True)
class EsmFoldWork:
    """What is asked of a prediction. See `engines.spec.Work`. Sizes are residues.

    Attributes:
        recycles: passes after the first.
        chunk: the setting `chunk_size`.
        rehearsal: random parameters, of a network whose layers are narrow.
    """

    recycles: int = 3
    chunk: int | None = None
    rehearsal: bool = False
    engine: str = "esmfold"
    relaxed: int = 0
    gpu_relax: bool = True

    def network_seconds(self, sizes: ArrayLike, device: str, speed: float) -> Floats:
        """Seconds of the language model and all passes through the trunk."""
        n = np.asarray(sizes, dtype=np.float64)
        passes = self.recycles + 1
        trunk = _BLOCKS * (_TRIPLE * n**3 + _PAIR * n**2 + _RESIDUE * n)
        work = (passes * trunk + _LANGUAGE * n) * (_SMALL if self.rehearsal else 1.0)
        if device == "cpu":
            seconds = (passes * _CORE_PASS + work / _CORE_RATE) * _CORE
        else:
            seconds = passes * _PASS + work / _RATE
        return np.asarray(seconds / speed, dtype=np.float64)

    def features_seconds(self, sizes: ArrayLike, device: str) -> Floats:
        """Seconds to write the model: the sequence is all of the input."""
        del device
        return np.asarray(_FEATURES + _FEATURES_RESIDUE * np.asarray(sizes, dtype=float), dtype=np.float64)

    def compile_seconds(self, sizes: ArrayLike, device: str, *, cached: bool = False) -> Floats:
        """Nothing is compiled."""
        del device, cached
        return np.zeros(np.shape(sizes))

    def load_seconds(self, device: str) -> float:
        """Imports and parameters."""
        return _PROCESS[device] + (0.0 if self.rehearsal else _PARAMETERS)

    def memory_gb(self, sizes: ArrayLike) -> Floats:
        """GB of a card; of the official network, whatever parameters a rehearsal has."""
        n = np.asarray(sizes, dtype=np.float64)
        attention = _COPIES * 4e-9 * scores(n, self.chunk)
        return np.asarray((_FIXED + _PAIR_GB * n**2 + attention) / _USABLE, dtype=np.float64)

    def result_bytes(self, sizes: ArrayLike) -> tuple[Floats, Floats]:
        """Text of the model, and a byte of PAE for every pair of residues."""
        n = np.asarray(sizes, dtype=np.float64)
        return model_bytes(n, 1, self.relaxed) + SMALL_FILES, np.asarray(n**2, dtype=np.float64)
