"""How a run stands, from its files alone: Snakemake may run in another process, or not any more."""

from snakefold.run.status.model import AtWork, Status, Step
from snakefold.run.status.read import Reader
from snakefold.run.status.text import line, lines, screen

__all__ = ["AtWork", "Reader", "Status", "Step", "line", "lines", "screen"]
