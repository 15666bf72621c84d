"""Engine `openfold`: OpenFold's parameters on AlphaFold2's code, as ColabFold's fork of it runs.

OpenFold is the same network, trained anew from scratch. Its checkpoints are converted once (`convert`): from
then on a prediction is AlphaFold2's with other numbers, and neither OpenFold nor PyTorch is needed.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snakefold.engines import alphafold2
from snakefold.engines.alphafold2 import kernels, targets
from snakefold.engines.alphafold2.models import Network
from snakefold.engines.alphafold2.settings import (
    OFFICIAL_BLOCKS,
    ModelPreset,
    RehearsalSettings,
    parts_of,
    stops_early,
    told,
)
from snakefold.engines.alphafold2.shapes import MONOMER_ROWS, choose
from snakefold.engines.openfold import methods
from snakefold.engines.openfold.kinds import kind_of_name
from snakefold.engines.openfold.settings import OpenFoldSettings
from snakefold.engines.spec import (
    Defaults,
    Hardware,
    Log,
    Needs,
    Parameters,
    TargetMsas,
    Told,
    Weights,
)
from snakefold.engines.weights_folder import named_folder
from snakefold.kernel.contracts import FoldRequest, RelaxSettings, TargetInput
from snakefold.kernel.errors import Reason, TargetError, WeightsMissingError

if TYPE_CHECKING:
    from snakefold.engines.alphafold2.cost import AlphaFold2Work
    from snakefold.engines.alphafold2.session import AlphaFold2Session

__all__ = ["ENGINE", "OpenFold"]


def _fetch(folder: Path, mirror: str | None, log: Log) -> None:
    from snakefold.engines.openfold import weights

    weights.fetch(folder, mirror, log)


def _check(folder: Path, log: Log) -> bool:
    from snakefold.engines.openfold import weights

    return weights.check(folder, log)


def _convert(source: Path, folder: Path, out: Path | None, log: Log) -> Path:
    from snakefold.engines.openfold import weights

    return weights.convert(source, folder, out, log)


class OpenFold(Defaults):
    """See `snakefold.engines.spec.Engine`."""

    name = "openfold"
    title = "OpenFold parameters on AlphaFold2's code"
    Settings = OpenFoldSettings
    groups = ("monomer",)
    views = ("plddt", "pae", "alignment")
    columns = kernels.COLUMNS
    relaxes = True
    licence = "https://creativecommons.org/licenses/by/4.0/"
    packages = alphafold2.ENGINE.packages
    weights = Weights(fetch=_fetch, check=_check, convert=_convert)

    @property
    def version(self) -> str:
        """That of AlphaFold2's code."""
        return alphafold2.ENGINE.version

    def check(self, target: TargetInput, settings: OpenFoldSettings) -> None:
        """Refuse complexes, and what AlphaFold2's code cannot fold. Raises TargetError(invalid_input)."""
        del settings
        targets.check(target)
        if len(target.chains) > 1:
            raise TargetError(
                Reason.INVALID_INPUT,
                f"{len(target.chains)} chains: OpenFold's parameters are of monomers.",
                "Set engine: alphafold2, or engines: [openfold, alphafold2], which folds complexes with the "
                "second.",
            )

    def pads(self, group: str, settings: OpenFoldSettings) -> bool:
        """As AlphaFold2's monomers."""
        del group
        return not settings.use_dropout

    def needs(self, group: str, settings: OpenFoldSettings) -> Needs:
        """Alignments, and templates if the settings of the search say so."""
        del group, settings
        return Needs(alignment=True, templates=True)

    def work(
        self,
        group: str,
        settings: OpenFoldSettings,
        relax: RelaxSettings,
        *,
        blocks: int | None = None,
        rows: tuple[int, int] | None = None,
    ) -> AlphaFold2Work:
        """That of AlphaFold2's monomers; `rows` of the clustered and of the extra MSA."""
        from snakefold.engines.alphafold2 import cost

        del group
        kinds = {kind_of_name(name) for name in settings.parameters}
        return cost.work(
            settings,
            relax,
            engine=self.name,
            models=len(settings.parameters),
            programs=len({(kind.pae, settings.use_templates and kind.templates) for kind in kinds}),
            multimer=False,
            most=MONOMER_ROWS,
            blocks=blocks,
            rows=rows,
        )

    def parts(self, settings: OpenFoldSettings, seeds: int) -> Sequence[OpenFoldSettings]:
        """Seed after seed, unless scores say which are predicted."""
        return parts_of(settings, seeds)

    def does_all(self, settings: OpenFoldSettings) -> bool:
        """Unless recycles, models or seeds may be left out."""
        return not stops_early(settings)

    def alignment_rows(
        self, request: FoldRequest, targets: Sequence[TargetInput], depths: Sequence[int]
    ) -> tuple[int, int]:
        """Rows of the clustered and the extra MSA that the session chose for targets of one length."""
        del targets
        shape = choose(OpenFoldSettings.model_validate(request.settings), ModelPreset.MONOMER, depths)
        return shape.clusters, shape.extra

    def rehearsed(self, settings: OpenFoldSettings, rehearsal: RehearsalSettings) -> OpenFoldSettings:
        """Cut down to what a rehearsal runs."""
        names = ("num_recycle", "max_msa_clusters", "max_extra_msa")
        changed = {name: getattr(rehearsal, name) for name in names}
        return settings.model_copy(update=changed | {"kernels": kernels.rehearsed(settings)})

    def settled(self, settings: OpenFoldSettings, hardware: Hardware) -> OpenFoldSettings:
        """As AlphaFold2's."""
        return settings.model_copy(update={"kernels": kernels.settled(settings, hardware)})

    def caveats(self, settings: OpenFoldSettings, hardware: Hardware) -> Sequence[str]:
        """As AlphaFold2's. Raises ConfigError."""
        return list(kernels.caveats(settings, hardware))

    def parameters(
        self,
        place: str,
        settings: OpenFoldSettings,
        groups: Collection[str],
        *,
        draw: OpenFoldSettings | None = None,
        blocks: int = OFFICIAL_BLOCKS,
        whole: bool = True,
        cache: Path | None = None,
    ) -> Parameters | None:
        """Converted ones, or random ones."""
        from snakefold.engines.openfold import weights

        del groups
        found = weights.find(place, settings.parameters, whole=whole)
        if found is None and draw is not None:
            folder = (cache or Path(".snakefold")) / f"rehearsal-{blocks}-blocks"
            found = weights.draw(folder, draw.parameters, blocks)
        return found

    def parameter_folder(self, place: str) -> Path | None:
        """As `weights_folder.named_folder`."""
        return named_folder(place)

    def parameter_files(self, weights: Path | None) -> Sequence[Path]:
        """All converted files that are there."""
        return sorted((weights / "openfold").glob("params_*.npz")) if weights else []

    def recipe(self, group: str, settings: OpenFoldSettings, weights: Path | None) -> dict[str, Any]:
        """Code versions, settings, and the identity of the parameters.

        Raises:
            WeightsMissingError: parameters are missing or damaged, or converted and random ones are mixed.
        """
        from snakefold.engines.openfold import weights as files

        del group
        return {
            "engine": self.name,
            "version": self.version,
            "colabfold": importlib.metadata.version("colabfold"),
            "settings": told(settings),
            "weights": files.identity(_folder(weights), settings.parameters),
            **kernels.recipe(settings),
        }

    def files(self, request: FoldRequest, target: TargetInput, msas: TargetMsas) -> Mapping[str, bytes]:
        """templates.tsv, if the network was given any."""
        from snakefold.engines import template_table

        del target
        settings = OpenFoldSettings.model_validate(request.settings)
        return template_table.files(msas, used=settings.use_templates)

    def describe(self, told: Told) -> Sequence[str]:
        """The network, and the parameters by the names of their files."""
        return methods.sentences(told)

    def cites(self, told: Told) -> Collection[str]:
        """OpenFold, whose parameters ran, and AlphaFold2, whose code."""
        del told
        return set(methods.CITES)

    def start(
        self,
        request: FoldRequest,
        msas: Mapping[str, TargetMsas],
        weights: Path | None,
        cache: Path | None,
    ) -> AlphaFold2Session:
        """Load the parameters; `cache` keeps compiled programs, which AlphaFold2's monomers share.

        Raises:
            WeightsMissingError: parameters are missing or damaged.
        """
        from snakefold.engines.alphafold2.session import AlphaFold2Session
        from snakefold.engines.openfold import weights as files

        settings, folder = OpenFoldSettings.model_validate(request.settings), _folder(weights)

        def networks(preset: ModelPreset) -> list[Network]:
            del preset  # each file says what it is
            found = []
            for name in settings.parameters:
                path = files.parameters_file(folder, name)
                kind = files.kind(path)
                found.append(Network(name, kind.preset, settings.use_templates and kind.templates, path))
            return found

        return AlphaFold2Session(
            request,
            msas,
            settings=settings,
            preset=ModelPreset.MONOMER,
            networks=networks,
            advice=files.GET,
            cache=cache,
        )


def _folder(weights: Path | None) -> Path:
    if weights is None:
        from snakefold.engines.openfold import weights as files

        raise WeightsMissingError(f"OpenFold needs parameters. {files.GET}")
    return weights


ENGINE = OpenFold()
