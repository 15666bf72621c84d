"""Structure and scores of every recycle, as `colabfold_batch --save-recycles` writes them."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from snakefold.engines.alphafold2.runner import fits_pdb, to_protein, to_structure
from snakefold.structures import files as structures

if TYPE_CHECKING:
    from snakefold.engines.alphafold2.features import Features
    from snakefold.engines.alphafold2.settings import ModelPreset
    from snakefold.kernel.contracts import TargetInput

FILE = "recycles.json"
#: AlphaFold's names of what a pass through the network says of itself, and ours.
_SCORES = {"mean_plddt": "plddt", "ptm": "ptm", "iptm": "iptm", "tol": "tolerance"}


class Recycles:
    """Those of one target, model by model.

    Args:
        engine: whose parameters run.
    """

    def __init__(self, target: TargetInput, engine: str, *, rehearsal: bool) -> None:
        self._target, self._rehearsal = target, rehearsal
        self._software = f"{engine} {importlib.metadata.version('alphafold-colabfold')}"
        self._models: dict[str, bytes] = {}
        self._scores: dict[str, Any] = {}

    def watch(self, name: str, preset: ModelPreset, inputs: Features) -> Callable[[Features, int], None]:
        """What RunModel.predict calls after each pass of the model `name`: with its result, and its
        number."""
        said: list[dict[str, Any]] = []
        self._scores[name] = said

        def take(result: Features, recycle: int) -> None:
            file, text = self._written(f"recycle_{name}_r{recycle}", preset, inputs, result)
            self._models[file] = text.encode()
            said.append({"recycle": recycle, **self._scores_of(result, recycle), "file": file})

        return take

    @property
    def files(self) -> Mapping[str, bytes]:
        """`recycle_<model>_r<n>.pdb` (.cif where the PDB format cannot hold it), and recycles.json.

        The scores of a recycle are its mean pLDDT (0 to 100), pTM, ipTM, and `tolerance`: by how much CA
        distances changed since the one before, Å. What a network does not give is absent; so is the tolerance
        of recycle 0.
        """
        if not self._models:
            return {}
        scores = {**self._scores, **({"REHEARSAL": True} if self._rehearsal else {})}
        return {**self._models, FILE: (json.dumps(scores, indent=1) + "\n").encode()}

    def _scores_of(self, result: Features, recycle: int) -> dict[str, float]:
        left_out = {"tol"} if recycle == 0 else set()
        if len(self._target.chains) < 2:
            left_out.add("iptm")  # the multimer network's of one chain says nothing
        return {
            ours: float(result[theirs])
            for theirs, ours in _SCORES.items()
            if theirs in result and theirs not in left_out
        }

    def _written(self, name: str, preset: ModelPreset, inputs: Features, result: Features) -> tuple[str, str]:
        from alphafold.common import protein

        model = inputs, result, preset, self._target.chains
        if fits_pdb(result, self._target.chains):
            pdb = protein.to_pdb(to_protein(*model))
            return f"{name}.pdb", structures.annotate(
                pdb, rehearsal=self._rehearsal, key=self._target.key, engine=self._software
            )
        structure = to_structure(*model)
        structure.name = self._target.key[:12]
        structure.setup_entities()
        notes = [structures.REHEARSAL_NOTE] if self._rehearsal else []
        notes.append(f"Predicted by {self._software}. B factors: pLDDT (0 to 100).")
        comments = "".join(f"# {note}\n" for note in notes)
        return f"{name}.cif", comments + structure.make_mmcif_document().as_string()
