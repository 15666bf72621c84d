"""Fused kernels of the network: which a run takes, and what this machine can do.

alphafold-colabfold has attention, layer normalisation and the gated projection of the triangle updates as
one kernel each: in Pallas for sm_80 and later (bfloat16), in CUDA for sm_70 and sm_75 (float16, the package
colabfold-legacy-kernels). Which is taken follows colabfold.alphafold.models.load_models_and_params
(colabfold 1.6.3). Results of either are not those of the other, nor of the network without: each has a
recipe of its own.

The plan settles `auto` and `fused` by the compute capability of the GPU classes, because it names the
results. A worker takes what the request says. Where it cannot, it predicts without and says so.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from snakefold.engines.alphafold2.settings import Kernels
from snakefold.engines.spec import Column, Hardware
from snakefold.kernel.errors import ConfigError

#: XLA takes Pallas kernels from this compute capability on.
_PALLAS_FROM = 80
#: What colabfold-legacy-kernels has libraries for.
_LEGACY = (70, 75)
#: Distribution that a kind of kernels comes with.
_PACKAGES = {Kernels.PALLAS: "alphafold-colabfold", Kernels.CUDA_LEGACY: "colabfold-legacy-kernels"}
#: The column of metrics.tsv that says what ran; its name is that of the setting, too.
COLUMN = "kernels"
COLUMNS = {COLUMN: Column(str, "", "Kernels of the network: pallas, cuda_legacy (both fused) or stock.")}


class _Settings(Protocol):
    @property
    def section(self) -> str: ...

    @property
    def precision(self) -> str: ...

    @property
    def kernels(self) -> Kernels: ...


def kind_for(capability: int | None) -> Kernels:
    """The kernels that a GPU takes, by its compute capability (80 is sm_80); stock where there are none.

    An unknown one counts as recent, as in ColabFold.
    """
    if capability is None or capability >= _PALLAS_FROM:
        return Kernels.PALLAS
    return Kernels.CUDA_LEGACY if capability in _LEGACY else Kernels.STOCK


def rehearsed(settings: _Settings) -> Kernels:
    """A rehearsal runs fused kernels only where they are asked for: it has nothing that takes long."""
    return Kernels.STOCK if settings.kernels is Kernels.AUTO else settings.kernels


def settled(settings: _Settings, hardware: Hardware) -> Kernels:
    """The kernels of a run: pallas, cuda_legacy or stock, the same for all of its results.

    `auto` takes fused ones only where every class is known to take the same. `fused` counts a class of
    unknown capability as recent.
    """
    wanted = settings.kernels
    if wanted is Kernels.FUSED:
        kinds = set(map(kind_for, hardware.capabilities.values()))
        return kinds.pop() if len(kinds) == 1 else wanted
    if wanted is not Kernels.AUTO:
        return wanted
    known = {None if each is None else kind_for(each) for each in hardware.capabilities.values()}
    if hardware.device != "gpu" or settings.precision != "bfloat16" or len(known) != 1:
        return Kernels.STOCK
    return known.pop() or Kernels.STOCK


def caveats(settings: _Settings, hardware: Hardware) -> Iterator[str]:
    """What a quote says of kernels that a run does not get, or may not get.

    Raises:
        ConfigError: they are asked for, and some class certainly does not take them.
    """
    name, wanted = f"{settings.section}.kernels", settings.kernels
    classes = hardware.capabilities
    unknown = [each for each, capability in classes.items() if capability is None]
    where = f"the compute capability of {', '.join(unknown)} is not known"
    advice = "Give it in your table of GPU classes (compute_capability: 8.6)"
    if wanted is Kernels.AUTO:
        if hardware.device == "cpu" or settings.precision != "bfloat16":
            return
        if hardware.device != "gpu":
            yield (
                f"{name}: auto takes stock, which is slower on GPUs: predictions may run on a CPU too. Name "
                "GPU classes only (gpu.classes)."
            )
        elif unknown:
            yield f"{name}: auto takes stock, which is slower: {where}. {advice}, or set {name}: fused."
        elif len(kinds := {kind_for(each) for each in classes.values()}) > 1:
            yield (
                f"{name}: auto takes stock, which is slower: {', '.join(classes)} take different kernels "
                f"({', '.join(sorted(kinds))}), and the results of a run are of one kind. Name classes that "
                "take the same in gpu.classes."
            )
        return
    if wanted is Kernels.STOCK:
        return
    if hardware.device != "gpu":
        raise ConfigError(
            f"{name}: {wanted}: fused kernels need a GPU, and predictions may run on a CPU here. Name GPU "
            f"classes only (gpu.classes), or set {name}: auto."
        )
    kinds = {kind_for(each) for each in classes.values() if each is not None}
    if unknown:
        kinds.add(Kernels.PALLAS if wanted is Kernels.FUSED else wanted)
    if len(kinds) > 1 or kinds == {Kernels.STOCK} or not kinds <= {wanted, *_of(wanted)}:
        told = ", ".join(
            f"{each}: {'not known' if capability is None else f'sm_{capability}, {kind_for(capability)}'}"
            for each, capability in classes.items()
        )
        raise ConfigError(
            f"{name}: {wanted}: not every GPU class takes the same fused kernels, or these ({told}). Name "
            f"classes that do in gpu.classes, or set {name}: auto."
        )
    if unknown:
        yield (
            f"{name}: {wanted}: {where}; {kinds.pop()} kernels are assumed. Where they do not run, results "
            f"say so and are not kept in the store. {advice}."
        )


def _of(wanted: Kernels) -> set[Kernels]:
    return {Kernels.PALLAS, Kernels.CUDA_LEGACY} if wanted is Kernels.FUSED else set()


def recipe(settings: _Settings) -> dict[str, Any]:
    """The part of a recipe that fused kernels are: what runs, and whose version; {} of none.

    Without fused kernels it is the recipe of releases that had none, so that their stores stay valid.
    """
    kernels = settings.kernels
    if kernels in (Kernels.AUTO, Kernels.STOCK):
        return {}
    return {"kernels": {"kind": str(kernels), **{name: _version(name) for name in packages(kernels)}}}


def packages(kernels: Kernels) -> list[str]:
    """Distributions that the kernels come with; those of both kinds where it is not said which."""
    return list(dict.fromkeys(_PACKAGES[each] for each in _PACKAGES if kernels in (each, Kernels.FUSED)))


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


@dataclass(frozen=True)
class Running:
    """What the network of this process runs with.

    Attributes:
        kernels: pallas, cuda_legacy or stock.
        capability: compute capability of the device, as ColabFold reads it.
        missing: why these are not the kernels that were asked for; empty: they are.
    """

    kernels: Kernels = Kernels.STOCK
    capability: int | None = None
    missing: str = ""

    def configure(self, global_config: Any) -> None:
        """Set what `colabfold_batch` sets of an AlphaFold configuration (`model.global_config`)."""
        legacy = self.capability is not None and self.capability < _PALLAS_FROM
        backend = Kernels.CUDA_LEGACY if legacy else Kernels.PALLAS
        fused = self.kernels is not Kernels.STOCK
        global_config.use_pallas = fused
        global_config.kernel_backend = str(self.kernels if fused else backend)
        global_config.compute_capability = self.capability
        if self.kernels is Kernels.CUDA_LEGACY:
            global_config.half_dtype = "float16"  # tensor cores of that age have no bfloat16


def running(settings: _Settings) -> Running:
    """What this machine runs of what the settings ask for. `auto` that no plan has settled means stock."""
    from colabfold.alphafold import models

    capability = models._compute_capability()
    wanted = settings.kernels
    if wanted in (Kernels.AUTO, Kernels.STOCK):
        return Running(capability=capability)
    found = kind_for(capability) if wanted is Kernels.FUSED else wanted
    missing = ""
    if settings.precision != "bfloat16":
        missing = "they need half precision"
    elif not models._on_gpu():
        missing = "there is no GPU that JAX sees"
    elif found is Kernels.STOCK or (found is Kernels.PALLAS and kind_for(capability) is not Kernels.PALLAS):
        missing = f"the GPU is sm_{capability}"
    elif found is Kernels.CUDA_LEGACY:
        missing = _without_legacy(capability)
    return Running(Kernels.STOCK if missing else found, capability, missing)


def _without_legacy(capability: int | None) -> str:
    """Why the CUDA kernels do not run on a device; empty if they do."""
    from alphafold.model import volta_attn

    if capability not in _LEGACY:
        return f"colabfold-legacy-kernels has none for {'sm_' + str(capability) if capability else 'it'}"
    try:
        if volta_attn.available(capability) and volta_attn.ops_available(capability):
            return ""
    except OSError as error:
        return f"colabfold-legacy-kernels cannot be loaded: {error}"
    return f"colabfold-legacy-kernels is not installed, or has none for sm_{capability}"


#: A recipe is what was planned.
_EXCEPT = "metrics.tsv names targets that ran without, in the column kernels"


def told(recipe: Mapping[str, Any]) -> str:
    """The end of a sentence on what a recorded recipe computes with: precision, and kernels if fused."""
    settings = recipe.get("settings")
    precision = str(settings.get("precision", "bfloat16")) if isinstance(settings, Mapping) else "bfloat16"
    found = recipe.get("kernels")
    if not isinstance(found, Mapping):
        return f"in {precision}"
    kind = str(found.get("kind"))
    versions = ", ".join(f"{name} {found[name]}" for name in _PACKAGES.values() if name in found)
    if kind == Kernels.CUDA_LEGACY:
        return f"in float16 with fused CUDA kernels ({versions}; {_EXCEPT})"
    pallas = "Pallas " if kind == Kernels.PALLAS else ""
    return f"in {precision} with fused {pallas}kernels ({versions}; {_EXCEPT})"
