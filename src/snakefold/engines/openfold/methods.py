"""What a methods section says of OpenFold's parameters on AlphaFold2's code."""

from __future__ import annotations

from snakefold.engines.alphafold2.methods import passes, settings_in
from snakefold.engines.spec import Told
from snakefold.kernel.wording import listed

CITES = ("openfold", "alphafold2")


def sentences(told: Told) -> list[str]:
    """The network, what it ran with, and where its parameters are from."""
    parts = ", ".join(told.package(name) for name in ("alphafold-colabfold", "colabfold", "jax"))
    found = [
        f"Structures were predicted with OpenFold's parameters on AlphaFold2's code in ColabFold's "
        f"version ({parts}){told.cite(*CITES)}, run by {told.run}."
    ]
    for recipe in told.recipes.values():
        if settings := settings_in(recipe):
            names = listed([str(name) for name in settings.get("parameters") or []])
            found.append(f"Monomers were predicted with the parameters {names}, {passes(recipe)}.")
    if told.recipes:
        found.append(
            "The network's parameters were random."
            if told.rehearsal
            else "OpenFold's parameters are licensed under CC BY 4.0."
        )
    return found
