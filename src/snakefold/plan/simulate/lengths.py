"""Lengths of made-up sets, for studies larger than any file at hand."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from snakefold.kernel.errors import SnakefoldError


@dataclass(frozen=True, slots=True)
class Distribution:
    """A log-normal distribution of chain lengths, in residues, between `shortest` and `longest`."""

    median: float
    mean: float
    shortest: int
    longest: int
    source: str

    @property
    def sigma(self) -> float:
        """Standard deviation of the logarithm: mean = median exp(sigma² / 2)."""
        return math.sqrt(2 * math.log(self.mean / self.median))


#: The log-normal form follows Tiessen, Pérez-Rodríguez and Delaye-Arredondo, BMC Research Notes 5:85 (2012).
DISTRIBUTIONS = {
    "cameo": Distribution(
        236, 299, 34, 883, "92 CAMEO targets of April to June 2022: median, range and spread of logarithms"
    ),
    "proteome": Distribution(281, 317, 16, 2400, "proteins of Escherichia coli K-12: median and mean"),
    "mixed": Distribution(295, 360, 16, 5000, "Swiss-Prot, all organisms: median and mean"),
}


def draw_lengths(name: str, number: int, *, seed: int, longest: int | None = None) -> NDArray[np.int64]:
    """[number] lengths; what falls outside the distribution's range is drawn again.

    Raises:
        KeyError: no such distribution.
        SnakefoldError: `longest` leaves nothing of it.
    """
    chosen = DISTRIBUTIONS[name]
    last = chosen.longest if longest is None else min(chosen.longest, longest)
    if last < 2 * chosen.shortest:
        raise SnakefoldError(
            f"{name}: begins at {chosen.shortest} residues, and no more than {last} are accepted or "
            "fit the GPU classes. Raise max_length, or name a class with more memory."
        )
    random = np.random.default_rng(seed)
    lengths = np.zeros(number, dtype=np.int64)
    missing = np.arange(number)
    while len(missing):
        drawn = random.lognormal(math.log(chosen.median), chosen.sigma, len(missing)).astype(np.int64)
        lengths[missing] = drawn
        missing = missing[(drawn < chosen.shortest) | (drawn > last)]
    return lengths
