"""Seconds of AlphaFold2's network: a published table, and multiply-adds to carry it to other sizes.

The table says what one model with three recycles takes on an A100 with the largest MSA. Fewer rows or
blocks take as much less as they need fewer multiply-adds, which are counted from the layers of the paper
(Jumper et al., Nature 596:583, 2021, Supplementary Algorithms 6 to 18).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

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
