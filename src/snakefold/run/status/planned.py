"""What the plan's files say of a run."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from snakefold.plan.files import (
    WEIGHTS,
    BatchRow,
    State,
    read_chains,
    read_parameters,
    read_rows,
    read_targets,
)
from snakefold.plan.quote.model import Quote

_WARNING = re.compile(r"^\s*warning: (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Planned:
    """A plan; its files change only if a new one is made.

    Attributes:
        states: records by state.
        chains: chains to search, by chunk.
        quote: None: there is none, or it is of another version.
        warnings: what the plan step warned of.
    """

    batches: Sequence[BatchRow]
    states: Mapping[str, int]
    chains: Mapping[str, int]
    quote: Quote | None
    warnings: tuple[str, ...]
    rehearsal: bool

    @property
    def chunks(self) -> list[str]:
        """Chunks of alignments."""
        return sorted({chunk for row in self.batches for chunk in row.chunks.split(",") if chunk})


def read_planned(plan: Path) -> Planned:
    """Read the plan in a folder.

    Raises:
        SnakefoldError, OSError: a table is damaged, or is not there.
    """
    chains = read_chains(plan) if (plan / "chains.tsv").is_file() else []
    return Planned(
        batches=read_rows(plan),
        states=Counter(row.state for row in read_targets(plan, _State)),
        chains=Counter(row.chunk for row in chains),
        quote=_quote(plan / "quote.json"),
        warnings=_warnings(plan.parent / "logs" / "plan.log"),
        rehearsal=(plan / WEIGHTS).exists() and read_parameters(plan).rehearsal,
    )


def _quote(path: Path) -> Quote | None:
    try:
        return Quote.model_validate_json(path.read_bytes())
    except (OSError, ValueError):  # of another version, or removed: the run does not need it
        return None


def _warnings(log: Path) -> tuple[str, ...]:
    try:
        return tuple(dict.fromkeys(_WARNING.findall(log.read_text(encoding="utf-8", errors="replace"))))
    except OSError:
        return ()


@dataclass(frozen=True, slots=True)
class _State:
    state: State
