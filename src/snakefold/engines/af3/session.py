"""A model of the family, loaded once for a batch."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from snakefold.engines import compilation
from snakefold.engines.af3 import ENGINE, components, msa, results, templates
from snakefold.engines.af3.inputs import Chains, chains_of, document, searched_proteins
from snakefold.engines.af3.models import NETWORKS
from snakefold.engines.af3.network import Model, Network
from snakefold.engines.af3.settings import Af3Settings
from snakefold.engines.af3.weights import ready
from snakefold.engines.spec import Result, TargetMsas
from snakefold.kernel import stages
from snakefold.kernel.contracts import FoldRequest, TargetInput
from snakefold.molecules.entities import Kind


class Af3Session:
    """See `snakefold.engines.spec.Session`.

    Attributes:
        seconds: load: imports apart, the parameters; features, compile and predict of all targets.
        device: what predicts.
    """

    def __init__(
        self,
        settings: Af3Settings,
        folder: Path,
        dictionary: Path,
        *,
        rehearsal: bool = False,
        cache: Path | None = None,
    ) -> None:
        start = time.monotonic()
        self._settings, self._rehearsal = settings, rehearsal
        self._model = NETWORKS[settings.model]
        self.network = Network(settings, folder, dictionary, one_block=rehearsal, cache=cache)
        self.device = compilation.device_name()
        self.seconds: dict[str, float] = {
            "load": round(time.monotonic() - start, 3),
            **dict.fromkeys(("features", "compile", "predict"), 0.0),
        }

    def predict(self, target: TargetInput, msas: TargetMsas) -> Result:
        """All models of all seeds.

        Raises:
            TargetError: the model refuses the target, an alignment is missing, or memory ran out.
        """
        settings, chains = self._settings, chains_of(target)
        proteins, without = searched_proteins(target)
        alignments = msa.alignments(proteins, msas, without, most=settings.max_msa_seqs)
        known = self._templates(target, msas, chains, alignments)
        models: list[tuple[Any, Model]] = []
        bucket = 0
        for seed in range(settings.seed, settings.seed + settings.num_seeds):
            stages.say(stages.PREDICTING)
            found = self.network.predict(document(chains, alignments, known, seed))
            self.seconds["features"] += found.features
            self.seconds["compile"] += found.compiling
            self.seconds["predict"] += found.seconds
            bucket = found.bucket
            made = results.predictions(found, target, chains, seed=seed, recycles=self._recycles)
            models += zip(made, found.models, strict=True)
        ranked = sorted(models, key=lambda each: each[0].ranking_confidence, reverse=True)
        scores = results.scores_of(ranked[0][1], chains)
        used = sum(map(len, known.values()))
        return Result(
            predictions=[prediction for prediction, _ in models],
            scores={**scores, "af3_model": settings.model, "weights_licence": self._model.licence},
            files=self._files(ranked, chains, bucket),
            notes=[*ENGINE.notes(target, settings), *_befallen([model for _, model in ranked], chains)],
            ran={
                "bucket": bucket,
                "templates": used,
                "weights_of": self._model.source,
                "weights_licence": self._model.licence,
                **({"terms_of_use": self._model.terms} if self._model.terms else {}),
                **({"cite": self._model.paper} if self._model.paper else {}),
            },
        )

    def _templates(
        self,
        target: TargetInput,
        msas: TargetMsas,
        chains: Chains,
        alignments: Mapping[str, msa.Alignment],
    ) -> dict[int, list[dict[str, Any]]]:
        """Templates of each chain by its place: those that the target brings, then those of the search."""
        found = templates.brought(target, msas.files)
        if self._settings.use_templates:
            searched = {sequence: templates.of_chain(each.templates) for sequence, each in alignments.items()}
            for place, entity in enumerate(chains.entities):
                more = searched.get(entity.sequence, []) if entity.kind is Kind.PROTEIN else []
                found[place] = [*found.get(place, []), *more][: templates.MOST]
        return {place: each for place, each in found.items() if each}

    @property
    def _recycles(self) -> int:
        """What the model runs, by its own program where the settings leave it open."""
        given = self._settings.num_recycles
        return int(self.network.spec.default_num_recycles) if given is None else given

    def _files(self, ranked: Sequence[tuple[Any, Model]], chains: Chains, bucket: int) -> dict[str, bytes]:
        """Confidences of every model by its name; contacts in the order of ranks; whose model it is."""
        files = {f"{made.name}.json": self._json(results.summary(model, chains)) for made, model in ranked}
        files["contact_probs.npz"] = results.contacts([(model, chains) for _, model in ranked])
        told = {
            "model": self._model.name,
            "title": self._model.title,
            "weights": self._model.source,
            "weights_licence": self._model.licence,
            "terms_of_use": self._model.terms or None,
            "cite": self._model.paper or self._model.source,
            "code": f"alphafold3-colabfold {ENGINE.version}",
            "jax": jax.__version__,
            "components": f"biotite {components.DICTIONARY}",
            "device": self.device,
            "bucket": bucket,
        }
        files["af3.json"] = self._json(told)
        return files

    def _json(self, content: Mapping[str, Any]) -> bytes:
        mark = {"REHEARSAL": True} if self._rehearsal else {}
        return (json.dumps({**content, **mark}, indent=1, sort_keys=True) + "\n").encode()


def _befallen(models: Sequence[Model], chains: Chains) -> list[str]:
    """A note where the disordered residues were not counted: ranking_score lacks up to 0.5 there."""
    failed = sum(not model.disordered for model in models) if chains.proteins else 0
    if not failed:
        return []
    return [
        f"no_disorder: DSSP failed for {failed} of {len(models)} models: fraction_disordered is not known, "
        "and ranking_score counts no disorder for them"
    ]


def open_session(request: FoldRequest, weights: Path | None, cache: Path | None) -> Af3Session:
    """A session for a batch; random parameters that a rehearsal declared are drawn if they are not there.

    Raises:
        WeightsMissingError: parameters are missing or damaged.
        SnakefoldError: another model runs in this process, or DSSP does not work.
        TargetError: a GPU is wanted and there is none.
    """
    settings = Af3Settings.model_validate(request.settings)
    codes = {code for target in request.targets for code in chains_of(target).codes}
    dictionary = components.ready(codes)
    folder, random = ready(weights, settings, dictionary)
    return Af3Session(settings, folder, dictionary, rehearsal=random, cache=cache)
