"""GPU classes: what can be rented or queued for, how fast it is, what a second of it costs."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field, ValidationError

from snakefold.kernel.contracts import Model
from snakefold.kernel.errors import ConfigError
from snakefold.kernel.paths import house

ClassName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]{0,31}$")]


class GpuClass(Model):
    """One entry of resources/gpus.yaml."""

    name: ClassName
    title: str = Field(description="What people call it.")
    device: Literal["gpu", "cpu"] = Field("gpu", description="What kind of processor predicts.")
    memory_gb: float | None = Field(None, gt=0, description="GPU memory; empty: not known, no limit.")
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
