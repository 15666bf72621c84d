"""Contracts of the endpoints: what one may be sent as `input`, and what it answers."""

from __future__ import annotations

from snakefold.endpoints.alphafold2 import FlatRequest
from snakefold.endpoints.checked import InvalidInput, checked
from snakefold.endpoints.dispatch import Request, read_input
from snakefold.endpoints.envelope import Envelope, Part, Sink
from snakefold.endpoints.mmseqs2 import BuildRequest, SearchRequest

__all__ = [
    "BuildRequest",
    "Envelope",
    "FlatRequest",
    "InvalidInput",
    "Part",
    "Request",
    "SearchRequest",
    "Sink",
    "checked",
    "read_input",
]
