"""Scores of interfaces: chains by the target's names, and padding without a trace."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from snakefold.engines.alphafold2 import interfaces

CHAINS = ("MKTAYIAK", "GSHMFVKSHFSR", "MKTAYIAK")


def result_of(order: list[int], padding: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Random logits of the network, its chains in this order of the target's; padding has some, too."""
    lengths = [len(CHAINS[place]) for place in order]
    length = sum(lengths) + padding
    source = np.random.default_rng(3)
    full = {name: source.normal(size=(48, 48, 64)).astype(np.float32) for name in ("pae", "distance")}
    at = np.cumsum([0, *map(len, CHAINS)])
    real = np.concatenate([np.arange(at[place], at[place + 1]) for place in order])
    place = np.concatenate([real, np.arange(28, 28 + padding)])
    asym = np.concatenate(
        [np.full(size, number) for number, size in enumerate(lengths)] + [np.zeros(padding)]
    )
    pick = np.ix_(place, place)
    return {"asym_id": asym}, {
        "distogram": {"logits": full["distance"][pick]},
        "predicted_aligned_error": np.zeros((length, length)),
        "pae_matrix_with_logits": {
            "logits": full["pae"][pick],
            "breaks": np.linspace(0, 31, 63),
            "asym_id": asym,
        },
    }


@pytest.mark.parametrize("probabilities", [True, False])
def test_padding_and_the_order_of_the_network_do_not_show(probabilities: bool) -> None:
    # AlphaFold-Multimer computes A:B:A as A:A:B.
    found = [
        interfaces.scores(*result_of([0, 2, 1], padding), CHAINS, probabilities=probabilities)
        for padding in (0, 5)
    ]
    assert found[0] == found[1]
    assert list(found[0]["per_chain_ptm"]) == ["A", "C", "B"]
    assert set(found[0]["pairwise_iptm"]) == {"A-B", "A-C", "B-C"}
    # As if each were the only pair: chain A with the different chain B.
    first, second = result_of([0, 1, 2], 0)
    from colabfold.alphafold import extra_ptm

    direct = extra_ptm.get_chain_and_interface_metrics(
        second, first["asym_id"], use_probs_extra=probabilities, use_jnp=False
    )
    assert found[0]["pairwise_iptm"] == pytest.approx(direct["pairwise_iptm"], abs=1e-3)
    assert found[0]["per_chain_ptm"] == pytest.approx(direct["per_chain_ptm"], abs=1e-3)
    assert found[0]["actifptm"] == pytest.approx(direct["actifptm"], abs=1e-3)


def test_the_column_is_the_best_models() -> None:
    class Scored:
        def __init__(self, name: str, score: float) -> None:
            self.name, self.ranking_confidence = name, score

    models: Any = [(Scored("one", 0.3), {"actifptm": 0.4}), (Scored("two", 0.5), {"actifptm": 0.2})]
    assert interfaces.best(models) == {"actifptm": 0.2}
    for rehearsal in (False, True):
        content = interfaces.files(models, rehearsal=rehearsal)["interfaces.json"]
        assert (b"REHEARSAL" in content) == rehearsal and b'"two"' in content
    without: Any = [(Scored("one", 0.3), {})]
    assert interfaces.best(without) == {}
    assert interfaces.files(without, rehearsal=True) == {}
