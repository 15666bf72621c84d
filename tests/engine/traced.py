"""Names and shapes of AlphaFold's parameters from the network's own code.

python -m tests.engine.traced > src/snakefold/engines/alphafold2/parameters.tsv
"""

from __future__ import annotations

from typing import Any

import numpy as np

from snakefold.engines.alphafold2.layout import GROUPS, Shapes, groups_of
from snakefold.engines.alphafold2.models import configuration, parse_name
from snakefold.engines.alphafold2.settings import OFFICIAL_BLOCKS, AlphaFold2Settings, ModelPreset
from snakefold.engines.alphafold2.shapes import MsaShape

#: A model of each kind; the others have the parameters of one of these.
KINDS = ("model_1", "model_3", "model_1_ptm", "model_3_ptm", "model_1_multimer_v3")


def traced_shapes(name: str, blocks: int = OFFICIAL_BLOCKS) -> Shapes:
    """Shapes of a model's parameters: `scope//name` → shape.

    Traces the initialisation without computing it (jax.eval_shape): a few CPU seconds. Triangle
    multiplications are given as in the official files: separate left and right projections (monomer, multimer
    v1 and v2) or fused ones (multimer v3).
    """
    import haiku as hk
    import jax
    from alphafold.model import config as alphafold_config
    from alphafold.model import model, modules, modules_multimer

    preset, number = parse_name(name)
    multimer = preset.multimer
    settings = AlphaFold2Settings.model_validate({"num_recycle": 0, "precision": "float32"})
    shape = MsaShape(8, 8, 16)
    config = alphafold_config.model_config(name)
    small = configuration(preset, templates=number <= 2, settings=settings, shape=shape, blocks=blocks)
    small.model.heads = config.model.heads
    small.model.global_config.zero_init = False
    if preset is not ModelPreset.MULTIMER:
        for stack in _triangle_stacks(small.model.embeddings_and_evoformer):
            stack.fuse_projection_weights = False
    network = modules_multimer.AlphaFold if multimer else modules.AlphaFold_noE

    def forward(batch: Any) -> Any:
        return network(small.model)(batch, is_training=False)

    features = _toy_features(model.RunModel(small), preset, settings, shape)
    traced = jax.eval_shape(hk.transform(forward).init, jax.random.PRNGKey(0), features)
    return {f"{scope}//{key}": leaf.shape for scope, leaves in traced.items() for key, leaf in leaves.items()}


def _triangle_stacks(network: Any) -> list[Any]:
    sides = ("triangle_multiplication_incoming", "triangle_multiplication_outgoing")
    return [
        stack[side] for stack in (network.evoformer, network.template.template_pair_stack) for side in sides
    ]


def _toy_features(
    runner: Any, preset: ModelPreset, settings: AlphaFold2Settings, shape: MsaShape
) -> dict[str, Any]:
    from snakefold.engines.alphafold2.features import raw_features
    from snakefold.engines.alphafold2.runner import network_inputs
    from snakefold.engines.spec import ChainMsa, TargetMsas
    from snakefold.kernel.contracts import TargetInput
    from snakefold.kernel.recipes import sequence_key

    chains = ["ACDEFGHIKLMN"]
    target = TargetInput(id="toy", key=sequence_key(chains), chains=chains)
    msas = TargetMsas(chains=[ChainMsa(f">q\n{chains[0]}\n")])
    features = network_inputs(runner, raw_features(target, msas, preset, settings, shape), preset, seed=0)
    length = target.length
    previous = {
        "prev_msa_first_row": np.zeros((length, 256), np.float16),
        "prev_pair": np.zeros((length, length, 128), np.float16),
        "prev_pos": np.zeros((length, 37, 3), np.float16),
    }
    return {**features, "prev": previous}


def table() -> str:
    """The rows of parameters.tsv."""
    # An array whose first dimension grows with the number of blocks has one entry a block.
    few = {name: traced_shapes(name, 3) for name in KINDS}
    many = {name: traced_shapes(name, 5) for name in KINDS}
    kinds: dict[tuple[str, str], set[str]] = {}
    for name in KINDS:
        for key, shape in few[name].items():
            words = [*map(str, shape)]
            if many[name][key] != shape:
                words[0] = "blocks"
            kinds.setdefault((key, ",".join(words)), set()).add(name)
    members = {group: {name for name in KINDS if group in groups_of(*parse_name(name))} for group in GROUPS}
    rows = ["models\tarray\tshape"]
    for (key, words), names in sorted(kinds.items()):
        group = next(each for each in GROUPS if members[each] == names)
        rows.append(f"{group}\t{key.removeprefix('alphafold/alphafold_iteration/')}\t{words}")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    print(table(), end="")
