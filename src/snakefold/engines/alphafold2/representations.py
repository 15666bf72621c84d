"""What the Evoformer knows of a target: its single and pair representations, as ColabFold saves them.

They are the arrays that the last recycle would hand to the next one: the first row of the MSA representation
and the pair representation (colabfold 1.6.3, `--save-single-representations`, `--save-pair-representations`).
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from snakefold.engines.alphafold2.features import residue_order

if TYPE_CHECKING:
    from snakefold.engines.alphafold2.features import Features
    from snakefold.engines.alphafold2.settings import NetworkSettings

#: Lists the arrays, for an npy says neither what its axes are nor that its parameters were random.
INDEX = "representations.json"
#: Channels of a residue and of a pair of residues, and bytes of a number.
SINGLE, PAIR, BYTES = 256, 128, 2


def wanted(settings: NetworkSettings) -> bool:
    """Whether a run keeps any."""
    return settings.save_single_representations or settings.save_pair_representations


def bytes_of(settings: NetworkSettings) -> tuple[int, int]:
    """Bytes of one prediction's arrays: for every residue, and for every pair of residues."""
    single = SINGLE * BYTES if settings.save_single_representations else 0
    return single, PAIR * BYTES if settings.save_pair_representations else 0


class Representations:
    """Those of one target, model by model, as files.

    Attributes:
        files: `single_repr_<model>.npy` float16 [L, 256] and `pair_repr_<model>.npy` float16 [L, L, 128] of
            the target's residues in its order, and `representations.json`; {} if none are wanted.
    """

    def __init__(self, settings: NetworkSettings, *, rehearsal: bool) -> None:
        self._single, self._pair = settings.save_single_representations, settings.save_pair_representations
        self._rehearsal = rehearsal
        self._arrays: dict[str, bytes] = {}
        self._index: dict[str, Any] = {}

    def add(self, name: str, result: Features, chains: Sequence[str]) -> None:
        """Take the arrays out of a model's result, so that no more than one model's are held twice."""
        found = result.pop("representations", None)
        if found is None:
            return
        order = residue_order(chains)
        said = self._index[name] = {}
        for kind, kept in (("single", self._single), ("pair", self._pair)):
            if kept:
                array = np.asarray(found[kind])
                array = array[order] if kind == "single" else array[np.ix_(order, order)]
                file = f"{kind}_repr_{name}.npy"
                stream = io.BytesIO()
                np.save(stream, array)
                self._arrays[file] = stream.getvalue()
                said[kind] = {"file": file, "shape": list(array.shape), "dtype": str(array.dtype)}

    @property
    def files(self) -> dict[str, bytes]:
        if not self._arrays:
            return {}
        index = {**self._index, **({"REHEARSAL": True} if self._rehearsal else {})}
        return {**self._arrays, INDEX: (json.dumps(index, indent=1) + "\n").encode()}
