"""Names and shapes of the arrays in AlphaFold2's parameter files (parameters.tsv beside this module).

The files were published once (2022) and do not change. The table was made from the network's own code, and
a test compares the two. Tracing the network whenever parameters are drawn or checked takes 5 CPU seconds for
each kind of model, and needs JAX.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from snakefold.engines.alphafold2.models import parse_name
from snakefold.engines.alphafold2.settings import OFFICIAL_BLOCKS, ModelPreset

Shapes = dict[str, tuple[int, ...]]

#: Models that share arrays: all; multimer or monomer models; those that read templates; those with a PAE.
GROUPS = ("all", "multimer", "monomer", "templates", "monomer_templates", "pae")
_SCOPE = "alphafold/alphafold_iteration/"


def groups_of(preset: ModelPreset, number: int) -> set[str]:
    """The groups of a model, of `GROUPS`. Of the monomer models only 1 and 2 read templates."""
    multimer = preset is ModelPreset.MULTIMER
    groups = {"all", "multimer" if multimer else "monomer"}
    if multimer or number <= 2:
        groups |= {"templates"} if multimer else {"templates", "monomer_templates"}
    return groups if preset is ModelPreset.MONOMER else groups | {"pae"}


@cache
def expected_shapes(name: str, blocks: int = OFFICIAL_BLOCKS) -> Shapes:
    """Shapes of a model's arrays: `scope//name` → shape, in alphabetical order.

    Triangle multiplications are given as in the official files: separate left and right projections (monomer)
    or fused ones (multimer v3).

    Args:
        name: AlphaFold's, for example model_1_ptm.
        blocks: Evoformer blocks: first dimension of the arrays that have one entry a block.
    """
    groups = groups_of(*parse_name(name))
    shapes: Shapes = {}
    for row in files(__package__).joinpath("parameters.tsv").read_text("ascii").splitlines()[1:]:
        models, array, shape = row.split("\t")
        if models in groups:
            shapes[_SCOPE + array] = tuple(
                blocks if word == "blocks" else int(word) for word in shape.split(",")
            )
    return shapes
