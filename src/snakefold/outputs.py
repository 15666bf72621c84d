"""The files of one finished target (docs/design.md): made from an engine's predictions, free of ids."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from snakefold import confidence, structures
from snakefold.contracts import FoldRequest, RelaxChoice, TargetInput
from snakefold.engines.base import Prediction, TargetMsas

Relax = Callable[[str], str]


@dataclass
class Relaxation:
    """What relaxation did to the ranked models: texts by rank, and what went wrong."""

    pdbs: dict[int, str] = field(default_factory=dict)
    seconds: float = 0.0
    warnings: list[str] = field(default_factory=list)


def target_files(
    request: FoldRequest,
    target: TargetInput,
    msas: TargetMsas,
    *,
    predictions: list[Prediction],
    relaxation: Relaxation,
    seconds: dict[str, float],
    software: str,
) -> dict[str, bytes]:
    """Files of a target, by name. `predictions` are in rank order.

    The unrelaxed text of a model is kept as `unrelaxed_<n>.pdb` where relaxation replaced it, as AlphaFold
    keeps `unrelaxed_*` beside `relaxed_*`.
    """
    files: dict[str, bytes] = {}
    for rank, prediction in enumerate(predictions):
        relaxed = relaxation.pdbs.get(rank)
        text = structures.annotate(
            relaxed or prediction.pdb, rehearsal=request.rehearsal, key=target.key, engine=software
        )
        files[f"ranked_{rank}.pdb"] = text.encode()
        files[f"ranked_{rank}.cif"] = structures.to_mmcif(
            text, name=target.key[:12], rehearsal=request.rehearsal, software=software
        ).encode()
        if relaxed:
            unrelaxed = structures.annotate(
                prediction.pdb, rehearsal=request.rehearsal, key=target.key, engine=software
            )
            files[f"unrelaxed_{rank}.pdb"] = unrelaxed.encode()
    scores = confidence.confidence(
        request=request,
        target=target,
        msas=msas,
        predictions=predictions,
        relaxed=set(relaxation.pdbs),
        warnings=relaxation.warnings,
    )
    files["confidence.json"] = scores.model_dump_json().encode()
    files["ranking_debug.json"] = _json(
        {**confidence.ranking_debug(predictions), **({"REHEARSAL": True} if request.rehearsal else {})}
    )
    matrices = [prediction.pae for prediction in predictions if prediction.pae is not None]
    if matrices:
        files["pae.npz"] = confidence.pae_archive(matrices)
    files["timings.json"] = _json({name: round(value, 3) for name, value in seconds.items()})
    files["msa.a3m"] = _msa_text(msas).encode()
    return files


def relax_ranked(predictions: list[Prediction], choice: RelaxChoice, relax: Relax) -> Relaxation:
    """Relax none, the best or all of the ranked models; a failure keeps the model and is recorded."""
    count = {RelaxChoice.NONE: 0, RelaxChoice.BEST: 1, RelaxChoice.ALL: len(predictions)}[choice]
    done = Relaxation()
    start = time.monotonic()
    for rank, prediction in enumerate(predictions[:count]):
        try:
            done.pdbs[rank] = relax(prediction.pdb)
        except Exception as error:  # OpenMM raises its own and bare exceptions; the model itself is sound
            done.warnings.append(f"relax_failed: rank {rank} ({prediction.name}): {error}"[:500])
    done.seconds = time.monotonic() - start
    return done


def _msa_text(msas: TargetMsas) -> str:
    if msas.own_a3m is not None:
        return msas.own_a3m
    seen: list[str] = []
    for chain in msas.chains:
        if chain.a3m not in seen:
            seen.append(chain.a3m)
    return "".join(seen)


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()
