"""Random numbers of rehearsal parameters, the same on every machine and with every NumPy."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def uniform(shape: tuple[int, ...], variance: float, source: np.random.BitGenerator) -> NDArray[np.float32]:
    """Numbers of 16 bits each, evenly spaced around zero.

    They come from the raw stream of a bit generator, which NumPy keeps, by one addition and one
    multiplication, which IEEE 754 defines. (Normal numbers depend on the machine's exp and log.)
    """
    size, steps = math.prod(shape), 1 << 16
    words = source.random_raw(-(-size // 4)).astype("<u8", copy=False)
    values = words.view("<i2")[:size].astype(np.float32)
    values += np.float32(0.5)
    # Uniform numbers from -1/2 to 1/2 have a variance of 1/12.
    values *= np.float32(math.sqrt(12 * variance) / steps)
    return values.reshape(shape)
