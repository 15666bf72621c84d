"""Alignments and templates that the planned targets need: what the store has, and who searches the rest."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain as joined

import numpy as np
from numpy.typing import NDArray

from snakefold.config import Config
from snakefold.engines.spec import Needs
from snakefold.kernel.recipes import sequence_key
from snakefold.kernel.store import Store
from snakefold.molecules.targets import Target
from snakefold.msa.databases.presets import Part, only
from snakefold.msa.settings import MsaSettings
from snakefold.plan.cost.model import CostModel
from snakefold.plan.present import Recipes, known_keys
from snakefold.plan.records import Records


@dataclass(frozen=True, slots=True)
class Alignments:
    """Chains, by their sequences, of the targets that are to do, and complexes that an MSA server pairs.

    A complex is called by the sequences of its different chains, joined by ':'.

    Attributes:
        paired: chains that are searched for pairing too, and whose entries in the store say so.
        missing: what the store lacks of a chain or complex; those that lack nothing are not in it.
    """

    paired: frozenset[str]
    missing: Mapping[str, tuple[Part, ...]]

    def lacking(self, target: Target) -> set[Part]:
        """What the store lacks of any of the target's chains, or of the chains together."""
        wanted = (*target.searched, _together(target))
        return {part for each in wanted for part in self.missing.get(each, ())}

    def count(self, part: Part) -> int:
        """Chains, or complexes, that lack it."""
        return sum(part in parts for parts in self.missing.values())


@dataclass(frozen=True, slots=True)
class Chunk:
    """Chains that one job searches; the store has and lacks the same of each of them.

    Where only `pairs` are missing, these are complexes. `cpu_seconds` are expected of all of them and the
    start of the job.
    """

    name: str
    recipe: str
    templates: str | None
    pairs: str | None
    missing: tuple[Part, ...]
    pairing: bool
    chains: tuple[str, ...]
    cpu_seconds: float

    @property
    def residues(self) -> int:
        """Residues of all chains."""
        return sum(len(chain) - chain.count(":") for chain in self.chains)


def chains_to_align(targets: Iterable[Target]) -> Iterator[str]:
    """Sequences of the targets' proteins, but of those that bring an alignment or want none."""
    return joined.from_iterable(target.searched for target in targets)


def to_search(targets: Iterable[tuple[Target, Needs]], recipes: Recipes) -> Iterator[str]:
    """What is searched for the targets, in order: their chains, and complexes that an MSA server pairs."""
    for target, needs in targets:
        if needs.alignment:
            yield from chains_to_align([target])
            if is_paired(target, needs, recipes):
                yield _together(target)


def is_complex(searched: str) -> bool:
    """Whether what is searched is a complex."""
    return ":" in searched


def is_paired(target: Target, needs: Needs, recipes: Recipes) -> bool:
    """Whether an MSA server pairs the different chains of a target."""
    return bool(recipes.pairs and needs.pairing and len(target.pairable) > 1)


def _together(target: Target) -> str:
    return ":".join(target.pairable)


def find_alignments(
    records: Records, indices: Sequence[int], recipes: Recipes, store: Store | None
) -> Alignments:
    """What targets that need alignments need, and the store lacks.

    Only chains of heteromers need rows for pairing, which cost another search: engines that need them pair
    the different chains of a complex.

    Args:
        indices: of the targets.
    """
    targets = [records.targets[index] for index in indices]
    needs = [kind.needs for kind in records.kinds]
    chains = set(chains_to_align(targets))
    paired: frozenset[str] = frozenset()
    if recipes.paired_msa != recipes.msa:
        heteromers = (
            target
            for index, target in zip(indices, targets, strict=True)
            if needs[records.groups[index]].pairing and len(target.pairable) > 1
        )
        paired = frozenset(joined.from_iterable(target.pairable for target in heteromers))
    names: list[tuple[Part, str, Iterable[str]]] = [
        ("msa", recipes.msa, chains - paired),
        ("msa", recipes.paired_msa, paired),
    ]
    if recipes.templates:
        read = (
            target
            for index, target in zip(indices, targets, strict=True)
            if needs[records.groups[index]].templates
        )
        names.append(("templates", recipes.templates, set(chains_to_align(read))))
    if recipes.pairs:
        found = (
            _together(target)
            for index, target in zip(indices, targets, strict=True)
            if is_paired(target, needs[records.groups[index]], recipes)
        )
        names.append(("pairs", recipes.pairs, set(found)))
    missing: dict[str, tuple[Part, ...]] = {}
    for part, recipe, wanted in names:
        key_of = {sequence_key([chain]): chain for chain in wanted}
        known = known_keys(store, part, recipe, key_of)
        for key, chain in key_of.items():
            if key not in known:
                missing[chain] = (*missing.get(chain, ()), part)
    return Alignments(paired, missing)


def search_seconds(alignments: Alignments, config: Config, model: CostModel) -> float:
    """CPU seconds of all searches."""
    total = 0.0
    for group, chains in _alike(alignments.missing, alignments).items():
        each, start = _seconds(chains, group, config.msa, model)
        total += float(each.sum()) + start * len(chunk_sizes(each, config.msa))
    return total


def search_wall_seconds(alignments: Alignments, config: Config, model: CostModel, cores: int) -> float:
    """Wall seconds of all searches: on this machine's cores, or at an MSA server, one after the other."""
    if config.msa.asks_server:
        return model.asked_seconds(len(alignments.missing))
    return search_seconds(alignments, config, model) / cores


def cut_searches(
    needs: Iterable[str], alignments: Alignments, recipes: Recipes, config: Config, model: CostModel
) -> list[Chunk]:
    """Every chain, or complex, that lacks something in one chunk, in the order of `needs`.

    Chains that are searched for pairing have chunks of their own, and so have those that only lack templates,
    and complexes.
    """
    wanted = (chain for chain in dict.fromkeys(needs) if chain in alignments.missing)
    chunks: list[Chunk] = []
    for group, chains in sorted(_alike(wanted, alignments).items()):
        pairing, missing = group
        each, start = _seconds(chains, group, config.msa, model)
        done = 0
        for size in chunk_sizes(each, config.msa):
            inside = slice(done, done + size)
            chunks.append(
                Chunk(
                    name=f"m{len(chunks) + 1:04d}",
                    recipe=recipes.paired_msa if pairing else recipes.msa,
                    # A chain in this chunk may be one whose target brings its own.
                    templates=recipes.templates if "templates" in missing else None,
                    pairs=recipes.pairs,
                    missing=missing,
                    pairing=pairing,
                    chains=tuple(chains[inside]),
                    cpu_seconds=float(each[inside].sum()) + start,
                )
            )
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


#: Whether chains are searched for pairing, and what they lack.
_Group = tuple[bool, tuple[Part, ...]]


def _alike(chains: Iterable[str], alignments: Alignments) -> dict[_Group, list[str]]:
    groups: dict[_Group, list[str]] = defaultdict(list)
    for chain in chains:
        groups[chain in alignments.paired, alignments.missing[chain]].append(chain)
    return groups


def _seconds(
    chains: Sequence[str], group: _Group, settings: MsaSettings, model: CostModel
) -> tuple[NDArray[np.float64], float]:
    """CPU seconds of each chain, and of a chunk besides them."""
    pairing, missing = group
    searched = only(settings, *missing)
    each = model.msa_seconds(np.array([len(chain) for chain in chains]), searched, pairing=pairing)
    return each, model.msa_chunk_seconds(searched, pairing=pairing)
