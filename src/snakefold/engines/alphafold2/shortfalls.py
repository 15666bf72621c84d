"""What the network is not given of what a target has, or was asked for: notes on its result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from snakefold.engines.alphafold2.features import Features, count_rows
from snakefold.engines.alphafold2.kernels import Running
from snakefold.engines.alphafold2.models import Network
from snakefold.engines.alphafold2.settings import ModelPreset, NetworkSettings
from snakefold.engines.alphafold2.shapes import MULTIMER_CHAIN_ROWS, MsaShape
from snakefold.engines.spec import ChainMsa, TargetMsas
from snakefold.kernel.contracts import TargetInput
from snakefold.kernel.notes import Code, note
from snakefold.structures.chains import chain_names


def shortfalls(
    target: TargetInput,
    msas: TargetMsas,
    raw: Features,
    *,
    preset: ModelPreset,
    settings: NetworkSettings,
    shape: MsaShape,
) -> list[str]:
    """Notes (`snakefold.kernel.notes`) on a target that was given `raw` features in `shape`."""
    multimer = preset.multimer
    chains = dict(zip(target.chains, msas.given, strict=False))
    found = []
    rows, read = _merged_rows(raw), shape.clusters + shape.extra
    if rows > read:
        found.append(
            note(
                Code.LIMITED_MSA,
                f"the network reads {read} of {rows} rows at a time "
                f"({shape.clusters} clusters, {shape.extra} extra)",
            )
        )
    if multimer and msas.own_a3m is None:
        found += [
            note(Code.LIMITED_MSA, f"the first {MULTIMER_CHAIN_ROWS} of {count} rows of chain {letters}")
            for letters, chain in _named(target, chains)
            if (count := count_rows(chain.a3m)) > MULTIMER_CHAIN_ROWS
        ]
        bare = [
            letters
            for number, (letters, chain) in enumerate(_named(target, chains))
            if not _pairs(chain.pairing if msas.paired is None else msas.paired[number])
        ]
        if len(chains) > 1 and bare and settings.pair_mode != "unpaired":
            found.append(note(Code.UNPAIRED_MSA, f"no rows to pair with for chain {', '.join(bare)}"))
    if settings.use_templates:
        if msas.own_a3m is not None and not msas.chains:
            found.append(note(Code.NO_TEMPLATES, "the target brought its own A3M"))
        elif without := [letters for letters, chain in _named(target, chains) if chain.templates is None]:
            found.append(note(Code.NO_TEMPLATES, f"none was found for chain {', '.join(without)}"))
    return found


def without_pae(networks: Sequence[Network]) -> list[str]:
    """A note if there are any: what they do not give is absent from a result."""
    names = [network.name for network in networks if not network.preset.gives_pae]
    return [note(Code.NO_PAE, ", ".join(names))] if names else []


def without_kernels(settings: NetworkSettings, running: Running) -> list[str]:
    """A note if fused kernels were asked for and did not run."""
    if not running.missing:
        return []
    return [note(Code.WITHOUT_KERNELS, f"{settings.kernels} was asked for, and {running.missing}")]


def unknown_residues(target: TargetInput) -> list[str]:
    """A note if there are any."""
    count = "".join(target.chains).count("X")
    return [note(Code.UNKNOWN_RESIDUES, f"{count} (X) have no atoms")] if count else []


def _merged_rows(raw: Features) -> int:
    """Rows before any padding. AlphaFold repeats the number for every residue of a monomer."""
    rows: Any = raw["num_alignments"]
    return int(np.ravel(rows)[0])


def _pairs(rows: str | None) -> bool:
    """The first row is the query's own; of an MSA server, each database's rows begin with it."""
    return rows is not None and len(set(rows.splitlines()[1::2])) > 1


def _named(target: TargetInput, chains: dict[str, ChainMsa]) -> Sequence[tuple[str, ChainMsa]]:
    """Different chains by their letters in the model (`A` or, of copies, `A+B`)."""
    letters: dict[str, list[str]] = {}
    for letter, sequence in zip(chain_names(len(target.chains)), target.chains, strict=True):
        letters.setdefault(sequence, []).append(letter)
    return [("+".join(letters[sequence]), chain) for sequence, chain in chains.items()]
