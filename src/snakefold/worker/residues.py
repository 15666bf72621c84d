"""How many residues are predicted for a request, before anything is computed."""

from __future__ import annotations

from functools import singledispatch

from pydantic import BaseModel

from snakefold import engines
from snakefold.kernel.contracts import FoldRequest
from snakefold.kernel.envelope import Envelope
from snakefold.plan.records import target_input
from snakefold.worker.endpoints import FlatRequest, InvalidInput, PoseRequest, SequencesRequest, checked
from snakefold.worker.endpoints.boltz2 import yaml_of
from snakefold.worker.endpoints.models import PredictRequest
from snakefold.worker.flat import targets_of
from snakefold.worker.models import target_of
from snakefold.worker.poses import assembly_of


@singledispatch
def residues_of(_request: BaseModel) -> int:
    """Residues of all chains of all targets; 0 for what predicts nothing: searches, builds, designs.

    Whether a result is in the store already is not known, nor how many models of a target are drawn.

    Raises:
        InputError, InvalidInput: a worker would refuse the targets, or they are behind an address.
    """
    return 0


@residues_of.register
def _flat(request: FlatRequest) -> int:
    if request.fasta_url is not None:
        raise InvalidInput("fasta_url: its residues are not known before it is fetched. Send `fasta`.")
    text = request.fasta if request.fasta is not None else f">sequence\n{request.sequence}\n"
    return sum(target_input(target).length for target in targets_of(text))


@residues_of.register
def _sequences(request: SequencesRequest) -> int:
    return _flat(request.flat)


@residues_of.register
def _poses(request: PoseRequest) -> int:
    return target_input(assembly_of(yaml_of(request.input_yaml))).length


@residues_of.register
def _predict(request: PredictRequest) -> int:
    with target_of(request.sequence, []) as target:
        return target_input(target).length


@residues_of.register
def _batch(envelope: Envelope) -> int:
    request = checked(FoldRequest, envelope.request)
    engine = engines.find(request.engine)
    if engine is not None and engine.sequences(checked(engine.Settings, request.settings)):
        return 0
    return sum(target.length for target in request.targets)
