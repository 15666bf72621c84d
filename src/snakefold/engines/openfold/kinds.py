"""Kinds of OpenFold's parameters: with or without templates, with or without a pTM head.

Each kind has the arrays of one of AlphaFold2's monomer models, and runs as that model does.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from snakefold.engines.alphafold2.models import model_name
from snakefold.engines.alphafold2.settings import ModelPreset


@dataclass(frozen=True)
class Kind:
    """`templates`: it reads them; `pae`: its pTM head gives PAE and pTM."""

    templates: bool
    pae: bool

    @property
    def preset(self) -> ModelPreset:
        """AlphaFold's preset with the same heads."""
        return ModelPreset.MONOMER_PTM if self.pae else ModelPreset.MONOMER

    @property
    def layout(self) -> str:
        """AlphaFold's name of a model with the same arrays, for example model_3_ptm."""
        return model_name(self.preset, 1 if self.templates else 3)


def kind_of_name(name: str) -> Kind:
    """As OpenFold names its files: what is said of parameters before there are any."""
    return Kind(templates="no_templ" not in name, pae="ptm" in name)


def kind_of_arrays(names: Iterable[str]) -> Kind:
    """By AlphaFold's names of the arrays."""
    scopes = {name.removeprefix("alphafold/alphafold_iteration/") for name in names}
    return Kind(
        templates=any(scope.startswith("evoformer/template") for scope in scopes),
        pae=any(scope.startswith("predicted_aligned_error_head/") for scope in scopes),
    )


def kind_of_file(path: Path) -> Kind:
    """By the arrays of a converted file (npz), whatever it is called. Raises BadZipFile, OSError."""
    with zipfile.ZipFile(path) as archive:
        return kind_of_arrays(archive.namelist())
