"""What happened in a simulated run, moment by moment. Times are seconds from its start."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Life:
    """One worker from start to stop; `slot` is its place among the pool's workers alive at the same time.

    `spans` are (phase, from, to), without gaps.
    """

    gpu: str
    slot: int
    begin: float
    end: float = 0.0
    spans: list[tuple[str, float, float]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One go at a job: when it was ready to run, when it ran, and what came of it."""

    job: str
    gpu: str
    queued: float
    began: float
    ended: float
    outcome: str
    finished: int


@dataclass(slots=True)
class Record:
    """Everything. `searches` are (from, to) by number; `wall` is the end of the last step, not of billing."""

    lives: list[Life] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    searches: list[tuple[float, float]] = field(default_factory=list)
    lost_targets: int = 0
    wall: float = 0.0
