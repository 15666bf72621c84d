"""templates.tsv of a target: which known structures its network was given."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np

from snakefold.engines.alphafold2.shapes import MAX_TEMPLATES
from snakefold.engines.spec import ChainMsa, TargetMsas
from snakefold.kernel import tables

COLUMNS = ("chain", "template", "identity", "coverage", "sum_probs")


def files(msas: TargetMsas, *, used: bool) -> Mapping[str, bytes]:
    """templates.tsv of a target, if its networks were given any.

    Args:
        used: they read templates.
    """
    table = template_table(list({chain.a3m: chain for chain in msas.given}.values())) if used else None
    return {} if table is None else {"templates.tsv": table}


def template_table(chains: Sequence[ChainMsa]) -> bytes | None:
    """Templates of each chain, best first, as a table; None if there are none.

    `chain` counts the target's different chains from 1; `template` is `<pdb id>_<chain>`; `identity` is the
    share of the aligned residues that are alike, `coverage` the share of the chain's residues that are
    aligned (0 to 1); `sum_probs` is hhsearch's score, empty with hmmsearch, which has none.

    Args:
        chains: The target's different chains, in order.
    """
    rows = [
        [number, *row]
        for number, chain in enumerate(chains, 1)
        if chain.templates is not None
        for row in _rows(_query(chain.a3m), chain.templates)
    ]
    return "".join(tables.lines(COLUMNS, rows)).encode() if rows else None


def _rows(query: str, data: bytes) -> list[list[str]]:
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        names = [_text(name) for name in arrays["template_domain_names"][:MAX_TEMPLATES]]
        sequences = [_text(sequence) for sequence in arrays["template_sequence"][:MAX_TEMPLATES]]
        scores = np.ravel(arrays["template_sum_probs"])[:MAX_TEMPLATES]
    rows = []
    for name, sequence, score in zip(names, sequences, scores, strict=True):
        aligned = [
            (ours, theirs) for ours, theirs in zip(query, sequence, strict=False) if theirs not in "-."
        ]
        alike = sum(ours == theirs for ours, theirs in aligned)
        share = alike / len(aligned) if aligned else 0.0
        cover = len(aligned) / len(query) if query else 0.0
        rows.append(
            ["".join(name.split()), f"{share:.3f}", f"{cover:.3f}", f"{float(score):.2f}" if score else ""]
        )
    return rows


def _query(a3m: str) -> str:
    return "".join(a3m.lstrip().split("\n>")[0].split("\n")[1:]).strip()


def _text(value: bytes | str) -> str:
    return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
