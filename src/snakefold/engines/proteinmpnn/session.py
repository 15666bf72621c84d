"""ProteinMPNN's network, loaded once for a batch; programs are compiled once per padded length."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from snakefold.engines import compilation
from snakefold.engines.proteinmpnn import draws, network, shapes
from snakefold.engines.proteinmpnn.cost import memory_bytes
from snakefold.engines.proteinmpnn.network import LETTERS, Backbone
from snakefold.engines.proteinmpnn.results import Sample, Sequences, as_result
from snakefold.engines.proteinmpnn.settings import ProteinMpnnSettings
from snakefold.engines.proteinmpnn.tiers import with_conserved
from snakefold.engines.spec import Result, TargetMsas
from snakefold.kernel.contracts import TargetInput
from snakefold.kernel.errors import Reason, TargetError
from snakefold.molecules.backbones import BackboneChain
from snakefold.molecules.designs import AMINO_ACIDS, Design, read_design

#: Added to logits of what is never drawn.
_NEVER = -1e8
#: ProteinMPNN counts so many places between two chains.
_JUMP = 100
_sample = jax.jit(network.proteinmpnn_sample, static_argnames="known")
_score = jax.jit(network.proteinmpnn_score)


@dataclass(frozen=True)
class Prepared:
    """A backbone as the network takes it; L positions of all chains, those of designed chains first.

    Attributes:
        native: residues, int32 [padded].
        scored: complete positions that are drawn, bool [L].
        tied: groups of positions.
        bias: added to the logits, float32 [padded, 21].
    """

    backbone: Backbone
    native: NDArray[np.int32]
    scored: NDArray[np.bool_]
    complete: NDArray[np.bool_]
    tied: list[list[int]]
    bias: NDArray[np.float32]
    length: int

    @property
    def padded(self) -> int:
        """The compiled length."""
        return len(self.native)

    @property
    def known(self) -> bool:
        """Whether complete residues are not drawn, and so are known before all others."""
        return bool((self.complete & ~self.scored).any())


class ProteinMpnnSession:
    """See `snakefold.engines.spec.Session`.

    Attributes:
        seconds: load: imports and parameters.
        device: what designs.
    """

    def __init__(
        self, settings: ProteinMpnnSettings, tensors: dict[str, NDArray[np.float32]], cache: Path | None
    ) -> None:
        start = time.monotonic()
        compilation.prepare(cache, "proteinmpnn")
        self.device = compilation.device_name()
        self._settings = settings
        self._layers = jax.device_put(network.arranged(tensors))
        self.seconds: dict[str, float] = {"load": round(time.monotonic() - start, 3)}

    def predict(self, target: TargetInput, msas: TargetMsas) -> Result:
        """Sequences for a backbone. Alignments are read where conserved positions are to stay.

        Raises:
            TargetError: the request lacks the backbone, a chain has no homolog, or the device's memory is too
                small.
        """
        design, chains = read_design(target, msas.files)
        design = with_conserved(design, chains, msas.chains)
        prepared = prepare(design, chains, self._settings)
        self._check_memory(prepared)
        try:
            with jax.default_matmul_precision("highest"):
                found = self.design(prepared)
        except RuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            raise TargetError(
                Reason.OUT_OF_MEMORY, f"{prepared.length} positions: {str(error)[:200]}"
            ) from error
        return as_result(found, design, chains, self._settings)

    def design(self, prepared: Prepared) -> Sequences:
        """The native sequence with its scores, and as many samples as the settings ask for."""
        settings = self._settings
        random = draws.stream(settings.seed, 0.0, draws.NATIVE)
        rank, _ = draws.order_of(random, prepared.scored, prepared.tied)
        logs = np.asarray(
            _score(
                self._layers,
                prepared.backbone,
                prepared.native,
                draws.padded_rank(rank, prepared.padded),
            )
        )
        native = _sample_of(prepared, prepared.native, logs, 0.0, draws.NATIVE)
        samples = [
            sample
            for temperature in settings.sampling_temp
            for sample in self._samples(prepared, temperature)
        ]
        return Sequences(native, samples)

    def _samples(self, prepared: Prepared, temperature: float) -> list[Sample]:
        wanted = self._settings.num_seq_per_target
        chunk = shapes.chunk_for(wanted)
        found: list[Sample] = []
        for first in range(1, wanted + 1, chunk):
            residues, logs = self._chunk(prepared, temperature, range(first, first + chunk))
            found += [
                _sample_of(prepared, residues[place], logs[place], temperature, first + place)
                for place in range(min(chunk, wanted + 1 - first))
            ]
        return found

    def _chunk(
        self, prepared: Prepared, temperature: float, numbers: Sequence[int]
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Residues [N, L] and log-probabilities [N, L, 21] of samples by number.

        A chunk is always whole, also where fewer samples are wanted: one program then serves all requests of
        a length, and a sample does not depend on how many are drawn with it.
        """
        settings = self._settings
        streams = [draws.stream(settings.seed, temperature, number) for number in numbers]
        drawn = [draws.draw(each, prepared.scored, prepared.tied, prepared.padded) for each in streams]
        shifts = None
        if settings.backbone_noise > 0:
            noisy = partial(draws.shift, noise=settings.backbone_noise, padded=prepared.padded)
            shifts = np.stack([noisy(each, prepared.length) for each in streams])
        residues, logs = _sample(
            self._layers,
            prepared.backbone,
            network.Asked(prepared.native, prepared.bias, np.float32(temperature)),
            jax.tree_util.tree_map(lambda *each: np.stack(each), *drawn),
            shifts,
            known=prepared.known,
        )
        return np.asarray(residues), np.asarray(logs)

    def _check_memory(self, prepared: Prepared) -> None:
        """Refuse what the device cannot hold, before anything is computed on it."""
        told: dict[str, Any] = jax.devices()[0].memory_stats() or {}
        chunk = shapes.chunk_for(self._settings.num_seq_per_target)
        needed = memory_bytes(prepared.padded, chunk, noisy=self._settings.backbone_noise > 0)
        if (limit := told.get("bytes_limit")) is not None and needed > limit:
            raise TargetError(
                Reason.OUT_OF_MEMORY,
                f"{prepared.length} positions need about {needed / 1e9:.1f} GB; {self.device} has "
                f"{limit / 1e9:.1f} GB.",
                "Design fewer chains of the file, or take a GPU with more memory.",
            )


def prepare(design: Design, chains: Sequence[BackboneChain], settings: ProteinMpnnSettings) -> Prepared:
    """The input of the network for a design."""
    ordered = in_order(design, chains)
    starts = dict(
        zip([chain.name for chain in ordered], np.cumsum([0, *map(len, ordered)]).tolist(), strict=False)
    )
    length = sum(map(len, ordered))
    padded = shapes.padded_length(length)
    atoms = np.zeros((padded, 4, 3), np.float32)
    complete, drawn = np.zeros(padded, bool), np.zeros(length, bool)
    index, number = np.full(padded, -_JUMP, np.int32), np.zeros(padded, np.int32)
    native = np.full(padded, LETTERS.index("X"), np.int32)
    bias = np.zeros((padded, len(LETTERS)), np.float32)
    for letter, value in settings.bias_AA.items():
        bias[:, LETTERS.index(letter)] += value
    for place, chain in enumerate(ordered):
        start = starts[chain.name]
        part = slice(start, start + len(chain))
        atoms[part] = np.nan_to_num(chain.coordinates)
        complete[part] = chain.complete
        index[part] = np.arange(start, start + len(chain)) + _JUMP * place
        number[part] = place + 1
        native[part] = [LETTERS.index(letter) for letter in chain.sequence]
        if chain.name in design.designed:
            drawn[part] = True
            drawn[[start + position - 1 for position in design.fixed.get(chain.name, ())]] = False
        for position, letters in design.bias.get(chain.name, {}).items():
            for letter, value in letters.items():
                bias[start + position - 1, LETTERS.index(letter)] += value
    tied = [[starts[name] + position - 1 for name, position in group] for group in design.tied]
    for group in tied:
        bias[group] = bias[group].mean(0)
    bias[:, [LETTERS.index(letter) for letter in LETTERS if letter not in AMINO_ACIDS]] = _NEVER
    bias[:, [LETTERS.index(letter) for letter in settings.omit_AAs]] = _NEVER
    backbone = Backbone(atoms, complete, np.arange(padded) < length, index, number)
    return Prepared(backbone, native, drawn & complete[:length], complete[:length], tied, bias, length)


def in_order(design: Design, chains: Sequence[BackboneChain]) -> list[BackboneChain]:
    """Designed chains by name, then all others by name, as ProteinMPNN has them."""
    return sorted(chains, key=lambda chain: (chain.name not in design.designed, chain.name))


def _sample_of(
    prepared: Prepared,
    residues: NDArray[np.int32],
    logs: NDArray[np.float32],
    temperature: float,
    number: int,
) -> Sample:
    length = prepared.length
    losses = -logs[np.arange(length), residues[:length]].astype(np.float64)
    if not np.isfinite(losses[prepared.complete]).all():
        raise TargetError(Reason.INTERNAL, "The network gave numbers that are not finite.")
    equal = residues[:length] == prepared.native[:length]
    return Sample(
        number=number,
        temperature=temperature,
        residues="".join(LETTERS[each] for each in residues[:length]),
        score=float(losses[prepared.scored].mean()),
        global_score=float(losses[prepared.complete].mean()),
        recovery=float(equal[prepared.scored].mean()),
    )
