"""Which of OpenFold's tensors an array of AlphaFold2 is.

Both are one network, so that each array is one tensor, or one tensor of each block of a stack. OpenFold's
names are those of its release 2; `current` translates those of release 1, which the published files may have.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_SCOPE = "alphafold/alphafold_iteration/"

#: Names of one array of a layer, AlphaFold's → OpenFold's: linear layers, norms, attention.
_LEAVES = {
    "weights": "weight",
    "bias": "bias",
    "scale": "weight",
    "offset": "bias",
    "query_w": "linear_q.weight",
    "key_w": "linear_k.weight",
    "value_w": "linear_v.weight",
    "gating_w": "linear_g.weight",
    "gating_b": "linear_g.bias",
    "output_w": "linear_o.weight",
    "output_b": "linear_o.bias",
}
#: Layers of the pair representation, in each block of each stack.
_PAIR = {
    "pair_transition/input_layer_norm": "pair_transition.layer_norm",
    "pair_transition/transition1": "pair_transition.linear_1",
    "pair_transition/transition2": "pair_transition.linear_2",
}
for _theirs, _ours in (("starting", "start"), ("ending", "end")):
    _scope, _module = f"triangle_attention_{_theirs}_node", f"tri_att_{_ours}"
    _PAIR |= {
        f"{_scope}/query_norm": f"{_module}.layer_norm",
        f"{_scope}/attention": f"{_module}.mha",
        f"{_scope}//feat_2d_weights": f"{_module}.linear.weight",
    }
# AlphaFold's left is the a of the paper's outgoing edges and the b of its incoming ones; OpenFold keeps to
# the paper.
for _theirs, _ours, _left, _right in (("outgoing", "out", "a", "b"), ("incoming", "in", "b", "a")):
    _scope, _module = f"triangle_multiplication_{_theirs}", f"tri_mul_{_ours}"
    _PAIR |= {
        f"{_scope}/layer_norm_input": f"{_module}.layer_norm_in",
        f"{_scope}/center_layer_norm": f"{_module}.layer_norm_out",
        f"{_scope}/left_projection": f"{_module}.linear_{_left}_p",
        f"{_scope}/right_projection": f"{_module}.linear_{_right}_p",
        f"{_scope}/left_gate": f"{_module}.linear_{_left}_g",
        f"{_scope}/right_gate": f"{_module}.linear_{_right}_g",
        f"{_scope}/output_projection": f"{_module}.linear_z",
        f"{_scope}/gating_linear": f"{_module}.linear_g",
    }
#: Layers of the MSA representation, in each block of the Evoformer and of the stack of the extra MSA.
_MSA = {
    "msa_row_attention_with_pair_bias/query_norm": "msa_att_row.layer_norm_m",
    "msa_row_attention_with_pair_bias/feat_2d_norm": "msa_att_row.layer_norm_z",
    "msa_row_attention_with_pair_bias//feat_2d_weights": "msa_att_row.linear_z.weight",
    "msa_row_attention_with_pair_bias/attention": "msa_att_row.mha",
    "msa_column_attention/query_norm": "msa_att_col._msa_att.layer_norm_m",
    "msa_column_attention/attention": "msa_att_col._msa_att.mha",
    "msa_column_global_attention/query_norm": "msa_att_col.layer_norm_m",
    "msa_column_global_attention/attention": "msa_att_col.global_attention",
    "msa_transition/input_layer_norm": "msa_transition.layer_norm",
    "msa_transition/transition1": "msa_transition.linear_1",
    "msa_transition/transition2": "msa_transition.linear_2",
    "outer_product_mean/layer_norm_input": "outer_product_mean.layer_norm",
    "outer_product_mean/left_projection": "outer_product_mean.linear_1",
    "outer_product_mean/right_projection": "outer_product_mean.linear_2",
    "outer_product_mean//output_w": "outer_product_mean.linear_out.weight",
    "outer_product_mean//output_b": "outer_product_mean.linear_out.bias",
}
_BLOCK = _MSA | {scope: f"pair_stack.{module}" for scope, module in _PAIR.items()}
_TEMPLATE = "evoformer/template_embedding/single_template_embedding/"
#: Stacks: arrays that have an entry for each block in front, and the module of a block.
_STACKS = {
    "evoformer/evoformer_iteration/": ("evoformer.blocks", _BLOCK),
    "evoformer/extra_msa_stack/": ("extra_msa_stack.blocks", _BLOCK),
    f"{_TEMPLATE}template_pair_stack/__layer_stack_no_state/": (
        "template_embedder.template_pair_stack.blocks",
        _PAIR,
    ),
}
_FOLD, _ATTENTION = (
    "structure_module/fold_iteration/",
    "structure_module/fold_iteration/invariant_point_attention",
)
#: What is there once.
_ONCE = {
    "evoformer/preprocess_1d": "input_embedder.linear_tf_m",
    "evoformer/preprocess_msa": "input_embedder.linear_msa_m",
    "evoformer/left_single": "input_embedder.linear_tf_z_i",
    "evoformer/right_single": "input_embedder.linear_tf_z_j",
    "evoformer/pair_activiations": "input_embedder.linear_relpos",
    "evoformer/prev_pos_linear": "recycling_embedder.linear",
    "evoformer/prev_msa_first_row_norm": "recycling_embedder.layer_norm_m",
    "evoformer/prev_pair_norm": "recycling_embedder.layer_norm_z",
    "evoformer/extra_msa_activations": "extra_msa_embedder.linear",
    "evoformer/single_activations": "evoformer.linear",
    f"{_TEMPLATE}embedding2d": "template_embedder.template_pair_embedder.linear",
    f"{_TEMPLATE}output_layer_norm": "template_embedder.template_pair_stack.layer_norm",
    "evoformer/template_embedding/attention": "template_embedder.template_pointwise_att.mha",
    "evoformer/template_single_embedding": "template_embedder.template_single_embedder.linear_1",
    "evoformer/template_projection": "template_embedder.template_single_embedder.linear_2",
    "structure_module/single_layer_norm": "structure_module.layer_norm_s",
    "structure_module/pair_layer_norm": "structure_module.layer_norm_z",
    "structure_module/initial_projection": "structure_module.linear_in",
    f"{_ATTENTION}/q_scalar": "structure_module.ipa.linear_q",
    f"{_ATTENTION}/kv_scalar": "structure_module.ipa.linear_kv",
    f"{_ATTENTION}/q_point_local": "structure_module.ipa.linear_q_points.linear",
    f"{_ATTENTION}/kv_point_local": "structure_module.ipa.linear_kv_points.linear",
    f"{_ATTENTION}/attention_2d": "structure_module.ipa.linear_b",
    f"{_ATTENTION}/output_projection": "structure_module.ipa.linear_out",
    f"{_ATTENTION}//trainable_point_weights": "structure_module.ipa.head_weights",
    f"{_FOLD}attention_layer_norm": "structure_module.layer_norm_ipa",
    f"{_FOLD}transition": "structure_module.transition.layers.0.linear_1",
    f"{_FOLD}transition_1": "structure_module.transition.layers.0.linear_2",
    f"{_FOLD}transition_2": "structure_module.transition.layers.0.linear_3",
    f"{_FOLD}transition_layer_norm": "structure_module.transition.layer_norm",
    f"{_FOLD}affine_update": "structure_module.bb_update.linear",
    f"{_FOLD}rigid_sidechain/input_projection": "structure_module.angle_resnet.linear_in",
    f"{_FOLD}rigid_sidechain/input_projection_1": "structure_module.angle_resnet.linear_initial",
    f"{_FOLD}rigid_sidechain/resblock1": "structure_module.angle_resnet.layers.0.linear_1",
    f"{_FOLD}rigid_sidechain/resblock2": "structure_module.angle_resnet.layers.0.linear_2",
    f"{_FOLD}rigid_sidechain/resblock1_1": "structure_module.angle_resnet.layers.1.linear_1",
    f"{_FOLD}rigid_sidechain/resblock2_1": "structure_module.angle_resnet.layers.1.linear_2",
    f"{_FOLD}rigid_sidechain/unnormalized_angles": "structure_module.angle_resnet.linear_out",
    "predicted_lddt_head/input_layer_norm": "aux_heads.plddt.layer_norm",
    "predicted_lddt_head/act_0": "aux_heads.plddt.linear_1",
    "predicted_lddt_head/act_1": "aux_heads.plddt.linear_2",
    "predicted_lddt_head/logits": "aux_heads.plddt.linear_3",
    "distogram_head/half_logits": "aux_heads.distogram.linear",
    "experimentally_resolved_head/logits": "aux_heads.experimentally_resolved.linear",
    "masked_msa_head/logits": "aux_heads.masked_msa.linear",
    "predicted_aligned_error_head/logits": "aux_heads.tm.linear",
}
#: Tensors that are no parameters: a state of the network may have them.
CONSTANTS = frozenset(
    f"structure_module.{name}" for name in ("default_frames", "group_idx", "atom_mask", "lit_positions")
)
EVOFORMER, TEMPLATES, PTM = "evoformer.blocks.", "template_embedder.", "aux_heads.tm."


@dataclass(frozen=True)
class Origin:
    """Where an array of AlphaFold2 comes from.

    Attributes:
        name: of the tensor; of a stack with `{}` for the number of the block.
        stacked: the array has one entry a block in front.
    """

    name: str
    stacked: bool

    def names(self, blocks: int) -> list[str]:
        """Names of its tensors, in order; `blocks` is read of a stack only."""
        return [self.name.format(block) for block in range(blocks)] if self.stacked else [self.name]


def origin(array: str) -> Origin:
    """The tensors of an array of a monomer model, `scope//name` as in its npz. Raises KeyError."""
    inner = array.removeprefix(_SCOPE)
    for prefix, (module, layers) in _STACKS.items():
        if inner.startswith(prefix):
            return Origin(f"{module}.{{}}.{_tensor(inner.removeprefix(prefix), layers)}", stacked=True)
    return Origin(_tensor(inner, _ONCE), stacked=False)


def _tensor(array: str, layers: dict[str, str]) -> str:
    if array in layers:
        return layers[array]
    scope, _, leaf = array.partition("//")
    return f"{layers[scope]}.{_LEAVES[leaf]}"


#: Names of release 1 → those of release 2.
_OLDER = (
    (re.compile(r"^(module\.)?(model\.)?"), ""),
    (re.compile(r"(\.blocks\.\d+\.)core\.(?=msa_transition\.|outer_product_mean\.)"), r"\1"),
    (re.compile(r"(\.blocks\.\d+\.)core\."), r"\1pair_stack."),
    (re.compile(r"^template_angle_embedder\."), "template_single_embedder."),
    (re.compile(r"^(?=template_(?!embedder\.))"), "template_embedder."),
    (re.compile(r"\b(linear_q_points|linear_kv_points)\.(?=weight$|bias$)"), r"\1.linear."),
)


def current(name: str) -> str:
    """A tensor's name in release 2, without what trainers put in front."""
    for older, newer in _OLDER:
        name = older.sub(newer, name)
    return name
