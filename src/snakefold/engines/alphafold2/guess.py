"""Coordinates that a prediction begins with, as with colabfold_batch --initial-guess."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snakefold.engines.alphafold2 import brought
from snakefold.engines.alphafold2.features import chain_order
from snakefold.engines.alphafold2.settings import ModelPreset
from snakefold.kernel.contracts import TargetInput
from snakefold.kernel.errors import Reason, TargetError
from snakefold.molecules.known_chains import BadStructureError, matched, read_chains
from snakefold.molecules.own_templates import carried


def positions_of(target: TargetInput, files: Mapping[str, bytes]) -> NDArray[np.float32] | None:
    """Coordinates that a prediction begins with, in the network's order of residues; None if there are none.

    float32 [L, 37, 3] in Å, zero where the file has no such atom: `prev_pos` of the first pass, as with
    colabfold_batch --initial-guess.

    Raises:
        TargetError: invalid_input for a file that is not there, or is no guess for the target.
    """
    names = [name for name in carried(target.assembly) if name.startswith("initial_guess/")]
    if not names:
        return None
    from alphafold.common import residue_constants

    sequences = brought.plain(target).chains
    try:
        known = matched(read_chains(brought.file_of(files, names[0]), names[0].rpartition(".")[2]), sequences)
    except BadStructureError as error:
        raise TargetError(Reason.INVALID_INPUT, f"The initial guess: {error}", "Check the file.") from error
    residues = [atoms for index in chain_order(sequences) for atoms in known[index].atoms]
    positions = np.zeros((len(residues), residue_constants.atom_type_num, 3), np.float32)
    for row, atoms in zip(positions, residues, strict=True):
        for name, place in atoms.items():
            if (number := residue_constants.atom_order.get(name)) is not None:
                row[number] = place
    return positions


def begun(
    inputs: dict[str, Any], positions: NDArray[np.float32] | None, preset: ModelPreset
) -> dict[str, Any]:
    """The network's inputs with the coordinates to begin with, padded as they are."""
    if positions is None:
        return inputs
    length = inputs["aatype"].shape[0 if preset.multimer else 1]
    padded = np.pad(positions, ((0, length - len(positions)), (0, 0), (0, 0)))
    return {**inputs, "all_atom_positions": padded}
