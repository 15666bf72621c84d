"""Which rows of a complex's alignments the network is given: ColabFold's pair_mode and pair_strategy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from snakefold.engines.alphafold2.settings import ModelPreset, NetworkSettings
from snakefold.engines.spec import TargetMsas
from snakefold.kernel.contracts import TargetInput


def chosen(
    target: TargetInput, msas: TargetMsas, preset: ModelPreset, settings: NetworkSettings
) -> TargetMsas:
    """The alignments of a target, as the settings want those of complexes.

    An A3M that a target brought says itself what is paired, and stays as it is, as in ColabFold.
    """
    if not preset.multimer or len(target.chains) < 2 or msas.own_a3m is not None:
        return msas
    different = list(dict.fromkeys(target.chains))
    if settings.pair_mode == "unpaired":
        none = None if msas.paired is None else [_query(sequence) for sequence in different]
        chains = [chain and replace(chain, pairing=None) for chain in msas.chains]
        return replace(msas, chains=chains, paired=none)
    if settings.pair_mode == "paired":
        chains = [
            chain and replace(chain, a3m=_query(sequence), depth=1, neff=1.0)
            for sequence, chain in zip(target.chains, msas.chains, strict=True)
        ]
        msas = replace(msas, chains=chains)
    if settings.pair_strategy == "complete" and msas.paired is None:
        return _of_species_in_all(target, msas)
    return msas


def _query(sequence: str) -> str:
    return f">query\n{sequence}\n"


def _of_species_in_all(target: TargetInput, msas: TargetMsas) -> TargetMsas:
    """Rows for pairing of those species alone that every different chain has."""
    by_sequence = {
        sequence: _rows((chain.pairing if chain else None) or _query(sequence))
        for sequence, chain in zip(target.chains, msas.chains, strict=True)
    }
    everywhere = set.intersection(*({species for species, _ in rows} for rows in by_sequence.values()))
    kept = {
        sequence: "".join(
            text for number, (species, text) in enumerate(rows) if number == 0 or species in everywhere
        )
        for sequence, rows in by_sequence.items()
    }
    chains = [
        chain and replace(chain, pairing=kept[sequence])
        for sequence, chain in zip(target.chains, msas.chains, strict=True)
    ]
    return replace(msas, chains=chains)


def _rows(a3m: str) -> Sequence[tuple[str, str]]:
    """Species and text of every row; the species is empty where AlphaFold finds none in the description."""
    from alphafold.data import msa_identifiers

    found = []
    for record in a3m.split("\n>"):
        text = record.removeprefix(">").rstrip("\n")
        description = text.partition("\n")[0]
        species = msa_identifiers.get_identifiers(description).species_id
        found.append((species, f">{text}\n"))
    return found
