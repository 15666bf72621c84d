"""Engine `af3`: AlphaFold 3's family, ten models that one code runs (setting `model`).

The code (alphafold3-colabfold) runs in an environment of its own, in one process for a batch: one model, its
parameters loaded once, one program for each bucket. What it would pass over in silence is refused or noted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snakefold.engines.af3 import checks
from snakefold.engines.af3.models import NETWORKS, Network
from snakefold.engines.af3.settings import Af3Settings
from snakefold.engines.seeds import cut
from snakefold.engines.spec import (
    Column,
    Defaults,
    Environment,
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
from snakefold.kernel.errors import ConfigError
from snakefold.kernel.wording import count
from snakefold.molecules.accepts import Accepts
from snakefold.molecules.entities import NO_ALIGNMENT, Assembly, Kind
from snakefold.molecules.tokens import ligand_atoms

if TYPE_CHECKING:
    from snakefold.engines.af3.session import Af3Session
    from snakefold.engines.spec import Work

__all__ = ["ENGINE", "Af3"]

#: How the wheel's input is written and its output read; another number when that changes results.
IMPLEMENTATION = "af3 1"
#: Distributions whose versions a result depends on, besides the wheel.
_DEPENDS_ON = ("jax", "tokamax", "rdkit", "biotite")
#: The least compute capability with bfloat16 and Triton's kernels.
_BFLOAT16_FROM = 80
_HERE = Path(__file__).parent


def _fetch(folder: Path, address: str | None, log: Log) -> None:
    from snakefold.engines.af3.weights import fetch_any

    fetch_any(folder, address, log)


def _check(folder: Path, log: Log) -> bool:
    from snakefold.engines.af3.weights import check_all

    return check_all(folder, log)


def _part(network: Network) -> Weights:
    def fetch(folder: Path, address: str | None, log: Log) -> None:
        from snakefold.engines.af3.weights import entry

        entry(network).fetch(folder, address, log)

    def check(folder: Path, log: Log) -> bool:
        from snakefold.engines.af3.weights import entry

        return entry(network).check(folder, log)

    return Weights(fetch=fetch, check=check)


class Af3(Defaults):
    """See `snakefold.engines.spec.Engine`."""

    name = "af3"
    title = "AlphaFold 3's family"
    accepts = Accepts(
        kinds=frozenset(Kind), modifications=True, alignments=True, constraints=True, templates=True
    )
    Settings = Af3Settings
    #: Different proteins are paired by species, which takes another search.
    groups = ("structure", "complex")
    columns: Mapping[str, Column] = {
        "af3_model": Column(str, "", "Model of AlphaFold 3's family that predicted."),
        "ranking_score": Column(
            float,
            "",
            "What models are ranked by: 0.8 ipTM + 0.2 pTM (pTM of one chain) + 0.5 fraction_disordered "
            "- 100 has_clash.",
        ),
        "fraction_disordered": Column(
            float, "0 to 1", "Share of protein residues that are disordered, by their accessible surface."
        ),
        "has_clash": Column(bool, "", "A chain clashes with another: more than 100 or half of its atoms."),
        "best_ligand_pair_iptm": Column(float, "0 to 1", "Highest ipTM of a ligand with any other chain."),
        "min_pair_pae": Column(float, "Å", "Lowest PAE between two chains."),
        "weights_licence": Column(str, "", "Licence of the parameters."),
    }
    views = ("plddt", "pae", "alignment")
    size_unit = "tokens"
    #: Each model has its own (`models`): results, recipes and methods state it.
    licence = ""
    packages = ("alphafold3-colabfold", "jax", "tokamax", "rdkit", "biotite")
    weights = Weights(
        fetch=_fetch,
        check=_check,
        parts={
            ("af3-boltz2" if name == "boltz2" else name): _part(network) for name, network in NETWORKS.items()
        },
    )
    environment: Environment = Environment(
        "3.12", _HERE / "environment.lock", cpu_lock=_HERE / "environment-cpu.lock"
    )

    @property
    def version(self) -> str:
        """That of alphafold3-colabfold, whose code it is."""
        return self.environment.version("alphafold3-colabfold")

    def doctor(self, log: Log) -> Iterable[str]:
        """Make the chemical components, if they are not there yet."""
        from snakefold.engines.af3.dictionary import make
        from snakefold.kernel.errors import SnakefoldError

        try:
            make(log)
        except SnakefoldError as error:
            yield str(error)

    def check(self, target: TargetInput, settings: Af3Settings) -> None:
        """Refuse what the models cannot compute, or would compute as something else.

        Raises:
            TargetError: what was found, and what to give instead.
        """
        if target.assembly is not None:
            assembly = Assembly.model_validate(target.assembly)
            checks.check(assembly)
            checks.check_templates(assembly, settings)
        checks.check_size(self.size(target), settings)

    def notes(self, target: TargetInput, settings: Af3Settings) -> Sequence[str]:
        """Ligands that are computed as less than they are, and models that lack a part here."""
        assembly = None if target.assembly is None else Assembly.model_validate(target.assembly)
        return checks.notes(assembly, NETWORKS[settings.model])

    def group(self, target: Molecules, settings: Af3Settings) -> str:
        """By what has to be searched."""
        del settings
        return "complex" if len(_different_proteins(target)) > 1 else "structure"

    def size(self, target: Molecules) -> int:
        """Tokens, at the most: residues of polymers, heavy atoms of ligands and of modified residues."""
        content = _content(target)
        extra = 0
        if content is not None and any(each.get("modifications") for each in content["entities"]):
            extra = checks.extra_tokens(Assembly.model_validate(content))
        return max(1, target.length + ligand_atoms(content) + extra)

    def pads(self, group: str, settings: Af3Settings) -> bool:
        """Targets share the buckets of the settings, whatever padded sizes a plan puts together."""
        del group, settings
        return True

    def needs(self, group: str, settings: Af3Settings) -> Needs:
        """Alignments, and templates of them; different proteins are paired by species."""
        return Needs(alignment=True, pairing=group == "complex", templates=settings.use_templates)

    def work(
        self,
        group: str,
        settings: Af3Settings,
        relax: RelaxSettings,
        *,
        blocks: int | None = None,
        rows: Any = None,
    ) -> Work:
        """What a prediction takes."""
        from snakefold.engines.af3.cost import Af3Work

        del group, relax
        network = NETWORKS[settings.model]
        return Af3Work(
            buckets=settings.buckets,
            samples=settings.num_diffusion_samples,
            seeds=settings.num_seeds,
            recycles=network.recycles if settings.num_recycles is None else settings.num_recycles,
            steps=network.steps if settings.num_sampling_steps is None else settings.num_sampling_steps,
            rows=settings.max_msa_seqs if rows is None else 1,
            gigabytes=network.gigabytes,
            float32=settings.precision == "float32",
            rehearsal=blocks is not None,
        )

    def parts(self, settings: Af3Settings, seeds: int) -> Sequence[Af3Settings]:
        """Seed after seed: each draws its own random numbers."""
        return cut(settings, settings.seed, settings.num_seeds, seeds)

    def settled(self, settings: Af3Settings, hardware: Hardware) -> Af3Settings:
        """What computes is part of a result: a GPU computes in another precision, with other kernels."""
        if not hardware.device:
            return settings
        chosen: dict[str, str] = {}
        device = hardware.device if settings.accelerator == "auto" else settings.accelerator
        known = [each for each in hardware.capabilities.values() if each is not None]
        recent = device == "gpu" and bool(known) and len(known) == len(hardware.capabilities)
        recent = recent and min(known) >= _BFLOAT16_FROM
        if settings.accelerator == "auto":
            chosen["accelerator"] = device
        if settings.precision == "auto":
            chosen["precision"] = "float32" if device == "cpu" else "bfloat16" if recent else "mixed"
        if settings.attention == "auto":
            chosen["attention"] = "triton" if recent else "xla"
        return settings.model_copy(update=chosen)

    def caveats(self, settings: Af3Settings, hardware: Hardware) -> Sequence[str]:
        """What the settings do not get on this hardware.

        Raises:
            ConfigError: kernels of a GPU are asked for, and a CPU predicts.
        """
        if hardware.device == "cpu" and settings.attention in ("triton", "cudnn"):
            raise ConfigError(
                f"af3.attention: {settings.attention} needs a GPU, and predictions run on a CPU here. Set "
                "af3.attention: auto."
            )
        slow = [name for name, each in hardware.capabilities.items() if each is None or each < _BFLOAT16_FROM]
        if hardware.device == "gpu" and slow and "auto" in (settings.precision, settings.attention):
            return [
                f"af3: {', '.join(slow)}: no compute capability of 8.0 or more is known, so that all targets "
                "of the run are predicted in mixed precision and without Triton's attention. Name other "
                "classes in gpu.classes."
            ]
        return ()

    def rehearsed(self, settings: Af3Settings, rehearsal: Any) -> Af3Settings:
        """As few steps as show that everything works, and small buckets besides."""
        del rehearsal
        return settings.model_copy(
            update={
                "num_diffusion_samples": min(settings.num_diffusion_samples, 2),
                "num_seeds": min(settings.num_seeds, 2),
                "num_recycles": 0,
                "num_sampling_steps": 4,
                "num_msa": min(settings.num_msa or 64, 64),
                "buckets": tuple(sorted({32, 64, 128, *settings.buckets})),
            }
        )

    def parameter_folder(self, place: str) -> Path | None:
        """As `weights_folder.named_folder`."""
        return named_folder(place)

    def parameter_files(self, weights: Path | None) -> Sequence[Path]:
        """Files of all models that are there: those of a rehearsal are drawn by the first task."""
        return sorted((weights / self.name).glob("*/*.bin.zst")) if weights else []

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
        """Official parameters, or random ones.

        Raises:
            WeightsMissingError: the folder named lacks those of the model.
        """
        from snakefold.engines.af3 import weights

        del groups
        return weights.find(
            place, settings or Af3Settings(), draw=draw is not None, blocks=blocks, whole=whole, cache=cache
        )

    def recipe(self, group: str, settings: Af3Settings, weights: Path | None) -> dict[str, Any]:
        """Versions, settings with the buckets among them, and the identity of the parameters.

        Raises:
            WeightsMissingError: parameters are missing.
        """
        from snakefold.engines.af3 import components
        from snakefold.engines.af3 import weights as files

        del group
        return {
            "engine": self.name,
            "version": self.version,
            "implementation": IMPLEMENTATION,
            **{package: self.environment.version(package) for package in _DEPENDS_ON},
            "components": components.MAKING,
            "settings": settings.model_dump(mode="json"),
            "weights": files.identity(weights, NETWORKS[settings.model]),
        }

    def files(self, request: FoldRequest, target: TargetInput, msas: TargetMsas) -> Mapping[str, bytes]:
        """templates.tsv: which templates were given to the network."""
        from snakefold.engines import template_table

        del target
        return template_table.files(msas, used=Af3Settings.model_validate(request.settings).use_templates)

    def describe(self, told: Told) -> Sequence[str]:
        """The model, the code that ran it, what it ran with, and whose its parameters are."""
        recipes = [recipe for recipe in told.recipes.values() if recipe.get("settings")]
        names = ", ".join(told.package(name) for name in self.packages)
        if not recipes:
            return [f"Structures were predicted with {names}{told.cite('af3')}, run by {told.run}."]
        read = recipes[0]["settings"]
        network = NETWORKS[read["model"]]
        found = [
            f"Structures were predicted with {network.title}{told.cite(*network.cites)}, by code of "
            f"AlphaFold 3{told.cite('af3')} ({names}), run by {told.run}.",
            _sampling(read, network),
        ]
        if told.rehearsal:
            return [*found, "The network's parameters were random."]
        found.append(f"{network.title}'s parameters ({network.source}) are under {network.licence}.")
        if network.terms:
            found.append(f"What it predicts is under terms of its own ({network.terms}).")
        if network.language_model:
            found.append(f"The model ran without {network.language_model}, which it was trained with.")
        return found

    def cites(self, told: Told) -> Collection[str]:
        """AlphaFold 3, and the model."""
        models = {recipe["settings"]["model"] for recipe in told.recipes.values() if recipe.get("settings")}
        return {"af3", *(word for name in models for word in NETWORKS[name].cites)}

    def start(
        self,
        request: FoldRequest,
        msas: Mapping[str, TargetMsas],
        weights: Path | None,
        cache: Path | None,
    ) -> Af3Session:
        """Load the model.

        Raises:
            WeightsMissingError: parameters are missing or damaged.
            SnakefoldError: another model runs in this process, or DSSP does not work.
            TargetError: a GPU is wanted and there is none.
        """
        from snakefold.engines.af3.session import open_session

        del msas
        return open_session(request, weights, cache)


def _content(target: Molecules) -> Mapping[str, Any] | None:
    """The assembly of a target in the form of the contracts; None of plain chains."""
    found = target.assembly
    return found.model_dump(mode="json") if isinstance(found, Assembly) else found


def _different_proteins(target: Molecules) -> set[str]:
    content = _content(target)
    if content is None:
        return set(target.chains)
    return {
        each["sequence"]
        for each in content["entities"]
        if each["kind"] == Kind.PROTEIN and each.get("msa") != NO_ALIGNMENT
    }


def _sampling(settings: Mapping[str, Any], network: Network) -> str:
    recycles, steps = settings["num_recycles"], settings["num_sampling_steps"]
    precision = {"bfloat16": " in bfloat16", "mixed": " in mixed precision", "float32": " in float32"}
    return (
        f"Each target has {count(settings['num_diffusion_samples'], 'model')} per seed, "
        f"{count(settings['num_seeds'], 'seed')} (the first is {settings['seed']}), "
        f"{count(network.recycles if recycles is None else recycles, 'recycle')} and "
        f"{count(network.steps if steps is None else steps, 'diffusion step')}"
        f"{precision.get(str(settings['precision']), '')}."
    )


ENGINE = Af3()
