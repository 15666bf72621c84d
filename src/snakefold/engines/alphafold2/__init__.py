"""Engine `alphafold2`: AlphaFold2 as ColabFold's fork of it (alphafold-colabfold) runs it.

Equal parameters, A3Ms and settings give the coordinates of `colabfold_batch`, byte for byte; what differs is
what a batch costs: parameters are loaded once, lengths padded to few bucket edges, programs kept on disk.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snakefold.engines.alphafold2 import brought, interfaces, kernels, methods, targets
from snakefold.engines.alphafold2.models import (
    FURTHER,
    Network,
    model_name,
    needed_models,
    preset_for,
    programs,
    uses_templates,
)
from snakefold.engines.alphafold2.settings import (
    OFFICIAL_BLOCKS,
    AlphaFold2Settings,
    ModelPreset,
    RehearsalSettings,
    effective,
    parts_of,
    stops_early,
    told,
)
from snakefold.engines.alphafold2.shapes import choose, most_rows
from snakefold.engines.spec import (
    Defaults,
    Hardware,
    Log,
    Molecules,
    Needs,
    Parameters,
    TargetMsas,
    Told,
    Weights,
)
from snakefold.engines.weights_folder import named_folder
from snakefold.kernel.contracts import FoldRequest, RelaxSettings, TargetInput
from snakefold.kernel.errors import WeightsMissingError

if TYPE_CHECKING:
    from snakefold.engines.alphafold2.cost import AlphaFold2Work
    from snakefold.engines.alphafold2.session import AlphaFold2Session

__all__ = ["ENGINE", "AlphaFold2", "needed_models"]

MONOMER, COMPLEX = "monomer", "complex"
#: Targets that bring templates: none are searched for them, and their recipe names what reads those.
OWN_TEMPLATES = "_templates"


def _fetch(folder: Path, mirror: str | None, log: Log) -> None:
    from snakefold.engines.alphafold2 import weights

    weights.fetch(folder, mirror=mirror, log=log)


def _check(folder: Path, log: Log) -> bool:
    from snakefold.engines.alphafold2 import weights

    return weights.report_check(folder, log) == 0


def _part(preset: ModelPreset) -> Weights:
    """Parameters beside the official archive's, which few runs need."""

    def fetch(folder: Path, mirror: str | None, log: Log) -> None:
        from snakefold.engines.alphafold2 import weights_archive

        weights_archive.fetch_preset(folder, preset, mirror, log)

    return Weights(fetch=fetch, check=_check)


#: Of metrics.tsv.
COLUMNS = {**kernels.COLUMNS, **interfaces.COLUMNS}


class AlphaFold2(Defaults):
    """See `snakefold.engines.spec.Engine`."""

    name = "alphafold2"
    title = "AlphaFold2"
    Settings = AlphaFold2Settings
    groups = (MONOMER, COMPLEX, MONOMER + OWN_TEMPLATES, COMPLEX + OWN_TEMPLATES)
    accepts = brought.ACCEPTS
    views = ("plddt", "pae", "alignment")
    columns = COLUMNS
    relaxes = True
    licence = "https://creativecommons.org/licenses/by/4.0/"
    packages = ("alphafold-colabfold", "colabfold", "jax")
    weights = Weights(fetch=_fetch, check=_check, parts={str(preset): _part(preset) for preset in FURTHER})

    @property
    def version(self) -> str:
        """That of the network's code."""
        try:
            return importlib.metadata.version("alphafold-colabfold")
        except importlib.metadata.PackageNotFoundError:  # as in an environment of another engine
            return "not installed"

    def check(self, target: TargetInput, settings: AlphaFold2Settings) -> None:
        """Refuse what cannot be folded, and templates that would not be read.

        Raises:
            TargetError: invalid_input.
        """
        brought.check(target, settings)
        targets.check(brought.plain(target))

    def group(self, target: Molecules, settings: AlphaFold2Settings) -> str:
        """Monomers and complexes run different networks, unless the settings name one."""
        del settings
        kind = COMPLEX if brought.chain_count(target) > 1 else MONOMER
        return kind + OWN_TEMPLATES if brought.has_templates(target) else kind

    def pads(self, group: str, settings: AlphaFold2Settings) -> bool:
        """Both networks hide what pads a target, but for what drops out."""
        del group
        return not settings.use_dropout

    def needs(self, group: str, settings: AlphaFold2Settings) -> Needs:
        """Alignments; the different chains of complexes are paired by species."""
        paired = _is_complex(group) and settings.pair_mode != "unpaired"
        return Needs(alignment=True, pairing=paired, templates=not group.endswith(OWN_TEMPLATES))

    def work(
        self,
        group: str,
        settings: AlphaFold2Settings,
        relax: RelaxSettings,
        *,
        blocks: int | None = None,
        rows: tuple[int, int] | None = None,
    ) -> AlphaFold2Work:
        """What a prediction takes; `rows` of the clustered and of the extra MSA."""
        from snakefold.engines.alphafold2 import cost

        preset = _preset(group, settings)
        return cost.work(
            settings,
            relax,
            engine=self.name,
            models=len(settings.models),
            programs=programs(settings, preset),
            multimer=preset.multimer,
            most=most_rows(preset),
            blocks=blocks,
            rows=rows,
        )

    def parts(self, settings: AlphaFold2Settings, seeds: int) -> Sequence[AlphaFold2Settings]:
        """Seed after seed, unless scores say which are predicted."""
        return parts_of(settings, seeds)

    def does_all(self, settings: AlphaFold2Settings) -> bool:
        """Unless recycles, models or seeds may be left out."""
        return not stops_early(settings)

    def alignment_rows(
        self, request: FoldRequest, targets: Sequence[TargetInput], depths: Sequence[int]
    ) -> tuple[int, int]:
        """Rows of the clustered and the extra MSA that the session chose for targets of one length."""
        settings = AlphaFold2Settings.model_validate(request.settings)
        shape = choose(settings, _preset(self.group(targets[0], settings), settings), depths)
        return shape.clusters, shape.extra

    def rehearsed(self, settings: AlphaFold2Settings, rehearsal: RehearsalSettings) -> AlphaFold2Settings:
        """Cut down to what a rehearsal runs."""
        names = ("models", "num_recycle", "max_msa_clusters", "max_extra_msa")
        changed = {name: getattr(rehearsal, name) for name in names}
        return settings.model_copy(update=changed | {"kernels": kernels.rehearsed(settings)})

    def settled(self, settings: AlphaFold2Settings, hardware: Hardware) -> AlphaFold2Settings:
        """Fused kernels give other numbers: which ones run is said before a recipe names the results."""
        return settings.model_copy(update={"kernels": kernels.settled(settings, hardware)})

    def caveats(self, settings: AlphaFold2Settings, hardware: Hardware) -> Sequence[str]:
        """What kernels a run does not get. Raises ConfigError."""
        return list(kernels.caveats(settings, hardware))

    def parameters(
        self,
        place: str,
        settings: AlphaFold2Settings,
        groups: Collection[str],
        *,
        draw: AlphaFold2Settings | None = None,
        blocks: int = OFFICIAL_BLOCKS,
        whole: bool = True,
        cache: Path | None = None,
    ) -> Parameters | None:
        """Official parameters, or random ones."""
        from snakefold.engines.alphafold2 import weights

        def needed(chosen: AlphaFold2Settings) -> list[str]:
            complexes = {_is_complex(group) for group in groups}
            return needed_models(chosen, monomers=False in complexes, multimers=True in complexes)

        found = weights.find(place, needed(settings), whole=whole)
        if found is None and draw is not None:
            found = weights.draw_for(blocks, needed(draw), cache or Path(".snakefold"))
        return None if found is None else Parameters(found.folder, found.rehearsal, found.blocks)

    def parameter_folder(self, place: str) -> Path | None:
        """As `weights_folder.named_folder`."""
        return named_folder(place)

    def parameter_files(self, weights: Path | None) -> Sequence[Path]:
        """The npz files of all models that are there."""
        from snakefold.engines.alphafold2.parameters import model_files, parameters_folder

        return model_files(parameters_folder(weights)) if weights else []

    def recipe(self, group: str, settings: AlphaFold2Settings, weights: Path | None) -> dict[str, Any]:
        """Code versions, settings, and the identity of the parameters.

        Raises:
            WeightsMissingError: parameters are missing or damaged, or official and random ones are mixed.
        """
        from snakefold.engines.alphafold2 import weights as parameter_files

        chosen = effective(settings.model_copy(update={"model_preset": _preset(group, settings)}))
        names = needed_models(chosen, monomers=True, multimers=False)
        return {
            "engine": self.name,
            "version": self.version,
            "colabfold": importlib.metadata.version("colabfold"),
            "settings": told(chosen),
            "weights": parameter_files.identity(_folder(weights), names),
            **kernels.recipe(settings),
            **(_own_templates() if group.endswith(OWN_TEMPLATES) else {}),
        }

    def files(self, request: FoldRequest, target: TargetInput, msas: TargetMsas) -> Mapping[str, bytes]:
        """templates.tsv, if the network was given any."""
        from snakefold.engines import template_table

        used = AlphaFold2Settings.model_validate(request.settings).use_templates
        if brought.has_templates(target):  # the session made their features, and gives the table
            return {}
        return template_table.files(msas, used=used)

    def describe(self, told: Told) -> Sequence[str]:
        """The network, its models and its parameters."""
        return methods.sentences(told)

    def cites(self, told: Told) -> Collection[str]:
        """AlphaFold2, and AlphaFold-Multimer where it ran."""
        return methods.cites(told)

    def start(
        self,
        request: FoldRequest,
        msas: Mapping[str, TargetMsas],
        weights: Path | None,
        cache: Path | None,
    ) -> AlphaFold2Session:
        """Load the parameters that the batch needs; `cache` keeps compiled programs.

        Raises:
            WeightsMissingError: parameters are missing or damaged.
        """
        from snakefold.engines.alphafold2.parameters import how_to_get, parameters_file
        from snakefold.engines.alphafold2.session import AlphaFold2Session

        settings, folder = AlphaFold2Settings.model_validate(request.settings), _folder(weights)

        def networks(preset: ModelPreset) -> list[Network]:
            return [
                Network(name, preset, uses_templates(settings, preset, number), parameters_file(folder, name))
                for number in sorted(settings.models)
                for name in [model_name(preset, number)]
            ]

        return AlphaFold2Session(
            request,
            msas,
            settings=settings,
            preset=settings.model_preset,
            networks=networks,
            advice=how_to_get(folder, *needed_models(settings, monomers=True, multimers=True)),
            cache=cache,
        )


def _preset(group: str, settings: AlphaFold2Settings) -> ModelPreset:
    return preset_for(settings.model_preset, 2 if _is_complex(group) else 1)


def _is_complex(group: str) -> bool:
    return group.startswith(COMPLEX)


def _own_templates() -> dict[str, Any]:
    """What reads the templates that targets bring, for the recipe."""
    from snakefold.msa import own_templates

    return {"own_templates": own_templates.versions()}


def _folder(weights: Path | None) -> Path:
    if weights is None:
        raise WeightsMissingError("AlphaFold2 needs parameters. Fetch them with: snakefold weights fetch.")
    return weights


ENGINE = AlphaFold2()
