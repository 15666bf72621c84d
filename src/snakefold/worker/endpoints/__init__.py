"""Contracts of the endpoints: what one may be sent as `input`, and what it answers."""

from __future__ import annotations

from snakefold.kernel.envelope import Envelope, Part, Sink
from snakefold.worker.endpoints.alphafold2 import FlatRequest
from snakefold.worker.endpoints.boltz2 import PoseRequest
from snakefold.worker.endpoints.checked import InvalidInput, Request, checked, read_input
from snakefold.worker.endpoints.mmseqs2 import BuildRequest, SearchRequest
from snakefold.worker.endpoints.proteinmpnn import DesignRequest

__all__ = [
    "BuildRequest",
    "DesignRequest",
    "Envelope",
    "FlatRequest",
    "InvalidInput",
    "Part",
    "PoseRequest",
    "Request",
    "SearchRequest",
    "Sink",
    "checked",
    "read_input",
]
