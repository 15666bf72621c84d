"""Engine `alphafold2`: AlphaFold2 as ColabFold's fork of it (alphafold-colabfold) runs it.

Equal parameters, A3Ms and settings give the coordinates of `colabfold_batch`, byte for byte; what differs is
what a batch costs: parameters are loaded once, lengths padded to few bucket edges, programs kept on disk.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snakefold.engines.alphafold2.models import needed_models
from snakefold.engines.spec import TargetMsas
from snakefold.kernel.contracts import AlphaFold2Settings, FoldRequest, TargetInput
from snakefold.kernel.errors import Reason, TargetError, WeightsMissingError
from snakefold.structures.files import check_pdb_limits

if TYPE_CHECKING:
    from snakefold.engines.alphafold2.session import AlphaFold2Session

__all__ = ["NAME", "VERSION", "check", "needed_models", "recipe", "start"]

NAME = "alphafold2"
VERSION = importlib.metadata.version("alphafold-colabfold")
#: One peptide bond.
_SHORTEST = 2


def recipe(request_settings: Mapping[str, Any], weights: Path | None) -> dict[str, Any]:
    """What results depend on: code version, settings, and the identity of the parameters.

    Args:
        request_settings: fields of `AlphaFold2Settings`.
        weights: folder of the parameters.

    Raises:
        WeightsMissingError: parameters are damaged, or official and random ones are mixed.
    """
    from snakefold.engines.alphafold2 import weights as parameter_files

    settings = AlphaFold2Settings.model_validate(dict(request_settings))
    names = needed_models(settings, monomers=True, multimers=settings.model_preset == "auto")
    return {
        "engine": NAME,
        "version": VERSION,
        "colabfold": importlib.metadata.version("colabfold"),
        "settings": settings.model_dump(mode="json"),
        "weights": parameter_files.identity(_folder(weights), names),
    }


def check(target: TargetInput) -> None:
    """Refuse what cannot be folded whatever the settings. Raises TargetError(invalid_input)."""
    check_pdb_limits(target.chains)
    if target.length < _SHORTEST:
        raise TargetError(
            Reason.INVALID_INPUT, f"{target.length} residue is no protein.", "Give a longer sequence."
        )
    if set("".join(target.chains)) == {"X"}:
        raise TargetError(
            Reason.INVALID_INPUT, "Every residue is unknown (X).", "Give a sequence of amino acids."
        )


def start(
    request: FoldRequest, msas: Mapping[str, TargetMsas], weights: Path | None, cache: Path | None
) -> AlphaFold2Session:
    """Load the parameters that the batch needs. `msas` by result key; `cache` keeps compiled programs.

    Raises:
        WeightsMissingError: parameters are missing or damaged.
    """
    from snakefold.engines.alphafold2.session import AlphaFold2Session

    return AlphaFold2Session(request, msas, _folder(weights), cache)


def _folder(weights: Path | None) -> Path:
    if weights is None:
        raise WeightsMissingError("AlphaFold2 needs parameters. Fetch them with: snakefold weights fetch.")
    return weights
