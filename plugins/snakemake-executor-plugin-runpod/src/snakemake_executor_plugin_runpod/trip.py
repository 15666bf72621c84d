"""What the engine and Snakemake's threads share of a job."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from .errors import JobError
from .payload import Task


@dataclass(eq=False)
class Trip:
    """One job of Snakemake's, from being handed over to its end. `finished` is set last.

    Attributes:
        digest: of its work, once that was read.
        dollars: what all its submissions have cost, as far as is known.
    """

    task: Task
    job: str | None = None
    submission: int = 0
    digest: str = ""
    dollars: float = 0.0
    error: JobError | None = None
    finished: bool = False
    story: list[str] = field(default_factory=list)

    def tell(self, text: str) -> None:
        self.story.append(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}")
