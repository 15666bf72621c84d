"""Confidence of predictions: ranking, pLDDT, PAE, pTM, ipTM, as files and as one row of metrics a target.

pLDDT bands are AlphaFold DB's; a band holds its lower edge. PAE is kept in 8 bits, which costs at most
0.0625 Å of precision on predictions that AlphaFold itself draws from bins of 0.5 Å.
"""

from __future__ import annotations

import io
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snakefold.kernel.contracts import Confidence, ModelScores, TargetInput
from snakefold.kernel.errors import SnakefoldError
from snakefold.structures.chains import molecules_of_target
from snakefold.structures.prediction import Prediction

#: Å per unit of a stored PAE value.
PAE_UNIT = 0.125
#: Largest PAE that AlphaFold can predict: the centre of its last bin, Å.
PAE_MAX = 31.75
#: pLDDT bands: name → (lower edge, included; upper edge, excluded). 100 belongs to the first.
PLDDT_BANDS: dict[str, tuple[float, float]] = {
    "very_high": (90.0, np.inf),
    "confident": (70.0, 90.0),
    "low": (50.0, 70.0),
    "very_low": (-np.inf, 50.0),
}


def rank(predictions: Sequence[Prediction]) -> list[Prediction]:
    """Best first by `ranking_confidence`; equal ones keep their order, as in AlphaFold."""
    return sorted(predictions, key=lambda item: item.ranking_confidence, reverse=True)


def ranking_debug(predictions: Sequence[Prediction]) -> dict[str, Any]:
    """Content of AlphaFold's ranking_debug.json; `predictions` in rank order."""
    label = "iptm+ptm" if any(item.iptm is not None for item in predictions) else "plddts"
    label = next((item.ranked_by for item in predictions if item.ranked_by), label)
    return {
        label: {item.name: float(item.ranking_confidence) for item in predictions},
        "order": [item.name for item in predictions],
    }


def quantise_pae(pae: NDArray[Any]) -> NDArray[np.uint8]:
    """PAE in Å → uint8 in units of 0.125 Å, rounded half to even; above 31.75 Å becomes 31.75 Å.

    Raises:
        ValueError: a value is negative or not a number.
    """
    values = np.asarray(pae, dtype=np.float64)
    if not bool(np.all(values >= 0)):
        raise ValueError("PAE: expected distances of 0 Å or more, found negative values or NaN.")
    return np.rint(np.minimum(values, PAE_MAX) / PAE_UNIT).astype(np.uint8)


def dequantise_pae(units: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Inverse of `quantise_pae`: uint8 → Å."""
    return units.astype(np.float32) * np.float32(PAE_UNIT)


def pae_archive(matrices: Sequence[NDArray[Any] | None]) -> bytes:
    """Bytes of pae.npz: `rank_<n>` uint8 [L, L] for the n-th model, none where a model gives no PAE."""
    arrays: dict[str, Any] = {
        f"rank_{number}": quantise_pae(matrix) for number, matrix in enumerate(matrices) if matrix is not None
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def read_pae(data: bytes) -> dict[int, NDArray[np.float32]]:
    """PAE in Å by rank, from the bytes of pae.npz.

    Raises:
        SnakefoldError: the bytes are no such archive. Pickled content is never loaded.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            found = {int(name.removeprefix("rank_")): arrays[name] for name in arrays.files}
    except Exception as error:  # a damaged zip file makes zipfile and numpy raise a dozen kinds
        raise SnakefoldError(f"pae.npz: expected arrays named rank_<n> ({error}). Fold it again.") from error
    for number, matrix in found.items():
        if matrix.dtype != np.uint8 or matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
            raise SnakefoldError(
                f"pae.npz: rank_{number} is {matrix.dtype} {matrix.shape}, expected uint8 [L, L]. "
                "Fold it again."
            )
    return {number: dequantise_pae(found[number]) for number in sorted(found)}


def pae_json_name(rank: int) -> str:
    """Name of the file with `alphafold_db_pae` of a model."""
    return f"pae_{rank}.json"


def alphafold_db_pae(pae: NDArray[Any], *, rehearsal: bool = False) -> str:
    """PAE as the JSON text of an AlphaFold DB `predicted_aligned_error` file: whole Å, row = aligned on.

    A rehearsal says so under a key of its own, which readers of the format leave alone.
    """
    matrix = np.rint(np.asarray(pae, dtype=np.float64)).astype(int).tolist()
    entry: dict[str, Any] = {"predicted_aligned_error": matrix, "max_predicted_aligned_error": PAE_MAX}
    if rehearsal:
        entry["REHEARSAL"] = True
    return json.dumps([entry], separators=(",", ":"))


def confidence(
    *,
    engine: str,
    rehearsal: bool,
    target: TargetInput,
    alignment: tuple[int | None, float | None],
    predictions: Sequence[Prediction],
    relaxed: Collection[int],
    warnings: Sequence[str],
    scores: Mapping[str, float | int | str | bool] | None = None,
) -> Confidence:
    """Content of confidence.json.

    Args:
        alignment: depth and Neff of the target's MSA, None where there is none.
        predictions: in rank order.
        relaxed: ranks that were relaxed.
        scores: of the target, by the names of its engine's own columns.
    """
    molecules = molecules_of_target(target)
    lengths = [len(molecule.components()) for molecule in molecules]
    for item in predictions:
        if len(item.plddt) != sum(lengths):
            raise ValueError(f"{item.name}: {len(item.plddt)} pLDDT values for {sum(lengths)} residues.")
    tokens = next((item.tokens for item in predictions if item.tokens is not None), None)
    depth, neff = alignment
    return Confidence(
        key=target.key,
        engine=engine,
        rehearsal=rehearsal,
        chain_lengths=lengths,
        chain_kinds=[] if target.assembly is None else [str(molecule.kind) for molecule in molecules],
        chain_tokens=[] if tokens is None else tokens.by_chain(len(molecules)),
        models=[_scores(item, number in relaxed) for number, item in enumerate(predictions)],
        msa_depth=depth,
        neff=neff,
        scores=dict(scores or {}),
        warnings=list(dict.fromkeys([*warnings, *(text for item in predictions for text in item.warnings)])),
    )


def plddt_fractions(plddt: Sequence[float] | NDArray[Any]) -> dict[str, float]:
    """Share of residues in each of `PLDDT_BANDS`; the shares add up to 1."""
    values = np.asarray(plddt, dtype=np.float64)
    return {
        name: float(np.mean((values >= low) & (values < high))) for name, (low, high) in PLDDT_BANDS.items()
    }


def interface_pae(pae: NDArray[Any], chain_lengths: Sequence[int]) -> float | None:
    """Mean PAE over pairs of residues, or tokens, in different chains, Å; None for one chain."""
    chain = np.repeat(np.arange(len(chain_lengths)), chain_lengths)
    between = chain[:, None] != chain[None, :]
    return float(np.mean(pae[between], dtype=np.float64)) if between.any() else None


def metrics_row(scores: Confidence, pae: Mapping[int, NDArray[Any]] | None = None) -> dict[str, Any]:
    """The columns of `metrics.METRICS_COLUMNS` that the target's own files tell, for its best model.

    Those of scores.json and of the run are added by the caller. A value the model does not give is None.
    `pae` as `read_pae` returns it.
    """
    of_all = {
        "key": scores.key,
        "engine": scores.engine,
        "rehearsal": scores.rehearsal,
        "length": _polymer_residues(scores) or None,
        "chains": len(scores.chain_lengths) or None,
        "msa_depth": scores.msa_depth,
        "neff": scores.neff,
        **scores.scores,
    }
    if not scores.models:
        return of_all
    best = scores.models[0]
    matrix = pae.get(0) if pae else None
    return {
        **of_all,
        "mean_plddt": best.mean_plddt,
        **{f"fraction_{name}": share for name, share in plddt_fractions(best.plddt).items()},
        "ptm": best.ptm,
        "iptm": best.iptm,
        "mean_pae": None if matrix is None else float(np.mean(matrix, dtype=np.float64)),
        "max_pae": best.max_pae,
        "interface_pae": None
        if matrix is None
        else interface_pae(matrix, scores.chain_tokens or scores.chain_lengths),
        "model": best.name,
        "recycles": best.recycles,
        "relaxed": best.relaxed,
    }


def _polymer_residues(scores: Confidence) -> int:
    """As the plan counts: a component of a ligand is no residue of a chain."""
    kinds = scores.chain_kinds or ["protein"] * len(scores.chain_lengths)
    return sum(length for length, kind in zip(scores.chain_lengths, kinds, strict=True) if kind != "ligand")


def _scores(item: Prediction, relaxed: bool) -> ModelScores:
    return ModelScores(
        name=item.name,
        plddt=[round(float(value), 2) for value in item.plddt],
        mean_plddt=round(float(np.mean(item.plddt, dtype=np.float64)), 3),
        ptm=_rounded(item.ptm),
        iptm=_rounded(item.iptm),
        ranking_confidence=round(float(item.ranking_confidence), 6),
        max_pae=None if item.pae is None else _rounded(float(np.max(item.pae)), 3),
        recycles=int(item.recycles),
        seed=item.seed,
        relaxed=relaxed,
    )


def _rounded(value: float | None, digits: int = 4) -> float | None:
    return None if value is None else round(float(value), digits)
