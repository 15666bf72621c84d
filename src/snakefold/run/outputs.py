"""The files of one finished target (docs/design.md): made from an engine's predictions, free of ids."""

from __future__ import annotations

import importlib.metadata
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from snakefold import engines
from snakefold.engines.spec import ChainMsa, Result, TargetMsas
from snakefold.kernel.contracts import FoldRequest, RelaxChoice, TargetInput
from snakefold.kernel.notes import Code, note
from snakefold.structures import chains, confidence, mmcif
from snakefold.structures import files as structures
from snakefold.structures.prediction import Prediction

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
    result: Result,
    relaxation: Relaxation,
    seconds: dict[str, float],
    software: str,
    warnings: Sequence[str] = (),
) -> dict[str, bytes]:
    """Files of a target, by name. Models of `result` are in rank order; `warnings`: what else befell it.

    A model is there as mmCIF, and as PDB where that format holds it. The unrelaxed text of a model is kept as
    `unrelaxed_<n>.pdb` where relaxation replaced it, as AlphaFold keeps `unrelaxed_*` beside `relaxed_*`.
    """
    predictions = list(result.predictions)
    files: dict[str, bytes] = dict(result.files)
    scores = confidence.confidence(
        engine=request.engine,
        rehearsal=request.rehearsal,
        target=target,
        alignment=depth_and_neff(msas),
        predictions=predictions,
        relaxed=set(relaxation.pdbs),
        warnings=[*warnings, *result.notes, *relaxation.warnings],
        scores=result.scores,
    )
    searched = _different_chains(msas)
    molecules, bonds = chains.molecules_of_target(target), chains.bonds_of_target(target)

    def annotated(pdb: str, origin: str) -> str:
        return structures.annotate(
            pdb, rehearsal=request.rehearsal, key=target.key, engine=software, origin=origin
        )

    for rank, prediction in enumerate(predictions):
        relaxed = relaxation.pdbs.get(rank)
        model = prediction.atoms() if relaxed is None else structures.read(relaxed)
        if text := relaxed or prediction.pdb:
            files[f"ranked_{rank}.pdb"] = annotated(text, prediction.origin).encode()
        engine, _, version = software.rpartition(" ")
        making = mmcif.Making(
            engine or software,
            version if engine else "",
            parameters=_parameters(request, result),
            alignment=_alignment(msas, searched),
            relaxer=("OpenMM", _version("openmm")) if relaxed else None,
            origin=prediction.origin,
            pae=None if prediction.pae is None else ("pae.npz", f"rank_{rank}"),
            rehearsal=request.rehearsal,
        )
        files[f"ranked_{rank}.cif"] = mmcif.write(
            model, molecules, scores.models[rank], making, name=target.key[:12], bonds=bonds
        ).encode()
        if relaxed:
            files[f"unrelaxed_{rank}.pdb"] = annotated(prediction.pdb, "").encode()
    files["confidence.json"] = scores.model_dump_json().encode()
    if predictions:
        mark = {"REHEARSAL": True} if request.rehearsal else {}
        files["ranking_debug.json"] = _json({**confidence.ranking_debug(predictions), **mark})
    tokens = next((each.tokens for each in predictions if each.tokens is not None), None)
    if tokens is not None:
        files["tokens.json"] = _json(tokens.to_json())
    if any(prediction.pae is not None for prediction in predictions):
        files["pae.npz"] = confidence.pae_archive([prediction.pae for prediction in predictions])
    metas = [chain.meta for chain in searched if chain.meta is not None]
    if metas:
        seconds = {"msa": sum(sum(meta.seconds.values()) for meta in metas), **seconds}
        files["msa.json"] = _json([meta.model_dump(mode="json") for meta in metas])
        files["hits.tsv"] = _hits_table(searched).encode()
    files |= engines.get(request.engine).files(request, target, msas)
    files["timings.json"] = _json({name: round(value, 3) for name, value in seconds.items()})
    own = msas.own_a3m
    if own is not None or searched:
        files["msa.a3m"] = (own if own is not None else "".join(chain.a3m for chain in searched)).encode()
    return files


def relax_ranked(predictions: list[Prediction], choice: RelaxChoice, relax: Relax) -> Relaxation:
    """Relax none, the best or all of the ranked models; a failure keeps the model and is recorded."""
    count = {RelaxChoice.NONE: 0, RelaxChoice.BEST: 1, RelaxChoice.ALL: len(predictions)}[choice]
    done = Relaxation()
    start = time.monotonic()
    for rank, prediction in enumerate(predictions[:count]):
        if not prediction.pdb:
            said = "AlphaFold's protocol works with PDB text, which cannot hold the model"
            done.warnings.append(note(Code.RELAX_FAILED, f"rank {rank} ({prediction.name}): {said}"))
            continue
        try:
            done.pdbs[rank] = relax(prediction.pdb)
        except Exception as error:  # OpenMM raises its own and bare exceptions; the model itself is sound
            done.warnings.append(note(Code.RELAX_FAILED, f"rank {rank} ({prediction.name}): {error}"[:500]))
    done.seconds = time.monotonic() - start
    return done


def depth_and_neff(msas: TargetMsas) -> tuple[int | None, float | None]:
    """Rows and effective rows of a target's alignment; None where it has none, or nobody counted."""
    if msas.own_a3m is not None:
        return sum(line.startswith(">") for line in msas.own_a3m.splitlines()), None
    if not msas.given:
        return None, None
    # The chain with the fewest rows limits what the network can learn about a complex.
    shallowest = min(msas.given, key=lambda chain: chain.depth)
    return shallowest.depth, shallowest.neff


def _parameters(request: FoldRequest, result: Result) -> dict[str, mmcif.Value]:
    """The engine's settings as they ran, and a file of a model states them; models are said by name."""
    ran = {**request.settings, **result.ran}
    values = {name: _stated(value) for name, value in ran.items() if name != "models"}
    return {name: value for name, value in values.items() if value is not None}


def _stated(value: mmcif.Value | list[str]) -> mmcif.Value:
    """ModelCIF has lists of numbers: a list of texts is one text."""
    if isinstance(value, list) and any(isinstance(each, str) for each in value):
        return ", ".join(map(str, value))
    return value  # type: ignore[return-value]


def _alignment(msas: TargetMsas, searched: Sequence[ChainMsa]) -> str:
    """How the alignments were made, as a sentence."""
    if msas.own_a3m is not None:
        return "The alignment came with the target."
    made = {
        f"{meta.tool}: {', '.join(used.name for used in meta.databases)}" if meta.databases else meta.tool
        for meta in (chain.meta for chain in searched)
        if meta is not None
    }
    return "; ".join(sorted(made))


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _different_chains(msas: TargetMsas) -> list[ChainMsa]:
    """Each chain of a homomer once."""
    return list({chain.a3m: chain for chain in msas.given}.values())


def _hits_table(chains: list[ChainMsa]) -> str:
    """hits.tsv of all chains under one header."""
    tables = [chain.hits.splitlines(keepends=True) for chain in chains if chain.hits]
    return "".join([*tables[0][:1], *(line for table in tables for line in table[1:])]) if tables else ""


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()
