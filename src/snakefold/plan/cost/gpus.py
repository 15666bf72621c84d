"""GPU classes: what can be rented or queued for, how fast it is, what a second of it costs."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field, ValidationError

from snakefold.engines.spec import Work
from snakefold.kernel.contracts import Model
from snakefold.kernel.errors import ConfigError
from snakefold.kernel.paths import house

ClassName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]{0,31}$")]


#: The class that is this machine: its predictions take cores from the alignments.
LOCAL = "local"


class GpuClass(Model):
    """One entry of resources/gpus.yaml."""

    name: ClassName
    title: str = Field(description="What people call it.")
    device: Literal["gpu", "cpu"] = Field("gpu", description="What kind of processor predicts.")
    memory_gb: float | None = Field(None, gt=0, description="GPU memory; empty: not known, no limit.")
    compute_capability: float | None = Field(
        None,
        ge=3,
        lt=20,
        description="NVIDIA's compute capability, as 8.6; of several cards the least. Empty: not known.",
    )
    runpod_pool: str | None = Field(None, description="RunPod's id of the pool.")
    dollars_per_second: float = Field(0.0, ge=0, description="Price of a second, flexible workers.")
    priced_on: date | None = Field(None, description="Day on which the price was read.")
    speed: float = Field(gt=0, description="Predictions per second relative to an A100 with 80 GB.")
    speed_source: str = Field(description="Where the relative speed comes from.")


def load_classes(names: Iterable[str], table: Path | None = None) -> list[GpuClass]:
    """The named classes of `table` (resources/gpus.yaml if none is given), in the order of `names`.

    Raises:
        ConfigError: the table cannot be read, or has no class of that name.
    """
    path = table or house() / "resources" / "gpus.yaml"
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
        classes = {name: GpuClass(name=name, **entry) for name, entry in entries.items()}
    except (OSError, ValueError, TypeError, AttributeError, yaml.YAMLError, ValidationError) as error:
        raise ConfigError(f"{path}: cannot be read as a table of GPU classes: {error}") from error
    unknown = [name for name in names if name not in classes]
    if unknown:
        raise ConfigError(
            f"{path}: has no GPU class {', '.join(unknown)}. It has: {', '.join(classes)}. "
            "Correct gpu.classes, or add the class to a table of your own (gpu.table)."
        )
    return [classes[name] for name in names]


#: What is longer than any protein: the answer for a class of unknown memory.
UNLIMITED = 10**9


def max_length(gpu: GpuClass, work: Work) -> int:
    """Largest (padded) size in residues that fits the class's memory; 0 if nothing does."""
    if gpu.memory_gb is None:
        return UNLIMITED
    fits, too_much = 0, UNLIMITED + 1
    while too_much - fits > 1:
        middle = (fits + too_much) // 2
        if float(work.memory_gb([middle])[0]) <= gpu.memory_gb:
            fits = middle
        else:
            too_much = middle
    return fits
