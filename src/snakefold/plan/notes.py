"""What a plan says of targets before they are predicted: notes of their engines, and equal molecules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from snakefold.kernel.names import shown
from snakefold.kernel.notes import MEANINGS, Code, note
from snakefold.kernel.wording import count
from snakefold.molecules import chemistry
from snakefold.molecules.entities import Assembly
from snakefold.molecules.target import Target

#: Targets that the quote names for each kind of note.
_NAMED = 3


def with_same_molecules(
    targets: Sequence[Target], groups: Sequence[int], notes: Mapping[int, Sequence[str]]
) -> dict[int, Sequence[str]]:
    """`notes` by index of the target, and one for each whose molecules an earlier one has in another writing.

    They share no result: engines compute atoms in the order of the SMILES. A code of the Chemical Component
    Dictionary and a SMILES are not compared.
    """
    alike: dict[tuple[tuple[str, ...], int], list[int]] = {}
    for index, target in enumerate(targets):
        if target.assembly is not None and (ligands := _smiles(target.assembly)):
            canonical = tuple(sorted(map(chemistry.canonical, ligands)))
            alike.setdefault((canonical, groups[index]), []).append(index)
    found = dict(notes)
    for indices in alike.values():
        if len(indices) == 1:
            continue
        first: dict[str, int] = {}
        for index in indices:
            same = first.setdefault(_canonical_key(targets[index]), index)
            if same != index:
                told = note(Code.SAME_MOLECULE, f"as {targets[same].id}, with another SMILES")
                found[index] = [*found.get(index, ()), told]
    return found


def summary(notes: Mapping[int, Sequence[str]], targets: Sequence[Target]) -> list[str]:
    """A line for each kind of note: what it means, and which targets have it."""
    having: dict[str, dict[str, None]] = {}
    for index in sorted(notes):
        for text in notes[index]:
            having.setdefault(text.partition(":")[0], {})[targets[index].id] = None
    lines = []
    for code, ids in having.items():
        names = ", ".join(shown(name, 40) for name in list(ids)[:_NAMED])
        more = ", …" if len(ids) > _NAMED else ""
        meaning = MEANINGS[Code(code)].text if code in list(Code) else "see `note` in targets.tsv."
        lines.append(f"{code}, {count(len(ids), 'target')} ({names}{more}): {meaning}")
    return lines


def _smiles(assembly: Assembly) -> list[str]:
    return [entity.smiles for entity in assembly.entities if entity.smiles]


def _canonical_key(target: Target) -> str:
    """The key that a target would have, had its SMILES been written as RDKit writes them."""
    assembly = target.assembly
    if assembly is None:
        return target.key
    entities = tuple(
        each.model_copy(update={"smiles": chemistry.canonical(each.smiles)}) if each.smiles else each
        for each in assembly.entities
    )
    return assembly.model_copy(update={"entities": entities}).key
