"""What of an assembly an engine does not take, in one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from snakefold.kernel.names import shown
from snakefold.molecules.constraints import Bond, Pocket
from snakefold.molecules.entities import CALLED, NO_ALIGNMENT, Assembly, Entity, InitialGuess, Kind, Template

_PLURAL = {Kind.PROTEIN: "proteins", Kind.DNA: "DNA", Kind.RNA: "RNA", Kind.LIGAND: "ligands"}
#: Things that are named one by one.
_SHOWN = 3


@dataclass(frozen=True)
class Accepts:
    """What an engine takes besides plain proteins."""

    kinds: frozenset[Kind] = frozenset({Kind.PROTEIN})
    modifications: bool = False
    cyclic: bool = False
    alignments: bool = False
    constraints: bool = False
    affinity: bool = False
    templates: bool = False
    initial_guess: bool = False
    backbones: bool = False

    @property
    def names(self) -> str:
        """What it takes, as a sentence lists it."""
        return _listed(
            [*(_PLURAL[kind] for kind in Kind if kind in self.kinds), *["backbones"] * self.backbones]
        )


#: Chains of plain protein, and nothing else.
PROTEINS = Accepts()
#: Backbones to design sequences for (`molecules.designs`), and nothing else.
BACKBONES = Accepts(kinds=frozenset(), backbones=True)


@dataclass(frozen=True)
class Verdict:
    """Why an assembly is not predicted, and what to do. `templates`: these alone are not taken."""

    message: str
    advice: str
    templates: bool = False


def why_not(
    assembly: Assembly,
    engine: str | None,
    accepts: Accepts = PROTEINS,
    others: Mapping[str, Accepts] | None = None,
) -> Verdict | None:
    """Why `engine` cannot predict an assembly; None if it can.

    Args:
        engine: its name; None: no engine is asked, and proteins alone are taken.
        accepts: what it takes.
        others: what other engines that are installed take, by name.
    """
    kinds = _other_kinds(assembly, accepts)
    beside = features(assembly, accepts)
    if not kinds and not beside:
        return None
    things = [*kinds, *(thing for thing, _ in beside)]
    named = ", ".join(things[:_SHOWN]) + (f" and {len(things) - _SHOWN} more" if len(things) > _SHOWN else "")
    only = f"{accepts.names} only"
    alone = not kinds and all(lacking == _TEMPLATES for _, lacking in beside)
    fields = [_FIELDS.get(lacking, "") for _, lacking in beside] if not kinds else []
    removed = list(dict.fromkeys(fields)) if all(fields) else []
    if engine is None:
        return Verdict(f"{named}: {only} are taken here.", _advice(assembly, None, removed), alone)
    lacks = _listed(sorted({lacking for _, lacking in beside}))
    does = f"{'folds' if accepts.kinds else 'takes'} {only}" if kinds else f"takes no {lacks}"
    able = [name for name, theirs in (others or {}).items() if why_not(assembly, name, theirs) is None]
    it = "it" if len(things) == 1 else "them"
    refused = {entity.kind for entity in assembly.entities} - set(accepts.kinds)
    if refused and not able and any(refused <= set(theirs.kinds) for theirs in (others or {}).values()):
        it = "the whole record"
    which = f"engines that take {it}: {', '.join(able) or 'none is installed'}"
    advice = _advice(assembly, able[0] if able else None, removed)
    return Verdict(f"{named}: engine {engine} {does}; {which}.", advice, alone)


def features(assembly: Assembly, accepts: Accepts) -> list[tuple[str, str]]:
    """What is not taken of the entities and between them, each with what it is a case of."""
    found: list[tuple[str, str]] = []
    names = {id(entity): name for name, entity in reversed(list(assembly.chains()))}
    for entity in assembly.entities:
        where = f"{CALLED[entity.kind]} {names[id(entity)]}"
        if not accepts.modifications:
            found += [
                (f"modification {each.ccd} at residue {each.position} of {where}", "modifications")
                for each in entity.modifications
            ]
        if entity.cyclic and not accepts.cyclic:
            found.append((f"{where}, which is cyclic", "cyclic chains"))
        if not accepts.alignments and (entity.msa or entity.paired_msa):
            none = {entity.msa or NO_ALIGNMENT, entity.paired_msa or NO_ALIGNMENT} == {NO_ALIGNMENT}
            found.append((f"{where} {'without an' if none else 'with its own'} alignment", _OWN_ALIGNMENTS))
    if not accepts.constraints:
        found += [(_constraint(each), "constraints") for each in assembly.constraints]
    if not accepts.templates:
        found += [(f"template {_file_of(each)}", _TEMPLATES) for each in assembly.templates]
    if assembly.initial_guess is not None and not accepts.initial_guess:
        found.append((f"initial guess {_file_of(assembly.initial_guess)}", _GUESSES))
    if assembly.affinity is not None and not accepts.affinity:
        found.append((f"affinity of ligand {assembly.affinity}", "affinity"))
    return found


def _advice(assembly: Assembly, able: str | None, removed: Sequence[str]) -> str:
    """`removed`: fields of the record without which it would be taken."""
    if able is not None:
        return f"Set engine: {able}."
    if removed:
        named = " and ".join(f"`{field}`" for field in removed)
        return f"Remove {named} from the record: the rest of it is taken."
    if all(_but_for_alignments(entity) for entity in assembly.entities):
        return "Give the proteins alone: one alignment as an A3M file, none with msa.tool: single_sequence."
    if any(entity.kind is Kind.PROTEIN for entity in assembly.entities):
        return "To fold the protein alone, give it in a record of its own."
    return "Leave the record out."


def _but_for_alignments(entity: Entity) -> bool:
    return entity.model_copy(update={"msa": None, "paired_msa": None}).plain


def _other_kinds(assembly: Assembly, accepts: Accepts) -> list[str]:
    wanted = [entity for entity in assembly.entities if entity.kind not in accepts.kinds]
    return list(dict.fromkeys(_name(entity) for entity in wanted))


def _name(entity: Entity) -> str:
    if entity.kind is Kind.LIGAND:
        return f"ligand {'-'.join(entity.ccd) or shown(entity.smiles, 40)}"
    unit = "residues" if entity.kind is Kind.PROTEIN else "nucleotides"
    return f"{CALLED[entity.kind]} of {len(entity.sequence)} {unit}"


def _file_of(template: Template | InitialGuess) -> str:
    return shown(template.file.removeprefix("file:"), 40)


_OWN_ALIGNMENTS = "alignments from such a file"
_TEMPLATES = "templates"
_GUESSES = "initial guesses"
#: What is beside the molecules of a record: the field that has it.
_FIELDS = {_TEMPLATES: "templates", _GUESSES: "initial_guess"}


def _constraint(constraint: object) -> str:
    if isinstance(constraint, Bond):
        first, second = (f"{atom.chain}:{atom.residue}:{atom.atom}" for atom in constraint.atoms)
        return f"bond {first} to {second}"
    if isinstance(constraint, Pocket):
        return f"pocket of {constraint.binder}"
    return "contact"


def _listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
