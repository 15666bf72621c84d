"""Everything the page shows of one target, as scripts that the page loads when it is asked for."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from snakefold import engines
from snakefold.kernel import tables
from snakefold.kernel.contracts import Confidence, ModelScores
from snakefold.kernel.errors import SnakefoldError
from snakefold.report import affinity, ligands, pae
from snakefold.report.coordinates import Atoms, Packer, read_atoms
from snakefold.report.coverage import coverage
from snakefold.report.libraries import packed, script_call
from snakefold.run import metrics
from snakefold.run.metrics import columns_for
from snakefold.structures import confidence, scores, superposition
from snakefold.structures.chains import chain_names
from snakefold.structures.fit import overlay

_AGAIN = "Delete the folder and run again."
#: Hits of the databases that are listed on the page; hits.tsv has all.
_MAX_TEMPLATES = 20
_TEMPLATES = ("chain", "template", "identity", "coverage", "sum_probs")
_PROTEIN = (
    *(
        "ALA",
        "ARG",
        "ASN",
        "ASP",
        "CYS",
        "GLN",
        "GLU",
        "GLY",
        "HIS",
        "ILE",
        "LEU",
        "LYS",
        "MET",
        "PHE",
        "PRO",
    ),
    *("SER", "THR", "TRP", "TYR", "VAL", "UNK"),
)
_FILES = (
    "ranked_*.pdb",
    "ranked_*.cif",
    "unrelaxed_*.pdb",
    "superposed.*",
    "*.npz",
    "msa.a3m",
    "*.tsv",
    "*.json",
    "*.cif",
)


@dataclass(frozen=True)
class Target:
    """A finished target, read from `results/structures/<id>`; models in rank order, in their own frames."""

    folder: Path
    confidence: Confidence
    models: list[Atoms]
    matrices: pae.Matrices

    @property
    def kinds(self) -> list[str]:
        """Of the chains that have atoms, in order; none where all are plain protein."""
        return _kinds(self.confidence, self.models[0])


def read_target(folder: Path) -> Target:
    """Read what the page shows in 3D and what belongs to it.

    Raises:
        SnakefoldError: a file is missing or damaged; the text names it.
    """
    found = _confidence(folder / "confidence.json")
    models = []
    for rank in range(len(found.models)):
        path = folder / f"ranked_{rank}.cif"
        try:
            models.append(read_atoms(text(path))[0])
        except SnakefoldError as error:
            raise SnakefoldError(f"{path}: {error}") from error
    return Target(folder, found, models, pae.read_matrices(folder / "pae.npz"))


def target_scripts(
    name: str,
    folder: Path,
    link: str,
    *,
    others: Sequence[Mapping[str, Any]] = (),
    target: Target | None = None,
) -> dict[str, bytes]:
    """Files of the report's folder `data/`, by name: `<id>.js`, and `pae/<id>.js` if there is a PAE.

    Args:
        name: id of the target.
        folder: `results/structures/<id>`.
        link: the same folder as seen from the page.
        others: the same target in other results (`comparison.compared`).
        target: `folder`, if it was read before.

    Raises:
        SnakefoldError: a file is missing or damaged; the text names it.
    """
    target = target or read_target(folder)
    content = {**_content(target, link), "others": list(others)}
    scripts = {f"{name}.js": script_call("snakefold.receive", name, content)}
    if target.matrices:
        exact = pae.whole_angstroms(target.matrices)
        scripts[f"pae/{name}.js"] = script_call("snakefold.receive", f"pae/{name}", exact)
    return scripts


def model_content(
    model: ModelScores, atoms: Atoms, packer: Packer, picture: Any, kinds: Sequence[str] = ()
) -> dict[str, Any]:
    """Scores, atoms and pictures of one model; `kinds` as `Target` has them."""
    known = model.model_dump(exclude={"plddt"})
    plddt = np.rint(np.array(model.plddt) * 100).astype("<u2")
    return {**known, "plddt": packed(plddt.tobytes()), "pae": picture, **packer.pack(atoms, kinds)}


def _content(target: Target, link: str) -> dict[str, Any]:
    """Contents of `data/<id>.js`, as static/target.js reads it.

    Arrays are packed (`embed.packed`): pLDDT as uint16 in hundredths, atoms as in `coordinates`, PAE as in
    `pae.picture`, coverage as row-major uint8 (`coverage.Coverage`). All models lie on the best one.
    """
    packer, folder, found = Packer(), target.folder, target.confidence
    best, kinds = target.models[0], target.kinds
    models = []
    for rank, (model, atoms) in enumerate(zip(found.models, target.models, strict=True)):
        picture = pae.picture(target.matrices.get(rank))
        laid = _laid(atoms, best, kinds) if rank else atoms
        models.append(model_content(model, laid, packer, picture, kinds))
    sequences = _sequences(best)
    others = scores.read_scores(folder)
    return {
        "rehearsal": found.rehearsal,
        "engine": found.engine,
        "chain_lengths": found.chain_lengths,
        "chain_names": [name for name, _ in best.chains],
        "sequence": "".join(sequences),
        **(_molecules(target, kinds) if kinds else {}),
        "models": models,
        "pae_unit": confidence.PAE_UNIT,
        "notes": _notes(found, folder / "msa.json"),
        "coverage": _coverage_picture(folder / "msa.a3m", sequences, [kind == "protein" for kind in kinds]),
        "alignments": _json(folder / "msa.json", []),
        "templates": _templates(folder / "templates.tsv"),
        "reference": _reference(folder, best, packer),
        "scores": others.model_dump(mode="json") if others else None,
        "affinity": affinity.card(found),
        "own": _own_scores(found, folder.parent.parent),
        "views": list(engines.views(found.engine)),
        "timings": _timings(folder / "timings.json"),
        "files": _files(folder, link),
        "kinds": packer.kinds,
    }


def _own_scores(found: Confidence, results: Path) -> list[list[str]]:
    """Scores that only the engine has: name, value, meaning; those of the affinity have a card."""
    columns = columns_for([found.engine], results) if found.scores else {}
    shown = affinity.shown(found)
    rows = []
    for name, value in found.scores.items():
        if name in shown:
            continue
        column = columns.get(name)
        meaning = "" if column is None else f"{column.meaning} {f'({column.unit})' if column.unit else ''}"
        said = {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
        rows.append([name, f"{value:.5g}" if isinstance(value, float) else said, meaning.strip()])
    return rows


def _kinds(found: Confidence, atoms: Atoms) -> list[str]:
    names = dict(zip(chain_names(len(found.chain_kinds)), found.chain_kinds, strict=True))
    return [names.get(name, "protein") for name, _ in atoms.chains] if names else []


def _molecules(target: Target, kinds: Sequence[str]) -> dict[str, Any]:
    """What the page says of a target that is more than proteins.

    `chain_kinds`; `components`: names of the residues that no letter tells, by place; `tokens`: how many rows
    of the PAE a residue has, by place, where it is not one; `ligands` and `contacts` as in `ligands`.
    """
    best, folder = target.models[0], target.folder
    of_residue = np.repeat(kinds, [count for _, count in best.chains])
    names = best.residue[best.starts].astype(str)
    standard = {"protein": set(_PROTEIN), "dna": {f"D{one}" for one in "ACGTN"}, "rna": set("ACGUN")}
    components = {
        str(place): str(name)
        for place, (name, kind) in enumerate(zip(names, of_residue, strict=True))
        if name not in standard.get(kind, ())
    }
    found: dict[str, Any] = {
        "chain_kinds": list(kinds),
        "components": components,
        "tokens": _tokens(folder),
    }
    if "ligand" in kinds:
        found["ligands"] = ligands.ligands(text(folder / "ranked_0.cif"), best, kinds)
        found["contacts"] = ligands.contacts(folder, len(target.models))
    return found


def _tokens(folder: Path) -> dict[str, int]:
    found = _json(folder / "tokens.json", {})
    try:
        places = zip(found.get("chain", ()), found.get("residue", ()), strict=True)
        counts = Counter((int(chain), int(residue)) for chain, residue in places)
    except (AttributeError, TypeError, ValueError) as error:
        raise SnakefoldError(
            f"{folder / 'tokens.json'}: not as expected ({error}). Delete the folder and run again."
        ) from error
    return {str(place): number for place, number in enumerate(counts.values()) if number != 1}


def _laid(atoms: Atoms, best: Atoms, kinds: Sequence[str]) -> Atoms:
    """A model on the best one; where it is, if a model lacks residues."""
    same = len(atoms.starts) == len(best.starts)
    return atoms.moved(*overlay(atoms.trace(kinds), best.trace(kinds))) if same else atoms


def _confidence(path: Path) -> Confidence:
    try:
        found = Confidence.model_validate_json(text(path))
    except ValueError as error:
        raise SnakefoldError(
            f"{path}: not as expected ({error}). Delete the folder and run again."
        ) from error
    if not found.models:
        raise SnakefoldError(f"{path}: has no model. Delete the folder and run again.")
    return found


def text(path: Path) -> str:
    """Text of a file of a target.

    Raises:
        SnakefoldError: it is missing or no text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SnakefoldError(f"{path}: cannot be read ({error}). Delete the folder and run again.") from error


def _sequences(atoms: Atoms) -> list[str]:
    import gemmi

    names = atoms.residue[atoms.starts]
    known = {name: gemmi.find_tabulated_residue(name.decode()).one_letter_code for name in set(names)}
    letters = "".join(known[name].upper() if known[name].isalpha() else "X" for name in names)
    chains, start = [], 0
    for _, length in atoms.chains:
        chains.append(letters[start : start + length])
        start += length
    return chains


def _reference(folder: Path, best: Atoms, packer: Packer) -> dict[str, Any] | None:
    """The known structure, moved to where the page draws the best model, which the file has moved onto it."""
    path = next((path for name in superposition.FILES if (path := folder / name).is_file()), None)
    if path is None:
        return None
    models = read_atoms(text(path))
    if len(models) != 2 or models[0].xyz.shape != best.xyz.shape:
        return None
    return packer.pack(models[1].moved(*overlay(models[0].xyz, best.xyz)))


def _coverage_picture(path: Path, chains: list[str], proteins: list[bool]) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    found = coverage(text(path), chains, proteins)
    if found is None:
        return None
    rows, columns = found.identity.shape
    return {
        "rows": rows,
        "columns": columns,
        "depth": found.depth,
        "step": found.step,
        "counts": found.counts,
        "identities": found.identities,
        "data": packed(found.identity.tobytes()),
    }


def _templates(path: Path) -> list[dict[str, str]] | None:
    if not path.is_file():
        return None
    return tables.read_columns(path, dict.fromkeys(_TEMPLATES, str), advice=_AGAIN)[:_MAX_TEMPLATES]


def _json(path: Path, otherwise: Any) -> Any:
    if not path.is_file():
        return otherwise
    try:
        return json.loads(text(path))
    except ValueError as error:
        raise SnakefoldError(f"{path}: is no JSON ({error}). Delete the folder and run again.") from error


def _notes(found: Confidence, path: Path) -> list[str]:
    try:
        return metrics.warnings_of(found, {"msa.json": path.read_bytes()} if path.is_file() else {})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SnakefoldError(
            f"{path}: not as expected ({error!r}). Delete the folder and run again."
        ) from error


def _timings(path: Path) -> dict[str, float]:
    found = _json(path, {})
    return {str(name): value for name, value in found.items() if isinstance(value, int | float)}


def _files(folder: Path, link: str) -> list[dict[str, Any]]:
    found = {path: path.stat().st_size for pattern in _FILES for path in sorted(folder.glob(pattern))}
    return [{"name": path.name, "link": f"{link}/{path.name}", "bytes": size} for path, size in found.items()]
