"""Boltz-2, loaded once for a batch."""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import rdkit
import torch

from snakefold.engines.boltz2 import ENGINE, msa, results
from snakefold.engines.boltz2.inputs import Chains, chains_of, yaml_text
from snakefold.engines.boltz2.network import Networks, Parsed, Places, device_of
from snakefold.engines.boltz2.results import Modelled
from snakefold.engines.boltz2.settings import Boltz2Settings
from snakefold.engines.boltz2.weights import ready
from snakefold.engines.spec import Result, TargetMsas
from snakefold.kernel.contracts import FoldRequest, TargetInput
from snakefold.molecules.entities import NO_ALIGNMENT, Kind
from snakefold.structures.confidence import pae_archive
from snakefold.structures.files import REHEARSAL_NOTE

AFFINITY_UNIT = "affinity_pred_value: log10(IC50 in µM)"
#: What Boltz calls every target: no name may end up in a result.
_NAME = "target"


class Boltz2Session:
    """See `snakefold.engines.spec.Session`.

    Attributes:
        seconds: load: imports apart, the networks and the molecules.
        device: what predicts.
    """

    def __init__(
        self, settings: Boltz2Settings, places: Places, *, affinity: bool, rehearsal: bool = False
    ) -> None:
        start = time.monotonic()
        self._settings, self._rehearsal = settings, rehearsal
        self._device = device_of(settings)
        with _quiet():
            self._networks = Networks(settings, places, self._device, affinity=affinity)
        self.device = self._device.name
        self.seconds: dict[str, float] = {"load": round(time.monotonic() - start, 3)}

    def predict(self, target: TargetInput, msas: TargetMsas) -> Result:
        """All models of all seeds; the affinity belongs to the best of them.

        Raises:
            TargetError: Boltz refuses the target, an alignment is missing, or memory ran out.
        """
        chains = chains_of(target)
        with tempfile.TemporaryDirectory(prefix="snakefold-boltz2-") as name:
            root = Path(name)
            source = _write(root, target, chains, msas, self._settings.max_msa_seqs)
            with _quiet():
                parsed = self._networks.parse(_NAME, source, root / "processed")
                found = self._predict(chains, parsed, root)
        return replace(found, notes=ENGINE.notes(target, self._settings))

    def _predict(self, chains: Chains, parsed: Parsed, root: Path) -> Result:
        tokens = results.tokens_of(parsed.structure(), chains)
        models: list[Modelled] = []
        for seed in self._seeds():
            start = time.monotonic()
            folder = self._networks.predict_structures(parsed, seed, root / str(seed))
            spent = time.monotonic() - start
            models += results.read_models(
                folder,
                _NAME,
                chains,
                tokens,
                seed=seed,
                recycles=self._settings.recycling_steps,
                seconds=spent,
            )
        place = max(range(len(models)), key=lambda place: models[place].prediction.ranking_confidence)
        best = models[place]
        affinities = {}
        if chains.binder is not None:
            out, start = root / str(best.prediction.seed), time.monotonic()
            self._networks.predict_affinity(parsed, best.prediction.seed, out)
            affinities = results.read_affinities(out / _NAME, _NAME)
            # A network of its own, whose time is that of networks for the cost model.
            models[place] = best = best.longer(time.monotonic() - start)
        wanted = affinities[chains.names[chains.binder]] if chains.binder is not None else {}
        return Result(
            predictions=[model.prediction for model in models],
            scores=results.scores_of(best.summary, wanted, chains),
            files=self._files(models, affinities),
        )

    def _seeds(self) -> Sequence[int]:
        return range(self._settings.seed, self._settings.seed + self._settings.num_seeds)

    def _files(
        self, models: Sequence[Modelled], affinities: dict[str, dict[str, object]]
    ) -> dict[str, bytes]:
        """What Boltz wrote, by the names of the models; PDE in the order of their ranks."""
        ranked = sorted(models, key=lambda model: model.prediction.ranking_confidence, reverse=True)
        files = {"pde.npz": pae_archive([model.pde for model in ranked])}
        for model in models:
            files[f"{model.prediction.name}.cif"] = self._marked_cif(model.cif)
            files[f"{model.prediction.name}.json"] = self._json(model.summary)
        if affinities:
            files["affinity.json"] = self._json({"unit": AFFINITY_UNIT, "chains": affinities})
        told = {
            "torch": torch.__version__,
            "rdkit": rdkit.__version__,
            "device": self._device.name,
            "precision": self._device.precision,
            "cuequivariance": self._device.kernels,
            "threads": torch.get_num_threads() if self._device.torch == "cpu" else None,
        }
        files["boltz2.json"] = self._json(told)
        return files

    def _marked_cif(self, cif: bytes) -> bytes:
        """As Boltz wrote it; a comment before it says that the parameters were random."""
        return f"# {REHEARSAL_NOTE}\n".encode() + cif if self._rehearsal else cif

    def _json(self, content: Mapping[str, Any]) -> bytes:
        mark = {"REHEARSAL": True} if self._rehearsal else {}
        return (json.dumps({**content, **mark}, indent=1, sort_keys=True) + "\n").encode()


def open_session(request: FoldRequest, weights: Path | None) -> Boltz2Session:
    """A session for a batch; random parameters that a rehearsal declared are drawn if they are not there.

    Raises:
        WeightsMissingError: parameters are missing or damaged.
        TargetError: a GPU is wanted and there is none.
    """
    settings = Boltz2Settings.model_validate(request.settings)
    chains = [each for target in request.targets for each in chains_of(target).entities]
    affinity = any(target.assembly and target.assembly.get("affinity") for target in request.targets)
    codes = {code for each in chains for code in (*each.ccd, *(one.ccd for one in each.modifications))}
    files = ready(weights, sorted(codes), affinity=affinity)
    places = Places(files.structure, files.affinity, files.molecules)
    return Boltz2Session(settings, places, affinity=affinity, rehearsal=request.rehearsal)


def _write(root: Path, target: TargetInput, chains: Chains, msas: TargetMsas, most: int) -> Path:
    """The input of Boltz in a folder: the YAML, and a CSV of each protein beside it."""
    proteins, without = list(target.chains), set[str]()
    if target.assembly is not None:
        entities = [each for each in target.assembly["entities"] if each["kind"] == Kind.PROTEIN]
        proteins = [each["sequence"] for each in entities]
        without = {each["sequence"] for each in entities if each.get("msa") == NO_ALIGNMENT}
    paths = {}
    found = msa.alignments(proteins, msas, without, most=most)
    for number, (sequence, text) in enumerate(found.items(), 1):
        path = root / f"{number}.csv"
        path.write_text(text, encoding="ascii")
        paths[sequence] = path.name
    source = root / f"{_NAME}.yaml"
    source.write_text(yaml_text(chains, paths), encoding="utf-8")
    return source


@contextmanager
def _quiet() -> Iterator[None]:
    """Boltz prints progress and warnings that belong to nobody here: failures are raised."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield
