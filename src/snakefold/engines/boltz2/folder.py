"""Where Boltz-2's files are in a weights folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Files:
    """Paths in the weights folder `weights`, in the layout of Boltz's own cache (`boltz predict --cache`)."""

    weights: Path

    @property
    def folder(self) -> Path:
        """Boltz-2's place among all engines'."""
        return self.weights / "boltz2"

    @property
    def structure(self) -> Path:
        """The network that predicts structures and their confidence."""
        return self.folder / "boltz2_conf.ckpt"

    @property
    def affinity(self) -> Path:
        """The network that predicts affinities."""
        return self.folder / "boltz2_aff.ckpt"

    @property
    def molecules(self) -> Path:
        """Components of the Chemical Component Dictionary: `<code>.pkl`, an RDKit molecule each."""
        return self.folder / "mols"

    def checkpoints(self, *, affinity: bool) -> tuple[Path, ...]:
        """The networks that a run loads."""
        return (self.structure, self.affinity) if affinity else (self.structure,)
