"""An engine that nobody in snakefold knows: it takes assemblies, and reads an alignment of each protein.

It predicts nothing. What reached it is in a file of each target, and counted in scores of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from snakefold.engines.spec import (
    Column,
    Defaults,
    Floats,
    Molecules,
    Needs,
    NoSettings,
    Result,
    TargetMsas,
    Told,
)
from snakefold.kernel.contracts import FoldRequest, RelaxSettings, TargetInput
from snakefold.molecules.accepts import Accepts
from snakefold.molecules.entities import Kind


@dataclass(frozen=True, slots=True)
class DockWork:
    """A second a target."""

    engine: str = "dock"
    relaxed: int = 0
    gpu_relax: bool = False

    def network_seconds(self, sizes: ArrayLike, device: str, speed: float) -> Floats:
        return np.ones(np.shape(sizes))

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


class DockSession:
    """Writes down what it got."""

    def __init__(self) -> None:
        self.device = "cpu"
        self.seconds: dict[str, float] = {}

    def predict(self, target: TargetInput, msas: TargetMsas) -> Result:
        proteins = target.chains or [each["sequence"] for each in target.proteins]
        assert len(msas.chains) == len(proteins)
        got = []
        for sequence, msa in zip(proteins, msas.chains, strict=True):
            assert msa is None or msa.a3m.split("\n")[1] == sequence, "the alignment is of another protein"
            got.append(
                msa
                and {
                    "depth": msa.depth,
                    "rows": msa.a3m.count(">"),
                    "pairing": (msa.pairing or "").count(">"),
                    "keys": None if msa.keys is None else list(msa.keys),
                }
            )
        depth = sum(msa.depth for msa in msas.given)
        sizes = {name: len(data) for name, data in msas.files.items()}
        files = {"dock.json": json.dumps(got).encode(), "templates.json": json.dumps(sizes).encode()}
        return Result(scores={"dock_rows": depth}, files=files)


class Dock(Defaults):
    """See `snakefold.engines.spec.Engine`."""

    name = "dock"
    title = "the dock"
    version = "1.0"
    accepts = Accepts(
        templates=True,
        kinds=frozenset(Kind),
        modifications=True,
        cyclic=True,
        alignments=True,
        constraints=True,
        affinity=True,
    )
    groups = ("single", "paired")
    packages = ("dockengine",)
    views = ("alignment",)
    columns: Mapping[str, Column] = {"dock_rows": Column(int, "rows", "Rows of all alignments.")}

    def needs(self, group: str, settings: Any) -> Needs:
        return Needs(alignment=True, pairing=group == "paired")

    def group(self, target: Molecules, settings: Any) -> str:
        """Of their own, so that one that pairs does not give all others another recipe."""
        return "paired" if len(target.pairable) > 1 else "single"

    def work(
        self, group: str, settings: Any, relax: RelaxSettings, *, blocks: int | None = None, rows: Any = None
    ) -> DockWork:
        return DockWork()

    def recipe(self, group: str, settings: NoSettings, weights: Path | None) -> dict[str, Any]:
        return {"engine": self.name, "version": self.version}

    def describe(self, told: Told) -> Sequence[str]:
        return [f"Alignments were counted with {told.package('dockengine')}, run by {told.run}."]

    def start(
        self,
        request: FoldRequest,
        msas: Mapping[str, TargetMsas],
        weights: Path | None,
        cache: Path | None,
    ) -> DockSession:
        return DockSession()


ENGINE = Dock()
