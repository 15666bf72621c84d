"""An engine that nobody in snakefold knows: it counts the heavy atoms of a ligand's SMILES.

No protein, no alignment, no structure; a score, seconds, memory, a group and a sentence of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field

from snakefold.engines.spec import Column, Defaults, Floats, Result, TargetMsas, Told
from snakefold.kernel.contracts import FoldRequest, Model, RelaxChoice, RelaxSettings, TargetInput
from snakefold.kernel.errors import Reason, TargetError
from snakefold.molecules.accepts import Accepts
from snakefold.molecules.entities import Kind

_ATOM = re.compile(r"Cl|Br|[BCNOPSFI]|[bcnops]")


class ToySettings(Model):
    """The toy's section of the configuration."""

    weight: float = Field(1.0, gt=0, description="What an atom counts.")


@dataclass(frozen=True, slots=True)
class ToyWork:
    """A quarter of an hour a ligand, on a card of 3 GB."""

    engine: str = "toy"
    relaxed: int = 0
    gpu_relax: bool = False

    def network_seconds(self, sizes: ArrayLike, device: str, speed: float) -> Floats:
        return np.full(np.shape(sizes), 900.0)

    def features_seconds(self, sizes: ArrayLike, device: str) -> Floats:
        return np.zeros(np.shape(sizes))

    def compile_seconds(self, sizes: ArrayLike, device: str, *, cached: bool = False) -> Floats:
        return np.zeros(np.shape(sizes))

    def load_seconds(self, device: str) -> float:
        return 0.0

    def memory_gb(self, sizes: ArrayLike) -> Floats:
        return np.full(np.shape(sizes), 3.0)

    def result_bytes(self, sizes: ArrayLike) -> tuple[Floats, Floats]:
        return np.full(np.shape(sizes), 500.0), np.zeros(np.shape(sizes))


class ToySession:
    """Counts."""

    def __init__(self, settings: ToySettings) -> None:
        self.device = "cpu"
        self.seconds: dict[str, float] = {}
        self._weight = settings.weight

    def predict(self, target: TargetInput, msas: TargetMsas) -> Result:
        assert msas == TargetMsas(), "nothing was searched"
        assert target.assembly is not None
        smiles = target.assembly["entities"][0]["smiles"]
        atoms = len(_ATOM.findall(smiles))
        if atoms > 90:
            raise TargetError(Reason.INTERNAL, "Too many atoms to count.")
        scores = {"toy_atoms": atoms, "toy_score": self._weight * atoms}
        return Result(scores=scores, files={"toy.txt": b"counted\n"})


class Toy(Defaults):
    """See `snakefold.engines.spec.Engine`."""

    name = "toy"
    title = "the atom counter"
    version = "1.0"
    accepts = Accepts(kinds=frozenset({Kind.LIGAND}))
    Settings = ToySettings
    groups = ("ligand",)
    packages = ("toyengine",)
    views = ()
    columns: Mapping[str, Column] = {
        "toy_atoms": Column(int, "atoms", "Heavy atoms of the ligand."),
        "toy_score": Column(float, "", "Its weight by the toy."),
    }

    def work(
        self, group: str, settings: Any, relax: RelaxSettings, *, blocks: int | None = None, rows: Any = None
    ) -> ToyWork:
        assert relax.models_to_relax is RelaxChoice.NONE, "what it never relaxes is not priced"
        return ToyWork()

    def recipe(self, group: str, settings: ToySettings, weights: Path | None) -> dict[str, Any]:
        return {"engine": self.name, "version": self.version, "settings": settings.model_dump(mode="json")}

    def describe(self, told: Told) -> Sequence[str]:
        return [f"Atoms were counted with {told.package('toyengine')}, run by {told.run}."]

    def start(
        self,
        request: FoldRequest,
        msas: Mapping[str, TargetMsas],
        weights: Path | None,
        cache: Path | None,
    ) -> ToySession:
        return ToySession(ToySettings.model_validate(request.settings))


ENGINE = Toy()
