"""Engine `flashabb`: antibody Fv and single variable domains with flash-abb (BSD-3, parameters in its wheel).

Targets are `VH:VL` in either order, a heavy chain or nanobody, or a light chain. There is no MSA, no PAE and
one deterministic model. Whatever is no antibody variable domain is refused (`domains`): the network would
fold it without complaint.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snakefold.engines.flashabb import domains
from snakefold.engines.flashabb.settings import FlashAbbSettings
from snakefold.engines.spec import Defaults, Parameters, TargetMsas, Told
from snakefold.kernel import recipes
from snakefold.kernel.contracts import FoldRequest, RelaxSettings, TargetInput
from snakefold.kernel.errors import MissingProgramError, WeightsMissingError

if TYPE_CHECKING:
    from snakefold.engines.flashabb.cost import FlashAbbWork
    from snakefold.engines.flashabb.session import FlashAbbSession

__all__ = ["ENGINE", "FlashAbb"]


class FlashAbb(Defaults):
    """See `snakefold.engines.spec.Engine`."""

    name = "flashabb"
    title = "flash-abb"
    Settings = FlashAbbSettings
    groups = ("antibody",)
    views = ("plddt",)
    relaxes = True
    packages = ("flash-abb", "torch", "anarci")

    @property
    def version(self) -> str:
        """That of flash-abb."""
        try:
            return importlib.metadata.version("flash-abb")
        except importlib.metadata.PackageNotFoundError:
            return "not installed"

    def check(self, target: TargetInput, settings: FlashAbbSettings) -> None:
        """Refuse what is no antibody Fv or variable domain. Needs neither torch nor flash-abb.

        Where anarci is missing too, nothing is known of the domains: a run is refused by `parameters`.

        Raises:
            TargetError: what was found, and what to give instead.
        """
        del settings
        if importlib.util.find_spec("anarci") is not None:
            domains.roles(target.chains)

    def parameters(
        self,
        place: str,
        settings: Any,
        groups: Collection[str],
        *,
        draw: Any = None,
        blocks: int = 1,
        whole: bool = True,
        cache: Path | None = None,
    ) -> Parameters | None:
        """Those in the wheel.

        Raises:
            WeightsMissingError: it is not installed.
        """
        del place, settings, groups, draw, blocks, whole, cache
        for package in ("flash_abb", "anarci"):
            if importlib.util.find_spec(package) is None:
                raise WeightsMissingError(
                    f"Engine flashabb needs the package {package}. Install it with: {domains.INSTALL}"
                )
        return Parameters()

    def work(
        self,
        group: str,
        settings: FlashAbbSettings,
        relax: RelaxSettings,
        *,
        blocks: int | None = None,
        rows: Any = None,
    ) -> FlashAbbWork:
        """One model, which is relaxed or not."""
        from snakefold.engines.flashabb.cost import FlashAbbWork
        from snakefold.engines.sizes import relaxed_models

        del group, settings, blocks, rows
        return FlashAbbWork(relaxed=relaxed_models(relax, 1), gpu_relax=relax.use_gpu_relax is not False)

    def recipe(self, group: str, settings: FlashAbbSettings, weights: Path | None) -> dict[str, Any]:
        """Version, settings, and the identity of the parameters, which are in the wheel.

        Raises:
            MissingProgramError: the extra `antibody` is not installed.
        """
        del group, weights
        parameters = _package("flash_abb") / "weights" / "flabb_weights.pt"
        return {
            "engine": self.name,
            "version": self.version,
            "settings": settings.model_dump(mode="json"),
            "weights": recipes.file_fingerprint(parameters),
        }

    def describe(self, told: Told) -> Sequence[str]:
        """What predicted."""
        names = f"{told.package('flash-abb')} and {told.package('anarci')}"
        return [f"Antibody structures were predicted with {names}{told.cite(self.name)}, run by {told.run}."]

    def start(
        self,
        request: FoldRequest,
        msas: Mapping[str, TargetMsas],
        weights: Path | None,
        cache: Path | None,
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


ENGINE = FlashAbb()
