"""Alignments that the planned targets need: which are in the store, and who searches the others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain as joined

import numpy as np
from numpy.typing import NDArray

from snakefold.config import Config, MsaSettings
from snakefold.cost.model import CostModel
from snakefold.plan.present import known_keys
from snakefold.plan.recipes import Recipes
from snakefold.recipes import sequence_key
from snakefold.store import Store
from snakefold.targets import Target


@dataclass(frozen=True, slots=True)
class Alignments:
    """Chains, by their sequences, of the targets that are to do.

    Attributes:
        paired: chains that are searched for pairing too, and whose entries in the store say so.
        missing: chains whose alignment is not in the store.
    """

    paired: frozenset[str]
    missing: frozenset[str]

    def stored(self, target: Target) -> bool:
        """Whether every alignment of the target is in the store."""
        return not any(chain in self.missing for chain in target.chains)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Chains that one job searches; `cpu_seconds` are expected of all of them and the start of the job."""

    name: str
    recipe: str
    pairing: bool
    chains: tuple[str, ...]
    cpu_seconds: float

    @property
    def residues(self) -> int:
        """Residues of all chains."""
        return sum(map(len, self.chains))


def chains_to_align(targets: Iterable[Target]) -> Iterator[str]:
    """Chains of the targets, but those of targets that bring their own A3M."""
    return joined.from_iterable(target.chains for target in targets if target.msa is None)


def find_alignments(targets: Sequence[Target], recipes: Recipes, store: Store | None) -> Alignments:
    """What the targets need and the store lacks.

    Only chains of heteromers need rows for pairing, which cost another search: AlphaFold-Multimer pairs the
    different chains of a complex.
    """
    chains = set(chains_to_align(targets))
    paired: frozenset[str] = frozenset()
    if recipes.paired_msa != recipes.msa:
        heteromers = (target for target in targets if len(set(target.chains)) > 1)
        paired = frozenset(chains_to_align(heteromers))
    missing: set[str] = set()
    for recipe, wanted in ((recipes.msa, chains - paired), (recipes.paired_msa, paired)):
        key_of = {sequence_key([chain]): chain for chain in wanted}
        known = known_keys(store, "msa", recipe, key_of)
        missing.update(chain for key, chain in key_of.items() if key not in known)
    return Alignments(paired, frozenset(missing))


def search_seconds(alignments: Alignments, config: Config, model: CostModel) -> float:
    """CPU seconds of all searches."""
    total = 0.0
    for pairing in (False, True):
        lengths = [len(chain) for chain in alignments.missing if (chain in alignments.paired) == pairing]
        if lengths:
            each, start = _seconds(lengths, config, model, pairing)
            total += float(each.sum()) + start * len(chunk_sizes(each, config.msa))
    return total


def cut_searches(
    needs: Iterable[str], alignments: Alignments, recipes: Recipes, config: Config, model: CostModel
) -> list[Chunk]:
    """Every missing chain in one chunk, in the order of `needs`.

    Chains that are searched for pairing have chunks of their own.
    """
    wanted = [chain for chain in dict.fromkeys(needs) if chain in alignments.missing]
    chunks: list[Chunk] = []
    for pairing, recipe in ((False, recipes.msa), (True, recipes.paired_msa)):
        chains = [chain for chain in wanted if (chain in alignments.paired) == pairing]
        if not chains:
            continue
        each, start = _seconds([len(chain) for chain in chains], config, model, pairing)
        done = 0
        for size in chunk_sizes(each, config.msa):
            inside = slice(done, done + size)
            seconds = float(each[inside].sum()) + start
            chunks.append(Chunk(f"m{len(chunks) + 1:04d}", recipe, pairing, tuple(chains[inside]), seconds))
            done += size
    return chunks


def chunk_sizes(seconds: NDArray[np.float64], settings: MsaSettings) -> list[int]:
    """How many chains each chunk has, in order.

    A database is read once a chunk, which speaks for large ones; the chains of a chunk are finished together,
    at its end, and one chunk runs on one machine, which speaks for small ones.

    Args:
        seconds: CPU seconds that each chain is expected to take.
    """
    most = settings.chunk_cpu_hours * 3600
    sizes: list[int] = []
    spent = 0.0
    for each in seconds.tolist():
        if not sizes or sizes[-1] == settings.chunk_size or spent + each > most:
            sizes.append(0)
            spent = 0.0
        sizes[-1] += 1
        spent += each
    return sizes


def _seconds(
    lengths: Sequence[int], config: Config, model: CostModel, pairing: bool
) -> tuple[NDArray[np.float64], float]:
    """CPU seconds of each chain, and of a chunk besides them."""
    each = model.msa_seconds(np.array(lengths), config.msa, pairing=pairing)
    return each, model.msa_chunk_seconds(config.msa, pairing=pairing)
