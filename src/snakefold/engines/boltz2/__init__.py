"""Engine `boltz2`: Boltz-2 predicts proteins, DNA, RNA and ligands together, and affinities of ligands.

Boltz's own code (boltz-community) runs in an environment of its own, in one process for a batch. What Boltz
would accept in silence and compute as something else is refused here, before anything is paid.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snakefold.engines.boltz2 import checks
from snakefold.engines.boltz2.settings import Boltz2Settings
from snakefold.engines.seeds import cut
from snakefold.engines.spec import (
    Affinity,
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
from snakefold.kernel.wording import count
from snakefold.molecules.accepts import Accepts
from snakefold.molecules.entities import NO_ALIGNMENT, Assembly, Kind
from snakefold.molecules.tokens import ligand_atoms

if TYPE_CHECKING:
    from snakefold.engines.boltz2.session import Boltz2Session
    from snakefold.engines.spec import Work

__all__ = ["ENGINE", "Boltz2"]

#: How Boltz's random numbers are seeded and its input is written; another number when that changes results.
IMPLEMENTATION = "seeded 1"
_AFFINITY = ("sampling_steps_affinity", "diffusion_samples_affinity", "affinity_mw_correction")
_HERE = Path(__file__).parent


def _fetch(folder: Path, address: str | None, log: Log) -> None:
    from snakefold.engines.boltz2.downloads import WEIGHTS

    WEIGHTS.fetch(folder, address, log)


def _check(folder: Path, log: Log) -> bool:
    from snakefold.engines.boltz2.downloads import WEIGHTS

    return WEIGHTS.check(folder, log)


class Boltz2(Defaults):
    """See `snakefold.engines.spec.Engine`."""

    name = "boltz2"
    title = "Boltz-2"
    accepts = Accepts(
        kinds=frozenset(Kind),
        modifications=True,
        cyclic=True,
        alignments=True,
        constraints=True,
        affinity=True,
    )
    Settings = Boltz2Settings
    #: Different proteins are paired by species, which takes another search, and only affinities take the
    #: second network: none of these changes the results of the others.
    groups = ("structure", "complex", "affinity", "complex_affinity")
    columns: Mapping[str, Column] = {
        "confidence_score": Column(
            float, "0 to 1", "What Boltz ranks models by: 0.8 complex_plddt + 0.2 ipTM (pTM of one chain)."
        ),
        "ligand_iptm": Column(float, "0 to 1", "ipTM of interfaces between ligands and proteins."),
        "protein_iptm": Column(float, "0 to 1", "ipTM of interfaces between proteins."),
        "complex_plddt": Column(float, "0 to 1", "Mean pLDDT of all tokens."),
        "complex_iplddt": Column(float, "0 to 1", "Mean pLDDT, tokens at interfaces weighted more."),
        "complex_pde": Column(float, "Å", "Mean predicted distance error of pairs of tokens in contact."),
        "complex_ipde": Column(float, "Å", "The same of pairs of tokens at interfaces."),
        "structure_checks_passed": Column(
            bool, "", "No stereocentre is inverted or flat, and all bonds have a plausible length."
        ),
        "affinity_pred_value": Column(
            float, "log10(IC50 in µM)", "Predicted affinity of the ligand, mean of two networks: -3 is 1 nM."
        ),
        "affinity_probability_binary": Column(
            float, "0 to 1", "Probability that the ligand binds, mean of two networks."
        ),
        "affinity_pred_value1": Column(float, "log10(IC50 in µM)", "Affinity by the first network."),
        "affinity_probability_binary1": Column(float, "0 to 1", "Probability by the first network."),
        "affinity_pred_value2": Column(float, "log10(IC50 in µM)", "Affinity by the second network."),
        "affinity_probability_binary2": Column(float, "0 to 1", "Probability by the second network."),
        "affinity_pose_passed_checks": Column(
            bool, "", "structure_checks_passed of the pose that the affinity was predicted for."
        ),
    }
    views = ("plddt", "pae", "alignment", "affinity")
    affinity = Affinity(
        value="affinity_pred_value",
        probability="affinity_probability_binary",
        members=(
            ("affinity_pred_value1", "affinity_probability_binary1"),
            ("affinity_pred_value2", "affinity_probability_binary2"),
        ),
        note="The probability tells binders from decoys; the value compares ligands that bind.",
    )
    size_unit = "tokens"
    packages = ("boltz-community", "torch", "rdkit")
    weights = Weights(fetch=_fetch, check=_check)
    licence = "https://github.com/jwohlwend/boltz/blob/main/LICENSE"
    environment: Environment = Environment(
        "3.11",
        _HERE / "environment.lock",
        cpu_lock=_HERE / "environment-cpu.lock",
        cpu_source="the index of PyTorch's CPU builds, which PyTorch's page 'Get started' names",
    )

    @property
    def version(self) -> str:
        """That of boltz-community, whose code it is."""
        return self.environment.version("boltz-community")

    def check(self, target: TargetInput, settings: Boltz2Settings) -> None:
        """Refuse what Boltz cannot compute, or would compute as something else.

        Raises:
            TargetError: what was found, and what to give instead.
        """
        del settings
        if target.assembly is not None:
            checks.check(Assembly.model_validate(target.assembly))

    def notes(self, target: TargetInput, settings: Boltz2Settings) -> Sequence[str]:
        """Ligands that Boltz computes as less than they are, or that its network was not trained for."""
        del settings
        return () if target.assembly is None else checks.notes(Assembly.model_validate(target.assembly))

    def group(self, target: Molecules, settings: Boltz2Settings) -> str:
        """By what has to be searched and loaded."""
        del settings
        several = len(_different_proteins(target)) > 1
        if _affinity(target):
            return "complex_affinity" if several else "affinity"
        return "complex" if several else "structure"

    def size(self, target: Molecules) -> int:
        """Tokens: residues of polymers and heavy atoms of ligands."""
        return max(1, target.length + ligand_atoms(target.assembly))

    def needs(self, group: str, settings: Boltz2Settings) -> Needs:
        """Alignments; different proteins are paired by species."""
        del settings
        return Needs(alignment=True, pairing=group.startswith("complex"))

    def work(
        self,
        group: str,
        settings: Boltz2Settings,
        relax: RelaxSettings,
        *,
        blocks: int | None = None,
        rows: Any = None,
    ) -> Work:
        """What a prediction takes."""
        from snakefold.engines.boltz2.cost import Boltz2Work

        del relax
        return Boltz2Work(
            samples=settings.diffusion_samples,
            seeds=settings.num_seeds,
            recycling=settings.recycling_steps,
            steps=settings.sampling_steps,
            parallel=settings.max_parallel_samples,
            affinity=group.endswith("affinity"),
            affinity_samples=settings.diffusion_samples_affinity,
            affinity_steps=settings.sampling_steps_affinity,
            potentials=settings.use_potentials,
            rows=settings.max_msa_seqs if rows is None else 1,
            sampled_rows=settings.num_subsampled_msa,
            rehearsal=blocks is not None,
        )

    def parts(self, settings: Boltz2Settings, seeds: int) -> Sequence[Boltz2Settings]:
        """Seed after seed: each draws its own random numbers."""
        return cut(settings, settings.seed, settings.num_seeds, seeds)

    def settled(self, settings: Boltz2Settings, hardware: Hardware) -> Boltz2Settings:
        """What computes is part of a result: a GPU draws other random numbers, and in another precision."""
        if settings.accelerator != "auto" or not hardware.device:
            return settings
        return settings.model_copy(update={"accelerator": hardware.device})

    def rehearsed(self, settings: Boltz2Settings, rehearsal: Any) -> Boltz2Settings:
        """As few steps as show that everything works."""
        del rehearsal
        most = {
            "diffusion_samples": 2,
            "recycling_steps": 0,
            # With fewer, atoms of random parameters lie beyond what a PDB file can say.
            "sampling_steps": 10,
            "num_seeds": 2,
            "sampling_steps_affinity": 5,
            "diffusion_samples_affinity": 1,
            "num_subsampled_msa": 64,
            "cpu_threads": 1,
        }
        return settings.model_copy(
            update={name: min(getattr(settings, name), value) for name, value in most.items()}
        )

    def parameter_folder(self, place: str) -> Path | None:
        """As `weights_folder.named_folder`."""
        return named_folder(place)

    def parameter_files(self, weights: Path | None) -> Sequence[Path]:
        """The networks, as far as they are there: those of a rehearsal are drawn by the first task."""
        folder = weights / self.name if weights else None
        return sorted(folder.glob("*.ckpt")) if folder else []

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
        from snakefold.engines.boltz2 import weights

        del settings
        affinity = any(group.endswith("affinity") for group in groups)
        return weights.find(
            place, affinity=affinity, draw=draw is not None, blocks=blocks, whole=whole, cache=cache
        )

    def recipe(self, group: str, settings: Boltz2Settings, weights: Path | None) -> dict[str, Any]:
        """Versions, the settings that this group reads, and the identity of the parameters.

        Raises:
            WeightsMissingError: parameters are missing or damaged.
        """
        from snakefold.engines.boltz2 import weights as files

        affinity = group.endswith("affinity")
        values = settings.model_dump(mode="json")
        unread = {
            *(() if affinity else _AFFINITY),
            *(("cpu_threads",) if settings.accelerator == "gpu" else ()),
        }
        return {
            "engine": self.name,
            "version": self.version,
            "implementation": IMPLEMENTATION,
            "torch": self.environment.version("torch"),
            "rdkit": self.environment.version("rdkit"),
            "settings": {name: value for name, value in values.items() if name not in unread},
            "weights": files.identity(weights, affinity=affinity),
        }

    def describe(self, told: Told) -> Sequence[str]:
        """The network, what it ran with, and where its parameters are from."""
        names = ", ".join(told.package(name) for name in self.packages)
        found = [
            f"Structures were predicted with Boltz-2 ({names}){told.cite(self.name)}, run by {told.run}."
        ]
        recipes = [recipe for recipe in told.recipes.values() if recipe.get("settings")]
        if recipes:
            found.append(_sampling(recipes[0]["settings"]))
        affinity = [r for r in recipes if "sampling_steps_affinity" in r["settings"]]
        if affinity:
            read = affinity[0]["settings"]
            corrected = ", corrected by molecular weight" if read.get("affinity_mw_correction") else ""
            found.append(
                f"Affinities are log10 of IC50 in µM{corrected}, from "
                f"{count(read['diffusion_samples_affinity'], 'pose')} of "
                f"{count(read['sampling_steps_affinity'], 'diffusion step')}."
            )
        if told.recipes:
            found.append(
                "The network's parameters were random."
                if told.rehearsal
                else "Boltz-2's parameters are under the MIT licence."
            )
        return found

    def start(
        self,
        request: FoldRequest,
        msas: Mapping[str, TargetMsas],
        weights: Path | None,
        cache: Path | None,
    ) -> Boltz2Session:
        """Load the networks that the batch needs.

        Raises:
            WeightsMissingError: parameters are missing or damaged.
            TargetError: a GPU is wanted and there is none.
        """
        from snakefold.engines.boltz2.session import open_session

        del msas, cache
        return open_session(request, weights)


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


def _affinity(target: Molecules) -> bool:
    content = _content(target)
    return content is not None and content.get("affinity") is not None


def _sampling(settings: Mapping[str, Any]) -> str:
    steered = ", steered by physical potentials" if settings.get("use_potentials") else ""
    precision = {"gpu": " in bfloat16", "cpu": " in float32"}.get(str(settings.get("accelerator")), "")
    return (
        f"Each target has {count(settings['diffusion_samples'], 'model')} per seed, "
        f"{count(settings['num_seeds'], 'seed')} (the first is {settings['seed']}), "
        f"{count(settings['recycling_steps'], 'recycle')} and "
        f"{count(settings['sampling_steps'], 'diffusion step')} of scale {settings['step_scale']:g}"
        f"{steered}{precision}."
    )


ENGINE = Boltz2()
