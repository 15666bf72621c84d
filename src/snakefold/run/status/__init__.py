"""How a run stands, from its files alone: Snakemake may run in another process, or not any more."""

from snakefold.run.status.read import Reader, Status, Step
from snakefold.run.status.text import line, screen

__all__ = ["Reader", "Status", "Step", "line", "screen"]
