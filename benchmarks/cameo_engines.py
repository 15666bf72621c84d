"""Stand-ins of two engines for cameo.py: they cost as much as the engine, in a plan, and draw chains at once.

`openfold_drawn` and `alphafold2_drawn` have the settings, batches, needs and work of the engines that they
are named after. Structures are drawn, with all heavy atoms and a PAE matrix, so that files have their true
sizes. All results say REHEARSAL.
"""
# ruff: noqa: ARG002 (a stand-in is asked with everything, and looks at next to nothing)

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from snakefold.engines import alphafold2, openfold
from snakefold.engines.spec import Parameters, Result, TargetMsas, Told
from snakefold.kernel.contracts import FoldRequest, RelaxSettings, TargetInput
from snakefold.structures.prediction import Prediction


class Drawing:
    """See `snakefold.engines.spec.Session`."""

    device = "cpu"

    def __init__(self, models: int) -> None:
        self._models = models
        self.seconds: dict[str, float] = {"load": 0.0}

    def predict(self, target: TargetInput, msas: TargetMsas) -> Result:
        """All models of a target."""
        del msas
        return Result(predictions=[drawn(target.chains[0], number) for number in range(self._models)])


def drawn(sequence: str, number: int) -> Prediction:
    """A chain along a line, with atoms around it, and smooth confidence."""
    from alphafold.common import protein, residue_constants

    source = np.random.default_rng([number, *sequence.encode()])
    types = np.array([residue_constants.restype_order_with_x[letter] for letter in sequence])
    length = len(types)
    places = np.arange(length)
    plddt = 70 + 20 * np.sin(places / 20 + number)
    line = np.stack([3.8 * places, np.zeros(length), np.zeros(length)], axis=-1)
    model = protein.Protein(
        atom_positions=line[:, None] + source.normal(0, 1.5, (length, 37, 3)),
        atom_mask=residue_constants.STANDARD_ATOM_MASK[types],
        aatype=types,
        residue_index=places + 1,
        chain_index=np.zeros(length, dtype=int),
        b_factors=np.repeat(plddt[:, None], 37, axis=1),
    )
    distance = np.abs(places[:, None] - places)
    return Prediction(
        name=f"drawn_{number}",
        pdb=str(protein.to_pdb(model)),
        plddt=plddt,
        pae=np.minimum(30.0, 0.5 + distance / 10 + source.random((length, length))),
        ptm=0.5,
        ranking_confidence=float(plddt.mean()),
        origin="Drawn by benchmarks/cameo.py: nothing was predicted.",
    )


class _Stands:
    """What a stand-in answers otherwise than its engine."""

    relaxes = False  # models are drawn: the work counts the relaxation all the same
    relax = RelaxSettings(models_to_relax="none")  # type: ignore[arg-type]
    models = 1

    def check(self, target: TargetInput, settings: Any) -> None:
        """Takes everything."""

    def work(self, group: str, settings: Any, relax: Any, *, blocks: Any = None, rows: Any = None) -> Any:
        """That of official parameters, relaxation included."""
        return super().work(group, settings, self.relax)  # type: ignore[misc]

    def rehearsed(self, settings: Any, rehearsal: Any) -> Any:
        """As configured."""
        return settings

    def parameters(
        self, place: str, settings: Any, groups: Collection[str], *, draw: Any = None, **_: Any
    ) -> Parameters | None:
        """None are read; results say REHEARSAL."""
        return None if draw is None else Parameters(rehearsal=True, blocks=48)

    def parameter_folder(self, place: str) -> Path | None:
        """None."""

    def parameter_files(self, weights: Path | None) -> Sequence[Path]:
        """None."""
        return ()

    def recipe(self, group: str, settings: Any, weights: Path | None) -> dict[str, Any]:
        """It is drawn."""
        return {"engine": self.name, "version": "1", "settings": settings.model_dump(mode="json")}  # type: ignore[attr-defined]

    def describe(self, told: Told) -> Sequence[str]:
        """That nothing was predicted."""
        return ["Structures were drawn: nothing was predicted."]

    def start(
        self,
        request: FoldRequest,
        msas: Mapping[str, TargetMsas],
        weights: Path | None,
        cache: Path | None,
    ) -> Drawing:
        """Nothing is loaded."""
        return Drawing(self.models)


class OpenFoldDrawn(_Stands, openfold.OpenFold):
    """One model of OpenFold's parameters, not relaxed: the settings of the published figure."""

    name = "openfold_drawn"
    title = "a stand-in of OpenFold's parameters"


class AlphaFold2Drawn(_Stands, alphafold2.AlphaFold2):
    """Five models, the best of them relaxed: the defaults."""

    name = "alphafold2_drawn"
    title = "a stand-in of AlphaFold2"
    relax = RelaxSettings()
    models = 5


OPENFOLD = OpenFoldDrawn()
ALPHAFOLD2 = AlphaFold2Drawn()
