"""Engine `flashabb`: antibody Fv and single variable domains with flash-abb's network, computed in JAX.

Targets are `VH:VL` in either order, a heavy chain or nanobody, or a light chain. There is no MSA, no PAE and
one deterministic model. Whatever is no antibody variable domain is refused (`domains`): the network would
fold it without complaint. Parameters come out of flash-abb's wheel (`weights`); its code is not used.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snakefold.engines.flashabb import domains
from snakefold.engines.flashabb import weights as files
from snakefold.engines.flashabb.settings import FlashAbbSettings
from snakefold.engines.spec import Defaults, Parameters, TargetMsas, Told, Weights
from snakefold.kernel import recipes
from snakefold.kernel.contracts import FoldRequest, RelaxSettings, TargetInput

if TYPE_CHECKING:
    from snakefold.engines.flashabb.cost import FlashAbbWork
    from snakefold.engines.flashabb.session import FlashAbbSession

__all__ = ["ENGINE", "FlashAbb"]

#: What computes flash-abb's network; another number when equal input gives other results.
IMPLEMENTATION = "JAX 1"


class FlashAbb(Defaults):
    """See `snakefold.engines.spec.Engine`."""

    name = "flashabb"
    title = "flash-abb"
    Settings = FlashAbbSettings
    groups = ("antibody",)
    views = ("plddt",)
    relaxes = True
    packages = ("jax", "anarci")
    weights = Weights(fetch=files.fetch, check=files.check)

    @property
    def version(self) -> str:
        """The release of flash-abb whose network and parameters these are."""
        return files.VERSION

    def check(self, target: TargetInput, settings: FlashAbbSettings) -> None:
        """Refuse what is no antibody Fv or variable domain.

        Raises:
            TargetError: what was found, and what to give instead.
        """
        del settings
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
        """Those of flash-abb; there are no random ones.

        Raises:
            WeightsMissingError: they are missing, or damaged; the text has the command that fetches them.
        """
        del settings, groups, draw, blocks, cache
        folder = files.locate(place)
        path = files.existing(folder)
        if whole:
            files.read(path)
        return Parameters(folder)

    def parameter_folder(self, place: str) -> Path | None:
        """As `weights.locate`."""
        return files.locate(place)

    def parameter_files(self, weights: Path | None) -> Sequence[Path]:
        """The one file."""
        return [files.parameters_file(weights)] if weights else []

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
        """Version, implementation, settings, and the identity of the parameters.

        Raises:
            WeightsMissingError: the parameters are missing.
        """
        del group
        return {
            "engine": self.name,
            "version": self.version,
            "implementation": IMPLEMENTATION,
            "settings": settings.model_dump(mode="json"),
            "weights": recipes.file_fingerprint(files.existing(weights)),
        }

    def describe(self, told: Told) -> Sequence[str]:
        """What predicted."""
        versions = {str(recipe["version"]) for recipe in told.recipes.values() if "version" in recipe}
        network = " ".join(["flash-abb", *sorted(versions)])
        names = f"{told.package('jax')} and {told.package('anarci')}"
        return [
            f"Antibody structures were predicted with the network and parameters of {network}, computed with "
            f"{names}{told.cite(self.name)}, run by {told.run}."
        ]

    def start(
        self,
        request: FoldRequest,
        msas: Mapping[str, TargetMsas],
        weights: Path | None,
        cache: Path | None,
    ) -> FlashAbbSession:
        """Load parameters and programs; `cache` keeps compiled programs.

        Raises:
            WeightsMissingError: the parameters are missing or damaged.
        """
        del msas
        from snakefold.engines.flashabb.session import FlashAbbSession

        return FlashAbbSession(request, files.existing(weights), cache)


ENGINE = FlashAbb()
