"""Scores of a finished target besides the engine's own: its models, interfaces, and a known structure."""

from snakefold.structures.scores.target import (
    FILE,
    Interface,
    ReferenceScores,
    TargetScores,
    read_scores,
    score_target,
    with_poses,
)

__all__ = [
    "FILE",
    "Interface",
    "ReferenceScores",
    "TargetScores",
    "read_scores",
    "score_target",
    "with_poses",
]
