"""How long a run still takes: the plan's seconds, corrected by what finished targets took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """A batch, or a chunk of alignments. Seconds are of one worker.

    Attributes:
        planned: for all of it.
        done: share of its targets that is finished, 0 to 1.
        took: for that share; None: unknown, as of targets that an earlier run finished.
        running: seconds that the share not finished has been worked on.
    """

    planned: float
    done: float = 0.0
    took: float | None = None
    running: float = 0.0


def pace(parts: Sequence[Part]) -> float:
    """Measured seconds per planned second, of what is finished; 1 if nothing is."""
    known = [part for part in parts if part.took is not None and part.done > 0]
    planned = sum(part.planned * part.done for part in known)
    measured = sum(part.took or 0.0 for part in known)
    return measured / planned if planned > 0 and measured > 0 else 1.0


def seconds_left(parts: Sequence[Part], workers: int = 1) -> float:
    """Seconds until all parts are finished, if so many workers share them.

    Time that a running part has already spent is subtracted. 0: all is finished, or should be by now.
    """
    corrected = pace(parts)
    left = [
        max(0.0, part.planned * corrected * (1 - part.done) - part.running) for part in parts if part.done < 1
    ]
    return sum(left) / max(1, min(workers, len(left)))


def with_alignments(predictions: float, alignments: float, next_batch: float) -> float:
    """Seconds left of a run whose predictions and alignments overlap.

    Args:
        next_batch: seconds of a batch that waits for the last alignments; 0 if none does.
    """
    return max(predictions, alignments + next_batch if alignments > 0 else 0.0)
