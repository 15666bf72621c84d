"""What ProteinMPNN gives for a backbone, in files: FASTA in its own form, and JSON with the numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from snakefold.engines import designing
from snakefold.engines.proteinmpnn.settings import ProteinMpnnSettings
from snakefold.engines.spec import Result
from snakefold.molecules.backbones import BackboneChain
from snakefold.molecules.designs import Design


@dataclass(frozen=True)
class Sample:
    """One sequence; scores are mean negative log-probabilities, lower is better.

    Attributes:
        number: from 1, for each temperature; 0: the native sequence.
        residues: of all chains, in the network's order.
        score: over the positions that are designed.
        global_score: over all positions with a backbone.
        recovery: share of the designed positions that have the native residue.
    """

    number: int
    temperature: float
    residues: str
    score: float
    global_score: float
    recovery: float


@dataclass(frozen=True)
class Sequences:
    """The native sequence, and what was drawn: by temperature, then by number."""

    native: Sample
    samples: Sequence[Sample]


def as_result(
    found: Sequences, design: Design, chains: Sequence[BackboneChain], settings: ProteinMpnnSettings
) -> Result:
    """Files and scores of a backbone."""
    by_name = {chain.name: chain for chain in chains}
    lengths = {name: len(by_name[name]) for name in design.designed}
    others = sorted(set(by_name) - set(design.designed))
    native = designing.Native(
        header=_native_header(found.native, design, others, settings),
        **_sequences(found.native, lengths),
        score=_rounded(found.native.score),
        global_score=_rounded(found.native.global_score),
    )
    samples = [
        designing.Sample(
            sample=each.number,
            header=_header(each),
            **_sequences(each, lengths),
            temperature=each.temperature,
            seed=settings.seed,
            score=_rounded(each.score),
            global_score=_rounded(each.global_score),
            recovery=_rounded(each.recovery),
        )
        for each in found.samples
    ]
    content = designing.Designs(
        settings={
            "model_name": settings.model_name,
            "use_soluble_model": settings.use_soluble_model,
            "seed": settings.seed,
            "backbone_noise": settings.backbone_noise,
        },
        designed_chains=list(design.designed),
        fixed_chains=others,
        fixed_positions={name: list(positions) for name, positions in design.fixed.items()},
        tied_positions=[list(group) for group in design.tied],
        conserved=design.conserved,
        sequences={chain.name: chain.sequence for chain in chains},
        numbering={name: list(by_name[name].numbers) for name in by_name},
        native=native,
        samples=samples,
    )
    scores: dict[str, float | int | str | bool] = {
        "designs": len(samples),
        "design_score": _rounded(fmean(each.score for each in found.samples)),
        "design_recovery": _rounded(fmean(each.recovery for each in found.samples)),
        "native_score": native.score,
    }
    files = {
        designing.FASTA: fasta([native, *samples]).encode(),
        designing.NUMBERS: (content.model_dump_json(indent=1) + "\n").encode(),
    }
    return Result(scores=scores, files=files)


def fasta(records: Sequence[designing.Native]) -> str:
    """FASTA of the native sequence and the designs."""
    return "".join(f">{each.header}\n{each.sequence}\n" for each in records)


def _sequences(sample: Sample, lengths: Mapping[str, int]) -> dict[str, Any]:
    """The designed chains, which are the first in the network's order: by name, and joined as upstream."""
    parts, start = {}, 0
    for name, length in lengths.items():
        parts[name] = sample.residues[start : start + length]
        start += length
    return {"sequence": "/".join(parts.values()), "chains": parts}


def _native_header(
    native: Sample, design: Design, others: Sequence[str], settings: ProteinMpnnSettings
) -> str:
    return (
        f"native, score={native.score:.4f}, global_score={native.global_score:.4f}, "
        f"fixed_chains={list(others)}, designed_chains={list(design.designed)}, "
        f"model_name={settings.model_name}, seed={settings.seed}"
    )


def _header(sample: Sample) -> str:
    return (
        f"T={sample.temperature}, sample={sample.number}, score={sample.score:.4f}, "
        f"global_score={sample.global_score:.4f}, seq_recovery={sample.recovery:.4f}"
    )


def _rounded(value: float) -> float:
    return round(value, 4)
