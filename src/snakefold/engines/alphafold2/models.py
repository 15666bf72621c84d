"""Which networks a request runs, and their configuration.

Names are AlphaFold's (`model_1`, `model_1_ptm`, `model_1_multimer_v3`). As in ColabFold, models that differ
in nothing but their parameters share one configuration, so that one compiled program serves them all: all
five multimer models; all five monomer models without templates; models 1-2 and 3-5 with templates.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snakefold.engines.alphafold2.kernels import Running
from snakefold.engines.alphafold2.settings import AlphaFold2Settings, ModelPreset, NetworkSettings
from snakefold.engines.alphafold2.shapes import MsaShape

MODEL_NUMBERS = (1, 2, 3, 4, 5)
_OFFICIAL = {
    ModelPreset.MONOMER: "model_{}",
    ModelPreset.MONOMER_PTM: "model_{}_ptm",
    ModelPreset.MULTIMER: "model_{}_multimer_v3",
}
#: Of parameters that are no part of the official archive.
FURTHER = {
    ModelPreset.MULTIMER_V1: "model_{}_multimer",
    ModelPreset.MULTIMER_V2: "model_{}_multimer_v2",
    ModelPreset.DEEPFOLD: "deepfold_model_{}",
}
_NAMES = {**_OFFICIAL, **FURTHER}


@dataclass(frozen=True)
class Network:
    """One set of parameters, and the network that runs with it.

    Attributes:
        name: of its predictions.
        preset: kind of network (not `auto`).
        templates: it reads templates in this run.
        path: file of the parameters.
    """

    name: str
    preset: ModelPreset
    templates: bool
    path: Path


def preset_for(preset: ModelPreset, chains: int) -> ModelPreset:
    """The preset that a target of `chains` chains runs with: `auto` resolved."""
    if preset is not ModelPreset.AUTO:
        return preset
    return ModelPreset.MONOMER_PTM if chains == 1 else ModelPreset.MULTIMER


def model_name(preset: ModelPreset, number: int) -> str:
    """The name of a model: AlphaFold's, as in `params_<name>.npz`, or that of DeepFold's file."""
    return _NAMES[preset].format(number)


def models_of(preset: ModelPreset) -> list[str]:
    """The five models of a preset that is not `auto`."""
    return [model_name(preset, number) for number in MODEL_NUMBERS]


def parse_name(name: str) -> tuple[ModelPreset, int]:
    """Inverse of `model_name`. Raises ValueError for a name that is none."""
    for preset in _NAMES:
        for number in MODEL_NUMBERS:
            if model_name(preset, number) == name:
                return preset, number
    raise ValueError(f"{name!r} is no AlphaFold2 model: expected for example model_1_ptm.")


def all_models() -> list[str]:
    """The 15 models of the official parameters."""
    return [model_name(preset, number) for preset in _OFFICIAL for number in MODEL_NUMBERS]


def every_model() -> list[str]:
    """Those, and the models of further parameters."""
    return [name for preset in _NAMES for name in models_of(preset)]


def needed_models(settings: AlphaFold2Settings, *, monomers: bool, multimers: bool) -> list[str]:
    """Names of the models that a run with (or without) monomers and multimers needs, in order."""
    presets = {preset_for(settings.model_preset, 1)} if monomers else set()
    if multimers:
        presets.add(preset_for(settings.model_preset, 2))
    return [
        model_name(preset, number) for preset in sorted(presets) for number in sorted(set(settings.models))
    ]


def uses_templates(settings: AlphaFold2Settings, preset: ModelPreset, number: int) -> bool:
    """Whether this network reads templates: all multimer models do, of the monomer models only 1 and 2."""
    return settings.use_templates and (preset.multimer or number <= 2)


def programs(settings: AlphaFold2Settings, preset: ModelPreset) -> int:
    """Networks that the models of a preset need for one input shape: two where only some read templates."""
    return len({uses_templates(settings, preset, number) for number in settings.models})


def ranked_by(wanted: str, preset: ModelPreset, *, chains: int = 2) -> str:
    """What a network's models are ranked by: pLDDT takes the place of what it does not give."""
    if wanted == "auto":
        return "multimer" if preset.multimer else "plddt"
    given = {"plddt"}
    if preset.gives_pae:
        given.add("ptm")
    if preset.multimer and chains > 1:
        given |= {"iptm", "multimer"}
    return wanted if wanted in given else "plddt"


def configuration(
    preset: ModelPreset,
    *,
    templates: bool,
    settings: NetworkSettings,
    shape: MsaShape,
    blocks: int,
    running: Running = Running(),  # noqa: B008 (a frozen value)
) -> Any:
    """AlphaFold's configuration (ml_collections) of the program that one group of models shares.

    Follows colabfold.alphafold.models.load_models_and_params (colabfold 1.6.3), so that equal settings give
    equal coordinates: model 3 stands for its group (model 1 for monomers with templates), outputs nobody
    reads are switched off. `blocks` is the number of Evoformer blocks in the parameters: 48 unless they are
    a rehearsal. `running` are the kernels of this machine.
    """
    from alphafold.model import config as alphafold_config

    multimer = preset.multimer
    named = ModelPreset.MONOMER if preset is ModelPreset.DEEPFOLD else preset  # the same network
    config = alphafold_config.model_config(model_name(named, 1 if templates and not multimer else 3))
    network = config.model.embeddings_and_evoformer
    network.evoformer_num_block = blocks
    config.model.stop_at_score = settings.stop_at_score
    config.model.rank_by = ranked_by(settings.rank_by, preset)
    config.model.global_config.eval_dropout = settings.use_dropout
    config.model.recycle_early_stop_tolerance = settings.recycle_early_stop_tolerance
    config.model.num_recycle = settings.num_recycle
    config.model.global_config.bfloat16 = settings.precision == "bfloat16"
    running.configure(config.model.global_config)
    extra = multimer and settings.calc_extra_ptm
    config.model.calc_extended_ptm = extra
    config.model.use_probs_extended = settings.use_probs_extra
    for head in (*(() if extra else ("distogram",)), "masked_msa", "experimentally_resolved"):
        config.model.heads[head].weight = 0.0
    if multimer:
        network.num_msa, network.num_extra_msa = shape.clusters, shape.extra
        network.use_cluster_profile = settings.use_cluster_profile
        config.model.num_ensemble_eval = settings.num_ensemble
    else:
        config.data.eval.max_msa_clusters, config.data.common.max_extra_msa = shape.clusters, shape.extra
        config.data.common.num_recycle = settings.num_recycle
        config.data.eval.num_ensemble = settings.num_ensemble
    return config
