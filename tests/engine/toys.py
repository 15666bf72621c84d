"""Small targets, MSAs and requests for the engine's tests."""

from __future__ import annotations

import hashlib
import io
import random
from collections.abc import Sequence
from typing import Any

import numpy as np

from snakefold.engines.alphafold2 import parameters
from snakefold.engines.alphafold2.settings import AlphaFold2Settings
from snakefold.engines.spec import ChainMsa, TargetMsas
from snakefold.kernel.contracts import FoldRequest, TargetInput
from snakefold.kernel.recipes import sequence_key
from snakefold.molecules.complexes import proteins_of
from snakefold.molecules.entities import Assembly, InitialGuess, Template
from snakefold.molecules.own_templates import carried

#: As small as parameters can be: shapes of the arrays.
TOY_PARAMETERS = {parameters._COUNTED: (48, 3), "alphafold//weights": (3,)}


def toy_a3m(sequence: str, rows: int) -> str:
    """An MSA of `rows` rows: the sequence, then copies of it with 30 % of the residues changed or missing."""
    source = random.Random(sequence)
    letters = "ACDEFGHIKLMNPQRSTVWY-"
    text = f">query\n{sequence}\n"
    for row in range(rows - 1):
        changed = (letter if source.random() < 0.7 else source.choice(letters) for letter in sequence)
        text += f">row{row}\n{''.join(changed)}\n"
    return text


def make_target(name: str, *chains: str) -> TargetInput:
    """A target as the plan makes it."""
    return TargetInput(id=name, key=sequence_key(chains), chains=list(chains))


def make_request(
    targets: Sequence[TargetInput], bucket_edges: Sequence[int] = (), **settings: Any
) -> FoldRequest:
    """A request for a small prediction in float32."""
    small = {"models": [1], "num_recycle": 0, "precision": "float32"}
    return FoldRequest(
        batch="test",
        engine="alphafold2",
        settings=AlphaFold2Settings.model_validate(small | settings).model_dump(mode="json"),
        recipe="0" * 16,
        bucket_edges=list(bucket_edges),
        targets=list(targets),
    )


def chain_msas(target: TargetInput, rows: int) -> TargetMsas:
    """Toy MSAs for all chains of a target."""
    return TargetMsas(chains=[ChainMsa(toy_a3m(chain, rows), depth=rows) for chain in target.chains])


def templates_npz(sequence: str) -> bytes:
    """One template with AlphaFold's feature names: the sequence itself, its atoms anywhere."""
    from alphafold.common import residue_constants

    one_hot = residue_constants.sequence_to_onehot(sequence, residue_constants.HHBLITS_AA_TO_ID)
    positions = np.random.default_rng(1).normal(size=(1, len(sequence), 37, 3)) * 10
    stream = io.BytesIO()
    np.savez(
        stream,
        template_aatype=one_hot[None],
        template_all_atom_positions=positions.astype(np.float32),
        template_all_atom_masks=np.ones((1, len(sequence), 37), np.float32),
        template_domain_names=np.array([b"1abc_A"]),
        template_sequence=np.array([sequence.encode()]),
        template_sum_probs=np.array([[100.0]], np.float32),
    )
    return stream.getvalue()


def with_structures(
    chains: Sequence[str], *, templates: Sequence[str] = (), guess: str = ""
) -> tuple[TargetInput, dict[str, bytes]]:
    """A target that brings structures (PDB texts), and its files."""
    named = [
        (hashlib.sha256(text.encode()).hexdigest(), text.encode()) for text in [*templates, guess] if text
    ]
    structures = [{"form": "pdb", "file": f"sha256:{digest}"} for digest, _ in named]
    assembly = Assembly(
        entities=tuple(proteins_of(chains)),
        templates=[Template.model_validate(each) for each in structures[: len(templates)]],
        initial_guess=InitialGuess.model_validate(structures[-1]) if guess else None,
    )
    target = TargetInput(
        id="query",
        key=assembly.key,
        chains=[],
        assembly=assembly.model_dump(mode="json", exclude_defaults=True),
    )
    contents = dict(named)
    return target, {name: contents[digest] for name, digest in carried(target.assembly).items()}
