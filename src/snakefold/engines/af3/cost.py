"""What the family's models take: seconds, memory and bytes by tokens and settings.

AlphaFold 3's authors published seconds of the whole model (10 recycles, 200 steps, 5 samples, one seed)
without compilation, on an A100 and an H100 of 80 GB: 1,024 tokens 62 and 34 s, 2,048 275 and 144 s, 5,120
2,547 and 1,416 s (github.com/google-deepmind/alphafold3, docs/performance.md). A square and a cube of the
tokens give the A100's within two per cent. Which part of the square is the diffusion's was not published:
half is taken. The same page has 5,120 tokens on 80 GB, which a square gives, too. Other models of the family
are counted as AlphaFold 3 with their own recycles and steps.

Compilation on an A100 takes a minute (the wheel's authors, 64 tokens). On a CPU, seconds were measured on one
core with OpenFold3's size and random numbers, 32 tokens: 42 s for 4 passes and 20 steps, 54 s for
compilation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from snakefold.engines.sizes import SMALL_FILES, model_bytes
from snakefold.kernel.padding import padded_lengths

if TYPE_CHECKING:
    from snakefold.engines.spec import Floats

#: What the published seconds are of: passes through the trunk, and steps of all samples.
_PASSES, _STEPS = 11, 1000
#: Seconds of an A100 for all of these, for 1,000 tokens squared and cubed; the diffusion's share.
_TRUNK_SQUARE, _TRUNK_CUBE, _DIFFUSION_SQUARE = 22.0, 10.0, 22.0
#: Seconds of an A100 to start kernels: of a pass, of a step.
_PASS, _STEP = 0.1, 0.004
#: The same of one CPU core, in float32: its speed in A100 (resources/gpus.yaml counts two), how much longer
#: it takes, and seconds that a pass and a step read parameters.
_CORE, _CORE_SLOWER, _CORE_PASS, _CORE_STEP = 0.004, 1600.0, 6.0, 0.15
#: Blocks of the whole trunk and diffusion, of which a rehearsal has one.
_TRUNK_BLOCKS, _DIFFUSION_BLOCKS = 48, 24
#: Seconds of compilation: of a new program, and of one that is read from the cache.
_COMPILE = {"cpu": (54.0, 16.0), "gpu": (60.0, 6.0)}
#: Seconds to start a process, and to read a GB of parameters.
_PROCESS, _GIGABYTE = {"cpu": 10.0, "gpu": 14.0}, 6.0
#: Seconds to make features and files of a seed: at least, of a token, of a row of the alignment.
_FEATURES, _FEATURES_TOKEN, _FEATURES_ROW = 1.0, 0.004, 2.0e-4
#: GB: of the framework and parameters, and of a pair of tokens in bfloat16.
_FIXED, _PAIR_GB = 4.0, 2.74e-6
#: Share of a GPU's memory that can be in use.
_USABLE = 0.95


@dataclass(frozen=True, slots=True)
class Af3Work:
    """What is asked of a prediction, the same for every target of its group. See `engines.spec.Work`.

    Sizes are tokens; each is padded to the smallest bucket that holds it.

    Attributes:
        buckets: ascending.
        samples: models of each seed.
        seeds: how often all of it is done.
        recycles, steps: of the trunk, of the diffusion.
        rows: of the alignment, at the most.
        gigabytes: of the parameters.
        float32: nothing is computed in bfloat16.
        rehearsal: random parameters, one block of each stack.
    """

    buckets: tuple[int, ...]
    samples: int = 5
    seeds: int = 1
    recycles: int = 10
    steps: int = 200
    rows: int = 16_384
    gigabytes: float = 1.4
    float32: bool = False
    rehearsal: bool = False
    engine: str = "af3"
    relaxed: int = 0
    gpu_relax: bool = True

    def network_seconds(self, sizes: ArrayLike, device: str, speed: float) -> Floats:
        """Seconds in the network, all models of all seeds."""
        n = self._padded(sizes) / 1000
        passes, steps = self.recycles + 1, self.steps * self.samples
        trunk = (_TRUNK_SQUARE * n**2 + _TRUNK_CUBE * n**3) / _PASSES
        step = _DIFFUSION_SQUARE * n**2 / _STEPS
        if self.rehearsal:
            trunk, step = trunk / _TRUNK_BLOCKS, step / _DIFFUSION_BLOCKS
        if device == "cpu":
            share = 1 / _TRUNK_BLOCKS if self.rehearsal else 1.0
            each = passes * (_CORE_SLOWER * trunk + _CORE_PASS * share)
            seconds = _CORE * (each + steps * (_CORE_SLOWER * step + _CORE_STEP * share))
        else:
            longer = 2.0 if self.float32 else 1.0
            seconds = passes * (longer * trunk + _PASS) + steps * (longer * step + _STEP)
        return np.asarray(self.seeds * seconds / speed, dtype=np.float64)

    def features_seconds(self, sizes: ArrayLike, device: str) -> Floats:
        """Seconds to make features, and to write models."""
        del device
        n = np.asarray(sizes, dtype=np.float64)
        once = _FEATURES + _FEATURES_TOKEN * n * (1 + self.samples) + _FEATURES_ROW * self.rows
        return np.asarray(self.seeds * once, dtype=np.float64)

    def compile_seconds(self, sizes: ArrayLike, device: str, *, cached: bool = False) -> Floats:
        """Seconds for one more bucket."""
        return np.full(np.shape(sizes), _COMPILE[device][cached])

    def load_seconds(self, device: str) -> float:
        """Imports and parameters."""
        return _PROCESS[device] + (0.5 if self.rehearsal else _GIGABYTE * self.gigabytes)

    def memory_gb(self, sizes: ArrayLike) -> Floats:
        """GB of a card; of the official network, whatever parameters a rehearsal has."""
        pairs = _PAIR_GB * (2.0 if self.float32 else 1.0) * self._padded(sizes) ** 2
        return np.asarray((_FIXED + pairs) / _USABLE, dtype=np.float64)

    def result_bytes(self, sizes: ArrayLike) -> tuple[Floats, Floats]:
        """Text of the models; a byte of PAE and two of a contact's probability for every pair of tokens."""
        n = np.asarray(sizes, dtype=np.float64)
        models = self.samples * self.seeds
        text = model_bytes(n, models, self.relaxed) + SMALL_FILES * (1 + models)
        return text, np.asarray(3 * n**2 * models, dtype=np.float64)

    def _padded(self, sizes: ArrayLike) -> Floats:
        return padded_lengths(np.asarray(sizes, dtype=np.int64), self.buckets).astype(np.float64)
