"""Raw features of a target, before the model's own sampling and padding.

Two ways in. MSAs of chains go AlphaFold's way (alphafold.data.pipeline and pipeline_multimer, rows of a
complex paired by species). An A3M that the target brought goes ColabFold's (colabfold.batch), complexes
included, and so do complexes whose rows an MSA server has paired.
"""

from __future__ import annotations

import copy
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snakefold.engines.alphafold2.settings import ModelPreset, NetworkSettings
from snakefold.engines.alphafold2.shapes import MAX_TEMPLATES, MsaShape, multimer_depth
from snakefold.engines.spec import ChainMsa, TargetMsas
from snakefold.kernel.contracts import TargetInput
from snakefold.kernel.errors import Reason, TargetError
from snakefold.structures.chains import chain_names

Features = dict[str, Any]
#: ColabFold names chains by one letter or digit.
_MOST_OWN_CHAINS = 62
_MULTIMER_TYPE = "alphafold2_multimer_v3"
_TEMPLATE_FEATURES = (
    "template_aatype",
    "template_all_atom_masks",
    "template_all_atom_positions",
    "template_domain_names",
    "template_sequence",
    "template_sum_probs",
)


def chain_order(chains: Sequence[str]) -> list[int]:
    """Chains in the order that AlphaFold-Multimer computes them: equal sequences side by side."""
    first_seen = {sequence: index for index, sequence in reversed(list(enumerate(chains)))}
    return sorted(range(len(chains)), key=lambda index: (first_seen[chains[index]], index))


def residue_order(chains: Sequence[str]) -> NDArray[np.intp]:
    """Where each residue of the target, in the target's order of chains, is in the network's output [L]."""
    order = chain_order(chains)
    lengths = [len(chains[index]) for index in order]
    starts = dict(zip(order, np.cumsum([0, *lengths[:-1]]), strict=True))
    return np.concatenate([np.arange(len(chain)) + starts[index] for index, chain in enumerate(chains)])


def depth(target: TargetInput, msas: TargetMsas, preset: ModelPreset) -> int:
    """Rows of the target's merged MSA: exact for a monomer, for a multimer the most that there can be."""
    if msas.own_a3m is not None:
        rows = count_rows(msas.own_a3m)
        return rows * len(set(target.chains)) if preset.multimer else rows
    # What is wrong with a target's MSAs is that target's failure, found when its features are made.
    by_sequence = dict(zip(target.chains, msas.given, strict=False))
    if not preset.multimer:
        return max((count_rows(msa.a3m) for msa in by_sequence.values()), default=1)
    pairing = [msa.pairing for msa in by_sequence.values()] if msas.paired is None else msas.paired
    return multimer_depth(
        [count_rows(msa.a3m) for msa in by_sequence.values()],
        [count_rows(text) for text in pairing if text],
    )


def raw_features(
    target: TargetInput, msas: TargetMsas, preset: ModelPreset, settings: NetworkSettings, shape: MsaShape
) -> Features:
    """Features that `RunModel.process_features` takes.

    Args:
        target: one chain unless `preset` is multimer.
        msas: MSAs of its chains in order, or its own A3M.
        preset: resolved (not `auto`).
        settings: `use_templates` decides whether templates.npz is read.
        shape: `depth` is what a multimer's MSA is padded to.

    Raises:
        TargetError: invalid_input if an MSA does not belong to the target's sequence.
    """
    if msas.own_a3m is not None:
        return _from_own_a3m(target, msas, preset, shape)
    if len(msas.given) != len(target.chains):
        raise TargetError(
            Reason.MSA_FAILED,
            f"{len(target.chains)} chains, but MSAs of {len(msas.given)}.",
            "Run the MSA step again.",
        )
    if preset.multimer:
        if msas.paired is not None:
            return _paired(target, msas.given, msas.paired, settings, shape)
        return _multimer(target, msas.given, settings, shape)
    features = _chain(target.chains[0], msas.given[0], settings)
    features["asym_id"] = np.zeros(target.length, dtype=int)
    return features


def _multimer(
    target: TargetInput, msas: Sequence[ChainMsa], settings: NetworkSettings, shape: MsaShape
) -> Features:
    """As alphafold.data.pipeline_multimer.DataPipeline.process; equal chains share their features."""
    from alphafold.data import feature_processing, msa_pairing, pipeline_multimer

    heteromer = len(set(target.chains)) > 1
    by_sequence: dict[str, Features] = {}
    by_chain: dict[str, Features] = {}
    for chain_id, sequence, msa in zip(chain_names(len(msas)), target.chains, msas, strict=True):
        if sequence not in by_sequence:
            features = _chain(sequence, msa, settings)
            if heteromer:
                # Without rows for pairing the query itself is the only one, as in an MSA without hits.
                rows = _msa_features(sequence, msa.pairing or f">query\n{sequence}\n", "pairing.a3m")
                wanted = (*msa_pairing.MSA_FEATURES, "msa_species_identifiers")
                features |= {f"{name}_all_seq": value for name, value in rows.items() if name in wanted}
            by_sequence[sequence] = pipeline_multimer.convert_monomer_features(features, chain_id)
        by_chain[chain_id] = copy.deepcopy(by_sequence[sequence])
    assembled = pipeline_multimer.add_assembly_features(by_chain)
    merged = feature_processing.pair_and_merge(assembled)
    return dict(pipeline_multimer.pad_msa(merged, min_num_seq=shape.depth))


def _chain(sequence: str, msa: ChainMsa, settings: NetworkSettings) -> Features:
    from alphafold.data import pipeline

    return {
        **pipeline.make_sequence_features(sequence=sequence, description="none", num_res=len(sequence)),
        **_msa_features(sequence, msa.a3m, "msa.a3m"),
        **_templates(sequence, msa.templates if settings.use_templates else None),
    }


def _msa_features(sequence: str, a3m: str, file: str) -> Features:
    from alphafold.data import parsers, pipeline

    msa = parsers.parse_a3m(a3m)
    if not msa.sequences or msa.sequences[0] != sequence:
        raise TargetError(
            Reason.INVALID_INPUT,
            f"{file}: the first row is not the chain's sequence ({sequence[:20]}…).",
            "The MSA belongs to another sequence, or its query is not first.",
        )
    lengths = {len(row) for row in msa.sequences}
    if lengths != {len(sequence)}:
        raise TargetError(
            Reason.INVALID_INPUT,
            f"{file}: rows have {sorted(lengths)} aligned columns, expected {len(sequence)}.",
            "Lower-case letters are insertions, every other character is a column.",
        )
    try:
        return dict(pipeline.make_msa_features([msa]))
    except KeyError as error:
        raise TargetError(
            Reason.INVALID_INPUT, f"{file}: {error} is no amino acid.", "Run the MSA step again."
        ) from error


def _templates(sequence: str, data: bytes | None) -> Features:
    """Template features of one chain; where there are none, one empty template that the network masks.

    Every chain has the same features, because those of a complex are merged name by name.
    """
    if data is not None:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            if len(arrays["template_aatype"]):
                return {name: arrays[name][:MAX_TEMPLATES] for name in _TEMPLATE_FEATURES}
    from colabfold.batch import mk_mock_template

    empty = mk_mock_template(sequence)
    return {name: empty[name] for name in _TEMPLATE_FEATURES}


def _paired(
    target: TargetInput,
    msas: Sequence[ChainMsa],
    paired: Sequence[str],
    settings: NetworkSettings,
    shape: MsaShape,
) -> Features:
    """As colabfold.batch does with what an MSA server gave."""
    from colabfold.batch import generate_input_feature

    if len(target.chains) > _MOST_OWN_CHAINS:
        raise TargetError(
            Reason.INVALID_INPUT,
            f"{len(target.chains)} chains, paired by an MSA server: ColabFold's code, which joins them, "
            f"takes {_MOST_OWN_CHAINS}.",
            "Choose another msa.tool: more chains are taken.",
        )
    sequences = list(dict.fromkeys(target.chains))
    by_sequence = dict(zip(target.chains, msas, strict=True))
    if len(paired) != len(sequences):
        raise TargetError(
            Reason.MSA_FAILED,
            f"{len(sequences)} different chains, but paired rows of {len(paired)}.",
            "Run the MSA step again.",
        )
    for number, (sequence, text) in enumerate(zip(sequences, paired, strict=True), 1):
        _msa_features(sequence, by_sequence[sequence].a3m, "msa.a3m")
        _msa_features(sequence, text, f"paired_{number}.a3m")
    templates = [
        _templates(sequence, by_sequence[sequence].templates if settings.use_templates else None)
        for sequence in sequences
    ]
    features, _ = generate_input_feature(
        sequences,
        [target.chains.count(sequence) for sequence in sequences],
        [by_sequence[sequence].a3m for sequence in sequences],
        list(paired),
        templates,
        is_complex=True,
        model_type=_MULTIMER_TYPE,
        max_seq=shape.depth - MAX_TEMPLATES,
    )
    return dict(features)


def _from_own_a3m(target: TargetInput, msas: TargetMsas, preset: ModelPreset, shape: MsaShape) -> Features:
    """As colabfold.batch does with an A3M file, and with templates that the target brought beside it."""
    from colabfold.batch import generate_input_feature, unserialize_msa

    a3m = msas.own_a3m or ""
    if len(target.chains) > _MOST_OWN_CHAINS:
        raise TargetError(
            Reason.INVALID_INPUT,
            f"{len(target.chains)} chains in an A3M: ColabFold's code, which reads it, takes "
            f"{_MOST_OWN_CHAINS}.",
            "Give the sequences alone: alignments are searched, and more chains are taken.",
        )
    try:
        unpaired, paired, sequences, copies, templates = unserialize_msa([a3m], target.chains[0])
        found = [sequence for sequence, count in zip(sequences, copies, strict=True) for _ in range(count)]
        if found != [target.chains[index] for index in chain_order(target.chains)]:
            raise TargetError(
                Reason.INVALID_INPUT,
                f"The target's A3M describes other chains: {found}.",
                "Its first line (#lengths, tab, copies) and first row must give the target's sequences.",
            )
        if paired is None:
            _msa_features(sequences[0], unpaired[0], "The target's A3M")
        if msas.chains:
            brought = {seq: chain for seq, chain in zip(target.chains, msas.chains, strict=True) if chain}
            templates = [_templates(sequence, brought[sequence].templates) for sequence in sequences]
        multimer = preset.multimer
        features, _ = generate_input_feature(
            sequences,
            copies,
            unpaired,
            paired,
            templates,
            is_complex=multimer,
            model_type=_MULTIMER_TYPE if multimer else "alphafold2_ptm",
            max_seq=shape.depth - MAX_TEMPLATES if multimer else shape.clusters,
        )
    except (ValueError, IndexError, KeyError) as error:
        raise TargetError(
            Reason.INVALID_INPUT,
            f"The target's A3M cannot be read: {error}.",
            "Expected ColabFold's format: query first, every row with as many columns as the query.",
        ) from error
    return dict(features)


def count_rows(a3m: str) -> int:
    """Rows of an A3M, query included."""
    return a3m.count("\n>") + a3m.startswith(">")
