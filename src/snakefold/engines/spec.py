"""What an engine is: a module with `NAME`, `VERSION`, `recipe`, `check` and `start`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from snakefold.kernel.contracts import FoldRequest, MsaMeta, TargetInput
from snakefold.structures.prediction import Prediction


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
