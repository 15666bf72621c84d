"""Scores of interfaces by ColabFold: actifpTM and ipTM of pairs of chains, pTM of each chain.

actifpTM weighs residues by the probability that they are in contact (Varga, Ovchinnikov and Schueler-Furman
2025). The arithmetic is colabfold.alphafold.extra_ptm's (colabfold 1.6.3).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from snakefold.engines.spec import Column

if TYPE_CHECKING:
    from snakefold.engines.alphafold2.features import Features
    from snakefold.structures.prediction import Prediction

FILE = "interfaces.json"
#: A model, and what `scores` gave of it; {} if nobody asked.
Model = tuple["Prediction", dict[str, Any]]
#: ColabFold names chains by letters, and begins again after Z: then pairs would have the names of others.
_MOST_CHAINS = 26
COLUMNS = {
    "actifptm": Column(
        float,
        "0 to 1",
        "actifpTM of the best model: ipTM of residues in contact (calc_extra_ptm).",
    )
}


def scores(
    features: Features, result: Features, chains: Sequence[str], *, probabilities: bool
) -> dict[str, Any]:
    """Scores of one model of a complex, by names of its chains in the target's order.

    Args:
        features: the network's input; `asym_id` [padded length].
        result: what RunModel.predict gave with `calc_extended_ptm`: logits of the distogram and of the PAE.
        probabilities: weigh by probabilities of contact; if not, count contacts above 0.6.

    Returns:
        actifptm, and by pair ("A-B") or chain pairwise_actifptm, pairwise_iptm, per_chain_ptm. A complex of
        more than 26 chains has actifptm alone.
    """
    from colabfold.alphafold import extra_ptm

    from snakefold.engines.alphafold2.features import chain_order
    from snakefold.structures.chains import chain_names

    length = sum(map(len, chains))
    errors = dict(result["pae_matrix_with_logits"])
    errors["logits"] = errors["logits"][:length, :length]
    errors["asym_id"] = errors["asym_id"][:length]
    real = {
        "distogram": {"logits": result["distogram"]["logits"][:length, :length]},
        "predicted_aligned_error": result["predicted_aligned_error"][:length, :length],
        "pae_matrix_with_logits": errors,
    }
    found = extra_ptm.get_chain_and_interface_metrics(
        real, features["asym_id"][:length], use_probs_extra=probabilities, use_jnp=False
    )
    if len(chains) > _MOST_CHAINS:
        return {"actifptm": found["actifptm"]}
    # The network's chains are A, B, … in its own order: equal sequences side by side.
    names = dict(zip(chain_names(len(chains)), chain_order(chains), strict=True))
    return {
        name: {_renamed(key, names): score for key, score in value.items()}
        if isinstance(value, Mapping)
        else value
        for name, value in found.items()
    }


def _renamed(key: str, names: Mapping[str, int]) -> str:
    """A chain, or a pair of chains, in the target's order."""
    from snakefold.structures.chains import chain_names

    ours = chain_names(len(names))
    return "-".join(ours[place] for place in sorted(names[letter] for letter in key.split("-")))


def best(models: Sequence[Model]) -> dict[str, float | int | str | bool]:
    """The column of the model that ranks first; {} without scores of interfaces."""
    _, found = max(models, key=lambda model: model[0].ranking_confidence, default=(None, {}))
    return {name: found[name] for name in COLUMNS if name in found}


def files(models: Sequence[Model], *, rehearsal: bool) -> dict[str, bytes]:
    """interfaces.json: scores by model, and the mark of a rehearsal; {} without any."""
    found: dict[str, Any] = {prediction.name: extra for prediction, extra in models if extra}
    if found and rehearsal:
        found["REHEARSAL"] = True
    return {FILE: (json.dumps(found, indent=1) + "\n").encode()} if found else {}
