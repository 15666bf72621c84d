"""ESMFold, loaded once for a batch."""

from __future__ import annotations

import json
import time
from pathlib import Path

import gemmi
import numpy as np
import torch
import transformers

from snakefold.engines.esmfold import ENGINE
from snakefold.engines.esmfold.chunks import chunk_size
from snakefold.engines.esmfold.network import ATOMS, Folded, Network, device_of
from snakefold.engines.esmfold.settings import EsmFoldSettings
from snakefold.engines.esmfold.weights import ready
from snakefold.engines.spec import Result, TargetMsas
from snakefold.kernel.contracts import FoldRequest, TargetInput
from snakefold.kernel.errors import Reason, TargetError
from snakefold.structures import files as structures
from snakefold.structures.prediction import Prediction


class EsmFoldSession:
    """See `snakefold.engines.spec.Session`.

    Attributes:
        seconds: load: the parameters; imports apart.
        device: what predicts.
    """

    def __init__(self, request: FoldRequest, weights: Path | None) -> None:
        start = time.monotonic()
        self._settings = EsmFoldSettings.model_validate(request.settings)
        self._rehearsal = request.rehearsal
        self._device = device_of(self._settings)
        self._network = Network(ready(weights), self._settings, self._device)
        self.device = self._device.name
        self.seconds: dict[str, float] = {"load": round(time.monotonic() - start, 3)}

    def predict(self, target: TargetInput, msas: TargetMsas) -> Result:
        """One model.

        Raises:
            TargetError: the target is none for ESMFold, memory ran out, or the numbers are not finite.
        """
        del msas
        ENGINE.check(target, self._settings)
        start = time.monotonic()
        folded = self._network.fold(target.chains[0])
        seconds = time.monotonic() - start
        if not folded.finite:
            raise TargetError(Reason.INTERNAL, "The network gave numbers that are not finite.")
        model = _structure(folded)
        prediction = Prediction(
            name="esmfold_pred_0",
            pdb=model.make_pdb_string() if structures.fits_pdb(model) else "",
            structure=model,
            plddt=folded.plddt,
            pae=folded.pae,
            ptm=folded.ptm,
            ranking_confidence=float(folded.plddt.mean()),
            recycles=self._settings.num_recycles,
            seconds=seconds,
        )
        return Result(
            predictions=[prediction],
            files={"esmfold.json": self._told(target)},
            notes=ENGINE.notes(target, self._settings),
        )

    def _told(self, target: TargetInput) -> bytes:
        """What computed, for who wants to compute the same again."""
        told = {
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "device": self._device.name,
            "precision": self._device.precision,
            "threads": torch.get_num_threads() if self._device.kind == "cpu" else None,
            "chunk_size": chunk_size(target.length, self._settings.chunk_size),
            **({"REHEARSAL": True} if self._rehearsal else {}),
        }
        return (json.dumps(told, indent=1, sort_keys=True) + "\n").encode()


def _structure(folded: Folded) -> gemmi.Structure:
    """The model: chain A, residues numbered from 1."""
    length = len(folded.residues)
    return structures.build(
        ["A"],
        chain=np.zeros(length, dtype=np.intp),
        number=np.arange(1, length + 1),
        residue=folded.residues,
        atoms=ATOMS,
        mask=folded.mask,
        positions=folded.positions,
        plddt=folded.plddt,
    )
