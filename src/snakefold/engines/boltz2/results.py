"""What Boltz has written for one seed, as models of snakefold."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
from numpy.typing import NDArray

from snakefold.engines.boltz2.inputs import Chains
from snakefold.kernel.errors import Reason, TargetError
from snakefold.molecules.entities import Kind
from snakefold.structures import files as structures
from snakefold.structures.prediction import Prediction
from snakefold.structures.tokens import Tokens

#: Of confidence_*.json, in the order of metrics.tsv. iptm and ptm are columns of every engine.
SUMMARY = (
    "confidence_score",
    "ligand_iptm",
    "protein_iptm",
    "complex_plddt",
    "complex_iplddt",
    "complex_pde",
    "complex_ipde",
    "structure_checks_passed",
)
#: Boltz writes 0 for these where no token has a frame (a lone residue, an ion), for a mean over nothing. Any
#: other value is above 0.
_ABOVE_ZERO = ("ptm", "iptm", "ligand_iptm", "protein_iptm")
AFFINITY = (
    "affinity_pred_value",
    "affinity_probability_binary",
    "affinity_pred_value1",
    "affinity_probability_binary1",
    "affinity_pred_value2",
    "affinity_probability_binary2",
    "affinity_pose_passed_checks",
)

Scores = dict[str, float | int | str | bool]


@dataclass(frozen=True)
class Modelled:
    """A model, what Boltz says of it, and PDE by token [T, T], Å."""

    prediction: Prediction
    summary: Mapping[str, Any]
    pde: NDArray[np.float32]
    cif: bytes

    def longer(self, seconds: float) -> Modelled:
        """The same, which took so much longer."""
        spent = self.prediction.seconds + seconds
        return replace(self, prediction=replace(self.prediction, seconds=spent))


def tokens_of(structure: Any, chains: Chains) -> tuple[Tokens, NDArray[np.intp]]:
    """Tokens in the target's order of chains, and where each is in Boltz's arrays.

    Boltz computes equal sequences side by side. A residue of a polymer is one token, modified or not; of a
    ligand each atom is.

    Args:
        structure: boltz.data.types.StructureV2.
    """
    kinds = {name: entity.kind for name, entity in zip(chains.names, chains.entities, strict=True)}
    of_chain: dict[str, list[tuple[int, int, str]]] = {}
    start = 0
    for chain in structure.chains:
        name, first, number = str(chain["name"]), int(chain["res_idx"]), int(chain["res_num"])
        of_chain[name] = []
        for place, residue in enumerate(structure.residues[first : first + number], 1):
            atoms = [""]
            if kinds[name] is Kind.LIGAND and not residue["is_standard"]:
                begin = int(residue["atom_idx"])
                atoms = [
                    str(each["name"]) for each in structure.atoms[begin : begin + int(residue["atom_num"])]
                ]
            of_chain[name] += [(start + offset, place, atom) for offset, atom in enumerate(atoms)]
            start += len(atoms)
    found = [(place, *each) for place, name in enumerate(chains.names) for each in of_chain[name]]
    tokens = Tokens([each[0] for each in found], [each[2] for each in found], [each[3] for each in found])
    return tokens, np.array([each[1] for each in found], dtype=np.intp)


def read_models(
    folder: Path,
    name: str,
    chains: Chains,
    tokens: tuple[Tokens, NDArray[np.intp]],
    *,
    seed: int,
    recycles: int,
    seconds: float,
) -> list[Modelled]:
    """Models of one seed, best first.

    Args:
        folder: predictions/<name> of Boltz.
        tokens: as `tokens_of` gives them.
        seconds: that all of them took.

    Raises:
        TargetError: there is none: Boltz ends without an error where it fails.
    """
    paths = sorted(folder.glob(f"{name}_model_*.cif"), key=lambda path: int(path.stem.rpartition("_")[2]))
    if not paths:
        raise TargetError(Reason.INTERNAL, "Boltz ended without an error and without a model.")
    return [
        _model(
            path, chains, tokens, number=number, seed=seed, recycles=recycles, seconds=seconds / len(paths)
        )
        for number, path in enumerate(paths)
    ]


def read_affinities(folder: Path, name: str) -> dict[str, dict[str, Any]]:
    """What Boltz says of the affinity, by chain of the ligand: one for each copy.

    Raises:
        TargetError: there is nothing.
    """
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("affinity_*.json"))]
    if not found:
        raise TargetError(Reason.INTERNAL, f"Boltz ended without an error and without an affinity of {name}.")
    return {str(each["binder_chain"]): each for each in found}


def scores_of(summary: Mapping[str, Any], affinity: Mapping[str, Any], chains: Chains) -> Scores:
    """Columns of metrics.tsv; what means nothing for these chains is absent, where Boltz writes 0."""
    ligands = sum(entity.kind is Kind.LIGAND for entity in chains.entities)
    absent = {
        "ligand_iptm": not ligands or len(chains.entities) < 2,
        "protein_iptm": len(chains.proteins) < 2,
        "complex_iplddt": len(chains.entities) < 2,
        "complex_ipde": len(chains.entities) < 2,
    }
    told = {key: defined(summary, key) for key in SUMMARY if not absent.get(key)}
    told |= {key: affinity.get(key) for key in AFFINITY}
    return {key: value for key, value in told.items() if value is not None}


def read_summary(path: Path) -> dict[str, Any]:
    """A confidence_*.json; NaN, which no JSON has, as null."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda _: None)
    return found


def defined(summary: Mapping[str, Any], name: str) -> Any:
    """A value of Boltz's summary; None where it is not defined."""
    value = summary.get(name)
    return None if name in _ABOVE_ZERO and value == 0 else value


def _model(
    path: Path,
    chains: Chains,
    places_of: tuple[Tokens, NDArray[np.intp]],
    *,
    number: int,
    seed: int,
    recycles: int,
    seconds: float,
) -> Modelled:
    tokens, places = places_of

    def array(kind: str) -> NDArray[Any]:
        with np.load(path.with_name(f"{kind}_{path.stem}.npz"), allow_pickle=False) as found:
            return np.asarray(found[kind])

    summary = read_summary(path.with_name(f"confidence_{path.stem}.json"))
    plddt = array("plddt")
    if len(plddt) != len(places):
        raise TargetError(Reason.INTERNAL, f"Boltz gives {len(plddt)} pLDDT values for {len(places)} tokens.")
    by_token = 100.0 * plddt[places].astype(np.float64)
    residues = tokens.mean_by_residue(by_token)
    cif = path.read_bytes()
    model = arranged(structures.read(cif.decode()), chains, residues)
    pair = np.ix_(places, places)
    several = len(chains.entities) > 1
    prediction = Prediction(
        name=f"boltz2_seed_{seed}_model_{number}",
        pdb=model.make_pdb_string() if structures.fits_pdb(model) else "",
        structure=model,
        plddt=residues,
        pae=array("pae")[pair],
        ptm=defined(summary, "ptm"),
        iptm=defined(summary, "iptm") if several else None,
        ranking_confidence=summary["confidence_score"],
        recycles=recycles,
        seed=seed,
        seconds=seconds,
        tokens=tokens,
    )
    return Modelled(prediction, summary, array("pde")[pair], cif)


def arranged(
    model: gemmi.Structure, chains: Chains, plddt: Sequence[float] | NDArray[Any]
) -> gemmi.Structure:
    """Boltz's model with chains in the target's order and residues numbered from 1; pLDDT in the B column."""
    found = {chain.name: chain for chain in model[0]}
    made = gemmi.Model(1)
    values = iter(np.asarray(plddt).tolist())
    for name in chains.names:
        chain = gemmi.Chain(name)
        for number, residue in enumerate(found[name], 1):
            copy = residue.clone()
            copy.seqid = gemmi.SeqId(number, " ")
            value = next(values)
            for atom in copy:
                atom.b_iso = value
            chain.add_residue(copy)
        made.add_chain(chain)
    structure = gemmi.Structure()
    structure.add_model(made)
    return structure
