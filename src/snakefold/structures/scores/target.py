"""All scores of one target. A score that cannot be computed is None and says why: it costs no target."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from snakefold.kernel.contracts import Confidence
from snakefold.structures.scores import interfaces
from snakefold.structures.scores.models import pairwise_tm
from snakefold.structures.scores.points import ModelPoints, model_points
from snakefold.structures.scores.types import Interface, TargetScores

#: So many models, best first, are scored: their pairs grow with the square.
MOST_MODELS = 25

T = TypeVar("T")
Pae = Mapping[int, NDArray[Any]]


def score_target(confidence: Confidence, texts: Sequence[str], pae: Pae | None = None) -> TargetScores:
    """Scores of a target from its own files; the reference is added by who knows one.

    Args:
        texts: of the models, PDB or mmCIF, best first.
        pae: as `confidence.read_pae` returns it.
    """
    missing: dict[str, str] = {}
    if len(texts) > MOST_MODELS:
        missing["models"] = f"Only the best {MOST_MODELS} of {len(texts)} models are scored."
    points = _attempt(
        lambda: [model_points(text, confidence.chain_lengths) for text in texts[:MOST_MODELS]],
        ("model_tm", "contacts") if len(confidence.chain_lengths) > 1 else ("model_tm",),
        missing,
    )
    several = len(confidence.chain_lengths) > 1
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
        for (name, inside), (other_name, other) in combinations(model.chains, 2):
            touching = interfaces.contacts(model.cb[inside], model.cb[other])
            of_pae: dict[str, float] = {}
            if matrix is not None:
                of_pae = {
                    "ipsae": interfaces.ipsae(matrix, inside, other),
                    "iptm_pae": interfaces.iptm_from_pae(matrix, inside, other),
                    "pdockq2": interfaces.pdockq2(matrix, plddt, touching, inside, other),
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


def _attempt(compute: Callable[[], T], names: Sequence[str], missing: dict[str, str]) -> T | None:
    try:
        return compute()
    except Exception as error:  # whatever numpy or gemmi raise about an odd structure, its target is sound
        missing.update(dict.fromkeys(names, str(error)[:300]))
        return None
