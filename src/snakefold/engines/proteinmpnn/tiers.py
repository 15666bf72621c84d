"""A share of the designed positions stays: the most conserved ones of the native sequence's alignment."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from snakefold.engines.spec import ChainMsa
from snakefold.kernel.errors import Reason, TargetError
from snakefold.kernel.names import shown
from snakefold.molecules.backbones import BackboneChain
from snakefold.molecules.designs import Design
from snakefold.msa.a3m import parse_a3m
from snakefold.msa.conservation import conservation

_Place = tuple[str, int]


def with_conserved(
    design: Design, chains: Sequence[BackboneChain], alignments: Sequence[ChainMsa | None]
) -> Design:
    """A design whose conserved positions are fixed; tied positions are fixed together or not at all.

    Args:
        alignments: of the chains, in order.

    Raises:
        TargetError: a designed chain has no homolog, or no position is left to design.
    """
    if design.conserved == 0:
        return design
    values = {
        chain.name: _values(chain, alignment)
        for chain, alignment in zip(chains, alignments, strict=True)
        if chain.name in design.designed
    }
    free = [
        (chain.name, place + 1)
        for chain in chains
        if chain.name in design.designed
        for place in np.flatnonzero(chain.complete).tolist()
        if place + 1 not in design.fixed.get(chain.name, ())
    ]
    units = _units(free, design)
    units.sort(key=lambda unit: (-np.mean([values[name][position - 1] for name, position in unit]), unit))
    wanted = round(design.conserved * len(free))
    kept: set[_Place] = set()
    for unit in units:
        if len(kept) + len(unit) <= wanted:
            kept.update(unit)
    if len(kept) == len(free):
        raise TargetError(
            Reason.INVALID_INPUT,
            f"All {len(free)} positions would stay: none is left to design.",
            "Lower the share of conserved positions.",
        )
    fixed = {
        chain.name: tuple(
            sorted({*design.fixed.get(chain.name, ()), *(each for name, each in kept if name == chain.name)})
        )
        for chain in chains
    }
    return design.model_copy(
        update={
            "fixed": {name: positions for name, positions in fixed.items() if positions},
            "tied": tuple(group for group in design.tied if not kept.intersection(group)),
        }
    )


def _units(free: Sequence[_Place], design: Design) -> list[tuple[_Place, ...]]:
    """What is fixed together: groups of tied positions, and single ones."""
    tied = {place for group in design.tied for place in group}
    return [*design.tied, *((place,) for place in free if place not in tied)]


def _values(chain: BackboneChain, alignment: ChainMsa | None) -> NDArray[np.float64]:
    """Conservation of a chain's positions, from 0."""
    msa = None if alignment is None else parse_a3m(alignment.a3m)
    if msa is None or len(msa) < 2:
        raise TargetError(
            Reason.INVALID_INPUT,
            f"Chain {shown(chain.name, 20)} has no homolog in the databases: its conserved positions are not "
            "known.",
            "Search more databases (msa.db_preset), name fixed positions, or design without conserved ones.",
        )
    return conservation(msa)
