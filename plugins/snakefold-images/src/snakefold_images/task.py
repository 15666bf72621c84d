"""A message from its first item to its last: read, edit, write, tell.

The module imports nothing heavy: a handler imports it to know what it may be asked.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from snakefold_images.errors import ImagesError
from snakefold_images.message import Item, Message, read_message

if TYPE_CHECKING:
    from snakefold.worker.tasks import Context
    from snakefold_images.item import Tiles
    from snakefold_images.segment import Finder

PNG, JPEG = "image/png", "image/jpeg"


class Files(Protocol):
    """What keys of a message mean: objects of a bucket, or files of a folder."""

    def read(self, key: str) -> bytes: ...

    def write(self, key: str, data: bytes, content_type: str, /) -> None: ...


def perform(given: Mapping[str, Any], context: Context) -> Any:
    """The task `images` of snakefold's worker."""
    from snakefold_images.worker import answer

    return answer(read_message(given), context)


def _is_message(given: Mapping[Any, Any]) -> bool:
    """Whether an `input` that names no task is a message: senders know of one worker, which has one task."""
    return {"preset", "concepts", "items"} <= given.keys()


perform.contract = Message  # type: ignore[attr-defined]
perform.takes = _is_message  # type: ignore[attr-defined]


def perform_all(
    message: Message,
    files: Files,
    finder: Finder,
    tell: Callable[[Mapping[str, Any]], None] = lambda _: None,
) -> dict[str, Any]:
    """Do all items of a message; one that fails is not the others' failure.

    Args:
        tell: gets each item when it is done or has failed: idx, status, idempotency_key, and output_key and
            preview_key, or error.

    Returns:
        total_items, successful_items, failed_items, errors, and items with their reports.
    """
    from snakefold_images.item import Tiles

    tiles = Tiles(files.read)
    items = []
    for item in message.items:
        items.append(perform_item(item, message, files, finder, tiles))
        tell({key: value for key, value in items[-1].items() if key != "report"})
    return summary(items)


def perform_item(item: Item, message: Message, files: Files, finder: Finder, tiles: Tiles) -> dict[str, Any]:
    """Read, edit and write one item; what went wrong is in what is returned."""
    from snakefold_images.item import edit_image

    told: dict[str, Any] = {"idx": item.idx, "idempotency_key": message.idempotency_key(item)}
    try:
        png, preview, report = edit_image(files.read(item.input_key), message, finder, tiles, item.input_key)
        files.write(item.output_key, png, PNG)
        files.write(item.preview_key, preview, JPEG)
    except ImagesError as error:
        return {**told, "status": "failed", "error": str(error)}
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        return {**told, "status": "failed", "error": f"{item.input_key}: {type(error).__name__}: {error}"}
    keys = {"output_key": item.output_key, "preview_key": item.preview_key}
    return {**told, "status": "done", **keys, "report": report}


def summary(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The result of a job, from its items."""
    failed = [{"idx": each["idx"], "error": each["error"]} for each in items if each["status"] == "failed"]
    return {
        "total_items": len(items),
        "successful_items": len(items) - len(failed),
        "failed_items": len(failed),
        "errors": failed,
        "items": [dict(each) for each in items],
    }
