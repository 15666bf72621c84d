"""Results of other programs: which files are whose, and what they say.

ColabFold 1.5 and 1.6, AlphaFold 2.3, AlphaFold 3 and its server, Boltz 2, Chai-1, and downloads of AlphaFold
DB. Files are told by their names, as these programs write them; pickles are never read. pLDDT is what the B
factors say: all of these programs write it there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snakefold.kernel.errors import SnakefoldError
from snakefold.loading.target import Model, Target

if TYPE_CHECKING:
    from snakefold.loading.target import Floats


@dataclass(frozen=True)
class _Found:
    """A model's file, and what it is of.

    `order` is its rank, or less for a better model. `root` is the folder of the target's models, which two
    targets of one name differ in.
    """

    target: str
    root: Path
    engine: str
    model: Model
    order: float
    alignment: Path | None = None


def read_targets(folder: Path) -> dict[str, Target]:
    """All targets of a folder and those below it, by name; if that is taken, with their folder before it.

    Raises:
        SnakefoldError: a file with scores is damaged.
    """
    paths = sorted(path for path in folder.rglob("*") if path.suffix in (".pdb", ".cif") and path.is_file())
    found: dict[tuple[str, Path], list[_Found]] = {}
    for path in paths:
        each = next((each for read in _READERS if (each := read(path)) is not None), None)
        if each is not None:
            found.setdefault((each.target, each.root), []).append(each)
    targets: dict[str, Target] = {}
    for (target, root), models in found.items():
        name = target if target not in targets else f"{root.relative_to(folder)}/{target}"
        models.sort(key=lambda each: each.order)
        targets[name] = Target(
            id=name,
            folder=root,
            engine=models[0].engine,
            models=[each.model for each in models],
            alignment=next((each.alignment for each in models if each.alignment is not None), None),
        )
    return targets


_COLABFOLD = re.compile(r"(?P<target>.+)_(?P<kind>unrelaxed|relaxed)_rank_(?P<rank>\d+)_(?P<name>.+)\.pdb")
_ALPHAFOLD2 = re.compile(r"ranked_(?P<rank>\d+)\.(?:pdb|cif)")
_ALPHAFOLD3 = re.compile(r"(?P<target>.+?)(?:_seed-(?P<seed>\d+)_sample-(?P<sample>\d+))?_model\.cif")
_SERVER = re.compile(r"(?P<target>fold_.+)_model_(?P<rank>\d+)\.cif")
_BOLTZ = re.compile(r"(?P<target>.+)_model_(?P<rank>\d+)\.(?:cif|pdb)")
_CHAI = re.compile(r"pred\.model_idx_(?P<rank>\d+)\.cif")
_DATABASE = re.compile(r"(?P<target>AF-.+-F\d+)-model_(?P<version>v\d+)\.(?:cif|pdb)")


def _colabfold(path: Path) -> _Found | None:
    parts = _COLABFOLD.fullmatch(path.name)
    if parts is None:
        return None
    target, rank = parts["target"], int(parts["rank"])
    scores = path.with_name(f"{target}_scores_rank_{parts['rank']}_{parts['name']}.json")
    relaxed = path.with_name(path.name.replace("_unrelaxed_", "_relaxed_"))
    if parts["kind"] == "unrelaxed" and relaxed.is_file():
        return None
    model = Model(parts["name"], path, _of_json(scores, _PTM), read_pae=_pae_of_json(scores, "pae"))
    return _Found(target, path.parent, "ColabFold", model, rank, path.with_name(f"{target}.a3m"))


def _alphafold2(path: Path) -> _Found | None:
    parts = _ALPHAFOLD2.fullmatch(path.name)
    debug = path.with_name("ranking_debug.json")
    if parts is None or not debug.is_file() or path.with_name("confidence.json").is_file():
        return None
    ranking, rank = _json(debug), int(parts["rank"])
    name = ranking["order"][rank]
    scores = next((each[name] for each in ranking.values() if isinstance(each, dict) and name in each), None)
    known = {} if scores is None else {"ranking_confidence": float(scores)}
    pae = _pae_of_json(path.with_name(f"pae_{name}.json"), "predicted_aligned_error")
    cif = path.with_suffix(".cif")
    if path.suffix == ".cif" and path.with_suffix(".pdb").is_file():
        return None
    model = Model(name, path, known, cif=cif if cif.is_file() else None, read_pae=pae)
    return _Found(path.parent.name, path.parent, "AlphaFold 2", model, rank)


def _alphafold3(path: Path) -> _Found | None:
    parts = _ALPHAFOLD3.fullmatch(path.name)
    if parts is None or _SERVER.fullmatch(path.name):
        return None
    whole = path.name.removesuffix("_model.cif")
    summary = path.with_name(f"{whole}_summary_confidences.json")
    if not summary.is_file():
        return None
    target = parts["target"]
    scores = _of_json(summary, {**_PTM, "ranking_confidence": ("ranking_score",)})
    if parts["seed"] is None and any(path.parent.glob("seed-*_sample-*")):
        return None  # the best of them once more
    pae = _pae_of_json(path.with_name(f"{whole}_confidences.json"), "pae")
    name = whole if parts["seed"] is None else f"seed-{parts['seed']}_sample-{parts['sample']}"
    root = path.parent if parts["seed"] is None else path.parent.parent
    model = Model(name, path, scores, cif=path, read_pae=pae)
    return _Found(target, root, "AlphaFold 3", model, _best_first(scores))


def _server(path: Path) -> _Found | None:
    parts = _SERVER.fullmatch(path.name)
    if parts is None:
        return None
    target, rank = parts["target"], parts["rank"]
    summary = path.with_name(f"{target}_summary_confidences_{rank}.json")
    scores = _of_json(summary, {**_PTM, "ranking_confidence": ("ranking_score",)})
    pae = _pae_of_json(path.with_name(f"{target}_full_data_{rank}.json"), "pae")
    model = Model(f"model_{rank}", path, scores, cif=path, read_pae=pae)
    return _Found(target.removeprefix("fold_"), path.parent, "AlphaFold Server", model, int(rank))


def _boltz(path: Path) -> _Found | None:
    parts = _BOLTZ.fullmatch(path.name)
    if parts is None:
        return None
    target, name = parts["target"], path.stem.removeprefix(f"{parts['target']}_")
    summary = path.with_name(f"confidence_{path.stem}.json")
    if not summary.is_file():
        return None
    scores = _of_json(summary, {**_PTM, "ranking_confidence": ("confidence_score",)})
    pae = _pae_of_npz(path.with_name(f"pae_{path.stem}.npz"))
    cif = path if path.suffix == ".cif" else None
    model = Model(name, path, scores, cif=cif, read_pae=pae)
    return _Found(target, path.parent, "Boltz", model, int(parts["rank"]))


def _chai(path: Path) -> _Found | None:
    parts = _CHAI.fullmatch(path.name)
    if parts is None:
        return None
    scores = _of_npz(path.with_name(f"scores.model_idx_{parts['rank']}.npz"))
    name = f"model_idx_{parts['rank']}"
    model = Model(name, path, scores, cif=path)
    return _Found(path.parent.name, path.parent, "Chai-1", model, _best_first(scores))


def _database(path: Path) -> _Found | None:
    parts = _DATABASE.fullmatch(path.name)
    if parts is None or (path.suffix == ".pdb" and path.with_suffix(".cif").is_file()):
        return None
    pae = path.with_name(f"{parts['target']}-predicted_aligned_error_{parts['version']}.json")
    cif = path if path.suffix == ".cif" else None
    read = _pae_of_json(pae, "predicted_aligned_error")
    model = Model(f"model_{parts['version']}", path, cif=cif, read_pae=read)
    return _Found(parts["target"], path.parent, "AlphaFold DB", model, 0)


#: In this order: Boltz' names are a part of the server's, and AlphaFold 3's of others.
_READERS: tuple[Callable[[Path], _Found | None], ...] = (
    _colabfold,
    _alphafold2,
    _database,
    _server,
    _alphafold3,
    _boltz,
    _chai,
)
#: Scores by the names used here: those that a program may have for them.
_PTM: Mapping[str, Sequence[str]] = {"ptm": ("ptm",), "iptm": ("iptm",)}


def _best_first(scores: Mapping[str, float]) -> float:
    return -scores.get("ranking_confidence", float("-inf"))


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise SnakefoldError(f"{path}: cannot be read as JSON ({error}).") from error


def _of_json(path: Path, names: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Scores of a JSON file; none if it is not there, and none that it has no number for."""
    told = _json(path) if path.is_file() else {}
    return dict(_numbers(told, names)) if isinstance(told, dict) else {}


def _numbers(told: Mapping[str, Any], names: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, float]]:
    for name, known in names.items():
        for each in known:
            if isinstance(told.get(each), int | float) and not isinstance(told[each], bool):
                yield name, float(told[each])
                break


def _pae_of_json(path: Path, key: str) -> Callable[[], Floats] | None:
    if not path.is_file():
        return None

    def read() -> Floats:
        import numpy as np

        told = _json(path)
        told = told[0] if isinstance(told, list) and told else told
        if not isinstance(told, dict) or key not in told:
            raise SnakefoldError(f"{path}: has no {key}.")
        return _square(np.asarray(told[key], dtype=np.float32), path)

    return read


def _pae_of_npz(path: Path) -> Callable[[], Floats] | None:
    if not path.is_file():
        return None

    def read() -> Floats:
        import numpy as np

        with np.load(path, allow_pickle=False) as stored:
            return _square(np.asarray(stored["pae"], dtype=np.float32), path)

    return read


def _of_npz(path: Path) -> dict[str, float]:
    """Chai-1's scores; none if they are not there."""
    import numpy as np

    if not path.is_file():
        return {}
    names = {"ptm": "ptm", "iptm": "iptm", "ranking_confidence": "aggregate_score"}
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {
                name: float(np.asarray(stored[each]).reshape(-1)[0])
                for name, each in names.items()
                if each in stored.files
            }
    except (OSError, ValueError) as error:
        raise SnakefoldError(f"{path}: cannot be read ({error}).") from error


def _square(matrix: Floats, path: Path) -> Floats:
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise SnakefoldError(f"{path}: its PAE is {matrix.shape}, expected [L, L].")
    return matrix
