"""Scores of a finished target besides the engine's own: its models, interfaces, and a known structure."""

from snakefold.structures.scores.target import score_target
from snakefold.structures.scores.types import FILE, Interface, ReferenceScores, TargetScores, read_scores

__all__ = ["FILE", "Interface", "ReferenceScores", "TargetScores", "read_scores", "score_target"]
