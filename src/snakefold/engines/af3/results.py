"""What the network gives for one seed, as models of snakefold.

The wheel's own writer is not used: whatever the model, its files name AlphaFold 3's terms, authors and paper.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import gemmi
import numpy as np
from numpy.typing import NDArray

from snakefold.engines.af3.inputs import Chains
from snakefold.kernel.contracts import TargetInput
from snakefold.kernel.errors import Reason, TargetError
from snakefold.molecules.entities import Kind
from snakefold.structures import files as structures
from snakefold.structures.chains import chain_names, molecules_of_target
from snakefold.structures.prediction import Prediction
from snakefold.structures.tokens import Tokens

if TYPE_CHECKING:
    from snakefold.engines.af3.network import Model, Predicted

RANKED_BY = "ranking_score"
#: Matrices of chains and values of a chain that a summary has, by their names in the wheel.
_PAIRS = {"chain_pair_iptm": "chain_pair_iptm", "chain_pair_pae_min": "chain_pair_pae_min"}
_CHAINS = {"iptm_ichain": "chain_ptm", "iptm_xchain": "chain_iptm"}

Scores = dict[str, float | int | str | bool]


def tokens_of(model: Model, chains: Chains) -> tuple[Tokens, NDArray[np.intp]]:
    """Tokens in the target's order of chains, and where each is in the network's arrays.

    A residue is one token, unless the model takes it apart: then each of its atoms is, as of ligands.
    """
    place = {name: number for number, name in enumerate(chains.ids)}
    chain = [place[str(name)] for name in model.metadata["token_chain_ids"]]
    residue = [int(number) for number in model.metadata["token_res_ids"]]
    pairs = list(zip(chain, residue, strict=True))
    several = {pair for pair in pairs if pairs.count(pair) > 1} if len(set(pairs)) < len(pairs) else set()
    order = np.array(sorted(range(len(pairs)), key=lambda number: pairs[number][0]), dtype=np.intp)
    ligands = {number for number, each in enumerate(chains.entities) if each.kind is Kind.LIGAND}
    return Tokens(
        [chain[at] for at in order],
        [residue[at] for at in order],
        [model.tokens[at] if chain[at] in ligands or pairs[at] in several else "" for at in order],
    ), order


def predictions(
    predicted: Predicted, target: TargetInput, chains: Chains, *, seed: int, recycles: int
) -> list[Prediction]:
    """Models of one seed, in the order in which they were sampled.

    Raises:
        TargetError: an atom has no coordinates.
    """
    share = 1 / len(predicted.models)
    names = [residue for molecule in molecules_of_target(target) for residue in [molecule.components()]]
    found = []
    for number, model in enumerate(predicted.models):
        tokens, order = tokens_of(model, chains)
        structure, plddt = structure_of(model.structure, chains, names)
        pae = np.asarray(model.arrays["full_pae"])[np.ix_(order, order)]
        several = len(chains.entities) > 1
        score = float(model.metadata[RANKED_BY])
        if not math.isfinite(score):
            raise TargetError(Reason.INTERNAL, f"The network gave {score} as the model's {RANKED_BY}.")
        found.append(
            Prediction(
                name=f"seed_{seed}_sample_{number}",
                pdb=structure.make_pdb_string() if structures.fits_pdb(structure) else "",
                structure=structure,
                plddt=plddt,
                pae=pae,
                tokens=tokens,
                ptm=_number(model.metadata["ptm"]),
                iptm=_number(model.metadata["iptm"]) if several else None,
                ranking_confidence=score,
                ranked_by=RANKED_BY,
                recycles=recycles,
                seed=seed,
                seconds=predicted.seconds * share,
                compile_seconds=predicted.compiling * share,
            )
        )
    return found


def structure_of(
    source: Any, chains: Chains, names: Sequence[Sequence[str]]
) -> tuple[gemmi.Structure, NDArray[np.float64]]:
    """The model with chains in the target's order and residues numbered from 1, and pLDDT of each residue.

    Args:
        source: the wheel's structure.
        names: of the residues of each chain, as files call them: a ligand by SMILES has another name there.

    Raises:
        TargetError: an atom has no coordinates, or a residue no atoms.
    """
    place = {name: number for number, name in enumerate(chains.ids)}
    residues: list[dict[int, gemmi.Residue]] = [{} for _ in chains.entities]
    xyz = np.stack([np.asarray(getattr(source, f"atom_{axis}"), dtype=np.float64) for axis in "xyz"], axis=1)
    if not np.isfinite(xyz).all():
        raise TargetError(Reason.INTERNAL, "The network gave no finite coordinates.")
    columns = zip(
        *(source.chain_id, source.res_id, source.atom_name, source.atom_element),
        *(xyz, source.atom_b_factor),
        strict=True,
    )
    for chain, index, name, element, position, plddt in columns:
        at, number = place[str(chain)], int(index)
        residue = residues[at].get(number)
        if residue is None:
            residue = residues[at][number] = gemmi.Residue()
            residue.name, residue.seqid = names[at][number - 1], gemmi.SeqId(number, " ")
        atom = gemmi.Atom()
        atom.name, atom.element = str(name), gemmi.Element(str(element))
        atom.pos, atom.b_iso, atom.occ = gemmi.Position(*position), float(plddt), 1.0
        residue.add_atom(atom)
    made, by_residue = gemmi.Model(1), list[float]()
    for chain_name, named, found in zip(chain_names(len(residues)), names, residues, strict=True):
        chain = gemmi.Chain(chain_name)
        for number, name in enumerate(named, 1):
            if number not in found:
                raise TargetError(
                    Reason.INTERNAL, f"Residue {number} ({name}) of chain {chain_name} has no atoms."
                )
            chain.add_residue(found[number])
            by_residue.append(float(np.mean([atom.b_iso for atom in found[number]])))
        made.add_chain(chain)
    structure = gemmi.Structure()
    structure.add_model(made)
    return structure, np.array(by_residue)


def summary(model: Model, chains: Chains) -> dict[str, Any]:
    """What the network says of a model, chains in the target's order; what it does not say is null."""
    count = len(chains.entities)
    # The wheel numbers chains as its structure has them.
    there = [str(name) for name in model.structure.chains]
    order = [there.index(name) for name in chains.ids]
    found: dict[str, Any] = {
        "chain_ids": chain_names(count),
        "ranking_score": _number(model.metadata[RANKED_BY]),
        "ptm": _number(model.metadata["ptm"]),
        "iptm": _number(model.metadata["iptm"]) if count > 1 else None,
        "has_clash": bool(model.metadata["has_clash"]),
        "fraction_disordered": disordered(model, chains),
    }
    for theirs, ours in _PAIRS.items():
        matrix = np.asarray(model.metadata[theirs], dtype=np.float64)[np.ix_(order, order)]
        found[ours] = [[_number(value, 3) for value in row] for row in matrix]
    for theirs, ours in _CHAINS.items():
        found[ours] = [
            _number(value, 3) for value in np.asarray(model.metadata[theirs], dtype=np.float64)[order]
        ]
    return found


def scores_of(model: Model, chains: Chains) -> Scores:
    """Columns of metrics.tsv that a model fills; what it does not say is absent."""
    told = summary(model, chains)
    found: dict[str, Any] = {
        name: told[name] for name in ("ranking_score", "has_clash", "fraction_disordered")
    }
    kinds = [entity.kind for entity in chains.entities]
    pairs = [
        (one, other, told["chain_pair_iptm"][one][other], told["chain_pair_pae_min"][one][other])
        for one in range(len(kinds))
        for other in range(one + 1, len(kinds))
    ]
    ligand = [
        value
        for one, other, value, _ in pairs
        if Kind.LIGAND in (kinds[one], kinds[other]) and value is not None
    ]
    nearest = [value for _, _, _, value in pairs if value is not None]
    found["best_ligand_pair_iptm"] = max(ligand, default=None)
    found["min_pair_pae"] = min(nearest, default=None)
    return {name: value for name, value in found.items() if value is not None}


def disordered(model: Model, chains: Chains) -> float | None:
    """Share of protein residues that are disordered; None without protein, or where DSSP failed."""
    return _number(model.metadata["fraction_disordered"]) if model.disordered and chains.proteins else None


def contacts(ranked: Sequence[tuple[Model, Chains]]) -> bytes:
    """contact_probs.npz: of the n-th model `rank_<n>` float16 [T, T], that tokens are within 8 Å."""
    arrays: Mapping[str, Any] = {}
    for number, (model, chains) in enumerate(ranked):
        _, order = tokens_of(model, chains)
        matrix = np.asarray(model.arrays["contact_probs"])[np.ix_(order, order)]
        arrays = {**arrays, f"rank_{number}": matrix.astype(np.float16)}
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def _number(value: Any, digits: int = 6) -> float | None:
    """A number that JSON has; None of what is none."""
    found = float(value)
    return round(found, digits) if math.isfinite(found) else None
