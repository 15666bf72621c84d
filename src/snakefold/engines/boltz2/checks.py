"""What Boltz-2 cannot compute, or would compute as something else: refused before anything is paid."""

from __future__ import annotations

from snakefold.kernel.errors import Reason, TargetError
from snakefold.kernel.names import shown
from snakefold.kernel.notes import Code, note
from snakefold.kernel.wording import count
from snakefold.molecules import chemistry, smiles
from snakefold.molecules.components import component
from snakefold.molecules.constraints import Bond
from snakefold.molecules.entities import CALLED, NO_ALIGNMENT, Assembly, Entity, Kind

#: Heavy atoms of a ligand whose affinity can be predicted, and of the largest that the network has seen.
AFFINITY_ATOMS, AFFINITY_TRAINED = 128, 56
#: Heavy atoms of the largest ligand by SMILES, whose conformer RDKit must find before anything is predicted.
SMILES_ATOMS = 128
#: Components that stand for no molecule that could be predicted.
NO_MOLECULES = {
    **dict.fromkeys(("HOH", "DOD"), "water"),
    **dict.fromkeys(("UNL", "UNX"), "an unknown molecule or atom"),
}


def check(assembly: Assembly) -> None:
    """See that Boltz can compute an assembly, as what it is.

    Raises:
        TargetError: what was found, and what to give instead.
    """
    for name, entity in assembly.chains():
        if entity.kind is Kind.RNA and entity.msa not in (None, NO_ALIGNMENT):
            found = f"chain {name}: an alignment of RNA: Boltz-2 reads alignments of proteins only."
            raise _refusal(found, "Leave it out.")
    _check_equal_sequences(assembly)
    if assembly.affinity is not None:
        _check_binder(dict(assembly.chains())[assembly.affinity])
    for name, entity in assembly.chains():
        if entity.kind is Kind.LIGAND:
            _check_ligand(name, entity)


def notes(assembly: Assembly) -> list[str]:
    """What a reader of the results should know of an assembly that Boltz computes."""
    found = []
    binder = None if assembly.affinity is None else dict(assembly.chains())[assembly.affinity]
    if binder is not None and (atoms := binder_atoms(binder)) > AFFINITY_TRAINED:
        found.append(
            note(
                Code.LARGE_LIGAND,
                f"affinity of a ligand of {atoms} heavy atoms; Boltz-2 was trained with at most "
                f"{AFFINITY_TRAINED}",
            )
        )
    for text in dict.fromkeys(each.smiles for each in assembly.entities if each.smiles):
        called = f"ligand {shown(text, 40)}"
        if "." in text:
            number = text.count(".") + 1
            what = (
                "the largest is predicted alone, because its affinity is asked for"
                if binder is not None and text == binder.smiles
                else "predicted as one ligand"
            )
            found.append(note(Code.SEVERAL_MOLECULES, f"{called}: {number} molecules, {what}"))
        if number := chemistry.open_stereo(text):
            found.append(note(Code.UNDEFINED_STEREO, f"{called}: {count(number, 'stereocentre')} not given"))
    for name, entity in assembly.chains():
        if len(entity.ccd) > 1 and (parts := _parts(name, entity, assembly)) > 1:
            what = f"ligand {'-'.join(entity.ccd)}: {parts} molecules, for no bond joins its components"
            found.append(note(Code.SEVERAL_MOLECULES, what))
    return list(dict.fromkeys(found))


def _parts(name: str, ligand: Entity, assembly: Assembly) -> int:
    """Molecules that the components of one ligand make with the bonds that are given."""
    group = list(range(len(ligand.ccd)))
    for bond in assembly.constraints:
        if isinstance(bond, Bond) and {atom.chain for atom in bond.atoms} == {name}:
            one, other = (group[atom.residue - 1] for atom in bond.atoms)
            group = [one if each == other else each for each in group]
    return len(set(group))


def _refusal(found: str, advice: str) -> TargetError:
    return TargetError(Reason.INVALID_INPUT, found[:1].upper() + found[1:], advice)


def _check_equal_sequences(assembly: Assembly) -> None:
    """Boltz gives all chains of one sequence what the first of them has."""
    seen: dict[tuple[Kind, str], tuple[str, Entity]] = {}
    for name, entity in assembly.chains():
        if entity.kind is Kind.LIGAND:
            continue
        other, first = seen.setdefault((entity.kind, entity.sequence), (name, entity))
        if any(getattr(first, each) != getattr(entity, each) for each in ("modifications", "cyclic", "msa")):
            raise _refusal(
                f"chains {other} and {name} have one {CALLED[entity.kind]} sequence and differ in "
                "modifications, cyclic or msa. Boltz-2 gives both what the first has.",
                "Give both the same, or predict them in records of their own.",
            )


def binder_atoms(binder: Entity) -> int:
    """Heavy atoms that Boltz counts: salts lose their smaller part before the affinity is predicted."""
    parts = [smiles.heavy_atoms(part) for part in binder.smiles.split(".")]
    known = (component(code) for code in binder.ccd)
    return max([*parts, *(each.heavy_atoms for each in known if each is not None)])


def _check_ligand(name: str, ligand: Entity) -> None:
    if nothing := next((code for code in ligand.ccd if code in NO_MOLECULES), None):
        raise _refusal(
            f"chain {name}, ligand {nothing}: {NO_MOLECULES[nothing]}, which Boltz-2 does not predict.",
            "Leave it out, or give the molecule as SMILES.",
        )
    atoms = binder_atoms(ligand)
    if not atoms:
        found = f"chain {name}: a ligand without heavy atoms: Boltz-2 predicts no hydrogen."
        raise _refusal(found, "Leave it out.")
    if ligand.smiles and atoms > SMILES_ATOMS:
        raise _refusal(
            f"chain {name}: a ligand of {atoms} heavy atoms by SMILES: RDKit takes minutes for its "
            f"conformer, if it finds one. At most {SMILES_ATOMS} are taken.",
            "Give a peptide or nucleic acid as a polymer, or a known molecule by its CCD code.",
        )


def _check_binder(binder: Entity) -> None:
    if len(binder.ccd) > 1:
        raise _refusal(
            f"affinity of a ligand of {len(binder.ccd)} components ({'-'.join(binder.ccd)}): Boltz-2 takes "
            "ligands of one component.",
            "Give the whole ligand as one SMILES, or leave the affinity out.",
        )
    atoms = binder_atoms(binder)
    if atoms > AFFINITY_ATOMS:
        raise _refusal(
            f"affinity of a ligand of {atoms} heavy atoms: Boltz-2 takes at most {AFFINITY_ATOMS}, and was "
            f"trained with at most {AFFINITY_TRAINED}.",
            "Leave the affinity out to predict the structure alone.",
        )
