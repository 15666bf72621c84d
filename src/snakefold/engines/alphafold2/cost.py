"""What AlphaFold2 takes: seconds, memory and bytes by length, rows of the MSA and settings.

The network's seconds are in `network`. Memory is chosen so that 16 GB hold 1,300 residues with the largest
MSA: the paper gives about 1,300 for a V100 with 16 GB, ColabFold's README about 1,400 for a T4 and 1,000 for
12 GB. 80 GB then hold 3,450, where the README's A100 timings begin to rise steeply. Bytes were measured on
the demo set (15 targets of 36 to 142 residues); random parameters give PAE that packs worse than real ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from snakefold.engines.alphafold2.representations import bytes_of
from snakefold.engines.alphafold2.settings import OFFICIAL_BLOCKS, Kernels, NetworkSettings
from snakefold.engines.sizes import SMALL_FILES, model_bytes, pdb_bytes, relaxed_models
from snakefold.kernel.contracts import RelaxSettings

Floats = NDArray[np.float64]

#: AlphaFold's README: seconds of one model with three recycles on an A100, by residues.
A100_SECONDS = {
    100: 4.9,
    200: 7.7,
    300: 13.0,
    400: 18.0,
    500: 29.0,
    600: 36.0,
    700: 53.0,
    800: 60.0,
    900: 91.0,
    1000: 96.0,
    1100: 140.0,
    1500: 280.0,
    2000: 450.0,
    2500: 969.0,
    3000: 1240.0,
    3500: 2465.0,
    4000: 5660.0,
    4500: 12475.0,
    5000: 18824.0,
}
#: Passes through the network behind a figure of the table, and the sizes it was measured with.
TABLE_PASSES = 4
TABLE_ROWS, TABLE_EXTRA_ROWS, TABLE_BLOCKS = 512, 5120, 48
#: Multiply-adds a second that the table comes to at 300 residues.
A100_RATE = 6.4e12
#: Blocks of the stack that reads the extra MSA; a rehearsal draws them all.
_EXTRA_BLOCKS = 4
#: Seconds of a pass that a GPU spends on starting kernels, with all blocks: what the table tends to below
#: 100 residues, where multiply-adds would say next to nothing.
_LAUNCH = 0.5


def a100_seconds(lengths: ArrayLike) -> Floats:
    """Seconds of one model with three recycles at each length, linear between the rows of `A100_SECONDS`.

    Beyond either end the line through the last two rows goes on.
    """
    asked = np.asarray(lengths, dtype=float)
    known = np.array(list(A100_SECONDS), dtype=float)
    seconds = np.array(list(A100_SECONDS.values()))
    left = np.clip(np.searchsorted(known, asked, side="right") - 1, 0, len(known) - 2)
    slope = (seconds[left + 1] - seconds[left]) / (known[left + 1] - known[left])
    return np.asarray(seconds[left] + (asked - known[left]) * slope, dtype=np.float64)


def multiply_adds(lengths: ArrayLike, rows: int, extra_rows: int, blocks: int) -> Floats:
    """Multiply-adds of one pass: Evoformer (256 channels an MSA cell, 128 a pair) and extra stack (64)."""
    n = np.asarray(lengths, dtype=float)
    pairs = 768 * n**3 + 622_592 * n**2
    msa = rows * (1_196_000 * n + 1_536 * n**2 + 512 * rows * n)
    extra = extra_rows * (70_000 * n + 1_152 * n**2)
    return np.asarray(blocks * (pairs + msa) + _EXTRA_BLOCKS * (pairs + extra), dtype=np.float64)


def gpu_pass_seconds(lengths: ArrayLike, rows: int, extra_rows: int, blocks: int) -> Floats:
    """Seconds of one pass on an A100: the table's, of which all but the launching of kernels scales."""
    table = multiply_adds(lengths, TABLE_ROWS, TABLE_EXTRA_ROWS, TABLE_BLOCKS)
    share = multiply_adds(lengths, rows, extra_rows, blocks) / table
    launch = _LAUNCH * (blocks + _EXTRA_BLOCKS) / (TABLE_BLOCKS + _EXTRA_BLOCKS)
    return np.asarray(launch + share * (a100_seconds(lengths) / TABLE_PASSES - _LAUNCH), dtype=np.float64)


def cpu_pass_seconds(lengths: ArrayLike, rows: int, extra_rows: int, blocks: int) -> Floats:
    """Seconds of one pass on a processor as fast as an A100 that loses no time between kernels.

    CPUs keep to multiply-adds: from 25 residues, 8 rows and 2 blocks to 508 + 5,120 rows and 48 blocks the
    rate of one core stays within 10 % of 2.1e10 a second.
    """
    return multiply_adds(lengths, rows, extra_rows, blocks) / A100_RATE


#: AlphaFold-Multimer's network against the monomer's of the same size: measured on a CPU, taken for GPUs too.
_MULTIMER_NETWORK, _MULTIMER_COMPILE = 1.4, 1.7
#: float32 on a GPU against bfloat16. An estimate.
_FLOAT32 = 2.0
#: The stock network's seconds on a GPU against those of fused kernels. ColabFold's release notes: about 2.5
#: times as fast on GPUs of sm_80 and later (1.6.2), about 2 times on a V100 (1.6.3, of both older kinds).
FASTER = {Kernels.PALLAS: 2.5, Kernels.CUDA_LEGACY: 2.0}
#: Seconds to compile a shape, and of each residue. CPU: measured, 2 cores. GPU: an estimate; XLA tries out
#: kernels there.
_COMPILE = {"cpu": (14.0, 0.0), "gpu": (30.0, 0.02)}
#: A program read from the compilation cache still is traced: 7 of 33 s.
_CACHED = 0.25
#: Seconds to start a process, and to read the 373 MB of an official model's parameters at 200 MB/s.
_PROCESS, _PARAMETERS = 3.0, 1.9
#: Seconds to make the network's input and write its output: of a target, of a residue, and of a multiply-add
#: of the assignment of extra rows to clusters (23 letters a cell) in each pass.
_FEATURES, _FEATURES_RESIDUE, _LETTERS = 0.3, 0.001, 23
_CLUSTERING = {"cpu": 5e-11, "gpu": 1e-12}

#: Share of a GPU's memory that arrays get; the driver, the programs and fragmentation have the rest.
_USABLE = 0.92
#: GB of parameters and of what the framework holds; and of a residue pair in bfloat16.
_FIXED, _PAIR = 1.5, 5.0e-6
#: Arrays of the MSA that are held at once, with 256 channels a cell (64 in the extra MSA) of two bytes.
_MSA_COPIES, _CHANNELS, _EXTRA_CHANNELS, _BYTES = 4, 256, 64, 2


@dataclass(frozen=True, slots=True)
class AlphaFold2Work:
    """What is asked of a prediction, the same for every target of its group. See `engines.spec.Work`.

    Attributes:
        predictions: models times seeds.
        passes: recycles + 1, times the ensembles of each.
        msa_rows, extra_rows: rows of the clustered and of the extra MSA.
        blocks: Evoformer blocks (official parameters have 48).
        relaxed: models that are relaxed.
        models: sets of parameters that are loaded.
        programs: networks compiled for one input shape (two where only some models read templates).
        multimer: AlphaFold-Multimer's
        float32: arithmetic of 32 bits in place of bfloat16.
        kernels: fused ones make a GPU's network faster.
        gpu_relax: relaxed on the GPU, on a class that has one.
        residue_bytes, pair_bytes: of the representations that each prediction keeps, for every residue and
            for every pair of residues.
        recycles: structures that each prediction keeps besides its last.
    """

    engine: str = "alphafold2"
    predictions: int = 5
    passes: int = 4
    msa_rows: int = 512
    extra_rows: int = 5120
    blocks: int = OFFICIAL_BLOCKS
    relaxed: int = 1
    models: int = 5
    programs: int = 1
    multimer: bool = False
    float32: bool = False
    kernels: Kernels = Kernels.STOCK
    gpu_relax: bool = True
    residue_bytes: int = 0
    pair_bytes: int = 0
    recycles: int = 0

    def network_seconds(self, sizes: ArrayLike, device: str, speed: float) -> Floats:
        """Seconds in the network: predictions times passes times one pass."""
        one = cpu_pass_seconds if device == "cpu" else gpu_pass_seconds
        seconds = one(np.asarray(sizes, dtype=float), self.msa_rows, self.extra_rows, self.blocks)
        kind = _MULTIMER_NETWORK if self.multimer else 1.0
        if self.float32 and device == "gpu":
            kind *= _FLOAT32
        if device == "gpu":
            kind /= FASTER.get(self.kernels, 1.0)
        return np.asarray(self.predictions * self.passes * seconds * kind / speed, dtype=np.float64)

    def features_seconds(self, sizes: ArrayLike, device: str) -> Floats:
        """Seconds to make the network's input and to write its output, on the worker's CPU."""
        n = np.asarray(sizes, dtype=float)
        clustering = self.passes * self.msa_rows * self.extra_rows * n * _LETTERS * _CLUSTERING[device]
        return np.asarray(_FEATURES + _FEATURES_RESIDUE * n + clustering, dtype=np.float64)

    def compile_seconds(self, sizes: ArrayLike, device: str, *, cached: bool = False) -> Floats:
        """Seconds to compile the network for one more length; `cached`: only traced and read."""
        base, residue = _COMPILE[device]
        programs = (
            self.programs * (_MULTIMER_COMPILE if self.multimer else 1.0) * (_CACHED if cached else 1.0)
        )
        return np.asarray(programs * (base + residue * np.asarray(sizes, dtype=float)), dtype=np.float64)

    def load_seconds(self, device: str) -> float:
        """Imports and parameters."""
        del device
        return _PROCESS + _PARAMETERS * self.models * self.blocks / OFFICIAL_BLOCKS

    def memory_gb(self, sizes: ArrayLike) -> Floats:
        """GB; on the safe side, for AlphaFold can also spill into the host's memory, many times slower."""
        n = np.asarray(sizes, dtype=float)
        wider = 2 if self.float32 else 1
        cells = self.msa_rows * _CHANNELS + self.extra_rows * _EXTRA_CHANNELS
        residue = wider * _MSA_COPIES * _BYTES * cells * 1e-9
        return np.asarray((_FIXED + residue * n + wider * _PAIR * n**2) / _USABLE, dtype=np.float64)

    def result_bytes(self, sizes: ArrayLike) -> tuple[Floats, Floats]:
        """Text of the models; a byte of PAE for every pair of residues, and representations."""
        n = np.asarray(sizes, dtype=float)
        text = model_bytes(n, self.predictions, self.relaxed) + SMALL_FILES
        text += pdb_bytes(n, self.predictions * self.recycles)
        # Numbers of 16 bits hardly pack.
        each = (1 + self.pair_bytes) * n**2 + self.residue_bytes * n
        return text, np.asarray(each * self.predictions, dtype=np.float64)


def work(
    settings: NetworkSettings,
    relax: RelaxSettings,
    *,
    engine: str,
    models: int,
    programs: int,
    multimer: bool,
    most: tuple[int, int],
    blocks: int | None,
    rows: tuple[int, int] | None,
) -> AlphaFold2Work:
    """The work that settings amount to.

    MSAs are not made yet when a run is planned: without explicit limits, rows are the most that the network
    takes, which searches of the usual databases reach.

    Args:
        engine: whose work it is.
        models: sets of parameters.
        programs: networks that they need for one input shape.
        multimer: of AlphaFold-Multimer's
        most: rows of the clustered and of the extra MSA that the network takes without explicit limits.
        rows: of the clustered and the extra MSA, where they are known.
    """
    clusters, extra = rows or most
    residue_bytes, pair_bytes = bytes_of(settings)
    seeds = settings.num_seeds - settings.skip_seeds
    return AlphaFold2Work(
        engine=engine,
        predictions=models * seeds,
        passes=(settings.num_recycle + 1) * settings.num_ensemble,
        msa_rows=settings.max_msa_clusters or min(clusters, most[0]),
        extra_rows=settings.max_extra_msa or min(extra, most[1]),
        blocks=OFFICIAL_BLOCKS if blocks is None else blocks,
        relaxed=relaxed_models(relax, models * seeds),
        models=models,
        programs=programs,
        multimer=multimer,
        float32=settings.precision == "float32",
        kernels=settings.kernels,
        gpu_relax=relax.use_gpu_relax is not False,
        residue_bytes=residue_bytes,
        pair_bytes=pair_bytes,
        recycles=settings.num_recycle + 1 if settings.save_recycles else 0,
    )
