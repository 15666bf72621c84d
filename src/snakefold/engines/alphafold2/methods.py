"""What a methods section says of AlphaFold2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from snakefold.engines.alphafold2 import kernels
from snakefold.engines.spec import Told
from snakefold.kernel.wording import count, listed

_MODELS = {
    "monomer": "monomer",
    "monomer_ptm": "monomer (pTM)",
    "multimer": "multimer (v3)",
    "multimer_v1": "multimer (v1)",
    "multimer_v2": "multimer (v2)",
    "deepfold": "monomer",
}
_DEEPFOLD = "deepfold"
_GROUPS = {
    "monomer": "Monomers",
    "complex": "Complexes",
    "monomer_templates": "Monomers with templates of their own",
    "complex_templates": "Complexes with templates of their own",
}


def sentences(told: Told) -> list[str]:
    """The network, what it ran with, and where its parameters are from."""
    parts = ", ".join(told.package(name) for name in ("alphafold-colabfold", "colabfold", "jax"))
    found = [
        f"Structures were predicted with AlphaFold2 in ColabFold's version ({parts})"
        f"{told.cite('alphafold2', *sorted(cites(told) - {'alphafold2', 'hhsuite'}))}, run by {told.run}."
    ]
    found += [
        _of_group(_GROUPS.get(group, "Targets"), recipe)
        for group, recipe in told.recipes.items()
        if settings_in(recipe)
    ]
    own = [recipe["own_templates"] for recipe in told.recipes.values() if recipe.get("own_templates")]
    if own:
        programs = " and ".join(f"{name} {version}" for name, version in own[0].items())
        found.append(f"Templates that targets brought were aligned by {programs}{told.cite('hhsuite')}.")
    if told.recipes and told.rehearsal:
        found.append("The network's parameters were random.")
    elif told.recipes:
        presets = _presets(told)
        if _DEEPFOLD in presets:
            found.append("The monomer network ran with DeepFold's parameters.")
        if presets != {_DEEPFOLD}:
            found.append("AlphaFold2's parameters are licensed under CC BY 4.0.")
    return found


def cites(told: Told) -> set[str]:
    """Words of resources/citations.yaml."""
    presets = _presets(told)
    multimer = any(preset.startswith("multimer") for preset in presets)
    own = any(recipe.get("own_templates") for recipe in told.recipes.values())
    return {
        "alphafold2",
        *(["multimer"] if multimer else []),
        *(["hhsuite"] if own else []),
        *(presets & {_DEEPFOLD}),
    }


def _presets(told: Told) -> set[str]:
    return {str(settings_in(recipe).get("model_preset", "")) for recipe in told.recipes.values()}


def _of_group(what: str, recipe: Mapping[str, Any]) -> str:
    settings = settings_in(recipe)
    preset = str(settings.get("model_preset", ""))
    models = settings.get("models") or []
    return (
        f"{what} were predicted by the {_MODELS.get(preset, preset)} network, "
        f"model{'s' if len(models) != 1 else ''} {listed([str(item) for item in models])}, "
        f"{passes(recipe)}."
    )


_RANKED = {"plddt": "mean pLDDT", "ptm": "pTM", "iptm": "ipTM", "multimer": "0.8 ipTM + 0.2 pTM"}


def passes(recipe: Mapping[str, Any]) -> str:
    """Recycles, seeds, rows of the MSA, precision and kernels of a recipe, as the end of a sentence."""
    settings = settings_in(recipe)
    text = f"with {count(settings.get('num_recycle', 0), 'recycle')}"
    if tolerance := settings.get("recycle_early_stop_tolerance"):
        text += f" at the most (stopped once CA distances changed by less than {tolerance:g} Å)"
    skipped = settings.get("skip_seeds", 0)
    first = settings.get("random_seed", 0) + skipped
    text += f", {count(settings.get('num_seeds', 1) - skipped, 'seed')} a model (the first is {first})"
    limits = [
        f"{settings[name]} {rows}"
        for name, rows in (("max_msa_clusters", "clustered"), ("max_extra_msa", "extra"))
        if settings.get(name)
    ]
    text += f" and at most {' and '.join(limits)} rows of the MSA" if limits else ""
    text += f", {kernels.told(recipe)}"
    if (ensemble := settings.get("num_ensemble", 1)) > 1:
        text += f", {ensemble} passes averaged in each recycle"
    if settings.get("use_dropout"):
        text += ", with dropout"
    if (enough := settings.get("stop_at_score", 100)) < 100:
        text += f", up to the first that scores more than {enough:g} of 100"
    if settings.get("use_cluster_profile") is False:
        text += ", without the profiles of clusters"
    if (ranked := settings.get("rank_by", "auto")) != "auto":
        text += f", ranked by {_RANKED[ranked]}"
    return text


def settings_in(recipe: Mapping[str, Any]) -> Mapping[str, Any]:
    """The settings that a recorded recipe has; empty if it has none."""
    found = recipe.get("settings")
    return found if isinstance(found, Mapping) else {}
