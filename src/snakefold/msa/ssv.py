"""Which sequences HMMER's first filter can let pass, told for a whole block of a database at once.

The filter (MSV; Eddy, PLoS Comput Biol 7:e1002195, 2011) looks for ungapped segments. Its fast way (SSV)
gives the score of the best of them where only one matters, and gives up where more could. Here the same
scores come from `ssv_kernel`, and all sequences that HMMER would reject for certain are left out. The others
HMMER gets to judge from the start, so that the hits are HMMER's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snakefold.msa import ssv_kernel

#: Units of score of HMMER's byte filters are thirds of a bit.
_UNITS_PER_NAT = 3.0 / math.log(2.0)
#: HMMER computes scores in single precision: a score that is below the limit by less, in units, passes here.
_SLACK = 0.25
#: A cost that is this close to the middle of two units is rounded down here, whatever HMMER does.
_ROUNDING = 1e-3
#: Sum of costs from which on HMMER does not trust bytes. It has 127; ours may be rounded to one less.
_TOO_COSTLY = 126


@dataclass(frozen=True)
class Targets:
    """Sequences of a database for `Filter.passing`.

    Attributes:
        sequences: pyhmmer's DigitalSequences.
        residues: theirs, for the machine code.
        null: score of HMMER's null model, nats.
        move: cost of entering and of leaving the profile, units.
    """

    sequences: Sequence[Any]
    residues: ssv_kernel.Residues
    null: NDArray[np.float64]
    move: NDArray[np.float64]

    @classmethod
    def of(cls, sequences: Sequence[Any]) -> Targets:
        """Targets of digital sequences (amino acids)."""
        residues = ssv_kernel.joined([sequence.sequence for sequence in sequences])
        lengths = np.maximum(residues.lengths, 1).astype(np.float64)
        # p7_bg_SetLength, p7_bg_NullOne: a residue more follows with probability L / (L + 1).
        null = -lengths * np.log1p(1 / lengths) - np.log1p(lengths)
        # p7_oprofile_ReconfigMSVLength
        move = np.rint(_UNITS_PER_NAT * np.log((lengths + 3) / 3) - _ROUNDING)
        return cls(sequences, residues, null, move)


class Filter:
    """HMMER's first filter of one profile; `costs` are the profile's, for the machine code."""

    def __init__(self, model: Any, profile: Any, threshold: float) -> None:
        """Of a model (HMM) and its profile (OptimizedProfile); P-values up to the threshold pass."""
        positions = profile.M
        # Costs are striped: position z * stripes + q is byte z of vector q. More vectors follow that repeat.
        stripes = max(2, (positions - 1) // 16 + 1)
        striped = np.asarray(profile.sbv).view(np.int8)[:, : 16 * stripes].reshape(-1, stripes, 16)
        linear = striped.transpose(0, 2, 1).reshape(len(striped), -1)[:, :positions]
        self.costs = ssv_kernel.striped(linear)
        self._costs_of_states = profile.tbm + profile.tec
        self._bias = profile.bias_b
        # Least score in nats, null model not subtracted: inverse of the Gumbel distribution's upper tail.
        # (By place: pyhmmer 0.12.3 knows them by name, but fails to look at the first.)
        location, slope = list(model.evalue_parameters.as_vector())[:2]
        bits = location - math.log(-math.log1p(-threshold)) / slope
        self._nats = bits * math.log(2.0)

    def passing(self, targets: Targets) -> list[Any]:
        """Sequences that HMMER's filter lets pass, in order, and a few that come close."""
        least = self._least(targets.null, targets.move) - _SLACK
        # Where a model's parameters make no number, HMMER rejects nothing, and neither does this.
        least = np.clip(np.nan_to_num(np.ceil(least), nan=-128.0), -128, 128).astype(np.int16)
        rejected = ssv_kernel.best_segments(self.costs, targets.residues, least) < least
        return [targets.sequences[place] for place in np.flatnonzero(~rejected).tolist()]

    def _least(self, null: NDArray[np.float64], move: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scores of segments from which on sequences pass, or HMMER does not know by the segment alone.

        As in p7_SSVFilter, whose scores begin at 0 where those of the kernel begin at −128.
        """
        states = move + self._costs_of_states
        # HMMER adds 3 nats for what it does not count of residues outside of the segment.
        significant = (self._nats + null + 3.0) * _UNITS_PER_NAT + move + states - 128
        # Never more than the score at which HMMER fears an overflow.
        several_segments = states + 1 - 128
        least = np.minimum(significant, several_segments)
        return np.where(states + self._bias >= _TOO_COSTLY, -np.inf, least)
