"""What an engine is: a module with `NAME`, `VERSION`, `recipe`, `check` and `start`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from snakefold.contracts import FoldRequest, MsaMeta, TargetInput


@dataclass(frozen=True)
class ChainMsa:
    """MSA of one chain (`contracts.MSA_LAYOUT`): msa.a3m, pairing.a3m, bytes of templates.npz.

    `meta` and `hits` (meta.json, hits.tsv) are no business of an engine: they go into the target's folder.
    """

    a3m: str
    pairing: str | None = None
    templates: bytes | None = None
    meta: MsaMeta | None = None
    hits: str = ""
    depth: int = 1
    neff: float = 1.0


@dataclass(frozen=True)
class TargetMsas:
    """MSAs of one target: one entry per chain of the target, in order, or the A3M that the target brought.

    `reused` are the files of a structure that is taken instead (`reuse.inputs`), by name.
    """

    chains: Sequence[ChainMsa] = ()
    own_a3m: str | None = None
    reused: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Prediction:
    """One model of one target, not yet relaxed.

    Attributes:
        name: AlphaFold's name, for example `model_1_ptm_pred_0`.
        pdb: PDB text; pLDDT in the B column; chains A, B, … in the target's order.
        plddt: float [L], 0 to 100.
        pae: float [L, L] in Å, row = aligned on, column = scored (AlphaFold's convention), or None.
        origin: where the model comes from, as a sentence, if it was not computed here.
        ranking_confidence: what AlphaFold ranks by: mean pLDDT (monomer), 0.8 ipTM + 0.2 pTM (multimer).
        seconds, compile_seconds: wall time of the network, and how much of it went into a new program.
    """

    name: str
    pdb: str
    plddt: NDArray[np.floating[Any]]
    ranking_confidence: float
    pae: NDArray[np.floating[Any]] | None = None
    ptm: float | None = None
    iptm: float | None = None
    recycles: int = 0
    seed: int = 0
    seconds: float = 0.0
    compile_seconds: float = 0.0
    warnings: list[str] = field(default_factory=list)
    origin: str = ""


class Session(Protocol):
    """A warm engine: parameters loaded once, programs compiled once per shape."""

    seconds: dict[str, float]
    device: str

    def predict(self, target: TargetInput, msas: TargetMsas) -> list[Prediction]:
        """All models of one target, in any order. Raises TargetError with a typed reason."""
        ...


class Engine(Protocol):
    """The functions of an engine module."""

    NAME: str
    VERSION: str

    def recipe(self, request_settings: Mapping[str, Any], weights: Path | None) -> dict[str, Any]:
        """What results depend on: version, settings, fingerprint of the parameters (for the store)."""
        ...

    def check(self, target: TargetInput) -> None:
        """Refuse a target the engine cannot fold, before anything is computed. Raises TargetError."""
        ...

    def start(
        self,
        request: FoldRequest,
        msas: Mapping[str, TargetMsas],
        weights: Path | None,
        cache: Path | None,
    ) -> Session:
        """Load what the batch needs. `msas` by result key, so that shapes can be chosen for all of them."""
        ...
