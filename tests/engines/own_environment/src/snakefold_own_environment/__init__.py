"""An engine for tests: straight lines, made by an interpreter that has `inflection`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from snakefold.engines.sizes import relaxed_models
from snakefold.engines.spec import Column, Defaults, Environment, Floats, TargetMsas
from snakefold.kernel.contracts import FoldRequest, RelaxSettings

if TYPE_CHECKING:
    from snakefold_own_environment.session import LineSession

__all__ = ["ENGINE"]


@dataclass(frozen=True)
class LineWork:
    """Next to nothing."""

    engine: str = "own_environment"
    relaxed: int = 0
    gpu_relax: bool = False

    def network_seconds(self, sizes: ArrayLike, device: str, speed: float) -> Floats:
        return np.full(np.shape(sizes), 0.1)

    def features_seconds(self, sizes: ArrayLike, device: str) -> Floats:
        return np.full(np.shape(sizes), 0.1)

    def compile_seconds(self, sizes: ArrayLike, device: str, *, cached: bool = False) -> Floats:
        return np.zeros(np.shape(sizes))

    def load_seconds(self, device: str) -> float:
        return 1.0

    def memory_gb(self, sizes: ArrayLike) -> Floats:
        return np.full(np.shape(sizes), 0.1)

    def result_bytes(self, sizes: ArrayLike) -> tuple[Floats, Floats]:
        return np.full(np.shape(sizes), 10_000.0), np.zeros(np.shape(sizes))


class OwnEnvironment(Defaults):
    """See `snakefold.engines.spec.Engine`."""

    name = "own_environment"
    title = "Lines"
    packages = ("inflection",)
    relaxes = True
    columns: Mapping[str, Column] = {"ordinal": Column(str, "", "length of the target, as a word says it")}
    environment = Environment("3.11", Path(__file__).with_name("environment.lock"))

    @property
    def version(self) -> str:
        return self.environment.version("inflection")

    def work(
        self,
        group: str,
        settings: Any,
        relax: RelaxSettings,
        *,
        blocks: int | None = None,
        rows: Any = None,
    ) -> LineWork:
        return LineWork(relaxed=relaxed_models(relax, 1))

    def recipe(self, group: str, settings: Any, weights: Path | None) -> dict[str, Any]:
        return {"engine": self.name, "version": self.version}

    def describe(self, told: Any) -> list[str]:
        return [f"Lines were drawn with {told.package('inflection')}."]

    def start(
        self,
        request: FoldRequest,
        msas: Mapping[str, TargetMsas],
        weights: Path | None,
        cache: Path | None,
    ) -> LineSession:
        from snakefold_own_environment.session import LineSession

        return LineSession()


ENGINE = OwnEnvironment()
