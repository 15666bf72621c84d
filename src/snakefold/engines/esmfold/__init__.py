"""Engine `esmfold`: ESMFold predicts monomers from the sequence alone, by a language model of proteins.

transformers' EsmForProteinFolding runs in an environment of its own. There is no alignment, and one model a
target: what costs an alignment minutes costs ESMFold nothing, so that it is the cheap first pass of a screen.
transformers' code has no notion of several chains: complexes are refused.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snakefold.engines.esmfold.settings import EsmFoldSettings
from snakefold.engines.spec import Defaults, Environment, Hardware, Log, Parameters, TargetMsas, Told, Weights
from snakefold.engines.weights_folder import named_folder
from snakefold.kernel.contracts import FoldRequest, RelaxSettings, TargetInput
from snakefold.kernel.errors import Reason, TargetError
from snakefold.kernel.notes import Code, note
from snakefold.kernel.wording import count

if TYPE_CHECKING:
    from snakefold.engines.esmfold.cost import EsmFoldWork
    from snakefold.engines.esmfold.session import EsmFoldSession

__all__ = ["ENGINE", "EsmFold"]

#: How transformers is called; another number when that changes results.
IMPLEMENTATION = "chunked 1"
_HERE = Path(__file__).parent


def _fetch(folder: Path, address: str | None, log: Log) -> None:
    from snakefold.engines.esmfold import weights

    weights.fetch(folder, address, log)


def _check(folder: Path, log: Log) -> bool:
    from snakefold.engines.esmfold import weights

    return weights.check(folder, log)


class EsmFold(Defaults):
    """See `snakefold.engines.spec.Engine`."""

    name = "esmfold"
    title = "ESMFold"
    Settings = EsmFoldSettings
    groups = ("monomer",)
    packages = ("transformers", "torch")
    weights = Weights(fetch=_fetch, check=_check)
    licence = "https://github.com/facebookresearch/esm/blob/main/LICENSE"
    environment: Environment = Environment(
        "3.11",
        _HERE / "environment.lock",
        cpu_lock=_HERE / "environment-cpu.lock",
        cpu_source="the index of PyTorch's CPU builds, which PyTorch's page 'Get started' names",
    )

    @property
    def version(self) -> str:
        """That of transformers, whose code it is."""
        return self.environment.version("transformers")

    def check(self, target: TargetInput, settings: EsmFoldSettings) -> None:
        """Refuse complexes, and what has no atoms.

        Raises:
            TargetError: what was found, and what to give instead.
        """
        del settings
        if len(target.chains) > 1:
            raise TargetError(
                Reason.INVALID_INPUT,
                f"{len(target.chains)} chains: ESMFold predicts one.",
                "Set engine: alphafold2, or engines: [esmfold, alphafold2], which predicts complexes with "
                "the second.",
            )
        if set("".join(target.chains)) == {"X"}:
            raise TargetError(
                Reason.INVALID_INPUT, "Every residue is unknown (X).", "Give a sequence of amino acids."
            )

    def notes(self, target: TargetInput, settings: EsmFoldSettings) -> Sequence[str]:
        """Residues that get no atoms."""
        del settings
        unknown = sum(chain.count("X") for chain in target.chains)
        said = f"{count(unknown, 'residue')} (X) without atoms"
        return [note(Code.UNKNOWN_RESIDUES, said)] if unknown else []

    def work(
        self,
        group: str,
        settings: EsmFoldSettings,
        relax: RelaxSettings,
        *,
        blocks: int | None = None,
        rows: Any = None,
    ) -> EsmFoldWork:
        """What a prediction takes."""
        from snakefold.engines.esmfold.cost import EsmFoldWork

        del group, relax, rows
        return EsmFoldWork(
            recycles=settings.num_recycles, chunk=settings.chunk_size, rehearsal=blocks is not None
        )

    def settled(self, settings: EsmFoldSettings, hardware: Hardware) -> EsmFoldSettings:
        """What computes is part of a result: on a GPU the language model has another precision."""
        if settings.accelerator != "auto" or not hardware.device:
            return settings
        return settings.model_copy(update={"accelerator": hardware.device})

    def rehearsed(self, settings: EsmFoldSettings, rehearsal: Any) -> EsmFoldSettings:
        """One pass, on one thread."""
        del rehearsal
        most = {"num_recycles": 1, "cpu_threads": 1}
        return settings.model_copy(
            update={name: min(getattr(settings, name), value) for name, value in most.items()}
        )

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
            WeightsMissingError: the folder named lacks some, or one is damaged.
        """
        from snakefold.engines.esmfold import weights

        del settings, groups
        return weights.find(place, draw=draw is not None, blocks=blocks, whole=whole, cache=cache)

    def parameter_folder(self, place: str) -> Path | None:
        """As `weights_folder.named_folder`."""
        return named_folder(place)

    def parameter_files(self, weights: Path | None) -> Sequence[Path]:
        """What is loaded, as far as it is there: files of a rehearsal are drawn by the first task."""
        from snakefold.engines.esmfold.folder import Files

        if weights is None:
            return []
        files = Files(weights)
        return [path for path in (files.config, files.parameters) if path is not None and path.is_file()]

    def recipe(self, group: str, settings: EsmFoldSettings, weights: Path | None) -> dict[str, Any]:
        """Versions, settings, and the identity of the parameters.

        Raises:
            WeightsMissingError: parameters are missing or damaged.
        """
        from snakefold.engines.esmfold import weights as files

        del group
        unread = {"cpu_threads"} if settings.accelerator == "gpu" else set()
        return {
            "engine": self.name,
            "version": self.version,
            "implementation": IMPLEMENTATION,
            "torch": self.environment.version("torch"),
            "settings": settings.model_dump(mode="json", exclude=unread),
            "weights": files.identity(weights),
        }

    def describe(self, told: Told) -> Sequence[str]:
        """The network, what it ran with, and where its parameters are from."""
        names = ", ".join(told.package(name) for name in self.packages)
        found = [
            f"Structures were predicted from single sequences with ESMFold ({names})"
            f"{told.cite(self.name)}, run by {told.run}."
        ]
        recipes = [recipe["settings"] for recipe in told.recipes.values() if recipe.get("settings")]
        if recipes:
            precision = {
                "gpu": ", the language model in float16, the rest in float32",
                "cpu": ", in float32",
            }.get(str(recipes[0].get("accelerator")), "")
            found.append(
                f"Each target has one model of {count(recipes[0]['num_recycles'], 'recycle')}{precision}."
            )
        if told.recipes:
            found.append(
                "The network's parameters were random."
                if told.rehearsal
                else "ESMFold's parameters are under the MIT licence."
            )
        return found

    def start(
        self,
        request: FoldRequest,
        msas: Mapping[str, TargetMsas],
        weights: Path | None,
        cache: Path | None,
    ) -> EsmFoldSession:
        """Load the network.

        Raises:
            WeightsMissingError: parameters are missing or damaged.
            TargetError: a GPU is wanted and there is none.
        """
        del msas, cache
        from snakefold.engines.esmfold.session import EsmFoldSession

        return EsmFoldSession(request, weights)


ENGINE = EsmFold()
