"""An engine whose work is a timed wait, in proportion to the length of a target.

It shows what a machine's GPUs are given, and when: each target is a line of the file that WAIT_LOG names.
WAIT_SLOWER names GPUs (their CUDA names, with commas) that take twice as long.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field

from snakefold.engines.spec import Defaults, Floats, Result, TargetMsas, Told
from snakefold.kernel.contracts import FoldRequest, Model, RelaxSettings, TargetInput


class WaitSettings(Model):
    """How long it waits."""

    seconds_per_residue: float = Field(0.001, ge=0, description="Wait this long for every residue.")


@dataclass(frozen=True, slots=True)
class WaitWork:
    """As the settings say, on any device."""

    rate: float
    engine: str = "wait"
    relaxed: int = 0
    gpu_relax: bool = False

    def network_seconds(self, sizes: ArrayLike, device: str, speed: float) -> Floats:
        return self.rate * np.asarray(sizes, float)

    def features_seconds(self, sizes: ArrayLike, device: str) -> Floats:
        return np.zeros(np.shape(sizes))

    def compile_seconds(self, sizes: ArrayLike, device: str, *, cached: bool = False) -> Floats:
        return np.zeros(np.shape(sizes))

    def load_seconds(self, device: str) -> float:
        return 0.0

    def memory_gb(self, sizes: ArrayLike) -> Floats:
        return np.ones(np.shape(sizes))

    def result_bytes(self, sizes: ArrayLike) -> tuple[Floats, Floats]:
        return np.full(np.shape(sizes), 500.0), np.zeros(np.shape(sizes))


class WaitSession:
    """Waits, and writes down for whom, where, from when to when."""

    def __init__(self, settings: WaitSettings) -> None:
        self.device = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        slower = os.environ.get("WAIT_SLOWER", "").split(",")
        self._rate = settings.seconds_per_residue * (2 if self.device in slower else 1)
        self.seconds: dict[str, float] = {}

    def predict(self, target: TargetInput, msas: TargetMsas) -> Result:
        started = time.time()
        time.sleep(self._rate * target.length)
        line = [target.id, self.device, os.getpid(), started, time.time()]
        with Path(os.environ["WAIT_LOG"]).open("a") as log:
            log.write(json.dumps(line) + "\n")
        return Result(files={"waited.json": json.dumps(target.length).encode()})


class Wait(Defaults):
    """See `snakefold.engines.spec.Engine`."""

    name = "wait"
    title = "the wait"
    version = "1.0"
    Settings = WaitSettings
    groups = ("line",)
    packages = ("waitengine",)

    def work(
        self, group: str, settings: Any, relax: RelaxSettings, *, blocks: int | None = None, rows: Any = None
    ) -> WaitWork:
        return WaitWork(settings.seconds_per_residue)

    def recipe(self, group: str, settings: Any, weights: Path | None) -> dict[str, Any]:
        return {"engine": self.name, "version": self.version}

    def describe(self, told: Told) -> Sequence[str]:
        return [f"Targets waited with {told.package('waitengine')}, run by {told.run}."]

    def start(
        self,
        request: FoldRequest,
        msas: Mapping[str, TargetMsas],
        weights: Path | None,
        cache: Path | None,
    ) -> WaitSession:
        return WaitSession(WaitSettings.model_validate(request.settings))


ENGINE = Wait()
