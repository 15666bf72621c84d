"""The passes of a prediction, with the state between them kept on the device.

AlphaFold's own loop (alphafold.model.model.RunModel.predict, alphafold-colabfold 2.3.20) takes all outputs to
the host after each pass, rounds them to 16 bits and sends the state back: for 1,000 residues half a gigabyte
each way, while the GPU waits. Here the state is rounded where it is, to the same bits, and nothing else
leaves the device before the last pass, unless somebody wants to see it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

Features = dict[str, Any]
#: Takes the outputs of a pass, on the host, and its number.
Callback = Callable[[Features, int], None]

#: Width of the first row of the MSA's representation, and of the pair representation.
_ROW, _PAIR = 256, 128


def predict(
    runner: Any,
    inputs: Features,
    *,
    random_seed: int,
    return_representations: bool = False,
    callback: Callback | None = None,
) -> tuple[Features, int]:
    """Outputs of the last pass in 16 bits, as `RunModel.predict` gives them, and how many recycles it took.

    Args:
        runner: RunModel, with parameters.
        inputs: of its network; for a monomer those of all passes, one after the other.
        return_representations: `representations` of the outputs has those of pairs and of residues.
        callback: called after each pass. With one, the outputs of every pass leave the device.
    """
    import jax

    model = runner.config.model
    rows = 1 if runner.multimer_mode else runner.config.data.eval.num_ensemble
    state, key = _first(inputs, multimer=runner.multimer_mode), jax.random.PRNGKey(random_seed)
    for number in range(model.num_recycle + 1):
        key, own = jax.random.split(key)
        if runner.multimer_mode:
            part = inputs
        else:
            part = {name: value[number * rows : (number + 1) * rows] for name, value in inputs.items()}
        outputs = dict(runner.apply(runner.params, own, {**part, "prev": state}))
        state = _halved()(outputs.pop("prev"))
        if return_representations:
            pair, single = state["prev_pair"], state["prev_msa_first_row"]
            outputs["representations"] = {"pair": pair, "single": single}
        if callback is not None:
            outputs = on_host(outputs)
            callback(outputs, number)
        if _enough(model, outputs, number):
            break
    return on_host(outputs), number


def on_host(outputs: Features) -> Features:
    """Outputs as AlphaFold's code has them after each pass: arrays of numpy in 16 bits."""
    return {
        name: on_host(value) if isinstance(value, dict) else np.asarray(value, np.float16)
        for name, value in outputs.items()
    }


def _enough(model: Any, outputs: Features, number: int) -> bool:
    """Whether no more recycles are wanted. Scores are fetched only if they decide."""
    if model.stop_at_score < 100 and np.float16(outputs["ranking_confidence"]) > model.stop_at_score:
        return True
    tolerance = model.recycle_early_stop_tolerance
    return bool(number and tolerance > 0 and np.float16(outputs["tol"]) < tolerance)


def _first(inputs: Features, *, multimer: bool) -> Features:
    """The state before the first pass: zeros, but for positions that the features have."""
    length = inputs["aatype"].shape[0 if multimer else 1]
    positions = inputs.get("all_atom_positions")
    return {
        "prev_msa_first_row": np.zeros([length, _ROW], np.float16),
        "prev_pair": np.zeros([length, length, _PAIR], np.float16),
        "prev_pos": np.zeros([length, 37, 3], np.float16)
        if positions is None
        else np.asarray(positions, np.float16),
    }


@cache
def _halved() -> Callable[[Features], Features]:
    """The state in 16 bits; a program of its own, so that the network's stays the one ColabFold runs."""
    import jax
    import jax.numpy as jnp

    def recycled(state: Features) -> Features:
        return {name: value.astype(jnp.float16) for name, value in state.items()}

    return jax.jit(recycled)
