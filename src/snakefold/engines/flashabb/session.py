"""flash-abb, loaded once for a batch."""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np
import torch
from alphafold.common import protein, residue_constants
from flash_abb import pretrained
from flash_abb.model.flash_abb import atom14_to_atom37
from numpy.typing import NDArray

from snakefold.engines.flashabb import domains
from snakefold.engines.spec import TargetMsas
from snakefold.kernel.contracts import TargetInput
from snakefold.kernel.errors import Reason, TargetError
from snakefold.structures.prediction import Prediction


class FlashAbbSession:
    """A warm network, on the GPU if there is one."""

    def __init__(self) -> None:
        start = time.monotonic()
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self._network = pretrained(device=self.device)
        self.seconds: dict[str, float] = {"load": round(time.monotonic() - start, 3)}

    def predict(self, target: TargetInput, msas: TargetMsas) -> list[Prediction]:
        """One model of an Fv or variable domain; the network reads no MSA.

        Raises:
            TargetError: no antibody, or the device's memory ran out.
        """
        del msas
        start = time.monotonic()
        roles = domains.roles(target.chains)
        by_role = dict(zip(roles, target.chains, strict=True))
        heavy, light = by_role.get("heavy", ""), by_role.get("light", "")
        try:
            with torch.inference_mode():
                result = self._network([f"{heavy}|{light}"])
        except torch.OutOfMemoryError as error:
            raise TargetError(Reason.OUT_OF_MEMORY, f"{target.length} residues: {error}") from error
        # The network wants heavy before light; the target's own order is what everything else counts on.
        order = np.arange(target.length)
        if roles == ["light", "heavy"]:
            order = np.roll(order, len(light))
        plddt = _plddt(result.output["plddt"][0])[order]
        return [
            Prediction(
                name="flashabb_pred_0",
                pdb=_pdb(target.chains, result.coords[0], heavy + light, order, plddt),
                plddt=plddt,
                ranking_confidence=float(plddt.mean()),
                seconds=time.monotonic() - start,
            )
        ]


def _plddt(logits: torch.Tensor) -> NDArray[np.float64]:
    """Expected lDDT-CA, 0 to 100: [L, bins] logits over equal bins (AlphaFold's definition)."""
    shares = torch.softmax(logits.double(), dim=-1).cpu().numpy()
    bins = shares.shape[-1]
    return np.asarray(shares @ ((np.arange(bins) + 0.5) * 100 / bins), dtype=np.float64)


def _pdb(
    chains: list[str],
    atom14: torch.Tensor,
    sequence: str,
    order: NDArray[np.int64],
    plddt: NDArray[np.float64],
) -> str:
    """PDB text of `atom14` [L, 14, 3] Å.

    `atom14` and `sequence` are in the network's order; `order` puts them into the target's, as `plddt` is.
    """
    types = np.array([residue_constants.restype_order_with_x[letter] for letter in sequence])
    # An unknown residue has a backbone all the same: the one that glycine has.
    drawn = np.where(
        types == residue_constants.restype_order_with_x["X"], residue_constants.restype_order["G"], types
    )
    with warnings.catch_warnings():
        # flash-abb indexes in a way whose meaning torch is about to change; its version is pinned for that.
        warnings.filterwarnings("ignore", message="Using a non-tuple sequence", category=UserWarning)
        atom37: Any = atom14_to_atom37(atom14, torch.from_numpy(drawn)[None]).cpu().numpy()
    mask = residue_constants.STANDARD_ATOM_MASK[drawn]
    lengths = [len(chain) for chain in chains]
    model = protein.Protein(
        atom_positions=atom37[order],
        atom_mask=mask[order],
        aatype=types[order],
        residue_index=np.concatenate([np.arange(1, length + 1) for length in lengths]),
        chain_index=np.repeat(np.arange(len(lengths)), lengths),
        b_factors=np.repeat(plddt[:, None], residue_constants.atom_type_num, axis=1),
    )
    return str(protein.to_pdb(model))
