"""Seconds of batches and searches by the cost model, in the form that the simulation takes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from snakefold import engines
from snakefold.config import Config
from snakefold.engines.spec import Work
from snakefold.kernel.padding import padded_lengths
from snakefold.msa.settings import MsaSettings
from snakefold.plan.cost.gpus import GpuClass
from snakefold.plan.cost.model import CostModel
from snakefold.plan.cost.msa import database_sizes
from snakefold.plan.groups import Groups
from snakefold.plan.simulate.cluster import Floats, Job
from snakefold.plan.simulate.model import PARTS

#: Standard normal deviate of the 90th percentile: `CostModel.spread` gives the middle 80 %.
_NINETIETH = 1.2816


class _OneChain:
    chains = searched = pairable = ("A",)
    length = 1
    assembly = backbone = None


_ONE_CHAIN = _OneChain()


@dataclass(frozen=True, slots=True)
class Prices:
    """What the parts of a run take: `works` by engine and group (`groups.Group.label`)."""

    config: Config
    model: CostModel
    classes: Mapping[str, GpuClass]
    works: Mapping[tuple[str, str], Work]

    @property
    def kind(self) -> tuple[str, str]:
        """Engine and group of single chains, which mere lengths stand for."""
        engine = engines.get(self.config.wanted_engines[0])
        return engine.name, engine.group(_ONE_CHAIN, self.config.settings_of(engine.name))

    @property
    def work(self) -> Work:
        """What a prediction of a single chain takes."""
        return self.works[self.kind]

    @property
    def longest(self) -> int:
        """Residues of the longest single chain that the settings accept and some class has memory for."""
        fits = max(self.model.max_length(gpu, self.work) for gpu in self.classes.values())
        return min(self.config.max_length, fits)

    def job(
        self,
        name: str,
        gpu: str,
        lengths: NDArray[np.int64],
        *,
        bucket_edges: Sequence[int],
        kind: tuple[str, str],
        searches: tuple[int, ...],
    ) -> Job:
        """A batch of targets of these lengths, in the order of prediction."""
        work, rented = self.works[kind], self.classes[gpu]
        shapes = padded_lengths(lengths, bucket_edges)
        return Job(
            name,
            gpu,
            self.model.load_seconds(work, rented),
            shapes,
            self.model.compile_seconds(shapes, work, rented),
            self.model.predict_seconds(shapes, work, rented),
            self.model.relax_seconds(lengths, work, rented),
            searches,
        )

    def searches(
        self, lengths: NDArray[np.int64], sizes: NDArray[np.int64], settings: MsaSettings, *, pairing: bool
    ) -> Floats:
        """[chunks] CPU seconds of chunks of these sizes, filled with chains of these lengths in order.

        Of chunks that an MSA server searches, its wall seconds.
        """
        if not len(sizes):
            return np.zeros(0)
        if settings.asks_server:
            return np.array([self.model.asked_seconds(size) for size in sizes.tolist()])
        sizes_of_databases = database_sizes(settings, pairing=pairing)
        per_chain = self.chain_seconds(lengths, settings, pairing=pairing)
        per_chunk = self.model.msa_chunk_seconds(settings, sizes_of_databases, pairing=pairing)
        starts = np.concatenate(([0], np.cumsum(sizes)[:-1]))
        return np.asarray(np.add.reduceat(per_chain, starts) + per_chunk, dtype=np.float64)

    def chain_seconds(self, lengths: NDArray[np.int64], settings: MsaSettings, *, pairing: bool) -> Floats:
        """CPU seconds to search chains of these lengths, each."""
        sizes = database_sizes(settings, pairing=pairing)
        return self.model.msa_seconds(lengths, settings, sizes, pairing=pairing)

    def uncertain_factors(self, seed: int) -> dict[str, float]:
        """Actual over expected seconds of each part, drawn once for a whole run.

        A model that is wrong is wrong for every job alike, so that the error does not average out. Log-normal
        on either side of 1, with `CostModel.spread` as its 10th and 90th percentiles.
        """
        random = np.random.default_rng(seed)
        gpu = next(iter(self.classes.values()))
        factors = {}
        for part in PARTS:
            low, high = self.model.spread(part, None if part == "msa" else gpu, self.kind[0])
            deviate = float(random.standard_normal()) / _NINETIETH
            factors[part] = math.exp(deviate * math.log(high) if deviate > 0 else -deviate * math.log(low))
        return factors


def prices_of(
    config: Config,
    model: CostModel,
    classes: Mapping[str, GpuClass],
    *,
    rehearsal: bool,
    named: Iterable[str] = (),
) -> Prices:
    """What a run with these settings takes.

    Args:
        named: engines that a plan names, besides those of the configuration.

    Raises:
        SnakefoldError: one of them is not installed.
    """
    kinds = Groups(config, named)
    works = {
        (kind.engine.name, kind.label): work for kind, work in zip(kinds, kinds.works(rehearsal), strict=True)
    }
    return Prices(config, model, classes, works)
