"""Engine `flashabb`: antibody Fv and single variable domains with flash-abb (BSD-3, parameters in its wheel).

Targets are `VH:VL` in either order, a heavy chain or nanobody, or a light chain. There is no MSA, no PAE and
one deterministic model. Whatever is no antibody variable domain is refused (`domains`): the network would
fold it without complaint.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snakefold.engines.flashabb import domains
from snakefold.engines.spec import TargetMsas
from snakefold.kernel import recipes
from snakefold.kernel.contracts import FlashAbbSettings, FoldRequest, TargetInput
from snakefold.kernel.errors import MissingProgramError

if TYPE_CHECKING:
    from snakefold.engines.flashabb.session import FlashAbbSession

__all__ = ["NAME", "VERSION", "check", "recipe", "start"]

NAME = "flashabb"
try:
    VERSION = importlib.metadata.version("flash-abb")
except importlib.metadata.PackageNotFoundError:
    VERSION = "not installed"


def recipe(request_settings: Mapping[str, Any], weights: Path | None) -> dict[str, Any]:
    """What results depend on: version, settings, and the identity of the parameters, which are in the wheel.

    Raises:
        MissingProgramError: the extra `antibody` is not installed.
    """
    del weights
    settings = FlashAbbSettings.model_validate(dict(request_settings))
    parameters = _package("flash_abb") / "weights" / "flabb_weights.pt"
    return {
        "engine": NAME,
        "version": VERSION,
        "settings": settings.model_dump(mode="json"),
        "weights": recipes.file_fingerprint(parameters),
    }


def check(target: TargetInput) -> None:
    """Refuse what is no antibody Fv or variable domain. Needs neither torch nor flash-abb.

    Raises:
        TargetError: what was found, and what to give instead.
        MissingProgramError: the extra `antibody` is not installed.
    """
    domains.roles(target.chains)


def start(
    request: FoldRequest, msas: Mapping[str, TargetMsas], weights: Path | None, cache: Path | None
) -> FlashAbbSession:
    """Load the network; every argument is the protocol's, none changes it.

    Raises:
        MissingProgramError: the extra `antibody` is not installed.
    """
    del request, msas, weights, cache
    for package in ("torch", "flash_abb"):
        _package(package)
    from snakefold.engines.flashabb.session import FlashAbbSession

    return FlashAbbSession()


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise MissingProgramError(
            f"Engine flashabb needs the package {name}. Install it with: {domains.INSTALL}"
        )
    return Path(spec.origin).parent
