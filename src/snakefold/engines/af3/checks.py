"""What the models cannot compute, or would compute as something else: refused before anything is paid."""

from __future__ import annotations

from snakefold.engines.af3.models import Network
from snakefold.engines.af3.settings import Af3Settings
from snakefold.kernel.errors import Reason, TargetError
from snakefold.kernel.names import shown
from snakefold.kernel.notes import Code, note
from snakefold.kernel.wording import count
from snakefold.molecules import chemistry
from snakefold.molecules.components import component
from snakefold.molecules.constraints import Bond
from snakefold.molecules.entities import CALLED, NO_ALIGNMENT, Assembly, Entity, Kind

#: Heavy atoms of the largest ligand by SMILES, whose conformer RDKit must find before anything is predicted.
SMILES_ATOMS = 128
#: Components that stand for no molecule that could be predicted.
NO_MOLECULES = {
    **dict.fromkeys(("HOH", "DOD"), "water"),
    **dict.fromkeys(("UNL", "UNX"), "an unknown molecule or atom"),
}


def check(assembly: Assembly) -> None:
    """See that the models can compute an assembly, as what it is.

    Codes, parents of modified residues and names of atoms were checked when the input was read.

    Raises:
        TargetError: what was found, and what to give instead.
    """
    for name, entity in assembly.chains():
        if entity.kind is Kind.RNA and entity.msa not in (None, NO_ALIGNMENT):
            found = f"chain {name}: an alignment of RNA does not reach this engine yet."
            raise _refusal(found, "Leave it out.")
        if entity.kind is Kind.LIGAND:
            _check_ligand(name, entity)
    _check_equal_sequences(assembly)
    if any(template.force for template in assembly.templates):
        raise _refusal(
            "a template that is forced: AlphaFold 3's models take templates as they find them.",
            "Leave `force` and `threshold` out.",
        )
    for constraint in assembly.constraints:
        if not isinstance(constraint, Bond):
            raise _refusal(
                f"a {constraint.kind}: AlphaFold 3's models read covalent bonds and no other constraint.",
                "Leave it out, or set engine: boltz2.",
            )


def check_templates(assembly: Assembly, settings: Af3Settings) -> None:
    """See that templates that a target brings are read. Raises TargetError."""
    if assembly.templates and not settings.use_templates:
        raise _refusal(
            "it brings templates, and af3.use_templates is false.",
            "Set af3.use_templates: true, or take them out of the record.",
        )


def check_size(tokens: int, settings: Af3Settings) -> None:
    """See that a bucket holds a target.

    Raises:
        TargetError: none does.
    """
    largest = settings.buckets[-1]
    if tokens > largest:
        raise _refusal(
            f"{tokens} tokens, and the largest of af3.buckets is {largest}.",
            "Predict a part of it, or add a larger bucket, on a GPU with the memory for it.",
        )


def notes(assembly: Assembly | None, network: Network) -> list[str]:
    """What a reader of the results should know of a target that is computed."""
    found = []
    if network.language_model:
        found.append(
            f"no_language_model: {network.title} was trained with {network.language_model} and runs without "
            "it here"
        )
    if assembly is None:
        return found
    for text in dict.fromkeys(each.smiles for each in assembly.entities if each.smiles):
        called = f"ligand {shown(text, 40)}"
        if "." in text:
            number = text.count(".") + 1
            found.append(
                note(Code.SEVERAL_MOLECULES, f"{called}: {number} molecules, predicted as one ligand")
            )
        if number := chemistry.open_stereo(text):
            found.append(note(Code.UNDEFINED_STEREO, f"{called}: {count(number, 'stereocentre')} not given"))
    for name, entity in assembly.chains():
        if len(entity.ccd) > 1 and (parts := _parts(name, entity, assembly)) > 1:
            what = f"ligand {'-'.join(entity.ccd)}: {parts} molecules, for no bond joins its components"
            found.append(note(Code.SEVERAL_MOLECULES, what))
    return list(dict.fromkeys(found))


def extra_tokens(assembly: Assembly) -> int:
    """Tokens of modified residues beyond one each: the models take them apart, each heavy atom is one."""
    return sum(
        max(0, known.heavy_atoms - 1) * entity.copies
        for entity in assembly.entities
        for each in entity.modifications
        if (known := component(each.ccd)) is not None
    )


def _refusal(found: str, advice: str) -> TargetError:
    return TargetError(Reason.INVALID_INPUT, found[:1].upper() + found[1:], advice)


def _check_equal_sequences(assembly: Assembly) -> None:
    """An alignment belongs to a sequence: chains that share one share whether they have it."""
    seen: dict[str, tuple[str, str | None]] = {}
    for name, entity in assembly.chains():
        if entity.kind is not Kind.PROTEIN:
            continue
        other, msa = seen.setdefault(entity.sequence, (name, entity.msa))
        if msa != entity.msa:
            raise _refusal(
                f"chains {other} and {name} have one {CALLED[entity.kind]} sequence and differ in msa.",
                "Give both the same, or predict them in records of their own.",
            )


def _parts(name: str, ligand: Entity, assembly: Assembly) -> int:
    """Molecules that the components of one ligand make with the bonds that are given."""
    group = list(range(len(ligand.ccd)))
    for bond in assembly.constraints:
        if isinstance(bond, Bond) and {atom.chain for atom in bond.atoms} == {name}:
            one, other = (group[atom.residue - 1] for atom in bond.atoms)
            group = [one if each == other else each for each in group]
    return len(set(group))


def _check_ligand(name: str, ligand: Entity) -> None:
    if nothing := next((code for code in ligand.ccd if code in NO_MOLECULES), None):
        raise _refusal(
            f"chain {name}, ligand {nothing}: {NO_MOLECULES[nothing]}, which the models do not predict.",
            "Leave it out, or give the molecule as SMILES.",
        )
    atoms = chemistry.heavy_atoms(ligand)
    if not atoms:
        found = f"chain {name}: a ligand without heavy atoms: the models predict no hydrogen."
        raise _refusal(found, "Leave it out.")
    if ligand.smiles and atoms > SMILES_ATOMS:
        raise _refusal(
            f"chain {name}: a ligand of {atoms} heavy atoms by SMILES: RDKit takes minutes for its "
            f"conformer, if it finds one. At most {SMILES_ATOMS} are taken.",
            "Give a peptide or nucleic acid as a polymer, or a known molecule by its CCD code.",
        )
