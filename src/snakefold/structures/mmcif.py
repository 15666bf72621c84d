"""Models as mmCIF with ModelCIF's categories (https://mmcif.wwpdb.org/dictionaries/mmcif_ma.dic).

python-modelcif writes what is said of a model, gemmi its atoms: modelcif takes ten times as long for those.
Equal models give equal bytes, whenever they are written.
"""

from __future__ import annotations

import datetime
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import gemmi
import numpy as np

from snakefold import __version__
from snakefold.kernel.contracts import ModelScores
from snakefold.kernel.errors import SnakefoldError
from snakefold.structures.chains import End, Ends, Kind, Molecule, chain_names
from snakefold.structures.files import REHEARSAL_NOTE

#: The only revision of every model. A day that is today's would make equal results differ. Programs that take
#: the file as a template leave out what was released after some date, and fail without one: this one is
#: before all limits, and what ColabFold gives to templates that have none.
RELEASED = datetime.date(1971, 1, 1)
#: Before the place of a model's PAE in its file.
_PAE_DETAILS = "PAE in units of 0.125 A: array "
_RELEASED = "A fixed date, no release: equal models have equal bytes, and no limit on dates leaves them out."

Value = str | int | float | bool | list[int] | list[float]


@dataclass(frozen=True)
class Making:
    """How a model was made.

    Attributes:
        engine, version: what predicted it.
        parameters: its settings for this model.
        alignment: how its alignments were made, as a sentence; empty: there are none.
        relaxer: name and version of what relaxed it; empty: it was not.
        origin: where a model comes from that was not predicted here, as a sentence.
        pae: name of the file beside it that has its PAE, and where in it; empty: there is none.
        rehearsal: the parameters were random.
    """

    engine: str
    version: str
    parameters: Mapping[str, Value] = field(default_factory=dict)
    alignment: str = ""
    relaxer: tuple[str, str] | None = None
    origin: str = ""
    pae: tuple[str, str] | None = None
    rehearsal: bool = False


def write(
    structure: gemmi.Structure,
    molecules: Sequence[Molecule],
    scores: ModelScores,
    making: Making,
    *,
    name: str,
    bonds: Sequence[Ends] = (),
) -> str:
    """mmCIF text of a predicted model.

    Args:
        structure: chains named as `chain_names` has them, residues numbered from 1 in each. A residue, or a
            whole chain, may lack atoms.
        molecules: what was predicted, in order.
        scores: `plddt` has a value for every residue of `molecules`, with atoms or without.
        name: of the data block.
        bonds: covalent ones that no sequence says. One whose atoms are not in the model is left out.

    Raises:
        SnakefoldError: chains, residue numbers or residue names are not those of `molecules`.
    """
    names = dict(zip(chain_names(len(molecules)), molecules, strict=True))
    entry = re.sub(r"[^A-Za-z0-9_-]", "_", name) or "model"
    structure = structure.clone()
    del structure[1:]
    entities = {molecule: str(number) for number, molecule in enumerate(dict.fromkeys(molecules), 1)}
    _label(structure, names, entities)
    _connect(structure, bonds)
    text = io.StringIO()
    _write_description(text, structure, names, scores, making, entry=entry)
    groups = gemmi.MmcifOutputGroups(False)
    groups.atoms = groups.atom_type = groups.auth_all = groups.group_pdb = True
    groups.conn = bool(len(structure.connections))
    block = structure.make_mmcif_document(groups)
    _, _, atoms = block.as_string(gemmi.cif.WriteOptions(gemmi.cif.Style.Pdbx)).partition("\n")
    return text.getvalue() + atoms


def _label(
    structure: gemmi.Structure, names: Mapping[str, Molecule], entities: Mapping[Molecule, str]
) -> None:
    """Check the chains, and say of every residue where in which entity it is."""
    found = {molecule: gemmi.Entity(number) for molecule, number in entities.items()}
    for chain in structure[0]:
        molecule = names.get(chain.name)
        if molecule is None:
            raise SnakefoldError(
                f"The model has a chain {chain.name!r}. Expected: {', '.join(names)}, each once."
            )
        components = molecule.components()
        is_polymer = molecule.is_polymer
        kind = gemmi.EntityType.Polymer if is_polymer else gemmi.EntityType.NonPolymer
        for residue in chain:
            number = residue.seqid.num or 0
            if not 1 <= number <= len(components) or residue.name != components[number - 1]:
                raise SnakefoldError(
                    f"Chain {chain.name}: residue {number} is {residue.name}, and the target has "
                    f"{components[number - 1] if 1 <= number <= len(components) else 'no such residue'}."
                )
            residue.label_seq = number if is_polymer else None
            residue.subchain, residue.entity_type = chain.name, kind
            residue.het_flag = "H" if molecule.kind is Kind.LIGAND else "A"
            residue.entity_id = entities[molecule]
        entity = found[molecule]
        entity.entity_type = kind
        entity.subchains = [*entity.subchains, chain.name]
    structure.entities = gemmi.EntityList(list(found.values()))


def _connect(structure: gemmi.Structure, bonds: Sequence[Ends]) -> None:
    """Say which atoms are bound; `_struct_conn` has them with their distance."""
    structure.connections.clear()
    for ends in bonds:
        connection = gemmi.Connection()
        connection.name = f"covale{len(structure.connections) + 1}"
        connection.type = gemmi.ConnectionType.Covale
        connection.asu = gemmi.Asu.Same
        found = [cra for end in ends if (cra := _find(structure[0], end)) is not None]
        if len(found) < len(ends):
            continue
        if any(each.atom.element.is_metal for each in found):
            connection.type = gemmi.ConnectionType.MetalC
        connection.partner1, connection.partner2 = (
            gemmi.AtomAddress(
                each.chain.name, each.residue.seqid, each.residue.name, each.atom.name, each.atom.altloc
            )
            for each in found
        )
        structure.connections.append(connection)


def _find(model: gemmi.Model, end: End) -> gemmi.CRA | None:
    """The atom of a bond's end; None if it is not in the model."""
    for cra in model.all():
        if (cra.chain.name, cra.residue.seqid.num, cra.atom.name) == (end.chain, end.residue, end.atom):
            return cra
    return None


def _write_description(
    text: io.StringIO,
    structure: gemmi.Structure,
    names: Mapping[str, Molecule],
    scores: ModelScores,
    making: Making,
    *,
    entry: str,
) -> None:
    """Every category but those of the atoms."""
    import ihm
    import modelcif
    import modelcif.associated
    import modelcif.dumper
    import modelcif.model

    title = REHEARSAL_NOTE if making.rehearsal else making.origin or f"Predicted by {making.engine}"
    system = modelcif.System(title=_free(title), id=entry)
    revision = ihm.Revision("Structure model", minor=0, major=1, date=RELEASED)
    revision.details.append(ihm.RevisionDetails("author", "Initial release", _RELEASED))
    system.revisions.append(revision)
    copies: dict[Molecule, list[str]] = {}
    for chain_name, molecule in names.items():
        copies.setdefault(molecule, []).append(chain_name)
    entities = {molecule: _entity(molecule, chains) for molecule, chains in copies.items()}
    system.entities.extend(entities.values())
    # A chain none of whose residues has atoms has no instance: programs look for its coordinates.
    asyms = {
        chain.name: modelcif.AsymUnit(entities[names[chain.name]], id=chain.name) for chain in structure[0]
    }
    ours = modelcif.Software(
        "snakefold", "model building", "runs the engine and ranks its models", None, version=__version__
    )
    engine = modelcif.Software(
        making.engine, "model building", _free(making.origin) or None, None, "package", making.version or None
    )
    model = (_taken() if making.origin else modelcif.model.AbInitioModel)(
        modelcif.Assembly(asyms.values(), name="Model"),
        name="REHEARSAL model" if making.rehearsal else "Predicted model",
    )
    _add_unmodelled(model, structure, asyms)
    group = modelcif.SoftwareGroup([_with_parameters(engine, scores, making), ours])
    model.qa_metrics.extend(_metrics(structure, names, asyms, scores, group))
    system.model_groups.append(modelcif.model.ModelGroup([model], name="Model"))
    system.protocols.append(_protocol(list(entities.values()), model, making, group, ours))
    if making.pae is not None:
        path, place = making.pae
        pae = modelcif.associated.File(path, details=_PAE_DETAILS + place)
        pae.file_content = "QA metrics"
        system.repositories.append(modelcif.associated.Repository(None, [pae]))
    # The atoms are gemmi's, and checked above: here a model has none.
    modelcif.dumper.write(text, [system], check=False)


def with_pae_of(text: str, before: str, after: str) -> str:
    """The text of a model whose PAE is now at another place of the same file."""
    return text.replace(f"'{_PAE_DETAILS}{before}'", f"'{_PAE_DETAILS}{after}'", 1)


def _taken() -> type:
    """How a model was made that was not predicted here, is not known here."""
    import modelcif.model

    class Taken(modelcif.model.Model):
        """predicted elsewhere"""

    return Taken


def _entity(molecule: Molecule, chains: Sequence[str]) -> Any:
    import ihm
    import modelcif

    known: dict[str, Any] = {}
    other: type = ihm.NonPolymerChemComp
    match molecule.kind:
        case Kind.PROTEIN:
            known = {each.id: each for _, each in ihm.LPeptideAlphabet().items}
            other = ihm.LPeptideChemComp
        case Kind.DNA:
            known = {each.id: each for _, each in ihm.DNAAlphabet().items}
            known["DN"] = ihm.DNAChemComp("DN", "DN", "N", "UNKNOWN 2'-DEOXYNUCLEOTIDE", "C5 H11 O6 P")
            other = ihm.DNAChemComp
        case Kind.RNA:
            known = {each.id: each for _, each in ihm.RNAAlphabet().items}
            known["N"] = ihm.RNAChemComp("N", "N", "N", "ANY 5'-MONOPHOSPHATE NUCLEOTIDE", "C5 H11 O7 P")
            other = ihm.RNAChemComp
    sequence = [known.get(code) or _component(code, molecule, other) for code in molecule.components()]
    entity = modelcif.Entity(sequence, description=f"{molecule.kind} {', '.join(chains)}")
    # A polymer of one residue is one as well.
    entity._force_polymer = molecule.is_polymer
    return entity


def _component(code: str, molecule: Molecule, other: type) -> Any:
    """A component that is no standard residue."""
    import ihm
    from modelcif.descriptor import IsomericSMILES

    if molecule.smiles:
        told = [IsomericSMILES(_free(molecule.smiles), details="as the input gives it")]
        return ihm.NonPolymerChemComp(code, name="ligand by its SMILES", ccd="local", descriptors=told)
    if other is ihm.NonPolymerChemComp:
        return ihm.NonPolymerChemComp(code)
    return other(code, code, "X")


def _add_unmodelled(model: Any, structure: gemmi.Structure, asyms: Mapping[str, Any]) -> None:
    import modelcif.model

    for chain in structure[0]:
        asym = asyms[chain.name]
        if not asym.entity.is_polymeric():
            continue
        there = np.zeros(len(asym.entity.sequence) + 2, bool)
        there[[0, -1, *(residue.seqid.num or 0 for residue in chain)]] = True
        edges = np.flatnonzero(np.diff(there))
        for before, last in edges.reshape(-1, 2).tolist():
            model.not_modeled_residue_ranges.append(
                modelcif.model.NotModeledResidueRange(asym, before + 1, last)
            )


def _with_parameters(engine: Any, scores: ModelScores, making: Making) -> Any:
    import modelcif

    values: dict[str, Value] = {"model": scores.name, **making.parameters}
    if not making.origin:
        values |= {"seed": scores.seed, "recycles": scores.recycles}
    return modelcif.SoftwareWithParameters(
        engine,
        [
            modelcif.SoftwareParameter(name, value)
            for name, value in values.items()
            if value not in (None, [])
        ],
    )


def _metrics(
    structure: gemmi.Structure,
    names: Mapping[str, Molecule],
    asyms: Mapping[str, Any],
    scores: ModelScores,
    software: Any,
) -> Iterator[Any]:
    """Scores that the engine gives, none besides."""
    from modelcif import qa_metric

    class Ranking(qa_metric.MetricType):
        """what the models of a target are ranked by, higher is better"""

    def metric(name: str, text: str, mode: type, kind: type) -> Any:
        return type(name, (mode, kind), {"name": name, "description": text, "software": software})

    for name, text, kind, value in (
        ("pLDDT", "Mean pLDDT of all residues", qa_metric.PLDDT, scores.mean_plddt),
        ("ranking confidence", "What the engine ranks by", Ranking, scores.ranking_confidence),
        ("pTM", "Predicted TM-score", qa_metric.PTM, scores.ptm),
        ("ipTM", "Predicted TM-score of the interfaces", qa_metric.IpTM, scores.iptm),
    ):
        if value is not None:
            yield metric(name, text, qa_metric.Global, kind)(f"{value:.6g}")
    local = metric("pLDDT", "pLDDT of a residue", qa_metric.Local, qa_metric.PLDDT)
    starts, start = {}, 0
    for name, molecule in names.items():
        starts[name] = start
        start += len(molecule.components())
    for chain in structure[0]:
        asym, start = asyms[chain.name], starts[chain.name]
        for residue in chain:
            number = residue.seqid.num or 0
            yield local(asym.residue(number), f"{scores.plddt[start + number - 1]:.2f}")


def _protocol(targets: list[Any], model: Any, making: Making, engine: Any, ours: Any) -> Any:
    import modelcif
    from modelcif import data, protocol

    steps = []
    inputs = data.DataGroup(targets)
    if making.origin:
        steps.append(protocol.Step(inputs, model, "taken", _free(making.origin), engine))
    else:
        if making.alignment:
            alignment = data.Data("Multiple sequence alignments", _free(making.alignment))
            alignment.data_content_type = "coevolution MSA"
            steps.append(
                protocol.CoevolutionMSAStep(inputs, alignment, "alignment", _free(making.alignment), ours)
            )
            inputs = data.DataGroup([*targets, alignment])
        steps.append(protocol.ModelingStep(inputs, model, "prediction", None, engine))
        if making.relaxer is not None:
            name, version = making.relaxer
            relaxer = modelcif.Software(name, "refinement", "AMBER relaxation", None, version=version)
            steps.append(protocol.ModelRefinementStep(model, model, "relaxation", None, relaxer))
    steps.append(protocol.ModelSelectionStep(model, model, "ranking", None, ours))
    found = protocol.Protocol()
    found.steps.extend(steps)
    return found


def _free(text: str) -> str:
    """Free text on one line, as modelcif writes it right: what it cannot quote, in a text field."""
    plain = " ".join(text.split())
    odd = re.search(r"[\"'\\]|[^ -~]", plain) or not plain[:1].isalnum()
    return f"{plain}\n" if plain and odd else plain
