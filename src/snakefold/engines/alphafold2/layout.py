"""Names and shapes of the arrays in AlphaFold2's parameter files (parameters.tsv beside this module).

The files were published once (2022) and do not change. The table was made from the network's own code, and
a test compares the two. Tracing the network whenever parameters are drawn or checked takes 5 CPU seconds for
each kind of model, and needs JAX.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib.resources import files

from snakefold.engines.alphafold2.models import parse_name
from snakefold.engines.alphafold2.settings import OFFICIAL_BLOCKS, ModelPreset

Shapes = dict[str, tuple[int, ...]]

#: Models that share arrays: all; multimer or monomer models; those that read templates; those with a PAE.
GROUPS = ("all", "multimer", "monomer", "templates", "monomer_templates", "pae")
_SCOPE = "alphafold/alphafold_iteration/"
#: Files with a left and a right projection, where the table has both in one.
_SEPARATE = (ModelPreset.MULTIMER_V1, ModelPreset.MULTIMER_V2)
#: Heads that no run reads. Nobody says that DeepFold's files have them.
_UNREAD = tuple(f"{_SCOPE}{head}_head/" for head in ("distogram", "masked_msa", "experimentally_resolved"))


def groups_of(preset: ModelPreset, number: int) -> set[str]:
    """The groups of a model, of `GROUPS`. Of the monomer models only 1 and 2 read templates."""
    multimer = preset.multimer
    groups = {"all", "multimer" if multimer else "monomer"}
    if multimer or number <= 2:
        groups |= {"templates"} if multimer else {"templates", "monomer_templates"}
    return groups | {"pae"} if preset.gives_pae else groups


@cache
def expected_shapes(name: str, blocks: int = OFFICIAL_BLOCKS) -> Shapes:
    """Shapes of a model's arrays: `scope//name` → shape, in alphabetical order.

    Triangle multiplications are given as in the official files: separate left and right projections (monomer,
    multimer v1 and v2) or fused ones (multimer v3). Of DeepFold's files, the arrays that its network reads.

    Args:
        name: AlphaFold's, for example model_1_ptm.
        blocks: Evoformer blocks: first dimension of the arrays that have one entry a block.
    """
    preset, number = parse_name(name)
    groups = groups_of(preset, number)
    shapes: Shapes = {}
    for row in files(__package__).joinpath("parameters.tsv").read_text("ascii").splitlines()[1:]:
        models, array, shape = row.split("\t")
        if models in groups:
            shapes[_SCOPE + array] = tuple(
                blocks if word == "blocks" else int(word) for word in shape.split(",")
            )
    if preset is ModelPreset.DEEPFOLD:
        return {key: shape for key, shape in shapes.items() if not key.startswith(_UNREAD)}
    return shapes if preset not in _SEPARATE else dict(sorted(_separated(shapes)))


def _separated(fused: Shapes) -> Iterator[tuple[str, tuple[int, ...]]]:
    """With left and right projections of triangle multiplications apart, as before multimer v3."""
    for key, shape in fused.items():
        module, array = key.split("//")
        scope, _, layer = module.rpartition("/")
        prefix = f"{scope}/"
        if not scope.rpartition("/")[2].startswith("triangle_multiplication"):
            yield key, shape
        elif layer in ("projection", "gate"):
            for side in ("left", "right"):
                yield f"{prefix}{side}_{layer}//{array}", (*shape[:-1], shape[-1] // 2)
        else:
            names = {"left_norm_input": "layer_norm_input", "center_norm": "center_layer_norm"}
            yield f"{prefix}{names.get(layer, layer)}//{array}", shape
