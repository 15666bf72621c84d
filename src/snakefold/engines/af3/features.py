"""What the network of a model takes, made by the family's featuriser from AlphaFold 3's JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from snakefold.engines.af3.msa import with_query
from snakefold.kernel.errors import Reason, TargetError


def featurised(
    document: Mapping[str, Any], spec: Any, buckets: Sequence[int], folder: Path | None
) -> tuple[Any, dict[str, Any]]:
    """The wheel's input of a JSON with one seed, and the network's.

    Raises:
        TargetError: it refuses the input.
    """
    from alphafold3.common import folding_input
    from alphafold3.constants import decoded_ccd
    from alphafold3.data import featurisation
    from alphafold3.model import model_registry
    from alphafold3.model.pipeline import model_features

    try:
        given = folding_input.Input.from_json(json.dumps(document))
        given = dataclasses.replace(given, chains=[_with_own_query(chain) for chain in given.chains])
        has_msa = model_features.input_has_msa(given)
        prepared = model_features.prepare_input(given, spec)
        dictionary = decoded_ccd.get_ccd()

        def run() -> Any:
            return featurisation.featurise_input(
                fold_input=prepared,
                ccd=dictionary,
                buckets=list(buckets),
                **model_registry.featurise_kwargs(spec),
            )

        (batch,) = run()
        batch = model_features.apply(
            batch,
            spec,
            refeaturise=run,
            model_dir=None if folder is None else str(folder),
            has_msa=has_msa,
            fold_input=given,
            seed=given.rng_seeds[0],
        )
    except (ValueError, KeyError, IndexError, AssertionError, NotImplementedError) as error:
        raise TargetError(
            Reason.INVALID_INPUT,
            f"{spec.name}: the featuriser refuses the target: {type(error).__name__}: {error}"[:600],
            "Predict it with another af3.model, or leave out what the text names.",
        ) from error
    return given, dict(batch)


def _with_own_query(chain: Any) -> Any:
    """A protein whose alignments begin with its sequence as the wheel reads it: SEP is S, others are X."""
    from alphafold3.common import folding_input

    filled = chain.fill_missing_fields() if hasattr(chain, "fill_missing_fields") else chain
    if not isinstance(filled, folding_input.ProteinChain) or not filled.ptms:
        return filled
    return folding_input.ProteinChain(
        id=filled.id,
        sequence=filled._sequence,
        ptms=filled.ptms,
        paired_msa=with_query(filled.paired_msa or "", filled.sequence),
        unpaired_msa=with_query(filled.unpaired_msa or "", filled.sequence),
        templates=filled.templates,
    )
