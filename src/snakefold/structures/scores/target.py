"""All scores of one target. A score that cannot be computed is None and says why: it costs no target."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from snakefold.kernel.contracts import Confidence, Model
from snakefold.kernel.errors import SnakefoldError
from snakefold.molecules.entities import Assembly
from snakefold.structures import files
from snakefold.structures.scores import interfaces
from snakefold.structures.scores.interfaces import ModelPoints, model_points
from snakefold.structures.scores.models import pairwise_tm
from snakefold.structures.scores.poses import Contact, Pose, poses

#: Name of the file in a target's folder.
FILE = "scores.json"


class Interface(Model):
    """Scores of a pair of chains in one model; one that cannot be computed is None (`missing` says why)."""

    rank: int = Field(description="Rank of the model; 0 is the best.")
    chain_a: str = Field(description="First chain, named as in the model's files.")
    chain_b: str = Field(description="Second chain, named as in the model's files.")
    contacts: int | None = Field(
        None, description="Residue pairs whose CB atoms (CA of glycine) are within 8 Å."
    )
    iptm: float | None = Field(
        None, description="The engine's ipTM. It is of the whole target: of this pair only with two chains."
    )
    iptm_pae: float | None = Field(
        None,
        description="ipTM approximated from the PAE: the TM term of the expected error, "
        "not the expectation of the TM term that the engine computes.",
    )
    ipsae: float | None = Field(None, description="ipSAE (PAE below 10 Å), the larger of both directions.")
    pdockq2: float | None = Field(None, description="pDockQ2 of the pair, the larger of both directions.")


class ReferenceScores(Model):
    """The best model against a known structure."""

    file: str = Field(description="Name of the reference's file.")
    tm: float | None = Field(None, description="TM-score normalised by the reference's length (TM-align).")
    lddt: float | None = Field(None, description="lDDT of the CA atoms, 0 to 1.")
    rmsd: float | None = Field(None, description="CA RMSD over the pairs that TM-align aligned, Å.")
    aligned: int | None = Field(None, description="Residues that TM-align aligned.")
    length: int | None = Field(None, description="Residues of the reference's chains that were used.")
    chains: list[tuple[str, str]] = Field([], description="Superposed chains: (model, reference).")


class TargetScores(Model):
    """Content of scores.json."""

    version: Literal[1] = 1
    key: str = Field(description="sha256 of the sequences joined by ':'.")
    rehearsal: bool = Field(description="Random parameters were used: the scores mean nothing.")
    model_tm: list[list[float | None]] = Field(
        [], description="TM-score of every pair of models, rank × rank, by residue number; symmetric."
    )
    interfaces: list[Interface] = Field([], description="Chain pairs, by model; empty for a monomer.")
    poses: list[Pose] = Field(
        [],
        description="Ligands, by model; left out if there is none.",
        exclude_if=lambda value: not value,
    )
    reference: ReferenceScores | None = Field(
        None, description="The best model compared with the known structure, if there is one."
    )
    missing: dict[str, str] = Field(
        {},
        description="Scores that could not be computed: name → why (model_tm, contacts, ipsae, reference …).",
    )

    def best_interface(self) -> Interface | None:
        """The best model's pair of chains with the highest ipSAE (else pDockQ2, else contacts)."""
        pairs = [item for item in self.interfaces if item.rank == 0]
        return max(pairs, key=_merit, default=None)


def _merit(item: Interface) -> tuple[float, float, float]:
    return (item.ipsae or 0.0, item.pdockq2 or 0.0, float(item.contacts or 0))


def read_scores(folder: Path) -> TargetScores | None:
    """Scores of the target in `folder`; None if it has none (a run of an earlier version).

    Raises:
        SnakefoldError: the file is damaged; the text names it.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        return TargetScores.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise SnakefoldError(
            f"{path}: not as expected ({error}). Delete the folder and run again."
        ) from error


#: So many models, best first, are scored: their pairs grow with the square.
MOST_MODELS = 25

T = TypeVar("T")
Pae = Mapping[int, NDArray[Any]]


def score_target(confidence: Confidence, texts: Sequence[str], pae: Pae | None = None) -> TargetScores:
    """Scores of a target from its own files; poses and the reference are added by who knows them.

    Args:
        texts: of the models, PDB or mmCIF, best first.
        pae: as `confidence.read_pae` returns it.
    """
    missing: dict[str, str] = {}
    if len(texts) > MOST_MODELS:
        missing["models"] = f"Only the best {MOST_MODELS} of {len(texts)} models are scored."
    points = _attempt(
        lambda: [model_points(text, confidence.chain_lengths) for text in texts[:MOST_MODELS]],
        ("model_tm", "contacts") if len(_proteins(confidence)) > 1 else ("model_tm",),
        missing,
    )
    several = len(_proteins(confidence)) > 1
    table = _attempt(lambda: pairwise_tm([item.ca for item in points or []]), ("model_tm",), missing)
    found = None
    if points and several:
        found = _attempt(
            lambda: _interfaces(confidence, points, pae or {}, missing), ("interfaces",), missing
        )
    return TargetScores(
        key=confidence.key,
        rehearsal=confidence.rehearsal,
        model_tm=table or [],
        interfaces=found or [],
        missing=missing,
    )


def with_poses(
    scores: TargetScores, texts: Sequence[str], assembly: Assembly
) -> tuple[TargetScores, list[Contact]]:
    """Scores with those of the ligands, and what these touch; what cannot be computed is said in `missing`.

    Args:
        texts: of the models, PDB or mmCIF, best first.
        assembly: what was predicted.
    """
    missing = dict(scores.missing)

    def of_all() -> list[tuple[list[Pose], list[Contact]]]:
        models = (files.read(text)[0] for text in texts[:MOST_MODELS])
        return [poses(model, assembly, rank) for rank, model in enumerate(models)]

    found = _attempt(of_all, ("poses",), missing) or []
    ligands = [pose for of_model, _ in found for pose in of_model]
    contacts = [contact for _, of_model in found for contact in of_model]
    return scores.model_copy(update={"poses": ligands, "missing": missing}), contacts


def _interfaces(
    confidence: Confidence, points: Sequence[ModelPoints], pae: Pae, missing: dict[str, str]
) -> list[Interface]:
    if len(confidence.chain_lengths) > 2:
        missing["iptm"] = "The engine gives one ipTM for all chains, none for a pair."
    elif any(model.iptm is None for model in confidence.models):
        missing["iptm"] = "The engine gives no ipTM."
    rows = []
    for rank, (model, scores) in enumerate(zip(points, confidence.models, strict=False)):
        matrix = pae.get(rank)
        if matrix is None:
            missing["ipsae"] = missing["pdockq2"] = missing["iptm_pae"] = "The engine gives no PAE."
        plddt = np.asarray(scores.plddt)
        for one, two in combinations(_proteins(confidence), 2):
            (name, inside), (other_name, other) = model.chains[one], model.chains[two]
            touching = interfaces.contacts(model.cb[inside], model.cb[other])
            of_pae: dict[str, float] = {}
            if matrix is not None and (places := _rows(confidence, one, two, missing)) is not None:
                sub = matrix[np.ix_(places, places)]
                parts = slice(0, inside.stop - inside.start), slice(inside.stop - inside.start, len(places))
                both = np.concatenate([plddt[inside], plddt[other]])
                of_pae = {
                    "ipsae": interfaces.ipsae(sub, *parts),
                    "iptm_pae": interfaces.iptm_from_pae(sub, *parts),
                    "pdockq2": interfaces.pdockq2(sub, both, touching, *parts),
                }
            rows.append(
                Interface(
                    rank=rank,
                    chain_a=name,
                    chain_b=other_name,
                    contacts=int(touching.sum()),
                    iptm=scores.iptm if len(model.chains) == 2 else None,
                    **{key: round(value, 4) for key, value in of_pae.items()},
                )
            )
    return rows


def _proteins(confidence: Confidence) -> list[int]:
    """Places of the protein chains: scores of interfaces are defined for these."""
    kinds = confidence.chain_kinds or ["protein"] * len(confidence.chain_lengths)
    return [place for place, kind in enumerate(kinds) if kind == "protein"]


def _rows(confidence: Confidence, one: int, two: int, missing: dict[str, str]) -> list[int] | None:
    """Rows of the PAE that are the residues of two chains; None where atoms of a residue have rows."""
    lengths, tokens = confidence.chain_lengths, confidence.chain_tokens or confidence.chain_lengths
    if any(lengths[place] != tokens[place] for place in (one, two)):
        told = "Modified residues have a row of the PAE for each atom."
        missing["ipsae"] = missing["pdockq2"] = missing["iptm_pae"] = told
        return None
    starts = [sum(tokens[:place]) for place in (one, two)]
    return [
        start + row for start, place in zip(starts, (one, two), strict=True) for row in range(lengths[place])
    ]


def _attempt(compute: Callable[[], T], names: Sequence[str], missing: dict[str, str]) -> T | None:
    try:
        return compute()
    except Exception as error:  # whatever numpy or gemmi raise about an odd structure, its target is sound
        missing.update(dict.fromkeys(names, str(error)[:300]))
        return None
