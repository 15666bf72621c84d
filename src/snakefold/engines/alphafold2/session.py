"""A warm AlphaFold2: parameters loaded once, one program per shape, parameters swapped between models."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from snakefold.engines import compilation, template_table
from snakefold.engines.alphafold2 import (
    brought,
    features,
    guess,
    interfaces,
    kernels,
    pairing,
    parameters,
    recycling,
)
from snakefold.engines.alphafold2.ahead import Ahead
from snakefold.engines.alphafold2.models import Network, configuration, preset_for, ranked_by
from snakefold.engines.alphafold2.runner import fits_pdb, network_inputs, new_runner, to_protein, to_structure
from snakefold.engines.alphafold2.saved import Saved
from snakefold.engines.alphafold2.settings import Kernels, ModelPreset, NetworkSettings
from snakefold.engines.alphafold2.shapes import MsaShape, choose
from snakefold.engines.alphafold2.shortfalls import (
    shortfalls,
    unknown_residues,
    without_kernels,
    without_pae,
)
from snakefold.engines.spec import Result, TargetMsas
from snakefold.kernel import stages
from snakefold.kernel.contracts import FoldRequest, TargetInput
from snakefold.kernel.errors import Reason, TargetError
from snakefold.kernel.padding import padded_length
from snakefold.structures.prediction import Prediction

#: haiku's transformed `apply`, the only jitted function of AlphaFold's RunModel that predicts.
_NETWORK = "apply_fn"
#: AlphaFold's names of what it ranks by.
_LABELS = {"plddt": "plddts", "multimer": "iptm+ptm"}
#: What networks that share a program have in common: kind, templates, Evoformer blocks, rows of the MSA.
_Runner = tuple[ModelPreset, bool, int, MsaShape]
#: Inputs of the networks that read templates, and of those that do not.
_Inputs = dict[bool, features.Features]


@dataclass(frozen=True)
class _Ready:
    """What is made of a target before the device is needed.

    Attributes:
        target: as its chains.
        msas: of its chains, as far as they are read, with its own templates.
        raw: raw features.
        begin: coordinates that the target brings to begin with (`guess.positions_of`).
        inputs: of the first seed.
        dropped: notes on what could not be used.
    """

    target: TargetInput
    msas: TargetMsas
    raw: features.Features
    begin: Any
    inputs: _Inputs
    dropped: Sequence[str]


class AlphaFold2Session:
    """See `snakefold.engines.spec.Session`. Not for use by several threads.

    Args:
        settings: of the engine that the request names.
        preset: what its targets run with; `auto` goes by their chains.
        networks: those of a preset (not `auto`), in order.
        advice: what to do where a file of parameters is missing or damaged, in a sentence.
        cache: folder of compiled programs.

    Attributes:
        seconds: load (parameters), compile (tracing and XLA), features, predict (network with compilation).
        device: what predicts.
    """

    def __init__(
        self,
        request: FoldRequest,
        msas: Mapping[str, TargetMsas],
        *,
        settings: NetworkSettings,
        preset: ModelPreset,
        networks: Callable[[ModelPreset], Sequence[Network]],
        advice: str,
        cache: Path | None,
    ) -> None:
        self._settings, self._wanted = settings, preset
        msas = {each.result_key: brought.plain_msas(each, msas[each.result_key]) for each in request.targets}
        request = request.model_copy(update={"targets": [brought.plain(each) for each in request.targets]})
        self._edges, self._rehearsal = request.bucket_edges, request.rehearsal
        self.seconds: dict[str, float] = defaultdict(float)
        started = time.perf_counter()
        compilation.prepare(cache, _NETWORK)
        self.device = compilation.device_name()
        self._kernels = kernels.running(settings)
        self._before = compilation.counts()
        self._shapes = self._choose_shapes(request, msas)
        self._runners: dict[_Runner, Any] = {}
        #: What has a program by now: runner and length.
        self._compiled: set[tuple[_Runner, int]] = set()
        self._networks = {
            each: networks(each) for each in {self._preset(target) for target in request.targets}
        }
        every = [network for found in self._networks.values() for network in found]
        self._parameters = {
            network: parameters.load_file(
                network.path,
                drop_templates=not network.templates and not network.preset.multimer,
                advice=advice,
            )
            for network in every
        }
        self._blocks = {network: parameters.count_blocks(network.path) for network in every}
        self._ahead = Ahead()
        self._next: tuple[TargetInput, TargetMsas] | None = None
        self.seconds["load"] = time.perf_counter() - started

    @property
    def compilations(self) -> int:
        """Programs for the network compiled since the session started; those read from the cache do not
        count."""
        return compilation.counts().compiled - self._before.compiled

    @property
    def cache_misses(self) -> int:
        """Programs of any kind that the compilation cache did not have (0 without a cache folder)."""
        return compilation.counts().cache_misses - self._before.cache_misses

    def look_ahead(self, target: TargetInput, msas: TargetMsas) -> None:
        """This target comes after the one that is predicted next: make its features meanwhile."""
        self._next = target, msas

    def predict(self, target: TargetInput, msas: TargetMsas) -> Result:
        """All models and seeds of one target, and the kernels that they ran with.

        Raises:
            TargetError: invalid_input, msa_failed, out_of_memory, or internal if the network gave no finite
                numbers.
        """
        given, target = target, brought.plain(target)
        preset = self._preset(target)
        if not preset.multimer and len(target.chains) > 1:
            raise TargetError(
                Reason.INVALID_INPUT,
                f"{len(target.chains)} chains with model_preset {preset}.",
                f"Set {self._settings.section}.model_preset to auto or multimer.",
            )
        shape = self._shapes[self._group(target)]
        self._prepare_runners(target)
        try:
            key = target.result_key, self._settings.skip_seeds
            ready = self._timed("features", self._ahead.result, key, self._ready, given, msas)
            warnings = [
                *ready.dropped,
                *shortfalls(
                    target, ready.msas, ready.raw, preset=preset, settings=self._settings, shape=shape
                ),
                *unknown_residues(target),
                *without_pae(self._networks[preset]),
            ]
            saved = Saved(target, self._settings, rehearsal=self._rehearsal)
            models = self._predict_seeds(ready, saved)
        except MemoryError as error:
            raise _out_of_memory(target, self._settings.section, error) from error
        except RuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error) and "out of memory" not in str(error).lower():
                if self._kernels.kernels is Kernels.STOCK:
                    raise
                raise TargetError(
                    Reason.INTERNAL,
                    f"{type(error).__name__} with {self._kernels.kernels} kernels: {error}"[:2000],
                    f"Set {self._settings.section}.kernels to stock. If that works, they are the cause.",
                ) from error
            raise _out_of_memory(target, self._settings.section, error) from error
        ran = {kernels.COLUMN: str(self._kernels.kernels)}
        return Result(
            [replace(prediction, warnings=warnings) for prediction, _ in models],
            scores={**ran, **interfaces.best(models)},
            files={
                **interfaces.files(models, rehearsal=self._rehearsal),
                **saved.files,
                **template_table.files(ready.msas, used=brought.has_templates(given)),
            },
            notes=without_kernels(self._settings, self._kernels),
            ran=ran,
            as_planned=not self._kernels.missing,
        )

    def _predict_seeds(self, ready: _Ready, saved: Saved) -> list[interfaces.Model]:
        models: list[interfaces.Model] = []
        inputs, key = ready.inputs, ready.target.result_key
        first, end = self._settings.skip_seeds, self._settings.num_seeds
        make = self._inputs, ready.target, ready.raw, ready.begin
        for number in range(first, end):
            if number > first:
                inputs = self._timed("features", self._ahead.result, (key, number), *make, number)
            if number + 1 < end:
                self._ahead.begin((key, number + 1), *make, number + 1)
            else:
                self._begin_next()
            found, enough = self._predict_seed(ready.target, inputs, number, saved)
            models += found
            if enough:
                break
        return models

    def _begin_next(self) -> None:
        """Start on the features of the target that comes next, if it is known."""
        if self._next is None:
            return
        (given, msas), self._next = self._next, None
        target = brought.plain(given)
        if self._preset(target).multimer or len(target.chains) == 1:
            self._prepare_runners(target)
            self._ahead.begin((target.result_key, self._settings.skip_seeds), self._ready, given, msas)

    def _ready(self, given: TargetInput, msas: TargetMsas) -> _Ready:
        """All that needs no device. Raises TargetError."""
        target = brought.plain(given)
        preset, shape = self._preset(target), self._shapes[self._group(target)]
        begin = guess.positions_of(given, msas.files)
        msas, dropped = brought.with_templates(given, brought.plain_msas(given, msas))
        msas = pairing.chosen(target, msas, preset, self._settings)
        raw = features.raw_features(target, msas, preset, self._settings, shape)
        return _Ready(
            target, msas, raw, begin, self._inputs(target, raw, begin, self._settings.skip_seeds), dropped
        )

    def _inputs(self, target: TargetInput, raw: features.Features, begin: Any, number: int) -> _Inputs:
        """What the networks of a target take with one seed."""
        preset = self._preset(target)
        inputs: _Inputs = {}
        for network in self._networks[preset]:
            if network.templates not in inputs:
                made = network_inputs(
                    self._runners[self._key(network, target)],
                    raw,
                    preset,
                    seed=self._settings.random_seed + number,
                    padded_length=self._length(target),
                    templates=network.templates,
                )
                inputs[network.templates] = guess.begun(made, begin, preset)
        return inputs

    def _key(self, network: Network, target: TargetInput) -> _Runner:
        return network.preset, network.templates, self._blocks[network], self._shapes[self._group(target)]

    def _predict_seed(
        self, target: TargetInput, inputs: _Inputs, number: int, saved: Saved
    ) -> tuple[list[interfaces.Model], bool]:
        """All models, and whether one of them scores so high that no more are wanted."""
        seed, preset = self._settings.random_seed + number, self._preset(target)
        models: list[interfaces.Model] = []
        for network in self._networks[preset]:
            templates, key = network.templates, self._key(network, target)
            runner = self._runners[key]
            runner.params = self._parameters[network]
            program = key, self._length(target)
            stages.say(stages.PREDICTING if program in self._compiled else stages.COMPILING)
            self._compiled.add(program)
            compiling, started = compilation.counts().seconds, time.perf_counter()
            name = f"{network.name}_pred_{number}"
            result, recycles = self._timed(
                "predict",
                recycling.predict,
                runner,
                inputs[templates],
                random_seed=seed,
                **saved.asked(name, network.preset, inputs[templates]),
            )
            seconds, compiling = time.perf_counter() - started, compilation.counts().seconds - compiling
            self.seconds["compile"] += compiling
            saved.add(name, result)
            prediction = _prediction(
                target,
                network.preset,
                inputs[templates],
                result,
                name=name,
                section=self._settings.section,
                rank_by=ranked_by(self._settings.rank_by, network.preset, chains=len(target.chains)),
                recycles=int(recycles),
                seed=seed,
                seconds=seconds,
                compile_seconds=compiling,
            )
            extra: dict[str, Any] = {}
            if self._settings.calc_extra_ptm and len(target.chains) > 1:
                probabilities = self._settings.use_probs_extra
                extra = interfaces.scores(
                    inputs[templates], result, target.chains, probabilities=probabilities
                )
            models.append((prediction, extra))
            if float(result["ranking_confidence"]) > self._settings.stop_at_score:
                return models, True
        return models, False

    def _choose_shapes(
        self, request: FoldRequest, msas: Mapping[str, TargetMsas]
    ) -> dict[tuple[ModelPreset, int], MsaShape]:
        """One MSA shape for all targets that share a program: those of one preset and (padded) length."""
        depths: dict[tuple[ModelPreset, int], list[int]] = defaultdict(list)
        for target in request.targets:
            preset = self._preset(target)
            own = pairing.chosen(target, msas[target.result_key], preset, self._settings)
            depths[self._group(target)].append(features.depth(target, own, preset))
        return {group: choose(self._settings, group[0], found) for group, found in depths.items()}

    def _group(self, target: TargetInput) -> tuple[ModelPreset, int]:
        return self._preset(target), self._length(target)

    def _length(self, target: TargetInput) -> int:
        """Residues that the network computes with. What drops out depends on them: then they are its own."""
        if self._settings.use_dropout:
            return target.length
        return padded_length(target.length, self._edges)

    def _preset(self, target: TargetInput) -> ModelPreset:
        return preset_for(self._wanted, len(target.chains))

    def _prepare_runners(self, target: TargetInput) -> None:
        """Those of a target's networks: none is made in the thread that makes features."""
        for network in self._networks[self._preset(target)]:
            key = preset, templates, blocks, shape = self._key(network, target)
            if key not in self._runners:
                self._runners[key] = new_runner(
                    configuration(
                        preset,
                        templates=templates,
                        settings=self._settings,
                        shape=shape,
                        blocks=blocks,
                        running=self._kernels,
                    )
                )

    def _timed(self, what: str, function: Any, *arguments: Any, **named: Any) -> Any:
        started = time.perf_counter()
        try:
            return function(*arguments, **named)
        finally:
            self.seconds[what] += time.perf_counter() - started


def _prediction(
    target: TargetInput,
    preset: ModelPreset,
    inputs: features.Features,
    result: features.Features,
    *,
    name: str,
    section: str,
    rank_by: str,
    recycles: int,
    seed: int,
    seconds: float,
    compile_seconds: float,
) -> Prediction:
    from alphafold.common import protein

    order = features.residue_order(target.chains)
    plddt = result["plddt"][order].astype(float)
    if not (
        np.isfinite(plddt).all() and np.isfinite(result["structure_module"]["final_atom_positions"]).all()
    ):
        raise TargetError(
            Reason.INTERNAL,
            f"{name} gave numbers that are not finite.",
            f"Set {section}.kernels to stock, or precision to float32.",
        )
    pae = result.get("predicted_aligned_error")
    ptm = float(result["ptm"]) if "ptm" in result else None
    iptm = float(result["iptm"]) if "iptm" in result and len(target.chains) > 1 else None
    ranking = {
        "plddt": float(plddt.mean()),
        "ptm": ptm or 0.0,
        "iptm": iptm or 0.0,
        "multimer": 0.8 * (iptm or 0.0) + 0.2 * (ptm or 0.0),
    }[rank_by]
    model = inputs, result, preset, target.chains
    fits = fits_pdb(result, target.chains)
    return Prediction(
        name=name,
        pdb=protein.to_pdb(to_protein(*model)) if fits else "",
        structure=None if fits else to_structure(*model),
        plddt=plddt,
        pae=None if pae is None else pae[np.ix_(order, order)].astype(np.float32),
        ptm=ptm,
        iptm=iptm,
        ranking_confidence=ranking,
        ranked_by=_LABELS.get(rank_by, rank_by),
        recycles=recycles,
        seed=seed,
        seconds=seconds,
        compile_seconds=compile_seconds,
    )


def _out_of_memory(target: TargetInput, section: str, error: BaseException) -> TargetError:
    return TargetError(
        Reason.OUT_OF_MEMORY,
        f"{target.length} residues do not fit into the memory of the device ({str(error)[:200]}).",
        f"Use a device with more memory, or fewer MSA rows ({section}.max_msa_clusters, max_extra_msa).",
    )
