"""Contracts of the endpoints: what one may be sent as `input`, and what it answers."""

from __future__ import annotations

from snakefold.kernel.envelope import Envelope, Part, Sink
from snakefold.worker.endpoints.alphafold2 import FlatRequest, SequencesRequest
from snakefold.worker.endpoints.boltz2 import PoseRequest
from snakefold.worker.endpoints.checked import InvalidInput, checked, read_input
from snakefold.worker.endpoints.mmseqs2 import BuildRequest, ClusterRequest, SearchRequest
from snakefold.worker.endpoints.proteinmpnn import DesignRequest

__all__ = [
    "BuildRequest",
    "ClusterRequest",
    "DesignRequest",
    "Envelope",
    "FlatRequest",
    "InvalidInput",
    "Part",
    "PoseRequest",
    "SearchRequest",
    "SequencesRequest",
    "Sink",
    "checked",
    "read_input",
]
