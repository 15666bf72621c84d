"""What a target brings besides sequences and alignments: an assembly as chains, and its templates.

Such a target is an assembly (`molecules.entities`). AlphaFold2's code knows chains only: an assembly that it
takes is its chains, one after the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from snakefold.engines.alphafold2.models import preset_for
from snakefold.engines.alphafold2.settings import AlphaFold2Settings, ModelPreset
from snakefold.engines.spec import ChainMsa, Molecules, TargetMsas
from snakefold.kernel.contracts import TargetInput
from snakefold.kernel.errors import Reason, TargetError
from snakefold.kernel.notes import Code, note
from snakefold.molecules.accepts import Accepts, why_not
from snakefold.molecules.entities import Assembly

#: Proteins, and structures beside them.
ACCEPTS = Accepts(templates=True, initial_guess=True)
#: Files of templates of one target.
_MOST = 999


def chain_count(target: Molecules) -> int:
    """Chains of a target, copies counted."""
    assembly = target.assembly
    if assembly is None:
        return len(target.chains)
    return sum(entity.copies for entity in _assembly(assembly).entities)


def has_templates(target: Molecules) -> bool:
    """Whether a target brings templates of its own."""
    return target.assembly is not None and bool(_assembly(target.assembly).templates)


def plain(target: TargetInput) -> TargetInput:
    """A target as its chains, under the same key."""
    if target.assembly is None:
        return target
    chains = [entity.sequence for _, entity in _assembly(target.assembly).chains()]
    return TargetInput(id=target.id, key=target.key, chains=chains, msa_sha256=target.msa_sha256)


def plain_msas(target: TargetInput, msas: TargetMsas) -> TargetMsas:
    """Alignments by chain, of which an assembly has one for each entity."""
    if target.assembly is None or not msas.chains:
        return msas
    entities = _assembly(target.assembly).entities
    pairs = zip(entities, msas.chains, strict=True)
    return replace(msas, chains=[msa for entity, msa in pairs for _ in range(entity.copies)])


def check(target: TargetInput, settings: AlphaFold2Settings) -> None:
    """Refuse what would not be read, or not be kept to. Raises TargetError(invalid_input)."""
    if target.assembly is None:
        return
    assembly = _assembly(target.assembly)
    if (verdict := why_not(assembly, "alphafold2", ACCEPTS)) is not None:
        raise TargetError(Reason.INVALID_INPUT, verdict.message, verdict.advice)
    preset = preset_for(settings.model_preset, chain_count(target))
    if assembly.templates:
        _check_templates(assembly, settings, preset)
    if assembly.initial_guess is not None and not preset.multimer:
        # AlphaFold's code takes a slice of every feature for each pass, along the residues of this one.
        passes = (settings.num_recycle + 1) * settings.num_ensemble
        if passes > assembly.residues:
            raise TargetError(
                Reason.INVALID_INPUT,
                f"{assembly.residues} residues, an initial guess, {passes} passes: AlphaFold's code takes no "
                "more passes than residues with one.",
                "Set alphafold2.num_recycle lower.",
            )


def _check_templates(assembly: Assembly, settings: AlphaFold2Settings, preset: ModelPreset) -> None:
    forced = any(template.force for template in assembly.templates)
    many = len(assembly.templates) > _MOST
    unread = not preset.multimer and min(settings.models) > 2
    if not settings.use_templates:
        said = "It brings templates, and alphafold2.use_templates is false."
        advice = "Set alphafold2.use_templates: true, or take them out of the record."
    elif unread:
        said = "It brings templates, and of the monomer models only 1 and 2 read any."
        advice = "Add 1 or 2 to alphafold2.models, or take the templates out of the record."
    elif forced:
        said = "A template has force: true, and AlphaFold2 keeps to none."
        advice = "Take force and threshold out."
    elif many:
        said, advice = f"It brings {len(assembly.templates)} templates.", f"Give at most {_MOST}: 4 are read."
    else:
        return
    raise TargetError(Reason.INVALID_INPUT, said, advice)


def with_templates(target: TargetInput, msas: TargetMsas) -> tuple[TargetMsas, list[str]]:
    """The alignments of a target's chains with its own templates, and notes on what could not be used.

    Equal chains have one set of features in AlphaFold's code: what any of them is given is for all.

    Args:
        target: as it came, with its assembly.
        msas: by chain (`plain_msas`), with the files of the target.

    Raises:
        TargetError: msa_failed, or invalid_input for a file that is not there or cannot be read.
    """
    if not has_templates(target):
        return msas, []
    from snakefold.molecules.known_chains import BadStructureError
    from snakefold.msa import own_templates

    chains = plain(target).chains
    by_sequence: dict[str, ChainMsa] = {}
    notes: list[str] = []
    for number, sequence in enumerate(chains):
        if sequence in by_sequence:
            continue
        # As ColabFold: what a target searched is searched with, and of its own A3M the query alone.
        given = msas.chains[number] if msas.own_a3m is None else None
        query = given or ChainMsa(a3m=f">query\n{sequence}\n")
        structures = _structures(target, sequence, msas.files)
        try:
            found = own_templates.find(sequence, query.a3m, structures, lambda _: None)
        except BadStructureError as error:
            raise TargetError(Reason.INVALID_INPUT, f"A template: {error}", "Check the file.") from error
        by_sequence[sequence] = replace(query, templates=found.npz)
        notes += [note(Code.DROPPED_TEMPLATE, text) for text in found.warnings]
    return replace(msas, chains=[by_sequence[sequence] for sequence in chains]), notes


def _structures(target: TargetInput, sequence: str, files: Mapping[str, bytes]) -> list[Any]:
    """Files of the templates that chains with this sequence are given."""
    from snakefold.msa.own_templates import Structure

    assembly = _assembly(target.assembly)
    names = {name for name, entity in assembly.chains() if entity.sequence == sequence}
    wanted: dict[tuple[str, str], frozenset[str] | None] = {}
    for template in assembly.templates:
        if template.chains and not names & set(template.chains):
            continue
        place = template.file.removeprefix("sha256:"), template.form
        pairs = zip(template.chains, template.template_chains, strict=False)
        ours = frozenset(theirs for chain, theirs in pairs if chain in names)
        own = ours if template.template_chains else None
        before = wanted.get(place, frozenset())
        wanted[place] = None if own is None or before is None else before | own
    return [
        Structure(file_of(files, f"templates/{digest}.{form}"), form, digest, own)
        for (digest, form), own in wanted.items()
    ]


def file_of(files: Mapping[str, bytes], name: str) -> bytes:
    """A file that travels with a target. Raises TargetError(invalid_input)."""
    if name not in files:
        raise TargetError(Reason.INVALID_INPUT, f"The request lacks {name}, which the target brings.")
    return files[name]


def _assembly(given: Any) -> Assembly:
    return given if isinstance(given, Assembly) else Assembly.model_validate(given)
