"""What Boltz-2 takes: seconds, memory and bytes by tokens and settings.

The network is counted in multiply-adds, and published figures say how many a second are done:

- H100, geometric mean over a benchmark's inputs, 200 steps, 3 recycles: 22.5 s with PyTorch's own operations,
  8.5 s with fused ones (docs.nvidia.com/bionemo/inference-runtime, Benchmarks). Its sizes are not stated; the
  rates below give both for 500 tokens.
- A100: Boltz-1, with 48 of Boltz-2's 64 Pairformer blocks, takes more than 15 minutes for 2,048 tokens
  (arXiv:2510.18870); the rate of PyTorch's own operations gives 15.
- Affinity on a card of the A100's or H100's class: about 20 s a ligand (Boltz-2's paper,
  doi:10.1101/2025.06.14.659707). Boltz crops to 256 tokens first, so that it does not grow beyond.
- H100 NVL, boltz 2.2.1, peak of GPU memory: 3.16, 3.27, 3.59, 4.24, 5.13 and 6.16 GB for 50, 100, 200, 300,
  400 and 500 residues (December 2025, a report on GitHub). The square law through them gives 1,280 tokens for
  24 GB and 2,460 for 80 GB, where ChimeraX's authors say 1,300 and 2,400 to 2,500 (jwohlwend/boltz, issue
  575). Deep alignments take 5 GB more (issue 611).
- Start, parameters and input: 25 s on an H100 (anthropics/uplifting-biomolecular-modeling, boltz2).

On a CPU, rates were measured on one core with a rehearsal's network of 40 to 300 tokens: attention between
pairs takes nearly all, and Boltz has no fused form of it there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from snakefold.engines.sizes import SMALL_FILES, model_bytes

if TYPE_CHECKING:
    from snakefold.engines.spec import Floats

#: Blocks of the trunk: Pairformer and MSA module, which `boltz predict` sets whatever parameters say; and of
#: the confidence network.
_TRUNK, _MSA, _CONFIDENCE = 64, 4, 8
#: Multiply-adds of a block for each triple of tokens (triangle multiplication, attention between pairs of 4
#: heads with 32 channels), and for each pair, with so many channels of a pair.
_MULTIPLICATION, _ATTENTION, _PAIR = 2, 512, 34
#: Of the MSA module, for each cell of the alignment and each pair of tokens in a row.
_CELL, _ROW_PAIR = 80_000, 1_300
#: Of a diffusion step, for each token and each pair.
_STEP_TOKEN, _STEP_PAIR = 2.0e8, 37_000
#: Recycles of the affinity network, and tokens that it sees.
_AFFINITY_RECYCLING, _AFFINITY_TOKENS = 5, 256

#: Multiply-adds a second of an A100: PyTorch's own operations, fused ones, and the diffusion's, which are
#: larger.
_EAGER, _FUSED, _DIFFUSION = 2.0e12, 8.0e12, 2.0e13
#: Seconds that an A100 spends on starting kernels: of a pass through the trunk, of a diffusion step.
_PASS, _STEP = 0.15, 0.03
#: Steering: three particles a sample, and gradients. An estimate.
_PARTICLES, _STEERED = 3, 2.0

#: The same of one CPU core, in float32. `_CORE`: its speed in A100, as resources/gpus.yaml counts two.
_CORE, _CORE_ATTENTION, _CORE_RATE = 0.004, 7.5e9, 2.0e10
_CORE_BLOCK, _CORE_STEP = 0.004, 0.0025

#: Seconds to start a process, and to read 2.3 and 2.1 GB of parameters at 200 MB/s.
_PROCESS, _STRUCTURE, _AFFINITY = {"cpu": 10.0, "gpu": 14.0}, 11.4, 10.3
#: Seconds to parse a target, make its features and write its files; of a token.
_FEATURES, _FEATURES_TOKEN = 0.5, 0.004

#: GB: of the framework and the structure network's parameters, of the affinity network's, of a pair of
#: tokens, of a row and token of the alignment, and of a pair in each further sample computed at once.
_FIXED, _SECOND, _PAIR_GB, _CELL_GB, _SAMPLE_GB = 3.1, 2.1, 1.2e-5, 3.0e-7, 1.3e-7
#: Share of a GPU's memory that can be in use.
_USABLE = 0.95


@dataclass(frozen=True, slots=True)
class Boltz2Work:
    """What is asked of a prediction, the same for every target of its group. See `engines.spec.Work`.

    Sizes are tokens.

    Attributes:
        samples: models of each seed (Boltz's diffusion_samples).
        seeds: how often all of it is done.
        recycling: recycles of the trunk.
        steps: of the diffusion.
        parallel: samples that are computed at once (max_parallel_samples).
        affinity: an affinity is predicted as well.
        affinity_samples, affinity_steps: of the poses that it is predicted for.
        potentials: sampling is steered.
        rows: of the alignment, at the most; without one, 1.
        sampled_rows: that a pass reads (num_subsampled_msa).
        fused: fused operations are used, where the GPU has them.
        rehearsal: random parameters, of a network whose layers are narrow.
    """

    samples: int = 1
    seeds: int = 1
    recycling: int = 3
    steps: int = 200
    parallel: int = 5
    affinity: bool = False
    affinity_samples: int = 5
    affinity_steps: int = 200
    potentials: bool = False
    rows: int = 8192
    sampled_rows: int = 1024
    fused: bool = True
    rehearsal: bool = False
    engine: str = "boltz2"
    relaxed: int = 0
    gpu_relax: bool = True

    def network_seconds(self, sizes: ArrayLike, device: str, speed: float) -> Floats:
        """Seconds in the networks, all models of all seeds."""
        n = np.asarray(sizes, dtype=np.float64)
        structure = self._pass(n, device, self.fused) * (self.recycling + 1)
        structure = structure + self._sampling(n, device, self.samples, self.steps)
        structure = structure + self._blocks(n, device, self.fused, _CONFIDENCE) * self.samples
        seconds = self.seeds * structure
        if self.affinity:  # Boltz computes it without fused operations
            seen = np.minimum(n, _AFFINITY_TOKENS)
            seconds = seconds + self._pass(seen, device, fused=False) * (_AFFINITY_RECYCLING + 1)
            seconds = seconds + self._sampling(seen, device, self.affinity_samples, self.affinity_steps)
        return np.asarray(seconds * (_CORE if device == "cpu" else 1.0) / speed, dtype=np.float64)

    def features_seconds(self, sizes: ArrayLike, device: str) -> Floats:
        """Seconds to parse, to make features, and to write; the affinity's input is made anew."""
        del device
        n = np.asarray(sizes, dtype=np.float64)
        once = _FEATURES + _FEATURES_TOKEN * n
        return np.asarray(once * (self.seeds + self.affinity), dtype=np.float64)

    def compile_seconds(self, sizes: ArrayLike, device: str, *, cached: bool = False) -> Floats:
        """Nothing is compiled."""
        del device, cached
        return np.zeros(np.shape(sizes))

    def load_seconds(self, device: str) -> float:
        """Imports and parameters."""
        parameters = 0.0 if self.rehearsal else _STRUCTURE + (_AFFINITY if self.affinity else 0.0)
        return _PROCESS[device] + parameters

    def memory_gb(self, sizes: ArrayLike) -> Floats:
        """GB of a card; of the official network, whatever parameters a rehearsal has."""
        n = np.asarray(sizes, dtype=np.float64)
        at_once = min(self.parallel, self.samples) * (_PARTICLES if self.potentials else 1)
        fixed = _FIXED + (_SECOND if self.affinity else 0.0)
        pairs = (_PAIR_GB + _SAMPLE_GB * (at_once - 1)) * n**2
        return np.asarray((fixed + pairs + _CELL_GB * self.rows * n) / _USABLE, dtype=np.float64)

    def result_bytes(self, sizes: ArrayLike) -> tuple[Floats, Floats]:
        """Text of the models, and a byte of PAE and one of PDE for every pair of tokens."""
        n = np.asarray(sizes, dtype=np.float64)
        models = self.samples * self.seeds
        text = model_bytes(n, models, self.relaxed) + SMALL_FILES
        return text, np.asarray(2 * n**2 * models, dtype=np.float64)

    def _pass(self, n: Floats, device: str, fused: bool) -> Floats:
        """Seconds of a pass through the trunk: on an A100, or on a core."""
        cells = min(self.rows, self.sampled_rows) * (_CELL * n + _ROW_PAIR * n**2) * _MSA
        if device == "cpu":
            return np.asarray(self._blocks(n, device, fused, _TRUNK + _MSA) + cells / _CORE_RATE)
        rate = _FUSED if fused else _EAGER
        return np.asarray(_PASS + self._blocks(n, device, fused, _TRUNK + _MSA) + cells / rate)

    def _blocks(self, n: Floats, device: str, fused: bool, blocks: int) -> Floats:
        """Seconds of so many blocks, kernels started on a GPU not counted."""
        channels = 16 if self.rehearsal else 128
        attention = blocks * _ATTENTION * n**3
        other = blocks * (_MULTIPLICATION * channels * n**3 + _PAIR * channels**2 * n**2)
        if device == "cpu":
            return np.asarray(blocks * _CORE_BLOCK + attention / _CORE_ATTENTION + other / _CORE_RATE)
        return np.asarray((attention + other) / (_FUSED if fused else _EAGER))

    def _sampling(self, n: Floats, device: str, samples: int, steps: int) -> Floats:
        """Seconds of the diffusion: kernels are started once for all samples computed at once."""
        rounds = -(-samples // self.parallel)
        steered = _STEERED if self.potentials else 1.0
        each = samples * (_PARTICLES if self.potentials else 1)
        narrow = 1 / 300 if self.rehearsal else 1.0
        work = each * narrow * (_STEP_TOKEN * n + _STEP_PAIR * n**2)
        start, rate = (_CORE_STEP, _CORE_RATE) if device == "cpu" else (_STEP, _DIFFUSION)
        return np.asarray(steps * (rounds * start * steered + work / rate))
