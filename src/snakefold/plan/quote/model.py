"""The quote as data: what `results/plan/quote.json` holds."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Annotated, Literal

from pydantic import Field, model_validator

from snakefold.kernel.contracts import Model

Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Range(Model):
    """An expected value and how far it may be off: `low` and `high` are no guarantee, but a fair bet."""

    expected: Amount = 0.0
    low: Amount = 0.0
    high: Amount = 0.0

    @model_validator(mode="after")
    def _ordered(self) -> Range:
        if not self.low <= self.expected <= self.high:
            raise ValueError(f"{self.low} <= {self.expected} <= {self.high} does not hold")
        return self

    def __add__(self, other: Range) -> Range:
        """The sum of amounts that are off together: if one model is too low, it is for every job."""
        return Range(
            expected=self.expected + other.expected, low=self.low + other.low, high=self.high + other.high
        )

    def times(self, factor: float) -> Range:
        """In another unit."""
        return Range(expected=self.expected * factor, low=self.low * factor, high=self.high * factor)


class ClassQuote(Model):
    """What one GPU class does. Hours are of its workers together, with start, compilation and idle time."""

    gpu: str
    title: str
    workers: int
    batches: int
    targets: int
    hours: Range
    idle_hours: Range = Field(description="The part of `hours` in which workers wait for a job.")
    dollars: Range
    dollars_per_second: float
    priced_on: date | None
    memory_gb: float = Field(description="GPU memory that its largest target needs.")
    rests_on: str = Field(description="Where the seconds come from.")


class Disk(Model):
    """Gigabytes that the run writes, and how many are free where it writes them (None: not known).

    `results` are structures with all that belongs to them, once as folders and twice packed: in the store,
    and in the archive that the batch came in.
    """

    msas: Range
    results: Range
    free: float | None = None

    @property
    def total(self) -> Range:
        """All of it."""
        return self.msas + self.results


class Offer(Model):
    """A change of the settings that would make the run fit, and what it would come to (estimated)."""

    setting: str
    text: str


class Quote(Model):
    """What a run is expected to take, before anything is started.

    `hours` are worker hours of all classes; `overhead` is the part of them that is start, loading,
    compilation and idle time; `wall_hours` run from the start to the last prediction, alignments included.
    """

    version: Literal[1] = 1
    rehearsal: bool
    targets: dict[str, int] = Field(description="Records by state, as in targets.tsv.")
    engines: dict[str, int] = Field({}, description="Targets to predict, by engine.")
    batches: int
    chains: int = Field(description="Chains to align.")
    chunks: int
    server: str = Field("", description="Address of the MSA server that is asked for the alignments.")
    complexes: int = Field(0, description="Complexes that the MSA server pairs.")
    classes: list[ClassQuote]
    hours: Range
    overhead: float = Field(ge=0, le=1)
    dollars: Range
    msa_cpu_hours: Range
    msa_wall_hours: Range
    wall_hours: Range
    cores: int
    disk: Disk
    rests_on: list[str]
    warnings: list[str]
    cheaper: Offer | None = None
    faster: Offer | None = None


def total(amounts: Iterable[Range]) -> Range:
    """The sum, in floating point's usual precision, of amounts that are off together."""
    found = list(amounts)
    return Range(
        expected=sum(item.expected for item in found),
        low=min(sum(item.low for item in found), sum(item.expected for item in found)),
        high=max(sum(item.high for item in found), sum(item.expected for item in found)),
    )
