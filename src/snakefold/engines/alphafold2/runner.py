"""Running the network: inputs of the right shape in, numbers of the real length out.

Steps and their order are those of colabfold.batch.predict_structure (colabfold 1.6.3), which is what makes
equal inputs give equal bytes.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import gemmi
import numpy as np
from numpy.typing import NDArray

from snakefold.engines.alphafold2 import sampling
from snakefold.engines.alphafold2.features import residue_order
from snakefold.engines.alphafold2.settings import ModelPreset
from snakefold.structures import files as structures
from snakefold.structures.chains import chain_names

Features = dict[str, Any]


#: Runners, by the text of their configuration, that this process keeps; the one used last comes last.
_RUNNERS: OrderedDict[str, Any] = OrderedDict()
_KEPT = 8

#: Features of a complex that have a value for every residue, and the dimension in which they have it.
_RESIDUES = {
    **dict.fromkeys(
        ("aatype", "residue_index", "seq_mask", "asym_id", "sym_id", "entity_id", "entity_mask"), 0
    ),
    **dict.fromkeys(("deletion_mean", "all_atom_mask", "all_atom_positions"), 0),
    **dict.fromkeys(("msa", "deletion_matrix", "msa_mask", "bert_mask"), 1),
    **dict.fromkeys(("template_aatype", "template_all_atom_mask", "template_all_atom_positions"), 1),
}


def new_runner(config: Any) -> Any:
    """AlphaFold's RunModel, compiled with the options that `colabfold_batch` compiles with.

    A configuration that this process had before gets the same one, with its compiled programs: a worker that
    does one request after the other neither traces nor compiles a shape twice.
    """
    key = json.dumps(config.to_dict(), sort_keys=True, default=str)
    if key not in _RUNNERS:
        _RUNNERS[key] = _run_model(config)
    _RUNNERS.move_to_end(key)
    if len(_RUNNERS) > _KEPT:
        _RUNNERS.popitem(last=False)
    return _RUNNERS[key]


def _run_model(config: Any) -> Any:
    from alphafold.model import model
    from colabfold.alphafold.models import _compile_jit_kwargs

    # "tuned" spares a GPU its search for fast matrix products, which takes minutes at each new length.
    extra = {name: config.model[name] for name in ("calc_extended_ptm", "use_probs_extended")}
    return model.RunModel(config, jit_kwargs=_compile_jit_kwargs("tuned"), extended_ptm_config=extra)


def network_inputs(
    runner: Any,
    raw: Features,
    preset: ModelPreset,
    *,
    seed: int,
    padded_length: int | None = None,
    templates: bool = False,
) -> Features:
    """What RunModel.predict takes, from raw features.

    Monomers: the MSA is sampled here, by `seed`, once per recycle; arrays are [recycles + 1, …] and padded to
    `padded_length`. Multimers sample inside the network, which draws for every cell of the MSA by its row and
    column: padding changes no draw.
    """
    if preset.multimer:
        features = {**raw, "asym_id": raw["asym_id"] - raw["asym_id"][..., 0]}
        return features if padded_length is None else padded_complex(features, padded_length)
    from colabfold.batch import pad_input

    sampling.use_few_shapes()
    features = dict(runner.process_features(raw, random_seed=seed))
    passes, length = features["aatype"].shape
    features["asym_id"] = np.tile(raw["asym_id"], passes).reshape(passes, -1)
    if padded_length is not None and padded_length > length:
        # pad_input wants the name of a model to know how many MSA rows templates take.
        features = pad_input(
            features, runner, "model_1" if templates else "model_3", padded_length, templates
        )
    return features


def padded_complex(features: Features, length: int) -> Features:
    """Features of a complex with zeros up to `length` residues; seq_mask and msa_mask hide them.

    AlphaFold-Multimer has no such step of its own, but all that its network adds up is masked: attention,
    outer products, the heads' scores and the distance between recycles.
    """
    missing = length - len(features["aatype"])
    if missing <= 0:
        return features
    padded = dict(features)
    for name, axis in _RESIDUES.items():
        if name in features:
            widths = [(0, missing if each == axis else 0) for each in range(features[name].ndim)]
            padded[name] = np.pad(features[name], widths)
    return padded


def to_protein(features: Features, result: Features, preset: ModelPreset, chains: Sequence[str]) -> Any:
    """alphafold.common.protein.Protein of a result: padding cut off, chains A, B, … in the target's order.

    Raises:
        ValueError: more than 62 chains.
    """
    from alphafold.common import protein

    picked, structure, b_factors = _model(features, result, preset, chains)
    return protein.from_prediction(
        features=picked,
        result={"structure_module": structure},
        b_factors=b_factors,
        remove_leading_feature_dimension=False,
    )


def to_structure(
    features: Features, result: Features, preset: ModelPreset, chains: Sequence[str]
) -> gemmi.Structure:
    """The same as gemmi has it, whatever its size; chains named by `chains.chain_names`."""
    from alphafold.common import residue_constants

    picked, structure, b_factors = _model(features, result, preset, chains)
    kinds = [*(residue_constants.restype_1to3[letter] for letter in residue_constants.restypes), "UNK"]
    return structures.build(
        chain_names(len(chains)),
        chain=picked["asym_id"],
        number=picked["residue_index"] + 1,
        residue=[kinds[kind] for kind in picked["aatype"]],
        atoms=residue_constants.atom_types,
        mask=structure["final_atom_mask"] >= 0.5,
        positions=structure["final_atom_positions"],
        plddt=b_factors.max(axis=1),
    )


def fits_pdb(result: Features, chains: Sequence[str]) -> bool:
    """Whether the PDB format can hold a result."""
    order = residue_order(chains)
    there = result["structure_module"]["final_atom_mask"][order] >= 0.5
    positions = result["structure_module"]["final_atom_positions"][order][there]
    return structures.pdb_holds(len(chains), max(map(len, chains)), positions)


def _model(
    features: Features, result: Features, preset: ModelPreset, chains: Sequence[str]
) -> tuple[Features, Features, NDArray[Any]]:
    """Features, atoms and B factors [L, 37] of the target's residues, in its order."""
    order = residue_order(chains)
    structure = {
        name: result["structure_module"][name][order] for name in ("final_atom_mask", "final_atom_positions")
    }
    picked = {
        name: (features[name] if preset.multimer else features[name][0])[order]
        for name in ("aatype", "residue_index")
    }
    picked["asym_id"] = np.repeat(np.arange(len(chains)), [len(chain) for chain in chains])
    return picked, structure, result["plddt"][order][:, None] * structure["final_atom_mask"]
