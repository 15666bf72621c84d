"""Inputs of other programs for tests."""

from __future__ import annotations

import json
from typing import Any

from sequence_files import UBQ

HIGH = 400


def af3(*sequences: dict[str, Any], **more: Any) -> str:
    """An input of AlphaFold 3, one key a line."""
    job = {"name": "job 1", "modelSeeds": [1], "sequences": sequences, "dialect": "alphafold3", "version": 1}
    return json.dumps({**job, **more}, indent=1)


def server(*jobs: dict[str, Any]) -> str:
    common = {"modelSeeds": [], "dialect": "alphafoldserver", "version": 1}
    return json.dumps([{**common, **job} for job in jobs], indent=1)


def protein(ids: str | list[str] = "A", sequence: str = UBQ, **more: Any) -> dict[str, Any]:
    return {"protein": {"id": ids, "sequence": sequence, **more}}


def chain(sequence: str = UBQ, count: int = 1, **more: Any) -> dict[str, Any]:
    return {"proteinChain": {"sequence": sequence, "count": count, **more}}


ATP = {"ligand": {"id": "L", "ccdCodes": ["ATP"]}}
BOLTZ = f"version: 1\nsequences:\n  - protein:\n      id: A\n      sequence: {UBQ}\n"


def yaml_of(*entities: str, more: str = "") -> str:
    return BOLTZ + "".join(f"  - {entity}\n" for entity in entities) + more


LIGAND = "ligand: {id: L, smiles: 'CC(=O)O'}"
