"""A message in snakefold's worker: keys are objects of its bucket, and items are told of as they end.

The network stays in the worker's warm process from one message to the next.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from snakefold.kernel.errors import WeightsMissingError
from snakefold.worker.callbacks import Callbacks, in_threads
from snakefold.worker.endpoints.checked import InvalidInput
from snakefold.worker.failures import as_job_error
from snakefold.worker.items import ItemsResponse, Outcome, Ready, bounded, counts, run_items
from snakefold_images import __version__, images
from snakefold_images.choices import palette
from snakefold_images.errors import ImageError, WeightsError
from snakefold_images.item import Edited, Tiles, edit_picture
from snakefold_images.message import Item, Message, Texture
from snakefold_images.segment import Network
from snakefold_images.task import JPEG, PNG
from snakefold_images.weights import REHEARSAL, Weights, find, weights_folder

if TYPE_CHECKING:
    from snakefold.worker.objects import Objects
    from snakefold.worker.tasks import Context

#: What of a message no pixel depends on.
_NOT_OF_PIXELS = {
    *("task", "items", "callback_url", "job_callback_url", "idempotency_prefix", "batch_concurrency")
}


class ImagesResponse(ItemsResponse):
    """What became of the images of a message."""

    reports: dict[int, dict[str, Any]] = Field(
        {}, description="By idx, of images that were computed: what was found and done, by concept."
    )
    warnings: list[str] = Field([], description="REHEARSAL, if random parameters chose the regions.")


def answer(message: Message, context: Context) -> tuple[ImagesResponse, bool]:
    """Do all items of a message; the answer, and whether memory ran out.

    Raises:
        InvalidInput: a key or the callback's address may not be used; nothing is computed.
        WeightsMissingError: there are no parameters.
    """
    objects = context.objects.of(user_id=message.user_id, job_id=message.job_id)
    objects.check(
        read=[*(item.input_key for item in message.items), *_tiles(message)],
        write=[key for item in message.items for key in (item.output_key, item.preview_key)],
    )
    prefix = message.idempotency_prefix or message.job_id
    callbacks = context.callbacks(message.callback_url, message.job_callback_url, prefix)
    try:
        network = _network()
    except Exception as error:
        told = context.callbacks(message.callback_url, message.job_callback_url, f"{prefix}:failed")
        _tell_of_all(message, told, error)
        raise
    tiles = Tiles(objects.read)
    recipe = _recipe(message, objects, network.weights)
    reports: dict[int, dict[str, Any]] = {}

    def fetch(item: Item) -> tuple[str, images.Picture] | Ready:
        data = objects.read(item.input_key)
        digest = _digest([recipe, item.model_dump(mode="json"), _sha256(data)])
        if objects.answered(digest, [item.output_key, item.preview_key]):
            return Ready(_keys(item))
        try:
            return digest, images.decode(data, item.input_key)
        except ImageError as error:
            raise InvalidInput(str(error)) from error

    def compute(_: Item, fetched: tuple[str, images.Picture]) -> tuple[str, Edited]:
        digest, picture = fetched
        try:
            return digest, edit_picture(picture, message, network, tiles)
        except ImageError as error:  # a tile
            raise InvalidInput(str(error)) from error

    def deliver(item: Item, made: tuple[str, Edited]) -> dict[str, Any]:
        digest, done = made
        objects.write(item.output_key, done.png(), media=PNG, request=digest)
        objects.write(item.preview_key, done.preview(), media=JPEG, request=digest)
        reports[item.idx] = done.report
        return _keys(item)

    def tell(item: Item, outcome: Outcome) -> None:
        if outcome.done:
            callbacks.item(item.idx, "done", **outcome.facts)
        else:
            callbacks.item(item.idx, "failed", error=outcome.error)

    ran = run_items(
        message.items,
        fetch,
        compute,
        deliver,
        tell,
        concurrency=bounded(message.batch_concurrency, context.settings.batch_concurrency),
        progress=context.progress,
        log=context.log,
    )
    counted = counts(ran, lambda number: message.items[number].idx)
    callbacks.job(
        "done", **{name: counted[name] for name in ("total_items", "successful_items", "failed_items")}
    )
    response = ImagesResponse(
        **counted,
        reports=dict(sorted(reports.items())),
        warnings=[REHEARSAL] if network.weights.rehearsal else [],
        callback_failures=callbacks.failures if message.callback_url or message.job_callback_url else None,
    )
    return response, ran.out_of_memory


def _tell_of_all(message: Message, callbacks: Callbacks, error: Exception) -> None:
    """Tell of all items of a job that fails as a whole.

    Under keys of their own: it may be tried again, and a receiver that takes each key once must then hear
    that an item is done.
    """
    text = as_job_error(error).message
    if callbacks.wanted:
        in_threads(
            lambda number: callbacks.item(message.items[number].idx, "failed", error=text), len(message.items)
        )
    callbacks.job("failed", error=text)


def _network() -> Network:
    try:
        return _loaded(weights_folder())
    except WeightsError as error:
        raise WeightsMissingError(str(error)) from error


@cache
def _loaded(folder: Path) -> Network:
    return Network(find(folder))


def _keys(item: Item) -> dict[str, Any]:
    return {"output_key": item.output_key, "preview_key": item.preview_key}


def _recipe(message: Message, objects: Objects, weights: Weights) -> dict[str, Any]:
    """All that pixels of a message's images depend on, but the images."""
    return {
        "message": message.model_dump(mode="json", exclude=_NOT_OF_PIXELS),
        "tiles": [_sha256_of(key, objects) for key in _tiles(message)],
        "preset": message.chosen_preset().model_dump(mode="json"),
        "palette": palette().model_dump(mode="json"),
        "weights": weights.version,
        "version": __version__,
    }


def _tiles(message: Message) -> list[str]:
    return [change.value.image for change in message.concepts.values() if isinstance(change, Texture)]


def _sha256_of(key: str, objects: Objects) -> str:
    try:
        return _sha256(objects.read(key))
    except InvalidInput:  # it is told of with the items, which it fails
        return ""


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _digest(told: Any) -> str:
    # Not sorted: of concepts that overlap, the later has the pixel.
    return _sha256(json.dumps(told).encode())
