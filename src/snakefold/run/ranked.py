"""One result of the parts of a target whose seeds were predicted by several jobs: models ranked together."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from snakefold.kernel.contracts import Confidence
from snakefold.kernel.errors import SnakefoldError
from snakefold.structures import mmcif

_CONFIDENCE, _RANKING = "confidence.json", "ranking_debug.json"
#: Files of the model of a rank, and arrays of it in files of arrays (pae.npz).
_OF_RANK = re.compile(r"(ranked_|unrelaxed_)(\d+)(\.\w+)")
_ARRAY_OF_RANK = re.compile(r"rank_(\d+)")
#: Seconds of one target add up; so do those of its models, which have names of their own.
_TIMINGS = "timings.json"

#: Part and rank there of each model, best first.
_Order = Sequence[tuple[int, int]]


def ranked_together(parts: Sequence[Mapping[str, bytes]]) -> dict[str, bytes]:
    """Files of a target, from those of its parts, in the order of their seeds.

    Ranks are anew, best first by `ranking_confidence`; equal ones keep their order, as in AlphaFold. Where
    parts have a file or a score that is neither of a model nor of all of them, that of the part with the best
    model counts. A part relaxes its best models, so that more may be relaxed than by one job.

    Raises:
        SnakefoldError: two parts have a model of the same name.
    """
    told = [Confidence.model_validate_json(part[_CONFIDENCE]) for part in parts]
    rankings = [json.loads(part.get(_RANKING, b"{}")) for part in parts]
    order = _order(told, rankings)
    best = order[0][0] if order else 0
    files: dict[str, bytes] = {}
    names = dict.fromkeys(name for part in (parts[best], *parts) for name in part)
    for name in names:
        if _OF_RANK.fullmatch(name) or name in (_CONFIDENCE, _RANKING, _TIMINGS):
            continue
        files[name] = _joined(name, [part.get(name) for part in parts], best, order)
    files |= dict(_models(parts, order))
    files[_CONFIDENCE] = _confidence(told, order, best).model_dump_json().encode()
    if any(rankings):
        files[_RANKING] = _json(_ranking(rankings, [told[part].models[rank].name for part, rank in order]))
    if any(_TIMINGS in part for part in parts):
        files[_TIMINGS] = _json(_timings([json.loads(part.get(_TIMINGS, b"{}")) for part in parts]))
    return files


def _order(told: Sequence[Confidence], rankings: Sequence[Mapping[str, Any]]) -> _Order:
    places = [(part, rank) for part, each in enumerate(told) for rank in range(len(each.models))]
    names = [told[part].models[rank].name for part, rank in places]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise SnakefoldError(
            f"{', '.join(twice)}: models of several parts of a target. This is a defect of engine "
            f"{told[0].engine}; leave batch.seeds_per_job empty."
        )
    # confidence.json has fewer digits than what one job would rank by.
    exact = [
        {
            name: value
            for scores in each.values()
            if isinstance(scores, dict)
            for name, value in scores.items()
        }
        for each in rankings
    ]

    def score(place: tuple[int, int]) -> float:
        model = told[place[0]].models[place[1]]
        return float(exact[place[0]].get(model.name, model.ranking_confidence))

    return sorted(places, key=score, reverse=True)


def _models(parts: Sequence[Mapping[str, bytes]], order: _Order) -> Iterator[tuple[str, bytes]]:
    places = {place: rank for rank, place in enumerate(order)}
    for number, part in enumerate(parts):
        for name, data in part.items():
            found = _OF_RANK.fullmatch(name)
            if found is None:
                continue
            before, after = int(found[2]), places[number, int(found[2])]
            kept = data
            if found[3] == ".cif":
                kept = mmcif.with_pae_of(data.decode(), f"rank_{before}", f"rank_{after}").encode()
            yield f"{found[1]}{after}{found[3]}", kept


def _confidence(told: Sequence[Confidence], order: _Order, best: int) -> Confidence:
    models = [told[part].models[rank] for part, rank in order]
    warnings = [text for each in told for text in each.warnings]
    return told[best].model_copy(update={"models": models, "warnings": list(dict.fromkeys(warnings))})


def _ranking(rankings: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for ranking in rankings:
        for key, value in ranking.items():
            merged[key] = {**merged.get(key, {}), **value} if isinstance(value, dict) else value
    return {**merged, "order": list(names)}


def _timings(timings: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Seconds of all parts; the alignment was made once."""
    names = dict.fromkeys(name for each in timings for name in each)
    return {
        name: max(each.get(name, 0.0) for each in timings)
        if name == "msa"
        else round(sum(each.get(name, 0.0) for each in timings), 3)
        for name in names
    }


def _joined(name: str, found: Sequence[bytes | None], best: int, order: _Order) -> bytes:
    """A file that is not of one rank."""
    there = [data for data in found if data is not None]
    if all(data == there[0] for data in there[1:]):
        return there[0]
    if name.endswith(".npz") and (arrays := _ranks(found, order)) is not None:
        return arrays
    if name.endswith(".json") and (joined := _united(there)) is not None:
        return joined
    own = found[best]
    return there[0] if own is None else own


def _ranks(found: Sequence[bytes | None], order: _Order) -> bytes | None:
    """Arrays by rank, put in the order of all; None: they are something else."""
    arrays: dict[str, Any] = {}
    for part, data in enumerate(found):
        if data is None:
            continue
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            for array in stored.files:
                rank = _ARRAY_OF_RANK.fullmatch(array)
                if rank is None:
                    return None
                arrays[f"rank_{order.index((part, int(rank[1])))}"] = stored[array]
    buffer = io.BytesIO()
    in_order = sorted(arrays, key=lambda array: int(array.removeprefix("rank_")))
    np.savez_compressed(buffer, **{array: arrays[array] for array in in_order})
    return buffer.getvalue()


def _united(there: Sequence[bytes]) -> bytes | None:
    """Objects with entries by model, in one; None: they are none, or say different things of the same."""
    objects = [json.loads(data) for data in there]
    if not all(isinstance(each, dict) for each in objects):
        return None
    united: dict[str, Any] = {}
    for each in objects:
        for key, value in each.items():
            if key in united and united[key] != value:
                if not (isinstance(value, dict) and isinstance(united[key], dict)):
                    return None
                if any(united[key].get(inner, its) != its for inner, its in value.items()):
                    return None
                united[key] = {**united[key], **value}
            else:
                united[key] = value
    return (json.dumps(united, indent=1) + "\n").encode()


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()
