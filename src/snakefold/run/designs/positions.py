"""The positions of a backbone as they are folded: where each lies, and which of them were designed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from snakefold.engines.designing import Designs, backbone_file, folded
from snakefold.kernel.errors import SnakefoldError
from snakefold.molecules.backbones import BackboneChain, BadBackboneError, read_backbone


@dataclass(frozen=True)
class Positions:
    """L residues of all chains, in the file's order, without gaps: those of a model of a design.

    Attributes:
        chains: name and number of residues of each chain.
        native: letters, all chains joined.
        numbers: residue number in the file with its insertion code, of every residue.
        coordinates: float64 [L, 4, 3] in Å of N, CA, C and O; NaN where the file lacks one of the four.
        designed, motif: bool [L]: was designed; was fixed, in a chain that was designed.
    """

    chains: tuple[tuple[str, int], ...]
    native: str
    numbers: tuple[str, ...]
    coordinates: NDArray[np.float64]
    designed: NDArray[np.bool_]
    motif: NDArray[np.bool_]

    @property
    def ca(self) -> NDArray[np.float64]:
        """CA atoms of the positions with a backbone, float64 [L, 3]; NaN of others."""
        return self.coordinates[:, 1]


def positions_of(folder: Path, designs: Designs) -> Positions:
    """The positions of the backbone in a folder of the first stage.

    Raises:
        SnakefoldError: the backbone is missing, or is not the one of designs.json.
    """
    path = backbone_file(folder)
    try:
        found = {chain.name: chain for chain in read_backbone(path.read_bytes())}
    except (OSError, BadBackboneError) as error:
        raise SnakefoldError(f"{path}: cannot be read as a backbone ({error}). Run again.") from error
    parts = [_of_chain(path, designs, name, found.get(name)) for name in designs.sequences]
    native = folded(designs, {})
    return Positions(
        chains=tuple((name, len(letters)) for name, letters in native.items()),
        native="".join(native.values()),
        numbers=tuple(number for name in native for number in designs.numbering[name] if number),
        coordinates=np.concatenate([coordinates for coordinates, _, _ in parts]),
        designed=np.concatenate([designed for _, designed, _ in parts]),
        motif=np.concatenate([motif for _, _, motif in parts]),
    )


def _of_chain(
    path: Path, designs: Designs, name: str, chain: BackboneChain | None
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
    if chain is None or list(chain.numbers) != designs.numbering.get(name):
        raise SnakefoldError(f"{path}: chain {name} is not the one of designs.json. Run again.")
    there = np.array([bool(number) for number in chain.numbers])
    complete = chain.complete
    fixed = np.zeros(len(chain), bool)
    fixed[np.array(designs.fixed_positions.get(name, []), int) - 1] = True
    ours = np.full(len(chain), name in designs.designed_chains)
    coordinates = np.where(complete[:, None, None], chain.coordinates.astype(np.float64), np.nan)
    return coordinates[there], (ours & ~fixed & complete)[there], (ours & fixed & complete)[there]
