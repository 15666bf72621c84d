"""The chemistry of an assembly's small molecules: what must hold before anything is paid, and drawings.

RDKit is loaded where a SMILES is read, and nowhere else: 0.2 CPU seconds, then 0.1 ms a ligand.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from snakefold.kernel.names import shown
from snakefold.molecules import components, smiles
from snakefold.molecules.constraints import places
from snakefold.molecules.entities import CALLED, Assembly, Entity, Kind
from snakefold.molecules.lines import BadFile

if TYPE_CHECKING:
    from rdkit import Chem


def check(assembly: Assembly, lines: Sequence[int] = ()) -> None:
    """Check codes of components, what modified residues derive from, SMILES by RDKit, and names of atoms.

    Args:
        lines: of the entities, 1-based; none: nobody knows.

    Raises:
        BadFile: a code is not known, or is a modification of another residue; a SMILES is no molecule; a
            residue or ligand has no such atom. At the line of its entity.
    """
    for number, entity in enumerate(assembly.entities):
        check_entity(entity, lines[number] if number < len(lines) else 0)
    _check_atoms(assembly, lines)


def check_entity(entity: Entity, line: int) -> None:
    """As `check`, of one entity."""
    codes = [*entity.ccd, *(each.ccd for each in entity.modifications)]
    if codes and (unknown := components.unknown(codes)):
        raise _unknown(entity, unknown[0], line)
    _check_parents(entity, line)
    if entity.smiles and (wrong := problem(entity.smiles)):
        raise BadFile(
            "ligand",
            f"The SMILES {shown(entity.smiles, 60)!r} is no molecule: {wrong}.",
            "Correct it, or give a code of the Chemical Component Dictionary.",
            line,
        )


def _check_parents(entity: Entity, line: int) -> None:
    """Raises BadFile for a modified residue in place of another than it derives from, as the dictionary says.

    It says nothing of some, and X or N may be anything.
    """
    unknown = "X" if entity.kind is Kind.PROTEIN else "N"
    for each in entity.modifications:
        found = components.component(each.ccd)
        parent = "" if found is None else found.letter
        if entity.kind is not Kind.PROTEIN and parent in ("T", "U"):  # of both there are modifications in DNA
            parent = "T" if entity.kind is Kind.DNA else "U"
        letter = entity.sequence[each.position - 1]
        if parent and letter not in (parent, unknown):
            raise BadFile(
                "modification",
                f"{_called(entity)}: {each.ccd} at residue {each.position} is a modified {parent}, and "
                f"the sequence has {letter} there.",
                f"Correct the position (from 1) or the code, or write {parent} in the sequence.",
                line,
            )


def _check_atoms(assembly: Assembly, lines: Sequence[int]) -> None:
    chains = dict(assembly.chains())
    for constraint in assembly.constraints:
        for place in places(constraint):
            entity = chains[place.chain]
            code = "" if place.atom is None else _component_at(entity, place.residue or 1)
            found = components.structure(code)
            if found is None or place.atom in found[1]:
                continue
            number = next(at for at, each in enumerate(assembly.entities) if each is entity)
            names = shown(", ".join(found[1]), 120)
            raise BadFile(
                "molecules",
                f"{constraint.kind}: {code} of chain {place.chain} has no atom {place.atom}.",
                f"Its atoms are {names}.",
                lines[number] if number < len(lines) else 0,
            )


def _component_at(entity: Entity, residue: int) -> str:
    """Code of a ligand's component or of a residue, 1-based; empty where none is known."""
    if entity.kind is Kind.LIGAND:
        return entity.ccd[residue - 1] if residue <= len(entity.ccd) else ""
    modified = {each.position: each.ccd for each in entity.modifications}
    if residue in modified:
        return modified[residue]
    import gemmi

    kinds = {
        Kind.PROTEIN: gemmi.ResidueKind.AA,
        Kind.DNA: gemmi.ResidueKind.DNA,
        Kind.RNA: gemmi.ResidueKind.RNA,
    }
    return str(gemmi.expand_one_letter(entity.sequence[residue - 1], kinds[entity.kind]) or "")


def _called(entity: Entity) -> str:
    """`protein A`, or what it is if the record names no chains."""
    return f"{CALLED[entity.kind]} {', '.join(entity.chains)}".rstrip()


def _unknown(entity: Entity, code: str, line: int) -> BadFile:
    near = components.alike(code)
    meant = f"Is {' or '.join(near)} meant? " if near else ""
    other = "give a newer ligand as SMILES" if entity.kind is Kind.LIGAND else "give the standard residue"
    dictionary = f"the Chemical Component Dictionary ({components.day()})"
    return BadFile(
        "ccd",
        f"{_called(entity)}: {code} is no code of {dictionary}.",
        f"{meant}Correct it, or {other}.",
        line,
    )


@lru_cache(maxsize=4096)
def problem(text: str) -> str:
    """What is wrong with a SMILES as a molecule, in a few words; empty if RDKit takes it."""
    if wrong := smiles.problem(text):
        return wrong
    from rdkit import Chem, rdBase

    with rdBase.BlockLogs():
        molecule = Chem.MolFromSmiles(text, sanitize=False)
        if molecule is None:
            return "RDKit cannot take it apart"
        found = Chem.DetectChemistryProblems(molecule)
        if found:
            return shown(found[0].Message(), 120).rstrip(".")
        if Chem.MolFromSmiles(text) is None:
            return "RDKit cannot make it"
        if any(atom.GetAtomicNum() == 0 for atom in molecule.GetAtoms()):
            return "it has an atom of no element (*)"
    return ""


def smiles_of_block(block: str) -> str:
    """The SMILES of a molecule of an SDF, with the stereochemistry that its atoms or flags show.

    Raises:
        BadFile: it is no molecule.
    """
    from rdkit import Chem, rdBase

    advice = "Export the molecule again, or give its SMILES."
    with rdBase.BlockLogs():
        molecule = Chem.MolFromMolBlock(block)
        if molecule is not None and molecule.GetNumAtoms():
            return str(Chem.MolToSmiles(molecule))
        raw = Chem.MolFromMolBlock(block, sanitize=False)
        if raw is None:
            raise BadFile("ligand", "The molecule cannot be read by RDKit.", advice)
        if not raw.GetNumAtoms():
            raise BadFile("ligand", "The molecule has no atoms.", advice)
        found = Chem.DetectChemistryProblems(raw)
        wrong = shown(found[0].Message(), 120).rstrip(".") if found else "RDKit cannot make it"
    raise BadFile("ligand", f"The molecule is none: {wrong}.", advice)


def molecule(text: str) -> Chem.Mol | None:
    """The molecule of a SMILES, without hydrogens, atoms in its order; None if it is none."""
    from rdkit import Chem, rdBase

    with rdBase.BlockLogs():
        found = Chem.MolFromSmiles(text)
        try:
            return None if found is None else Chem.RemoveHs(found)
        except ValueError:  # RDKit's own kinds derive from it: without hydrogens it may be no aromatic ring
            return None


def canonical(text: str) -> str:
    """RDKit's canonical SMILES, equal for all ways to write a molecule; the text itself if it is none."""
    from rdkit import Chem, rdBase

    with rdBase.BlockLogs():
        found = Chem.MolFromSmiles(text)
        return text if found is None else str(Chem.MolToSmiles(found))


def open_stereo(text: str) -> int:
    """Stereocentres (C, S) and double bonds between carbons that a SMILES leaves open; 0 if it is none."""
    from rdkit import Chem, rdBase

    with rdBase.BlockLogs():
        found = Chem.MolFromSmiles(text)
        if found is None:
            return 0
        return sum(
            each.specified == Chem.StereoSpecified.Unspecified and _counts(found, each)
            for each in Chem.FindPotentialStereo(found)
        )


def _counts(molecule: Chem.Mol, stereo: Any) -> bool:
    """Whether isomers differ: not by N, which inverts, nor by P and N whose tautomers RDKit tells apart."""
    from rdkit import Chem

    if stereo.type == Chem.StereoType.Atom_Tetrahedral:
        return molecule.GetAtomWithIdx(stereo.centeredOn).GetSymbol() in ("C", "S")
    if stereo.type != Chem.StereoType.Bond_Double:
        return False
    bond = molecule.GetBondWithIdx(stereo.centeredOn)
    return {bond.GetBeginAtom().GetSymbol(), bond.GetEndAtom().GetSymbol()} == {"C"}


def component_molecule(code: str) -> Chem.Mol | None:
    """A component of the dictionary, without hydrogens; atoms have their `name`.

    None of a code that the dictionary did not have, or that RDKit does not take.
    """
    found = components.structure(code)
    made = None if found is None else molecule(found[0])
    if found is None or made is None or made.GetNumAtoms() != len(found[1]):
        return None
    for atom, name in zip(made.GetAtoms(), found[1], strict=True):
        atom.SetProp("name", name)
    return made


def drawing(drawn: Chem.Mol, width: int = 260, height: int = 180) -> str:
    """A drawing as SVG, lines in the colour of the text around it; equal molecules give equal drawings."""
    from rdkit.Chem import rdDepictor
    from rdkit.Chem.Draw import rdMolDraw2D

    rdDepictor.SetPreferCoordGen(False)
    rdDepictor.Compute2DCoords(drawn)
    canvas = rdMolDraw2D.MolDraw2DSVG(width, height)
    options = canvas.drawOptions()
    options.useBWAtomPalette()
    options.clearBackground = False
    options.addStereoAnnotation = False
    rdMolDraw2D.PrepareAndDrawMolecule(canvas, drawn)
    canvas.FinishDrawing()
    return str(canvas.GetDrawingText())


def heavy_atoms(ligand: Entity) -> int:
    """Atoms of a ligand without hydrogen; those that leave on a bond between components are counted.

    A code that is not known has none.
    """
    if ligand.smiles:
        return smiles.heavy_atoms(ligand.smiles)
    known = (components.component(code) for code in ligand.ccd)
    return sum(each.heavy_atoms for each in known if each is not None)
