"""The quote as data: what `results/plan/quote.json` holds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
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
    rehearsals: list[str] = Field([], description="Engines that predict with random parameters.")
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
    msa_gpu: str = Field("", description="Class of rented GPUs that alignments are searched on.")
    msa_dollars: Range = Field(Range(), description="The part of `dollars` that these cost.")
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


def money(dollars: float) -> str:
    """Dollars: cents below a thousand, and more digits below a dime."""
    if 0 < dollars < 0.1:
        return f"${dollars:.4f}" if dollars >= 0.0001 else "under $0.0001"
    return f"${dollars:,.2f}" if dollars < 1000 else f"${dollars:,.0f}"


def hours(value: float) -> str:
    """A duration given in hours, in the unit that suits it."""
    if value * 3600 < 99.5:
        return f"{value * 3600:.0f} s"
    if value * 60 < 99.5:
        return f"{value * 60:.0f} min"
    return f"{value:,.1f} h" if value < 99.95 else f"{value:,.0f} h"


def seconds(value: float) -> str:
    """A duration given in seconds."""
    return hours(value / 3600)


def gigabytes(value: float) -> str:
    """An amount of data given in gigabytes."""
    if value < 0.0995:
        return f"{value * 1000:.1f} MB"
    return f"{value:.1f} GB" if value < 1000 else f"{value / 1000:.1f} TB"


def spread(amount: Range, show: Callable[[float], str]) -> str:
    """`$12.00 ($9.00 to $18.00)`; the bare value where nothing is uncertain."""
    expected, low, high = show(amount.expected), show(amount.low), show(amount.high)
    return expected if low == high else f"{expected} ({low} to {high})"


def rounded_up(value: float) -> str:
    """`value` with two digits, and not less: what a limit can be set to."""
    if value <= 0:
        return "0"
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return f"{math.ceil(value / unit - 1e-9) * unit:.10g}"
