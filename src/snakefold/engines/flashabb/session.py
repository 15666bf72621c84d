"""flash-abb's network, loaded and compiled once for a batch."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from alphafold.common import protein, residue_constants
from numpy.typing import NDArray

from snakefold.engines import compilation
from snakefold.engines.checkpoint import read_tensors
from snakefold.engines.flashabb import domains, weights
from snakefold.engines.flashabb.network import Network, flashabb_network, padded_length
from snakefold.engines.spec import TargetMsas
from snakefold.kernel.contracts import FoldRequest, TargetInput
from snakefold.kernel.errors import Reason, TargetError
from snakefold.structures.prediction import Prediction

#: Places of atoms in alphafold's 37 by residue type, for each of its 14; -1 where it has none.
_PLACES = np.array(
    [
        [residue_constants.atom_order[atom] if atom else -1 for atom in atoms]
        for atoms in (
            residue_constants.restype_name_to_atom14_names[residue_constants.restype_1to3[letter]]
            for letter in residue_constants.restypes
        )
    ]
)


class FlashAbbSession:
    """See `snakefold.engines.spec.Session`.

    Attributes:
        seconds: load: parameters, and programs for the lengths of the batch.
        device: what predicts.
    """

    def __init__(self, request: FoldRequest, path: Path, cache: Path | None) -> None:
        start = time.monotonic()
        compilation.prepare(cache, flashabb_network.__name__)
        self.device = compilation.device_name()
        self._network = Network(read_tensors(weights.read(path), str(path)))
        for length in sorted({padded_length(target.length) for target in request.targets}):
            self._network.compile(length)
        self.seconds: dict[str, float] = {"load": round(time.monotonic() - start, 3)}

    def predict(self, target: TargetInput, msas: TargetMsas) -> list[Prediction]:
        """One model of an Fv or variable domain; the network reads no MSA.

        Raises:
            TargetError: no antibody, the device's memory ran out, or the numbers are not finite.
        """
        del msas
        start = time.monotonic()
        roles = domains.roles(target.chains)
        by_role = dict(zip(roles, target.chains, strict=True))
        heavy, light = by_role.get("heavy", ""), by_role.get("light", "")
        try:
            atoms, logits = self._network(heavy, light)
        except RuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            raise TargetError(
                Reason.OUT_OF_MEMORY, f"{target.length} residues: {str(error)[:200]}"
            ) from error
        if not (np.isfinite(atoms).all() and np.isfinite(logits).all()):
            raise TargetError(Reason.INTERNAL, "The network gave numbers that are not finite.")
        # The network wants heavy before light; the target's own order is what everything else counts on.
        order = np.arange(target.length)
        if roles == ["light", "heavy"]:
            order = np.roll(order, len(light))
        plddt = expected_lddt(logits)[order]
        return [
            Prediction(
                name="flashabb_pred_0",
                pdb=_pdb(target.chains, atoms[order], plddt),
                plddt=plddt,
                ranking_confidence=float(plddt.mean()),
                seconds=time.monotonic() - start,
            )
        ]


def expected_lddt(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Expected lDDT-CA [L], 0 to 100, of logits [L, bins] over equal bins (AlphaFold's definition)."""
    exact = logits.astype(np.float64)
    shares = np.exp(exact - exact.max(-1, keepdims=True))
    shares /= shares.sum(-1, keepdims=True)
    bins = shares.shape[-1]
    return np.asarray(shares @ ((np.arange(bins) + 0.5) * 100 / bins), dtype=np.float64)


def _pdb(chains: list[str], atoms: NDArray[np.float32], plddt: NDArray[np.float64]) -> str:
    """PDB text of `atoms` [L, 14, 3] Å, in the order of the chains."""
    letters = residue_constants.restype_order_with_x
    types = np.array([letters[letter] for letter in "".join(chains)])
    # An unknown residue has a backbone all the same: the one that glycine has.
    drawn = np.where(types == letters["X"], letters["G"], types)
    places = _PLACES[drawn]
    row, column = np.nonzero(places >= 0)
    positions = np.zeros((len(types), residue_constants.atom_type_num, 3), np.float32)
    mask = np.zeros(positions.shape[:2], np.float32)
    positions[row, places[row, column]] = atoms[row, column]
    mask[row, places[row, column]] = 1
    lengths = [len(chain) for chain in chains]
    model = protein.Protein(
        atom_positions=positions,
        atom_mask=mask,
        aatype=types,
        residue_index=np.concatenate([np.arange(1, length + 1) for length in lengths]),
        chain_index=np.repeat(np.arange(len(lengths)), lengths),
        b_factors=np.repeat(plddt[:, None], residue_constants.atom_type_num, axis=1),
    )
    return str(protein.to_pdb(model))
